//! Connections to Redis with every timeout and TCP option set on purpose, and the checks of the
//! server's settings at start.

use std::{collections::HashMap, time::Duration};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
    Value,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tracing::warn;

use crate::{
    config::RedisArgs,
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
        let settings = self.server_settings().await?;
        for (setting, wanted, required) in [
            ("appendonly", "yes", true),
            ("maxmemory-policy", "noeviction", true),
            ("appendfsync", "always", false),
            ("no-appendfsync-on-rewrite", "no", false),
        ] {
            let Some(found) = settings.get(setting).cloned() else {
                warn!(
                    setting,
                    wanted,
                    "this Redis user cannot see the setting: make sure yourself, see docs/OPERATIONS.md"
                );
                continue;
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

    /// The server's settings by CONFIG GET; what INFO tells of them for a user who may not, since
    /// CONFIG GET would show that user the password of everybody.
    async fn server_settings(&self) -> Result<HashMap<String, String>, RedisError> {
        let mut connection = self.connect().await?;
        let mut command = redis::cmd("CONFIG");
        command
            .arg("GET")
            .arg("append*")
            .arg("no-append*")
            .arg("maxmemory-policy");
        match command.query_async(&mut connection).await {
            Err(error) if error.code() == Some("NOPERM") => {}
            settings => return settings,
        }
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::to_owned)
        };
        let appendonly =
            field("aof_enabled").map(|on| if on == "1" { "yes" } else { "no" }.to_owned());
        let known = [
            ("appendonly", appendonly),
            ("maxmemory-policy", field("maxmemory_policy")),
        ];
        Ok(known
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }

    /// Writes the cluster's shape at first boot and refuses another one afterwards.
    /// `app` is the worker's App; a gateway passes `None`. Returns whether anything had to be written.
    pub async fn check_cluster(&self, app: Option<&str>) -> Result<bool, RedisSetupError> {
        let mut connection = self.connect().await?;
        let mut facts = vec![
            ("schema", SCHEMA.to_string()),
            ("shards", SHARDS.to_string()),
            ("lanes", LANES.to_string()),
        ];
        facts.extend(app.map(|name| ("app", name.to_owned())));
        let mut written = false;
        for (fact, ours) in facts {
            // Looked at first: HSETNX is refused when memory is full, and a start must not be.
            let mut get = redis::cmd("HGET");
            get.arg(keys::META).arg(fact);
            let mut found: Option<String> = get.query_async(&mut connection).await?;
            if found.is_none() {
                redis::cmd("HSETNX")
                    .arg(keys::META)
                    .arg(fact)
                    .arg(&ours)
                    .exec_async(&mut connection)
                    .await?;
                found = get.query_async(&mut connection).await?;
                written = true;
            }
            let found = found.unwrap_or_default();
            if found != ours {
                return Err(RedisSetupError::OtherCluster { fact, found, ours });
            }
        }
        Ok(written)
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
