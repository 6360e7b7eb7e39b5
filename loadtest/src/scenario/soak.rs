//! A long time at a steady load: customers who stay and speak at a steady pace (each message is
//! answered, so both ways are loaded) beside visitors who come and go. What is killed meanwhile is the
//! user's business (`make bench-full` kills something every minute); everybody comes back.

use anyhow::{Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::desk;
use crate::config::Load;

/// Messages per second of a talker are at least this, or the desk would close the conversation.
const SLOWEST: f64 = 1.0 / 30.0;

/// Options of `soak`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Customers who stay
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) talkers: u64,
    /// Messages per second of all who stay together, answers included
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,
    /// Visitors who come per second on average
    #[arg(long, default_value_t = 5.0)]
    pub(crate) arrivals: f64,
    /// Customers that each staff member takes at a time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) max: u32,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=16_384))]
    pub(crate) bytes: u32,
    /// Count lost sockets as broken promises: nothing is going to be killed
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Options {
    pub(crate) fn check(&self, load: &Load) -> Result<()> {
        ensure!(
            self.each() >= SLOWEST,
            "--rate {} lets each of {} customers speak every {:.0} s, and who is silent for a minute is closed: take fewer --talkers, or a higher --rate",
            self.rate,
            self.talkers,
            1.0 / self.each()
        );
        self.desk().check(load)
    }

    /// Messages per second of one talker; the other half are the answers.
    fn each(&self) -> f64 {
        self.rate / 2.0 / self.talkers as f64
    }

    /// The desk that does it: staff for the talkers, and as many again for visitors and for the time
    /// in which those of a dead gateway still count.
    pub(crate) fn desk(&self) -> desk::Options {
        desk::Options {
            staff: (2 * self.talkers).div_ceil(u64::from(self.max)).max(2),
            max: self.max,
            arrivals: self.arrivals,
            messages: 3,
            think_s: 1.0,
            answer_s: 0.5,
            patience_s: 0.0,
            bytes: self.bytes,
            talkers: self.talkers,
            talk_every_s: 1.0 / self.each(),
        }
    }
}
