//! The gateway: holds sockets, nothing else. Any number of them share one Redis.
//!
//! The path of a client's frame: [`run`] → `server` (routes, handshake) → `auth` (who is it?) →
//! `connection` (one task per socket, on `socket`) → `uplink` (batches, XADD) → a lane's stream.
//!
//! The path of a push: the gateway's own channel → `downlink` (the one subscriber) → `registry`
//! (who is here?) → `outbox` (a socket's bounded queue) → `connection` → the client.
//!
//! `heartbeat` keeps the registration alive, `status` knows whether sockets are welcome, `metrics`
//! counts, `limits` looks at open files, `backoff` waits. docs/ARCHITECTURE.md tells the rest of the story.

mod auth;
mod backoff;
mod config;
mod connection;
mod downlink;
mod heartbeat;
mod limits;
mod metrics;
mod outbox;
mod registry;
mod server;
mod socket;
mod status;
mod uplink;

use std::{net::SocketAddr, sync::Arc};

use frontdesk_shared::{
    config::ConfigError,
    http,
    ids::BootId,
    protocol::close::GOING_AWAY,
    redis::{Redis, RedisSetupError},
    telemetry,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use config::Config;

/// Connections that wait to be accepted; everybody comes back at once when a gateway has died.
const LISTEN_BACKLOG: u32 = 4096;

/// What can go wrong outside of a socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Redis cannot be used.
    #[error(transparent)]
    Setup(#[from] RedisSetupError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; stop what uses it, or change {setting}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: std::io::Error,
        /// Flag and variable to change.
        setting: &'static str,
    },
    /// The runtime or its signals could not be set up.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// A Redis command failed.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// No pooled connection could be had.
    #[error("Redis: {0}")]
    Pool(#[from] deadpool_redis::PoolError),
    /// A part of the gateway ended by itself.
    #[error("a part of the gateway has ended by itself; the log says which and why")]
    RoleEnded,
    /// Redis did not answer in time.
    #[error("Redis did not answer in time")]
    Slow,
}

/// What the parts of one gateway share.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) boot: BootId,
    pub(crate) registry: Arc<registry::Registry>,
    pub(crate) status: Arc<status::Status>,
    pub(crate) uplink: uplink::Uplink,
    /// The sockets, and the `close` events that outlive them.
    pub(crate) tasks: TaskTracker,
}

/// Settings held against each other, Redis held against ours.
pub async fn prepare(config: &Config) -> Result<Redis, Error> {
    config.check()?;
    let redis = Redis::from_args(&config.redis)?;
    redis
        .check_durability(config.redis.allow_weak_redis)
        .await?;
    redis.check_cluster(None).await?;
    Ok(redis)
}

/// Listens where the settings say: the public listener, and the one of the metrics.
pub fn listen(config: &Config) -> Result<(TcpListener, Option<TcpListener>), Error> {
    let public = bind(config.listen, "--listen (FRONTDESK_LISTEN)")?;
    let metrics = match config.metrics_listen.0 {
        Some(addr) => Some(bind(addr, "--metrics-listen (FRONTDESK_METRICS_LISTEN)")?),
        None => None,
    };
    Ok((public, metrics))
}

fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Error> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?; // a restart does not wait for old connections to fade
        socket.bind(address)?;
        socket.listen(LISTEN_BACKLOG)
    };
    listen().map_err(|reason| Error::Listen {
        address,
        reason,
        setting,
    })
}

/// Serves until `shutdown`, then drains. Returns within the drain timeout of the settings.
pub async fn run(
    config: Config,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    redis: Redis,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr()?;
    let boot = BootId::random();
    info!(%address, %boot, version = env!("CARGO_PKG_VERSION"), "gateway starts");
    if config.identity.open {
        warn!(
            "OPEN MODE: anybody who reaches {address} can be anybody; never use it with real customers"
        );
    }
    limits::warn_if_few(config.max_connections);
    let stop = CancellationToken::new();
    let _at_the_end = stop.clone().drop_guard();
    let (uplink, batcher) = uplink::Uplink::new(redis.clone());
    let gateway = Arc::new(Gateway {
        registry: Arc::new(registry::Registry::new(config.max_connections)),
        status: Arc::default(),
        uplink,
        tasks: TaskTracker::new(),
        boot,
        config,
    });
    let mut roles = JoinSet::new(); // dropping it ends them, whatever happened
    roles.spawn(batcher.run(stop.clone()));
    start_roles(&mut roles, &gateway, &redis, &stop);
    let router = server::router(gateway.clone());
    let patience = gateway.config.handshake_timeout();
    roles.spawn(http::serve_with(listener, router, patience, stop.clone()));
    if let Some(listener) = metrics_listener {
        roles.spawn(telemetry::serve_metrics(listener, stop.clone()));
    }

    // A gateway without one of its roles would look alive and serve nobody.
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        _ = roles.join_next() => Err(Error::RoleEnded),
    };
    let limit = gateway.config.drain_timeout();
    if timeout(limit, drain(&gateway, &stop, roles)).await.is_err() {
        // The registration stays, so the reaper of dead gateways finds what is left.
        warn!(
            unfinished = gateway.tasks.len(),
            "drain timeout; closes may be missing in the log"
        );
    }
    info!("gateway ends");
    result
}

fn start_roles(
    roles: &mut JoinSet<()>,
    gateway: &Gateway,
    redis: &Redis,
    stop: &CancellationToken,
) {
    let Gateway {
        config,
        boot,
        registry,
        status,
        ..
    } = gateway;
    let downlink = downlink::Downlink::new(redis.clone(), boot, registry.clone(), status.clone());
    roles.spawn(downlink.run(stop.clone()));
    roles.spawn(heartbeat::run(
        redis.clone(),
        boot.clone(),
        config.heartbeat(),
        status.clone(),
        stop.clone(),
    ));
}

/// Sockets first, while everything they need still runs; then the roles. The listener stays until
/// the sockets are gone: it answers new ones, and the readiness probe, with 503.
async fn drain(gateway: &Gateway, stop: &CancellationToken, mut roles: JoinSet<()>) {
    gateway.status.drain();
    let sockets = gateway.registry.close_all(GOING_AWAY);
    info!(sockets, "draining");
    gateway.tasks.close();
    gateway.tasks.wait().await;
    stop.cancel();
    // A role that panicked has said so already.
    while roles.join_next().await.is_some() {}
}
