//! Connections to Redis with every timeout and TCP option set on purpose, and the checks of the
//! server's settings at start.

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError, Value,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tracing::warn;

use crate::{
    ids::{LANES, SHARDS},
    keys,
};

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
}

impl Redis {
    /// Prepares client and pool; connects to nothing yet.
    pub fn new(url: &str) -> Result<Self, RedisSetupError> {
        let info = connection_info(url)?;
        let client = Client::open(info.clone())?;
        let manager = Manager::new_with_config(info, connection_config(RESPONSE_TIMEOUT))?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(RESPONSE_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(RESPONSE_TIMEOUT))
            .build()?;
        Ok(Self { client, pool })
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

    /// Refuses a Redis that forgets what it acknowledged (`--allow-weak-redis` only warns).
    pub async fn check_durability(&self, allow_weak: bool) -> Result<(), RedisSetupError> {
        let mut connection = self.connect().await?;
        for (setting, wanted, required) in [
            ("appendonly", "yes", true),
            ("maxmemory-policy", "noeviction", true),
            ("appendfsync", "always", false),
            ("no-appendfsync-on-rewrite", "no", false),
        ] {
            let reply: Result<Vec<String>, RedisError> = redis::cmd("CONFIG")
                .arg("GET")
                .arg(setting)
                .query_async(&mut connection)
                .await;
            let found = match reply {
                Ok(pair) => pair.into_iter().nth(1).unwrap_or_default(),
                Err(error) if error.is_io_error() => return Err(error.into()),
                Err(error) => {
                    warn!(setting, %error, "cannot read this Redis setting; what is acknowledged may not be on disk");
                    continue;
                }
            };
            if found == wanted {
                continue;
            }
            if required && !allow_weak {
                return Err(RedisSetupError::Weak {
                    setting,
                    found,
                    wanted,
                });
            }
            warn!(
                setting,
                found,
                wanted,
                "WEAKER THAN SHIPPED: acknowledged messages may be lost, see docs/OPERATIONS.md"
            );
        }
        Ok(())
    }

    /// Writes the cluster's shape at first boot and refuses another one afterwards.
    /// `app` is the worker's App; a gateway passes `None`.
    pub async fn check_cluster(&self, app: Option<&str>) -> Result<(), RedisSetupError> {
        let mut connection = self.connect().await?;
        let mut facts = vec![
            ("schema", SCHEMA.to_string()),
            ("shards", SHARDS.to_string()),
            ("lanes", LANES.to_string()),
        ];
        facts.extend(app.map(|name| ("app", name.to_owned())));
        for (fact, ours) in facts {
            let (_, found): (i64, String) = redis::pipe()
                .cmd("HSETNX")
                .arg(keys::META)
                .arg(fact)
                .arg(&ours)
                .cmd("HGET")
                .arg(keys::META)
                .arg(fact)
                .query_async(&mut connection)
                .await?;
            if found != ours {
                return Err(RedisSetupError::OtherCluster { fact, found, ours });
            }
        }
        Ok(())
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
    Ok(url.into_connection_info()?.set_tcp_settings(tcp))
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
