//! The settings that several programs have.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{
    Args, Parser, ValueEnum,
    builder::{BoolishValueParser, RangedU64ValueParser},
};
use zeroize::Zeroizing;

use crate::token::Secret;

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
    pub redis_ca: Option<PathBuf>,
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
#[derive(Debug, Clone, Args)]
pub struct IdentityArgs {
    /// Open mode: no identities, anybody may be anybody; for trying out and for tests
    #[arg(long, env = "FRONTDESK_OPEN", conflicts_with_all = ["secret", "secret_file"], value_parser = BoolishValueParser::new())]
    pub open: bool,
    /// Secret that signs identities, at least 32 random bytes; required without --open. Better in a
    /// file or a variable than on the command line, which others on this machine can read
    #[arg(
        long,
        env = "FRONTDESK_SECRET",
        hide_env_values = true,
        conflicts_with = "secret_file"
    )]
    pub secret: Option<Secret>,
    /// File that holds the secret; a line break at its end does not count
    #[arg(long, env = "FRONTDESK_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// The one algorithm of tokens: HS256 with the secret, RS256 or ES256 with --jwt-public-key-file
    #[arg(long, env = "FRONTDESK_JWT_ALGORITHM", value_enum, default_value_t = JwtAlgorithm::HS256)]
    pub jwt_algorithm: JwtAlgorithm,
    /// File with the public key (PEM) of whoever makes the tokens: RSA of at least 2048 bits for
    /// RS256, P-256 for ES256
    #[arg(long, env = "FRONTDESK_JWT_PUBLIC_KEY_FILE")]
    pub jwt_public_key_file: Option<PathBuf>,
    /// What a token must have as `iss`
    #[arg(long, env = "FRONTDESK_JWT_ISSUER", default_value = "frontdesk")]
    pub jwt_issuer: String,
    /// What a token must have as `aud`, alone or among others
    #[arg(long, env = "FRONTDESK_JWT_AUDIENCE", default_value = "frontdesk")]
    pub jwt_audience: String,
    /// Seconds after which no token counts, whatever its `exp`: for so long a revocation is remembered.
    /// Give all gateways of a cluster the same
    #[arg(long, env = "FRONTDESK_MAX_TOKEN_AGE_S", default_value_t = 30 * 24 * 60 * 60)]
    pub max_token_age_s: u64,
    /// Whether customers may come without an identity and are given one
    #[arg(long, env = "FRONTDESK_VISITORS", value_enum, default_value_t = Switch::On)]
    pub visitors: Switch,
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names are those of RFC 7518")]
pub enum JwtAlgorithm {
    #[value(name = "HS256")]
    HS256,
    #[value(name = "RS256")]
    RS256,
    #[value(name = "ES256")]
    ES256,
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// Fewest different bytes of a secret: random ones have more.
const MIN_DIFFERENT_BYTES: usize = 8;
/// What examples and placeholders are made of, and chance is not.
const PLACEHOLDERS: [&str; 8] = [
    "secret",
    "password",
    "change",
    "example",
    "frontdesk",
    "0123456789",
    "1234567890",
    "abcdefgh",
];

impl IdentityArgs {
    /// The secret, or `None` in open mode. Refuses none, a short one, and one that many could guess.
    pub fn secret(&self) -> Result<Option<Secret>, ConfigError> {
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => read_secret(path)?,
            (None, None) if self.open => return Ok(None),
            (None, None) => {
                return Err(ConfigError(
                    "no secret is set: set FRONTDESK_SECRET or FRONTDESK_SECRET_FILE to at least 32 random bytes (openssl rand -hex 32), or start with --open to try without identities".into(),
                ));
            }
        };
        match weakness(secret.expose()) {
            None => Ok(Some(secret)),
            Some(why) => Err(ConfigError(format!(
                "FRONTDESK_SECRET {why}: set at least {MIN_SECRET_BYTES} random bytes (openssl rand -hex 32)"
            ))),
        }
    }
}

fn read_secret(path: &Path) -> Result<Secret, ConfigError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|reason| {
        ConfigError(format!(
            "--secret-file (FRONTDESK_SECRET_FILE) {} cannot be read: {reason}",
            path.display()
        ))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

/// Why a secret protects nothing.
fn weakness(secret: &str) -> Option<String> {
    let different: BTreeSet<u8> = secret.bytes().collect();
    let lower = Zeroizing::new(secret.to_ascii_lowercase());
    if secret.len() < MIN_SECRET_BYTES {
        Some(format!("has {} bytes", secret.len()))
    } else if different.len() < MIN_DIFFERENT_BYTES
        || PLACEHOLDERS.iter().any(|word| lower.contains(word))
    {
        Some("can be guessed".to_owned())
    } else {
        None
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

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        identity: IdentityArgs,
    }

    fn secret(args: &[&str]) -> Result<Option<Secret>, ConfigError> {
        let line = [&["test"], args].concat();
        Cli::parse_from(line).identity.secret()
    }

    const GOOD: &str = "6b1f0c2e9d8a47537a5c3d2e1f00b9a8c7d6e5f4";

    #[test]
    fn without_open_mode_a_real_secret_is_needed() {
        assert_eq!(secret(&["--open"]), Ok(None));
        assert!(secret(&[]).is_err());
        assert_eq!(
            secret(&["--secret", GOOD]),
            Ok(Some(GOOD.to_owned().into()))
        );
        for bad in [
            "short",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "a-string-secret-at-least-256-bits-long",
            "ChangeMe-7hq8n2vB4kz9pLx3wYtR6mJd5sFgQ1c",
            "0123456789abcdef0123456789abcdef",
        ] {
            let refused = secret(&["--secret", bad]).expect_err(bad);
            assert!(!refused.0.contains(bad), "{refused}");
        }
        let both = ["test", "--open", "--secret", GOOD];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let path = std::env::temp_dir().join(format!("frontdesk-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, format!("{GOOD}\n")).expect("writable");
        let name = path.to_str().expect("text");
        assert_eq!(
            secret(&["--secret-file", name]),
            Ok(Some(GOOD.to_owned().into()))
        );
        std::fs::remove_file(&path).expect("it is there");
        let missing = secret(&["--secret-file", name]).expect_err("gone");
        assert!(missing.0.contains("--secret-file"), "{missing}");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let cli = Cli::parse_from(["test", "--secret", GOOD]);
        assert!(!format!("{:?}", cli.identity).contains(GOOD));
    }
}
