//! What operators do by hand, instead of running a worker: `status`, `watch`, `dead`.
//!
//! ```text
//! status/read.rs (plain commands that change nothing) ─▶ Status (status/mod.rs: also the JSON)
//!      └─ pulse.rs: who lives                               ├─▶ status/table.rs, for people
//!                                                           └─▶ watch.rs, again every second
//! dead/letters.rs (list, find) ─▶ dead/replay.rs (lua/replay.lua, and what became of it)
//! ```
//! `output.rs` is what all of them print with. The exit code is 0, 1 if it is not as it should be, 2 if the
//! command could not be done.

mod dead;
mod output;
mod pulse;
mod status;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand, builder::RangedU64ValueParser};
use frontdesk_shared::{config::RedisArgs, redis::Redis};

use dead::DeadCommand;
use output::Format;
use status::read::Reader;

/// What a worker's program does beside running a worker.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show gateways, workers, lanes, sites, dead letters and Redis as they are now
    ///
    /// Reads only, with the Redis users worker, viewer or operator. It takes as long as the slowest
    /// heartbeat: who lives is seen by counters that move.
    Status(StatusCommand),
    /// The same again every second, in place on a terminal, until Ctrl-C
    ///
    /// Where the output is no terminal, one line of JSON every second. While Redis does not answer it
    /// says so and goes on.
    Watch(WatchCommand),
    /// Events that could not be applied: list, replay or drop them
    #[command(subcommand, arg_required_else_help = false)]
    Dead(DeadCommand),
}

/// `status`: how the cluster is.
#[derive(Debug, Clone, Args)]
pub struct StatusCommand {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    format: Format,
    /// End with exit code 1 if there is a problem
    #[arg(long)]
    check: bool,
}

/// `watch`: the same, again and again.
#[derive(Debug, Clone, Args)]
pub struct WatchCommand {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    format: Format,
    /// Milliseconds between two looks
    #[arg(long, default_value_t = 1000, value_parser = RangedU64ValueParser::<u64>::new().range(100..=60_000))]
    every_ms: u64,
}

/// How to look.
#[derive(Debug, Clone, Args)]
struct Look {
    #[command(flatten)]
    redis: RedisArgs,
    /// Milliseconds without a heartbeat after which a gateway or worker is shown as silent: longer than
    /// their --heartbeat-ms
    #[arg(long, default_value_t = 3000, value_parser = RangedU64ValueParser::<u64>::new().range(100..=60_000))]
    observe_ms: u64,
}

impl Look {
    fn reader(&self) -> anyhow::Result<Reader> {
        let redis = Redis::from_args(&self.redis)?;
        Ok(Reader::new(redis, Duration::from_millis(self.observe_ms)))
    }
}

impl Command {
    /// Does it. False if something is not as it should be.
    pub async fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Status(command) => command.run().await,
            Self::Watch(command) => {
                let every = Duration::from_millis(command.every_ms);
                watch::run(command.look.reader()?, command.format, every).await
            }
            Self::Dead(command) => command.run().await,
        }
    }
}

impl StatusCommand {
    async fn run(self) -> anyhow::Result<bool> {
        let status = self.look.reader()?.look().await?;
        let text = if self.format.is_json() {
            serde_json::to_string(&status)?
        } else {
            status::table::page(&status)
        };
        output::say(&text)?;
        Ok(!self.check || status.problems.is_empty())
    }
}
