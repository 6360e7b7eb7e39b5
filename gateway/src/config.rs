//! The gateway's settings. `--help` is their documentation; [`Config::check`] holds them against
//! each other, and every refusal says what to change.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{
    ArgAction, Parser, Subcommand,
    builder::{BoolishValueParser, RangedU64ValueParser},
};
use frontdesk_shared::{
    config::{ConfigError, IdentityArgs, OptionalAddr, RateArgs, RedisArgs, TelemetryArgs},
    protocol::Lang,
};
use ipnet::IpNet;

use crate::{
    address::parse_net,
    auth::{
        self,
        command::{RevokeCommand, TokenCommand},
    },
    front::MAX_REQUESTS,
    operator::{send::SendCommand, webhooks::WebhooksCommand},
    origin::Origin,
};

/// Heartbeats that must fit into the TTL, so that a few may be late.
const HEARTBEATS_PER_TTL: u64 = 5;

/// Holds the sockets of customers and staff; any number of gateways can share one Redis.
#[derive(Debug, Clone, Parser)]
#[command(name = "frontdesk-gateway", version, max_term_width = 100)]
pub struct Cli {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub config: Config,
}

/// What else the program does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Print a token for somebody, signed with the secret
    Token(TokenCommand),
    /// Revoke a user: closes their sockets on all gateways, and tokens made until now let nobody in
    Revoke(RevokeCommand),
    /// Say something in a user's name, into a conversation or directly to another user
    ///
    /// It is stored and delivered as if the user had said it, by the rules that hold for the user's role. Needs the
    /// Redis user gateway or operator, and a worker that runs.
    Send(SendCommand),
    /// A site's webhooks: list them, see what is parked, have it sent again, park what waits
    ///
    /// Needs the Redis user gateway or operator. Whoever has its password is believed; no token is asked for.
    #[command(subcommand, arg_required_else_help = false)]
    Webhooks(WebhooksCommand),
}

/// How to serve.
#[derive(Debug, Clone, Parser)]
pub struct Config {
    /// How to reach Redis.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// Who may come in.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// How much one user may send.
    #[command(flatten)]
    pub rate: RateArgs,
    /// Address for WebSocket and HTTP, as in 127.0.0.1:9502 or 0.0.0.0:9502
    #[arg(long, env = "FRONTDESK_LISTEN", default_value = "127.0.0.1:9502")]
    pub listen: SocketAddr,
    /// Let open mode listen on an address that other machines can reach
    #[arg(long, env = "FRONTDESK_OPEN_ANYWAY", value_parser = BoolishValueParser::new())]
    pub open_anyway: bool,
    /// Address of GET /metrics, or off
    #[arg(
        long,
        env = "FRONTDESK_METRICS_LISTEN",
        default_value = "127.0.0.1:9590"
    )]
    pub metrics_listen: OptionalAddr,
    /// Language of those who do not ask for one
    #[arg(long, env = "FRONTDESK_DEFAULT_LANG", value_enum, default_value_t = Lang::ZhCn)]
    pub default_lang: Lang,
    /// Longest time between two pings to a socket, in seconds; each is sent up to a quarter earlier
    #[arg(long, env = "FRONTDESK_PING_INTERVAL_S", default_value_t = 25, value_parser = RangedU64ValueParser::<u64>::new().range(1..=3600))]
    pub ping_interval_s: u64,
    /// Close a socket from which nothing came for so long, not even a pong, in seconds
    #[arg(long, env = "FRONTDESK_IDLE_TIMEOUT_S", default_value_t = 60, value_parser = RangedU64ValueParser::<u64>::new().range(2..=7200))]
    pub idle_timeout_s: u64,
    /// Threads that serve sockets; 0: one for every two processors, and at least one. One thread costs
    /// the least per message
    #[arg(long, env = "FRONTDESK_THREADS", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(0..=256))]
    pub threads: usize,
    /// Most sockets of this process; mind its limit of open files
    #[arg(long, env = "FRONTDESK_MAX_CONNECTIONS", default_value_t = 18_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_connections: usize,
    /// Most sockets of one client address (of one /64 network with IPv6); off for clients on this
    /// machine in open mode
    #[arg(long, env = "FRONTDESK_MAX_CONNECTIONS_PER_IP", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_connections_per_ip: usize,
    /// New sockets per second of one client address on average; as many as it may hold can come
    /// at once
    #[arg(long, env = "FRONTDESK_CONNECTION_RATE_PER_IP", default_value_t = 20, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000))]
    pub connection_rate_per_ip: u32,
    /// Most requests of the HTTP API under way
    #[arg(long, env = "FRONTDESK_MAX_REQUESTS", default_value_t = MAX_REQUESTS, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_REQUESTS as u64))]
    pub max_requests: usize,
    /// Requests to the HTTP API per second of one client address on average; as many can come at once;
    /// off for clients on this machine in open mode
    #[arg(long, env = "FRONTDESK_REQUEST_RATE_PER_IP", default_value_t = 100, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000))]
    pub request_rate_per_ip: u32,
    /// Origins of web pages that may connect, as in https://www.example.com; separated by commas
    /// or given several times. Without any: pages of the host that the request names. Programs that
    /// send no Origin may always connect
    #[arg(long, env = "FRONTDESK_ALLOW_ORIGIN", value_delimiter = ',', value_parser = Origin::parse)]
    pub(crate) allow_origin: Vec<Origin>,
    /// Proxies whose X-Forwarded-For says where a client is, as in 10.0.0.0/8; separated by commas
    /// or given several times
    #[arg(long, env = "FRONTDESK_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_net)]
    pub trusted_proxies: Vec<IpNet>,
    /// Time between two heartbeats to Redis, in milliseconds
    #[arg(long, env = "FRONTDESK_HEARTBEAT_MS", default_value_t = 1000, value_parser = RangedU64ValueParser::<u64>::new().range(50..=5000))]
    pub heartbeat_ms: u64,
    /// How long a gateway's heartbeat may stand still until others count it as dead, in
    /// milliseconds (3000 to 600000); after two thirds of it the gateway closes its own sockets. Give
    /// all gateways and workers of a cluster the same
    #[arg(long, env = "FRONTDESK_GATEWAY_TTL_MS", default_value_t = 15_000, value_parser = RangedU64ValueParser::<u64>::new().range(3000..=600_000))]
    pub gateway_ttl_ms: u64,
    /// Answer messages with `busy` while a user's lane holds an event that nobody has applied for
    /// so long, in milliseconds
    #[arg(long, env = "FRONTDESK_BACKLOG_LIMIT_MS", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u64>::new().range(100..=600_000))]
    pub backlog_limit_ms: u64,
    /// Refuse messages and new sockets while Redis uses so much of its maxmemory, in percent
    #[arg(long, env = "FRONTDESK_MEMORY_LIMIT_PERCENT", default_value_t = 80, value_parser = RangedU64ValueParser::<u8>::new().range(1..=100))]
    pub memory_limit_percent: u8,
    /// Longest time between two comparisons of the open sockets with what Redis holds, in seconds;
    /// each comes up to a quarter earlier
    #[arg(long, env = "FRONTDESK_ROLL_CALL_S", default_value_t = 180, value_parser = RangedU64ValueParser::<u64>::new().range(1..=86_400))]
    pub roll_call_s: u64,
    /// Show supervisors what was said in messages that were recalled
    #[arg(long, env = "FRONTDESK_SUPERVISOR_SEES_RECALLED", default_value_t = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub supervisor_sees_recalled: bool,
    /// How long a client may take to send its request's headers, in seconds
    #[arg(long, env = "FRONTDESK_HANDSHAKE_TIMEOUT_S", default_value_t = 10, value_parser = RangedU64ValueParser::<u64>::new().range(1..=60))]
    pub handshake_timeout_s: u64,
    /// How long a client of plain HTTP may read nothing of its answer before it is cut, in seconds
    #[arg(long, env = "FRONTDESK_ANSWER_STALL_S", default_value_t = 30, value_parser = RangedU64ValueParser::<u64>::new().range(1..=600))]
    pub answer_stall_s: u64,
    /// How long to close sockets, send answers under way and finish events when stopping, in seconds
    #[arg(long, env = "FRONTDESK_DRAIN_TIMEOUT_S", default_value_t = 8, value_parser = RangedU64ValueParser::<u64>::new().range(1..=600))]
    pub drain_timeout_s: u64,
}

impl Config {
    /// Holds the settings against each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        auth::check(&self.identity)?;
        if self.identity.open && !self.open_anyway && !self.listen.ip().is_loopback() {
            return Err(ConfigError(format!(
                "open mode lets anybody be anybody, and --listen {} can be reached by other machines: listen on 127.0.0.1, or add --open-anyway (FRONTDESK_OPEN_ANYWAY) if that is meant",
                self.listen
            )));
        }
        if self.idle_timeout_s <= self.ping_interval_s {
            return Err(ConfigError(format!(
                "--idle-timeout-s {} would close sockets before they can answer a ping: set it above --ping-interval-s {}",
                self.idle_timeout_s, self.ping_interval_s
            )));
        }
        if self.heartbeat_ms * HEARTBEATS_PER_TTL > self.gateway_ttl_ms {
            return Err(ConfigError(format!(
                "--heartbeat-ms {} is too slow for --gateway-ttl-ms {}: a few late heartbeats would close all sockets; set it to at most {}",
                self.heartbeat_ms,
                self.gateway_ttl_ms,
                self.gateway_ttl_ms / HEARTBEATS_PER_TTL
            )));
        }
        if self.metrics_listen.0 == Some(self.listen) {
            return Err(ConfigError(format!(
                "--listen and --metrics-listen are both {}: give one of them another port, or set --metrics-listen off",
                self.listen
            )));
        }
        Ok(())
    }

    pub(crate) fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.ping_interval_s)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// How long a heartbeat is good for: two thirds of the TTL.
    pub(crate) fn fence_after(&self) -> Duration {
        Duration::from_millis(self.gateway_ttl_ms * 2 / 3)
    }

    pub(crate) fn roll_call(&self) -> Duration {
        Duration::from_secs(self.roll_call_s)
    }

    /// Open mode that only this machine can reach.
    pub(crate) fn is_open_on_loopback(&self) -> bool {
        self.identity.open && self.listen.ip().is_loopback()
    }

    /// Whether the limits per address concern this client.
    pub(crate) fn limits(&self, client: IpAddr) -> bool {
        !(self.identity.open && client.is_loopback())
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_s)
    }

    pub(crate) fn answer_stall(&self) -> Duration {
        Duration::from_secs(self.answer_stall_s)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<(), ConfigError> {
        let line = [&["frontdesk-gateway"], args].concat();
        Config::try_parse_from(line).expect("parses").check()
    }

    #[test]
    fn open_mode_stays_on_loopback_unless_told() {
        assert_eq!(check(&["--open"]), Ok(()));
        assert_eq!(check(&["--open", "--listen", "[::1]:9502"]), Ok(()));
        let open = ["--open", "--listen", "0.0.0.0:9502"];
        assert!(check(&open).is_err());
        assert_eq!(check(&[&open[..], &["--open-anyway"]].concat()), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(check(&["--open", "--idle-timeout-s", "25"]).is_err());
        let slow = [
            "--open",
            "--gateway-ttl-ms",
            "5000",
            "--heartbeat-ms",
            "1001",
        ];
        assert!(check(&slow).is_err());
        assert!(check(&["--open", "--metrics-listen", "127.0.0.1:9502"]).is_err());
        assert!(check(&["--listen", "127.0.0.1:1"]).is_err(), "no secret");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
