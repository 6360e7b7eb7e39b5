//! The load tool: loads a cluster across its instances, checks what comes back, and reports.
//!
//! - [`config`] is the command line, [`run`] one run from the parent's side: it makes a
//!   [`context::Plan`], starts the [`process`]es that make the load, and puts their ticks together
//!   ([`tally`], [`summary`], [`outcome`]).
//! - In each process [`scenario`] does what its name says, with [`client`] sockets and [`frame`]s to
//!   [`target`] gateways and sites, with [`tokens`] where these are wanted; [`check`] and [`count`]
//!   look for broken promises, [`latency`] measures from the due time. [`probe`] is a quiet pair beside the load.
//! - [`sample`] watches the servers, [`live`] shows how it goes, [`report`] draws it, [`merge`] joins
//!   the results of several machines.
//! - [`baseline`] is the bare relay to compare with, [`bench`] compares.

mod baseline;
mod bench;
mod check;
mod client;
mod config;
mod context;
mod count;
mod frame;
mod latency;
mod live;
mod merge;
mod outcome;
mod probe;
mod process;
mod report;
mod run;
mod sample;
mod scenario;
mod summary;
mod tally;
mod target;
mod tokens;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use config::{Cli, Command};
use scenario::Scenario;

/// An invariant was broken.
pub(crate) const BROKEN: u8 = 1;
/// The command line is wrong or the load could not begin. (Also clap's own.)
pub(crate) const CANNOT_START: u8 = 2;
/// A threshold was missed.
pub(crate) const MISSED: u8 = 3;
/// This tool failed.
pub(crate) const FAILED: u8 = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread makes the load of a process: more load, more processes.
    let mut builder = match &cli.command {
        Command::Baseline(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let result = builder
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(obey(cli.command)));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("frontdesk-loadtest: {error:#}");
            ExitCode::from(if error.is::<Late>() {
                FAILED
            } else {
                CANNOT_START
            })
        }
    }
}

async fn obey(command: Command) -> Result<u8> {
    match command {
        Command::Relay(options) => run::run(options, Scenario::Relay).await,
        Command::Desk(options) => run::run(options, Scenario::Desk).await,
        Command::Idle(options) => run::run(options, Scenario::Idle).await,
        Command::Storm(options) => run::run(options, Scenario::Storm).await,
        Command::Soak(options) => run::run(options, Scenario::Soak).await,
        Command::Merge(options) => merge::run(&options),
        Command::Baseline(options) => baseline::serve(&options).await.map(|()| 0),
        Command::Bench(options) => bench::run(options).await,
        Command::Child => process::child::run().await.map(|()| 0),
    }
}

/// Marks an error after the load had begun: the tool's own failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late;

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the load could not be finished")
    }
}
