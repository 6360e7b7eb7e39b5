//! The gateway: holds sockets, nothing else. Any number of them share one Redis.
//!
//! The path of a client's frame: [`run`] → `server` (routes) → `handshake` → `auth` (who is it?) →
//! `connection` (one task per socket, on `socket`; `presence` opens and closes it) → `uplink` (room) → `batcher` (XADD) → a lane's stream.
//!
//! The path of a push: the gateway's own channel → `downlink` (the one subscriber) → `registry`
//! (who is here?) → `outbox` (a socket's bounded queue) → `connection` → the client.
//!
//! The HTTP API is `api`: its writes are events of the user's lane, too, and their answers come with the pushes.
//!
//! What changes nothing goes past the log, each on a `link` of its own, at a `pace`: `reads` answers what a
//! client asks to see, `typing` tells the other side who is typing.
//!
//! One start under one boot id is a [`Gateway`]; a boot that was declared dead is given up and the
//! process goes on under another one. `front` is what outlives it. `heartbeat` keeps the
//! registration alive, `status` knows whether this boot may act, `counters` sees holes in the
//! pushes, `roll_call` compares the sockets with the state, `pressure` knows whether the cluster
//! keeps up, `resync` tells sockets that pushes are missing, `address`, `origin` and `crowd` guard the door, `metrics` counts, `limits` looks at open
//! files, `backoff` waits; `client_js` is what pages load, `operator` and `auth/command` are for operators.
//! docs/ARCHITECTURE.md tells the rest of the story.

mod address;
mod api;
mod auth;
mod backoff;
mod batcher;
mod client_js;
mod config;
mod connection;
mod counters;
mod crowd;
#[cfg(test)]
mod door_fuzz;
mod downlink;
mod front;
#[doc(hidden)] // for examples/echo.rs, which the conformance suite talks to
pub mod handshake;
mod heartbeat;
mod limits;
mod link;
mod metrics;
mod operator;
mod origin;
mod outbox;
mod pace;
mod presence;
mod pressure;
mod reads;
mod registry;
mod resync;
mod roll_call;
mod server;
#[doc(hidden)] // for examples/echo.rs
pub mod socket;
mod status;
mod typing;
mod uplink;

use std::{net::SocketAddr, sync::Arc};

use frontdesk_shared::{
    config::ConfigError,
    http,
    ids::BootId,
    keys,
    protocol::close::GOING_AWAY,
    redis::{Redis, RedisSetupError},
    telemetry,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use config::{Cli, Command, Config};

use auth::{Auth, resume::ResumeKey};
use backoff::Backoff;
use front::Front;

/// Connections that wait to be accepted; everybody comes back at once when a gateway has died.
const LISTEN_BACKLOG: u32 = 4096;

/// How many quarters of a drain are for answers under way; the rest is for the roles, or a client that does not read
/// would have this gateway found dead.
const ANSWERS_OF_DRAIN: u32 = 3;

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
    /// A part of the gateway ended by itself.
    #[error("a part of the gateway has ended by itself; the log says which and why")]
    RoleEnded,
    /// Redis did not answer in time.
    #[error("Redis did not answer in time")]
    Slow,
}

/// What the parts of one boot share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: Arc<Config>,
    pub(crate) boot: BootId,
    pub(crate) registry: Arc<registry::Registry>,
    pub(crate) status: Arc<status::Status>,
    pub(crate) uplink: uplink::Uplink,
    pub(crate) pressure: Arc<pressure::Pressure>,
    pub(crate) bell: Arc<roll_call::Bell>,
    /// How much one socket may send.
    pub(crate) rate: pace::Rate,
    pub(crate) resync: Arc<resync::Resync>,
    /// Signs and reads resume tokens.
    pub(crate) resume: ResumeKey,
    /// Reads the tokens that `refresh` brings.
    pub(crate) auth: Arc<Auth>,
    pub(crate) reads: reads::Reads,
    pub(crate) typing: typing::Typing,
    /// Requests of the HTTP API that wait for their answer.
    pub(crate) calls: Arc<api::Calls>,
    pub(crate) tasks: TaskTracker,
}

impl Gateway {
    /// A new boot, and what its batcher takes over.
    fn new(
        front: &Front,
        redis: &Redis,
        resume: ResumeKey,
    ) -> (Arc<Self>, batcher::Context, uplink::Queue) {
        let boot = BootId::random();
        let (uplink, appends) = uplink::Uplink::new();
        let context = batcher::Context {
            redis: redis.clone(),
            channel: keys::gateway_channel(&boot),
            status: Arc::new(status::Status::new(front.config.fence_after())),
            pressure: Arc::new(pressure::Pressure::new(&front.config)),
            bell: Arc::default(),
        };
        let gateway = Self {
            config: front.config.clone(),
            boot,
            registry: Arc::default(),
            status: context.status.clone(),
            uplink,
            pressure: context.pressure.clone(),
            bell: context.bell.clone(),
            rate: pace::Rate::new(
                f64::from(front.config.rate.rate_per_user),
                f64::from(front.config.rate.rate_burst),
            ),
            resync: Arc::default(),
            resume,
            auth: front.auth.clone(),
            reads: reads::Reads::new(redis.clone(), front.config.supervisor_sees_recalled),
            typing: typing::Typing::new(redis.clone()),
            calls: Arc::default(),
            tasks: front.tasks.clone(),
        };
        (Arc::new(gateway), context, appends)
    }
}

/// A front without a Redis, in open mode.
#[cfg(test)]
pub(crate) fn offline_front(settings: &[&str]) -> Front {
    use clap::Parser as _;
    let config = Config::parse_from([settings, &["--open"]].concat());
    let redis = Redis::new("redis://127.0.0.1:1/").expect("a good address");
    let auth = Auth::new(&config.identity, config.default_lang, redis);
    Front::new(config, auth.expect("open mode needs nothing"))
}

/// A gateway without roles and without a Redis, and what is appended to it.
#[cfg(test)]
pub(crate) fn offline(
    front: &Front,
) -> (
    Arc<Gateway>,
    tokio::sync::mpsc::UnboundedReceiver<uplink::Append>,
) {
    let redis = Redis::new("redis://127.0.0.1:1/").expect("a good address");
    let resume = ResumeKey::from_cluster("a key for tests");
    let (gateway, _, queue) = Gateway::new(front, &redis, resume);
    (gateway, queue.appends)
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
    info!(%address, version = env!("CARGO_PKG_VERSION"), "gateway starts");
    if config.identity.open {
        warn!(
            "OPEN MODE: anybody who reaches {address} can be anybody; never use it with real customers"
        );
    }
    limits::warn_if_few(config.max_connections);
    let stop = CancellationToken::new();
    let _at_the_end = stop.clone().drop_guard();
    let patience = server::patience(&config);
    let secret = config.identity.secret()?;
    let mut resume = ResumeKey::load(secret.as_ref(), &redis).await?;
    let auth = Auth::new(&config.identity, config.default_lang, redis.clone())?;
    let front = Arc::new(Front::new(config, auth));
    let mut listeners = JoinSet::new(); // dropping it ends them, whatever happened
    let (router, door) = (server::router(front.clone()), stop.child_token());
    listeners.spawn(http::serve_with(listener, router, patience, door.clone()));
    if let Some(listener) = metrics_listener {
        listeners.spawn(telemetry::serve_metrics(listener, stop.clone()));
    }

    let mut backoff = Backoff::new();
    loop {
        let mut boot = Boot::start(&front, &redis, resume.clone());
        // A gateway without one of its roles would look alive and serve nobody.
        let result = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            () = boot.gateway.status.fenced().cancelled() => {
                boot.give_up().await;
                backoff.wait().await;
                resume = resume.renew(&redis).await;
                continue;
            }
            _ = boot.roles.join_next() => Err(Error::RoleEnded),
            _ = listeners.join_next() => Err(Error::RoleEnded),
        };
        let limit = front.config.drain_timeout();
        let answered_by = Instant::now() + limit * ANSWERS_OF_DRAIN / 4;
        let drain = async {
            boot.leave(&front).await;
            let finish = async {
                front.answers.wait().await;
                door.cancel();
                listeners.join_next().await; // the other one, of the metrics, stays to the end
            };
            if timeout_at(answered_by, finish).await.is_err() {
                warn!(unread = front.answers.len(), "answers under way are cut");
            }
            boot.end().await;
        };
        if timeout(limit, drain).await.is_err() {
            // The registration stays, so the reaper of dead gateways finds what is left.
            warn!(
                unfinished = front.tasks.len(),
                "drain timeout; closes may be missing in the log"
            );
        }
        info!("gateway ends");
        return result;
    }
}

/// A boot with its roles; dropping it ends them.
struct Boot {
    gateway: Arc<Gateway>,
    roles: JoinSet<()>,
    stop: CancellationToken,
}

impl Boot {
    /// Starts under a new boot id and serves new sockets from here on.
    fn start(front: &Front, redis: &Redis, resume: ResumeKey) -> Self {
        let (gateway, context, appends) = Gateway::new(front, redis, resume);
        let batcher = batcher::Batcher::new(context, appends);
        info!(boot = %gateway.boot, "begins");
        let stop = CancellationToken::new();
        let mut roles = JoinSet::new();
        roles.spawn(batcher.run(stop.clone()));
        roles.spawn(downlink::Downlink::new(redis.clone(), gateway.clone()).run(stop.clone()));
        roles.spawn(heartbeat::run(redis.clone(), gateway.clone(), stop.clone()));
        roles.spawn(roll_call::run(redis.clone(), gateway.clone(), stop.clone()));
        roles.spawn(typing::run(gateway.clone(), stop.clone()));
        roles.spawn(resync::run(gateway.resync.clone(), stop.clone()));
        roles.spawn(pressure::run(redis.clone(), gateway.clone(), stop.clone()));
        front.put(gateway.clone());
        Self {
            gateway,
            roles,
            stop,
        }
    }

    /// The boot is FENCED, its sockets are told to leave, and the reaper of dead gateways writes
    /// their closes: nothing of it is sent to Redis any more.
    async fn give_up(mut self) {
        warn!(boot = %self.gateway.boot, "given up; going on under another boot id");
        self.stop.cancel();
        self.roles.shutdown().await;
    }

    /// Sockets first, while everything they need still runs. The listener stays: it answers new ones, new requests and
    /// the readiness probe with 503.
    async fn leave(&self, front: &Front) {
        self.gateway.status.drain();
        let sockets = self.gateway.registry.close_all(GOING_AWAY);
        info!(sockets, "draining");
        front.answers.close();
        front.tasks.close();
        front.tasks.wait().await;
    }

    /// Then the roles.
    async fn end(&mut self) {
        self.stop.cancel();
        // A role that panicked has said so already.
        while self.roles.join_next().await.is_some() {}
    }
}
