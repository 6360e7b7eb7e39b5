//! The command line. Every value has its unit in its name or help, and its default beside it.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::{
    scenario::{desk, idle, relay, soak, storm},
    tokens::Tokens,
};

/// Loads a Frontdesk cluster across its gateways, checks what comes back, and reports.
///
/// Exit codes: 0 all held, 1 an invariant was broken (a message lost, doubled, reordered, …), 2 the
/// command line is wrong or the load could not begin, 3 a threshold was missed, 4 this tool failed.
#[derive(Debug, Parser)]
#[command(name = "frontdesk-loadtest", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pairs of customer and staff, on different gateways, pass messages back and forth
    Relay(Run<relay::Options>),
    /// A day at the desk: customers arrive by chance, wait, talk and leave; staff think and answer
    Desk(Run<desk::Options>),
    /// Connections that do nothing; memory per connection
    Idle(Run<idle::Options>),
    /// Everybody connects at once, and again after a gateway died
    Storm(Run<storm::Options>),
    /// A long time at a steady load, with connections that come back when something dies
    Soak(Run<soak::Options>),
    /// Joins the JSON results of several machines, or of several runs, into one
    Merge(Merge),
    /// The bare relay: a WebSocket server over one Redis channel per process, without storage,
    /// parsing or acks; the ceiling to compare with, driven with --bare
    Baseline(Baseline),
    /// Measures Frontdesk against the bare relay on this machine; starts and ends all it needs
    Bench(crate::bench::Options),
    /// A process of the load, started by this program
    #[command(hide = true)]
    Child,
}

/// A scenario's own options, and those of every scenario.
#[derive(Debug, Clone, Args)]
pub(crate) struct Run<O: Args> {
    #[command(flatten)]
    pub(crate) own: O,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) thresholds: Thresholds,
}

/// Where the load goes and how much of this machine makes it.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Load {
    /// A gateway's address; give one --gateway for each, or the load balancer's. The gateways must be
    /// in open mode, or see --secret-env. Loopback unless you name another
    #[arg(long, default_value = "ws://127.0.0.1:9502/")]
    pub(crate) gateway: Vec<String>,
    /// Sites to spread over, one after the other over the 16 shards. A site is one shard: its events
    /// are applied one at a time in Redis, whatever the number of workers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) sites: u32,
    /// Name of this run, the beginning of all its sites and users: 1 to 24 letters, digits and -.
    /// Give each machine of a common run another one. Random if not given
    #[arg(long)]
    pub(crate) run: Option<String>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) duration_s: u64,
    /// Seconds of load before the measurement
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) warmup_s: u64,
    /// Processes that make the load, each of one thread; 0: as many as there are processors, and
    /// enough for the limit of open files
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) processes: u32,
    /// The addresses are those of `baseline`: no acks, no desk (relay, idle and storm only)
    #[arg(long)]
    pub(crate) bare: bool,
    /// Name of the environment variable that holds the gateways' secret: each user comes with a token
    /// signed with it (HS256). Without it the gateways must be in open mode
    #[arg(long, value_name = "VARIABLE")]
    #[serde(default)]
    pub(crate) secret_env: Option<String>,
    /// What the gateways have as --jwt-issuer
    #[arg(long, default_value = "frontdesk")]
    #[serde(default)]
    pub(crate) jwt_issuer: String,
    /// What the gateways have as --jwt-audience
    #[arg(long, default_value = "frontdesk")]
    #[serde(default)]
    pub(crate) jwt_audience: String,
}

/// What is watched beside the load.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Redis of the cluster, for its memory and commands: redis://[user:password@]host:port/
    #[arg(long, env = "FRONTDESK_REDIS_URL", hide_env_values = true)]
    #[serde(skip)]
    pub(crate) redis: Option<String>,
    /// A server process on this machine, for its processor time and memory: NAME=PID or PID
    #[arg(long = "watch", value_name = "[NAME=]PID")]
    pub(crate) servers: Vec<String>,
    /// Find frontdesk-gateway, frontdesk-worker and redis-server on this machine by name: all of them
    #[arg(long)]
    pub(crate) find_servers: bool,
    /// Where a gateway or worker serves /metrics, for the queue's length and the backlog: host:port
    #[arg(long)]
    pub(crate) metrics: Vec<String>,
    /// No quiet pair beside the load; else one on a site of its own speaks five times a second
    #[arg(long)]
    pub(crate) no_probe: bool,
}

/// Where the results go.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// Write a report with plots to this file; needs nothing else to be looked at
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Write the JSON line to this file, too
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What must hold for exit code 0, beside the invariants.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Thresholds {
    /// Exit with 3 if the 99th percentile of the scenario's latency is above, in milliseconds
    #[arg(long)]
    pub(crate) max_p99_ms: Option<f64>,
    /// Exit with 3 if fewer are completed per second: messages, connections or conversations,
    /// whatever the scenario counts
    #[arg(long)]
    pub(crate) min_rate: Option<f64>,
    /// Warn when a process of this tool used more of one processor than that, in percent: then the
    /// tool may be what is measured
    #[arg(long, default_value_t = 80.0)]
    pub(crate) own_cpu_percent: f64,
}

/// Options of `merge`.
#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// Files with a JSON line of this tool each
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) thresholds: Thresholds,
}

/// Options of `baseline`.
#[derive(Debug, Args)]
pub(crate) struct Baseline {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9602")]
    pub(crate) listen: SocketAddr,
    /// Redis to publish through
    #[arg(long, default_value = "redis://127.0.0.1:6379/")]
    pub(crate) redis_url: String,
    /// The place of this process in the list of --gateway given to the load, from 0
    #[arg(long, default_value_t = 0)]
    pub(crate) index: usize,
}

impl Load {
    /// Refuses what cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        let fits = |run: &str| {
            (1..=24).contains(&run.len())
                && run.starts_with(|c: char| c.is_ascii_alphanumeric())
                && run.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        ensure!(
            self.run.as_deref().is_none_or(fits),
            "--run must be 1 to 24 letters, digits and -, beginning with a letter or digit"
        );
        Tokens::of(self).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
