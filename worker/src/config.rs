//! The worker's settings.

use std::time::Duration;

use clap::{Parser, builder::RangedU64ValueParser};
use frontdesk_shared::config::{ConfigError, OptionalAddr, RedisArgs, TelemetryArgs};
use uuid::Uuid;

use crate::{
    desk::settings::DeskSettings, hooks::settings::HookArgs, lane::lease::Timing, operator::Command,
};

/// Frontdesk worker: turns events into conversations. Run as many as you like; they share the work.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "frontdesk-worker",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; without it, work
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to work.
    #[command(flatten)]
    pub config: Config,
}

/// How to work.
#[derive(Debug, Clone, Parser)]
pub struct Config {
    /// Redis.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// The support desk.
    #[command(flatten)]
    pub desk: DeskSettings,
    /// Webhooks.
    #[command(flatten)]
    pub hooks: HookArgs,
    /// Address for /metrics, /livez and /readyz, or off
    #[arg(
        long,
        env = "FRONTDESK_METRICS_LISTEN",
        default_value = "127.0.0.1:9591"
    )]
    pub metrics_listen: OptionalAddr,
    /// Name of this worker, unique in the cluster; random if not given
    #[arg(long, env = "FRONTDESK_WORKER_ID")]
    pub worker_id: Option<String>,
    /// Milliseconds for which a lane stays with a worker that has fallen silent (500 to 60000)
    #[arg(long, env = "FRONTDESK_LEASE_MS", default_value_t = 5000)]
    pub lease_ms: u64,
    /// Milliseconds between heartbeats; at most a third of --lease-ms
    #[arg(long, env = "FRONTDESK_HEARTBEAT_MS", default_value_t = 1000)]
    pub heartbeat_ms: u64,
    /// Milliseconds after which a silent gateway is dead and its users leave; gateways need the same
    /// value (3000 to 600000)
    #[arg(long, env = "FRONTDESK_GATEWAY_TTL_MS", default_value_t = 15_000)]
    pub gateway_ttl_ms: u64,
    /// Milliseconds between ticks of the timers (50 to 2000)
    #[arg(long, env = "FRONTDESK_TICK_MS", default_value_t = 1000)]
    pub tick_ms: u64,
    /// Threads; 0 is one. One applies several times as much as one Redis can, and costs the least per message
    #[arg(long, env = "FRONTDESK_THREADS", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(0..=256))]
    pub threads: usize,
    /// Seconds a stop may take
    #[arg(long, env = "FRONTDESK_DRAIN_TIMEOUT_S", default_value_t = 8)]
    pub drain_timeout_s: u64,
}

impl Config {
    /// Refuses what is wrong or contradicts itself, with a sentence that says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError(text.to_owned()));
        self.desk.check()?;
        self.hooks.check()?;
        if !(500..=60_000).contains(&self.lease_ms) {
            return wrong("--lease-ms (FRONTDESK_LEASE_MS) must be 500 to 60000");
        }
        if self.heartbeat_ms == 0 || self.heartbeat_ms * 3 > self.lease_ms {
            return wrong(
                "--heartbeat-ms (FRONTDESK_HEARTBEAT_MS) must be at most a third of --lease-ms, or a late heartbeat costs the leases",
            );
        }
        if !(3000..=600_000).contains(&self.gateway_ttl_ms) {
            return wrong("--gateway-ttl-ms (FRONTDESK_GATEWAY_TTL_MS) must be 3000 to 600000");
        }
        if !(50..=2000).contains(&self.tick_ms) {
            return wrong(
                "--tick-ms (FRONTDESK_TICK_MS) must be 50 to 2000: the clock advances at most 2 s a tick",
            );
        }
        if !(1..=600).contains(&self.drain_timeout_s) {
            return wrong("--drain-timeout-s (FRONTDESK_DRAIN_TIMEOUT_S) must be 1 to 600");
        }
        if let Some(id) = &self.worker_id
            && frontdesk_shared::ids::Site::parse(id).is_err()
        {
            return wrong(
                "--worker-id (FRONTDESK_WORKER_ID) may hold 1 to 64 letters, digits and ._-",
            );
        }
        Ok(())
    }

    /// The worker's name.
    pub fn worker_id(&self) -> String {
        self.worker_id
            .clone()
            .unwrap_or_else(|| Uuid::new_v4().simple().to_string())
    }

    /// Timing of leases and heartbeats.
    pub fn timing(&self) -> Timing {
        Timing {
            lease: Duration::from_millis(self.lease_ms),
            heartbeat: Duration::from_millis(self.heartbeat_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<(), ConfigError> {
        let all = ["frontdesk-worker"].iter().chain(args);
        Config::parse_from(all).check()
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        // A setting before the command would be that of a worker, and count for nothing.
        assert!(Cli::try_parse_from(["", "--redis-url", "redis://a/", "status"]).is_err());
        assert!(Cli::try_parse_from(["", "status", "--redis-url", "redis://a/"]).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(check(&[]).is_ok());
        assert!(check(&["--lease-ms", "1000", "--heartbeat-ms", "1000"]).is_err());
        assert!(check(&["--lease-ms", "100"]).is_err());
        assert!(check(&["--tick-ms", "5000"]).is_err());
        assert!(check(&["--worker-id", "a b"]).is_err());
        assert!(check(&["--idle-s", "0"]).is_err());
    }
}
