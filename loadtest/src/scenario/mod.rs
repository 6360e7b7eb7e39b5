//! The scenarios. Each prepares its connections, says that it is ready, loads until the time is up,
//! and lets what is under way finish.

pub(crate) mod desk;
pub(crate) mod idle;
pub(crate) mod open_loop;
pub(crate) mod pair;
pub(crate) mod relay;
pub(crate) mod soak;
pub(crate) mod storm;

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{config::Load, context::Context, latency::Kind};

/// Which one, with its own options.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    Relay(relay::Options),
    Desk(desk::Options),
    Idle(idle::Options),
    Storm(storm::Options),
    Soak(soak::Options),
}

impl Scenario {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Relay(_) => "relay",
            Self::Desk(_) => "desk",
            Self::Idle(_) => "idle",
            Self::Storm(_) => "storm",
            Self::Soak(_) => "soak",
        }
    }

    /// What it completes, for people.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Relay(_) | Self::Soak(_) => "messages",
            Self::Desk(_) => "conversations",
            Self::Idle(_) | Self::Storm(_) => "connections",
        }
    }

    /// The latency that thresholds are about.
    pub(crate) fn latency(&self) -> Kind {
        match self {
            Self::Relay(_) | Self::Desk(_) | Self::Soak(_) => Kind::Delivery,
            Self::Idle(_) | Self::Storm(_) => Kind::Welcome,
        }
    }

    /// Sockets that it holds at a time, about.
    pub(crate) fn sockets(&self) -> u64 {
        match self {
            Self::Relay(options) => options.pairs * 2,
            Self::Desk(options) => options.sockets(),
            Self::Idle(options) => options.connections,
            Self::Storm(options) => options.connections,
            Self::Soak(options) => options.desk().sockets(),
        }
    }

    /// Whether the processes prepare one after the other: pairs of different processes must not mix.
    pub(crate) fn prepares_in_turn(&self) -> bool {
        matches!(self, Self::Relay(_))
    }

    /// Whether lost sockets are part of it.
    pub(crate) fn is_tolerant(&self) -> bool {
        match self {
            Self::Storm(_) => true,
            Self::Soak(options) => !options.strict,
            Self::Relay(_) | Self::Desk(_) | Self::Idle(_) => false,
        }
    }

    /// Whether the measured time is what `--duration-s` says, or as long as it takes.
    pub(crate) fn is_timed(&self) -> bool {
        !matches!(self, Self::Storm(_))
    }

    /// Holds the options against each other.
    pub(crate) fn check(&self, load: &Load) -> Result<()> {
        load.check()?;
        match self {
            Self::Relay(options) => options.check(),
            Self::Desk(options) => options.check(load),
            Self::Soak(options) => options.check(load),
            Self::Idle(_) | Self::Storm(_) => Ok(()),
        }?;
        ensure!(
            !load.bare || matches!(self, Self::Relay(_) | Self::Idle(_) | Self::Storm(_)),
            "--bare: the bare relay knows no desk; use relay, idle or storm"
        );
        Ok(())
    }

    /// Runs it in this process.
    pub(crate) async fn run(&self, context: &Arc<Context>) -> Result<()> {
        match self {
            Self::Relay(options) => relay::run(options, context).await,
            Self::Desk(options) => desk::run(options, context).await,
            Self::Idle(options) => idle::run(options, context).await,
            Self::Storm(options) => storm::run(options, context).await,
            Self::Soak(options) => desk::run(&options.desk(), context).await,
        }
    }
}
