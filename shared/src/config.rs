//! The settings that both programs have.

use std::net::SocketAddr;

use clap::{
    Args, Parser, ValueEnum,
    builder::{BoolishValueParser, RangedU64ValueParser},
};

/// Shortest secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// A setting that is wrong or contradicts another. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads the command line and the environment. Prints and ends for `--help` and `--version`; what is
/// wrong comes back as one sentence.
pub fn parse<C: Parser>() -> Result<C, ConfigError> {
    match C::try_parse() {
        Ok(config) => Ok(config),
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(error) => Err(ConfigError(first_sentence(&error.to_string()))),
    }
}

/// clap explains at length; what is wrong is in its first paragraph.
fn first_sentence(error: &str) -> String {
    let paragraph = error.split("\n\n").next().unwrap_or(error);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned() + "; see --help"
}

/// How to reach and judge Redis.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    /// Redis to use: redis://[user:password@]host:port/[db], rediss:// for TLS; behind Redis Sentinel
    /// redis+sentinel://[user:password@]host:port,host:port,host:port/name, or rediss+sentinel://
    #[arg(
        long,
        env = "FRONTDESK_REDIS_URL",
        default_value = "redis://127.0.0.1:6379/",
        hide_env_values = true
    )]
    pub redis_url: String,
    /// File with the CA certificate (PEM) that Redis's certificate is checked against, instead of this
    /// machine's trust store; only for rediss:// and rediss+sentinel://
    #[arg(long, env = "FRONTDESK_REDIS_CA")]
    pub redis_ca: Option<std::path::PathBuf>,
    /// Password of the Sentinels, where they ask for one; that of Redis is in --redis-url
    #[arg(
        long,
        env = "FRONTDESK_REDIS_SENTINEL_PASSWORD",
        hide_env_values = true
    )]
    pub redis_sentinel_password: Option<String>,
    /// Start even if Redis has no append-only file or evicts keys, so that acknowledged messages can be lost
    #[arg(long, env = "FRONTDESK_ALLOW_WEAK_REDIS", value_parser = BoolishValueParser::new())]
    pub allow_weak_redis: bool,
}

/// Who may come in.
#[derive(Clone, Args)]
pub struct IdentityArgs {
    /// Open mode: no identities, anybody may be anybody; for trying out and for tests
    #[arg(long, env = "FRONTDESK_OPEN", conflicts_with = "secret", value_parser = BoolishValueParser::new())]
    pub open: bool,
    /// Secret that signs identities, at least 32 bytes; required without --open
    #[arg(long, env = "FRONTDESK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
}

impl std::fmt::Debug for IdentityArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = self.secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("IdentityArgs")
            .field("open", &self.open)
            .field("secret", &secret)
            .finish()
    }
}

impl IdentityArgs {
    /// Open mode, or a secret worth the name.
    pub fn check(&self) -> Result<(), ConfigError> {
        match (&self.secret, self.open) {
            (None, false) => Err(ConfigError(
                "no secret is set: set FRONTDESK_SECRET to at least 32 random bytes (openssl rand -hex 32), or start with --open to try without identities".into(),
            )),
            (Some(secret), _) if secret.len() < MIN_SECRET_BYTES => Err(ConfigError(format!(
                "FRONTDESK_SECRET has {} bytes: set at least {MIN_SECRET_BYTES} random ones (openssl rand -hex 32)",
                secret.len()
            ))),
            (Some(_), _) | (None, true) => Ok(()),
        }
    }
}

/// How much one user may send.
#[derive(Debug, Clone, Copy, Args)]
pub struct RateArgs {
    /// Most messages per second of one user on average, over all devices. Gateways hold each socket to it,
    /// workers each user: give both the same
    #[arg(long, env = "FRONTDESK_RATE_PER_USER", default_value_t = 50, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub rate_per_user: u32,
    /// Most messages of one user at once, after a quiet time
    #[arg(long, env = "FRONTDESK_RATE_BURST", default_value_t = 200, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub rate_burst: u32,
}

impl Default for RateArgs {
    fn default() -> Self {
        Self {
            rate_per_user: 50,
            rate_burst: 200,
        }
    }
}

/// Logs and metrics.
#[derive(Debug, Clone, Args)]
pub struct TelemetryArgs {
    /// What to log: error, warn, info, debug, trace, or per module as in `info,frontdesk_gateway=debug`
    #[arg(long, env = "FRONTDESK_LOG", default_value = "info")]
    pub log: String,
    /// Log format; auto is text on a terminal and JSON elsewhere
    #[arg(long, env = "FRONTDESK_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// An address to listen on, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalAddr(pub Option<SocketAddr>);

impl std::str::FromStr for OptionalAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|addr| Self(Some(addr))).map_err(|_| {
            "must be an address such as 127.0.0.1:9590 or [::1]:9590, or the word off".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(open: bool, secret: Option<&str>) -> IdentityArgs {
        IdentityArgs {
            open,
            secret: secret.map(str::to_owned),
        }
    }

    #[test]
    fn without_open_mode_a_real_secret_is_needed() {
        assert!(args(true, None).check().is_ok());
        assert!(args(false, None).check().is_err());
        assert!(args(false, Some("short")).check().is_err());
        assert!(args(false, Some(&"x".repeat(32))).check().is_ok());
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", args(false, Some("topsecret"))).contains("topsecret"));
    }
}
