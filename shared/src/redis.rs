//! Connections to Redis with every timeout and TCP option set on purpose; `sentinel` finds the
//! primary where there are several servers, `checks` looks at its settings and data at start.

mod checks;
mod pool;
mod sentinel;

use std::{sync::Arc, time::Duration};

use deadpool_redis::Pool;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    ServerErrorKind, TlsCertificates, Value,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::config::RedisArgs;
pub use pool::Short;
use sentinel::Sentinels;

/// The schema of everything in Redis that this program knows.
pub const SCHEMA: u32 = 2;
/// How long a command may take before its outcome counts as unknown.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why Redis cannot be used. Each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    /// Talking to Redis failed.
    #[error(
        "Redis does not answer: {0}. Check --redis-url (FRONTDESK_REDIS_URL), which is rediss:// where Redis wants TLS"
    )]
    Unreachable(RedisError),
    /// A CA for a connection that is not encrypted.
    #[error(
        "--redis-ca (FRONTDESK_REDIS_CA) is set but --redis-url is not rediss://: use rediss://, or leave the CA out"
    )]
    CaWithoutTls,
    /// A URL of Sentinels that lacks something.
    #[error(
        "--redis-url (FRONTDESK_REDIS_URL) must be redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/name, with the name that the Sentinels have for the primary"
    )]
    SentinelUrl,
    /// A password for Sentinels where there are none.
    #[error(
        "--redis-sentinel-password (FRONTDESK_REDIS_SENTINEL_PASSWORD) is set but --redis-url is not redis+sentinel://: leave the password out"
    )]
    PasswordWithout,
    /// The CA cannot be read.
    #[error("--redis-ca (FRONTDESK_REDIS_CA) {path} cannot be read: {reason}", path = path.display())]
    Ca {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// A setting under which acknowledged messages are lost.
    #[error(
        "Redis has {setting} = {found}; set `{setting} {wanted}` (deploy/redis.conf has it), or start with --allow-weak-redis to accept losing acknowledged messages"
    )]
    Weak {
        /// The directive in redis.conf.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The pool could not be built.
    #[error("the Redis pool could not be built: {0}")]
    Pool(#[from] deadpool_redis::BuildError),
    /// A server that takes no writes.
    #[error(
        "this Redis is a replica and takes no writes: set --redis-url (FRONTDESK_REDIS_URL) to the primary"
    )]
    Replica,
    /// The data belongs to a cluster of another shape.
    #[error(
        "the data in this Redis was written with {fact} = {found}, this program has {ours}: use the program that wrote it, or an empty Redis"
    )]
    OtherCluster {
        /// `schema`, `shards`, `lanes` or `app`.
        fact: &'static str,
        /// What Redis says.
        found: String,
        /// What we have.
        ours: String,
    },
}

impl From<RedisError> for RedisSetupError {
    fn from(error: RedisError) -> Self {
        // Not as a source: its words are in ours already.
        Self::Unreachable(error)
    }
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    server: Server,
    /// Whether the URL names a user of Redis, which is then one of deploy/users.acl.
    names_user: bool,
}

#[derive(Debug, Clone)]
enum Server {
    /// Always this one, with a pool for short commands.
    At(Box<Client>, Pool),
    /// Whichever is the primary.
    Behind(Arc<Sentinels>),
}

/// What a Redis's certificate is checked against: this machine's trust store, or these (PEM).
#[derive(Debug, Clone, Default)]
struct Tls {
    root_cert: Option<Vec<u8>>,
}

impl Tls {
    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        let Some(root_cert) = &self.root_cert else {
            return Client::open(info);
        };
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(root_cert.clone()),
        };
        Client::build_with_tls(info, certificates)
    }
}

impl Redis {
    /// Prepares connections by the settings; connects to nothing yet.
    pub fn from_args(args: &RedisArgs) -> Result<Self, RedisSetupError> {
        let url = &args.redis_url;
        let encrypted = url.starts_with("rediss");
        if encrypted {
            // The crate brings no cryptography of its own. Installed already is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut tls = Tls::default();
        if let Some(path) = &args.redis_ca {
            if !encrypted {
                return Err(RedisSetupError::CaWithoutTls);
            }
            let read = std::fs::read(path).map_err(|reason| RedisSetupError::Ca {
                path: path.clone(),
                reason,
            })?;
            tls.root_cert = Some(read);
        }
        let password = args.redis_sentinel_password.as_deref();
        Self::open(url, password, &tls)
    }

    /// Prepares connections without TLS; connects to nothing yet.
    pub fn new(url: &str) -> Result<Self, RedisSetupError> {
        Self::open(url, None, &Tls::default())
    }

    fn open(
        url: &str,
        sentinel_password: Option<&str>,
        tls: &Tls,
    ) -> Result<Self, RedisSetupError> {
        let (server, login) = match Sentinels::parse(url, sentinel_password, tls)? {
            Some(sentinels) => {
                let login = sentinels.login().clone();
                (Server::Behind(Arc::new(sentinels)), login)
            }
            None if sentinel_password.is_some() => return Err(RedisSetupError::PasswordWithout),
            None => {
                let client = tls.client(with_tcp_settings(url)?)?;
                let login = client.get_connection_info().redis_settings().clone();
                let pool = pool::pool(&client)?;
                (Server::At(Box::new(client), pool), login)
            }
        };
        Ok(Self {
            server,
            names_user: login.username().is_some_and(|name| name != "default"),
        })
    }

    /// A connection for a short command now and then.
    pub async fn short(&self) -> Result<Short, RedisError> {
        match &self.server {
            Server::At(_, pool) => pool::take(pool).await,
            Server::Behind(_) => self.connect().await.map(Short::Own),
        }
    }

    /// A connection of the caller's own, for pipelines and scripts.
    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connect_with_timeout(RESPONSE_TIMEOUT).await
    }

    /// A connection for blocking reads that take up to `block` on the server.
    pub async fn connect_blocking(
        &self,
        block: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        self.connect_with_timeout(block + RESPONSE_TIMEOUT).await
    }

    async fn connect_with_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = connection_config(timeout);
        let mut connection = match &self.server {
            Server::At(client, _) => {
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                return connecting.await;
            }
            Server::Behind(sentinels) => {
                let client = sentinels.primary().await?;
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                connecting.await?
            }
        };
        expect_primary(&mut connection).await?; // the Sentinels may not have seen it fail
        Ok(connection)
    }

    /// A connection for subscriptions. Drain its stream at once: the crate buffers without bound.
    pub async fn subscriber(&self) -> Result<PubSub, RedisError> {
        let connecting = async {
            match &self.server {
                Server::At(client, _) => client.get_async_pubsub().await,
                Server::Behind(sentinels) => sentinels.primary().await?.get_async_pubsub().await,
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

/// Refuses a server that says it is a replica.
pub async fn expect_primary(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role: Result<Vec<Value>, RedisError> = redis::cmd("ROLE").query_async(connection).await;
    match role {
        Ok(role) if role.first().and_then(text) == Some("master") => Ok(()),
        Ok(_) => {
            let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
            Err((kind, "this Redis is a replica").into())
        }
        Err(error) if error.code().is_none() => Err(error),
        Err(_may_not_ask) => Ok(()),
    }
}

/// Whether a server refuses to write because it is not, or no longer, the one to write to: a demoted
/// primary, or one without its replicas. It may stay so; another connection may find the new one.
pub fn is_displaced(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("READONLY" | "NOREPLICAS" | "MASTERDOWN" | "UNBLOCKED")
    )
}

/// A URL's connection with our TCP options.
fn with_tcp_settings(url: &str) -> Result<ConnectionInfo, RedisError> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(Duration::from_secs(15));
    let info = url.into_connection_info()?.set_tcp_settings(tcp);
    // CLIENT SETINFO came with 7.2; the ACL users of deploy/users.acl work from 7.0 on.
    let login = info.redis_settings().clone().set_skip_set_lib_name();
    Ok(info.set_redis_settings(login))
}

fn connection_config(response: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(Some(response))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
}

/// The text of a bulk or simple string.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// One field of the text that INFO answers.
pub fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::info_field;

    #[test]
    fn fields_of_info_are_found() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nrun_id_more:x\r\n";
        assert_eq!(info_field(info, "run_id"), Some("abc"));
        assert_eq!(info_field(info, "absent"), None);
    }
}
