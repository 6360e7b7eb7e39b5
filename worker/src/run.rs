//! A worker's life: readers, lease keeper, timers, hints; and their end in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use frontdesk_shared::{http, ids::Shard, redis::Redis, telemetry};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    app::App,
    hooks::{self, Hints},
    lane::{
        Context, Lanes, Signals,
        apply::MAX_READ_BYTES,
        lease::{Keeper, Slot, Timing},
        reader::Reader,
    },
    library::Library,
    membership,
    reaper::Reaper,
    timers,
};

/// What a worker runs with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name.
    pub id: String,
    /// Leases and heartbeats.
    pub timing: Timing,
    /// How long a silent gateway lives.
    pub gateway_ttl: Duration,
    /// Time between ticks.
    pub tick: Duration,
    /// How long a stop may take.
    pub drain: Duration,
    /// Delivery of webhooks.
    pub hooks: hooks::settings::Settings,
}

/// Runs an App until `shutdown`: the library's one door, for the program and for tests. False if it
/// ended because a part of it broke.
pub async fn run(
    app: Arc<dyn App>,
    redis: Redis,
    options: Options,
    metrics: Option<TcpListener>,
    shutdown: CancellationToken,
) -> bool {
    let library = Arc::new(Library::new(&*app));
    let context = Context {
        redis,
        library,
        app,
        signals: Arc::new(Signals::default()),
        room: Arc::new(Semaphore::new(MAX_READ_BYTES)),
    };
    let (ready, is_ready) = watch::channel(false);
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    if let Some(listener) = metrics {
        tasks.spawn(http::serve(
            listener,
            health(is_ready.clone()),
            shutdown.clone(),
        ));
    }
    let (mut slots, mut active) = (BTreeMap::new(), BTreeMap::new());
    for shard in Shard::all() {
        let (granted, grants) = watch::channel(Lanes::new());
        let (reading, active_lanes) = watch::channel(Lanes::new());
        active.insert(shard, active_lanes.clone());
        slots.insert(
            shard,
            Slot {
                granted,
                active: active_lanes,
            },
        );
        let reader = Reader {
            context: context.clone(),
            shard,
            granted: grants,
            active: reading,
        };
        tasks.spawn(reader.run());
    }
    let active_of_hooks = active.clone();
    let reaper = Reaper::new(context.clone(), active.clone(), options.gateway_ttl);
    tasks.spawn(reaper.run(options.timing.heartbeat, shutdown.clone()));
    tasks.spawn(timers::run(
        context.clone(),
        active,
        options.tick,
        shutdown.clone(),
    ));
    let news = Arc::new(Hints::default());
    let hooks = hooks::start(
        context.clone(),
        active_of_hooks,
        options.hooks,
        Arc::clone(&news),
        shutdown.clone(),
    );
    // It ends by the other side's being dropped.
    tasks.spawn(async move { drop(hooks.await) });
    let (redis, hints, stop) = (context.redis.clone(), changed.clone(), shutdown.clone());
    tasks.spawn(async move { membership::listen(redis, &hints, &news, stop).await });

    info!(worker = options.id, "worker runs");
    // Ends after `shutdown`, when the readers have finished what they apply and leases are given back.
    let keeper = Keeper::new(context, options.id, options.timing, slots, ready);
    let stop = shutdown.clone();
    tasks.spawn(async move { keeper.run(&changed, stop).await });
    // A worker without one of its parts would look alive and serve nobody.
    let broken = tokio::select! {
        () = shutdown.cancelled() => false,
        _ = tasks.join_next() => !shutdown.is_cancelled(),
    };
    if broken {
        error!("a part of the worker has ended by itself; stopping");
        shutdown.cancel();
    }
    info!("stopping");
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(options.drain, ended).await.is_err() {
        warn!("not everything ended in time; what is unfinished is done by other workers");
    }
    !broken
}

/// `/metrics`, `/livez` (the process answers) and `/readyz` (it reads the lanes that it should).
fn health(ready: watch::Receiver<bool>) -> Router {
    telemetry::metrics_router()
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let ready = *ready.borrow();
                async move {
                    if ready {
                        (StatusCode::OK, "ready\n")
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                    }
                }
            }),
        )
}
