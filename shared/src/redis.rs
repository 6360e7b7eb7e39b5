//! Connections to Redis with every timeout and TCP option set on purpose; `checks` looks at the
//! server's settings and data at start.

mod checks;

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
    Value,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::config::RedisArgs;

/// The schema of everything in Redis that this program knows.
pub const SCHEMA: u32 = 1;
/// How long a command may take before its outcome counts as unknown.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections in the pool of short commands.
pub const POOL_SIZE: usize = 8;

/// Why Redis cannot be used. Each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    /// Talking to Redis failed.
    #[error("Redis does not answer: {0}. Check --redis-url (FRONTDESK_REDIS_URL)")]
    Unreachable(#[from] RedisError),
    /// The pool could not be built.
    #[error("the Redis pool could not be built: {0}")]
    Pool(#[from] deadpool_redis::BuildError),
    /// A CA for a connection that is not encrypted.
    #[error(
        "--redis-ca (FRONTDESK_REDIS_CA) is set but --redis-url is not rediss://: use rediss://, or leave the CA out"
    )]
    CaWithoutTls,
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

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    client: Client,
    pool: Pool,
    /// Whether the URL names a user of Redis, which is then one of deploy/users.acl.
    names_user: bool,
}

impl Redis {
    /// Prepares client and pool by the settings; connects to nothing yet.
    pub fn from_args(args: &RedisArgs) -> Result<Self, RedisSetupError> {
        let url = &args.redis_url;
        let tls = url.starts_with("rediss://");
        if tls {
            // The crate brings no cryptography of its own. Installed already is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let Some(path) = &args.redis_ca else {
            return Self::open(Client::open(connection_info(url)?)?);
        };
        if !tls {
            return Err(RedisSetupError::CaWithoutTls);
        }
        let root_cert = std::fs::read(path).map_err(|reason| RedisSetupError::Ca {
            path: path.clone(),
            reason,
        })?;
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(root_cert),
        };
        Self::open(Client::build_with_tls(connection_info(url)?, certificates)?)
    }

    /// Prepares client and pool for a Redis without TLS; connects to nothing yet.
    pub fn new(url: &str) -> Result<Self, RedisSetupError> {
        Self::open(Client::open(connection_info(url)?)?)
    }

    fn open(client: Client) -> Result<Self, RedisSetupError> {
        let info = client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, connection_config(RESPONSE_TIMEOUT))?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(RESPONSE_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(RESPONSE_TIMEOUT))
            .build()?;
        let user = client.get_connection_info().redis_settings().username();
        let names_user = user.is_some_and(|name| name != "default");
        Ok(Self {
            client,
            pool,
            names_user,
        })
    }

    /// The pool for short commands. Never block on one of its connections.
    pub fn pool(&self) -> &Pool {
        &self.pool
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
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// A connection for subscriptions. Drain its stream at once: the crate buffers without bound.
    pub async fn subscriber(&self) -> Result<PubSub, RedisError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.client.get_async_pubsub()).await {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, RedisError> {
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
