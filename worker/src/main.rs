//! The Frontdesk worker: configuration, checks, then [`frontdesk_worker::run`] until told to stop. Or a
//! command of an operator.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use frontdesk_shared::{config, redis::Redis, runtime::runtime, telemetry};
use frontdesk_worker::{
    app::App,
    config::{Cli, Config},
    desk::Desk,
    run::{self, Options},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// As in the gateway: an entry is read, prepared and sent in many short allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = config::parse::<Cli>().map_err(anyhow::Error::from);
    let ended = cli.and_then(|Cli { command, config }| match command {
        Some(command) => runtime(1)?.block_on(command.run()),
        None => runtime(config.threads.max(1))?.block_on(start(config)),
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The one place that prints: logging may not be set up yet.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("frontdesk-worker: {error:#}");
            }
            ExitCode::from(2)
        }
    }
}

/// Runs until told to stop; false if a part of the worker broke.
async fn start(config: Config) -> anyhow::Result<bool> {
    config.check()?;
    telemetry::init(&config.telemetry)?;
    let app: Arc<dyn App> = Arc::new(Desk::new(config.desk.clone()));
    let redis = Redis::from_args(&config.redis)?;
    redis
        .check_durability(config.redis.allow_weak_redis)
        .await?;
    redis.check_cluster(Some(app.name())).await?;
    let metrics = match config.metrics_listen.0 {
        Some(addr) => Some(TcpListener::bind(addr).await.with_context(|| {
            format!("cannot listen on {addr}: set --metrics-listen (FRONTDESK_METRICS_LISTEN) to a free address or off")
        })?),
        None => None,
    };
    let options = Options {
        id: config.worker_id(),
        timing: config.timing(),
        gateway_ttl: Duration::from_millis(config.gateway_ttl_ms),
        tick: Duration::from_millis(config.tick_ms),
        drain: Duration::from_secs(config.drain_timeout_s),
        hooks: config.hooks.settings(),
    };
    let shutdown = CancellationToken::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stop.cancel();
    });
    Ok(run::run(app, redis, options, metrics, shutdown).await)
}
