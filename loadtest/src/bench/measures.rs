//! The single measurements.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::{
    crowd::Crowd,
    servers::{Servers, Setup, System},
};
use crate::{
    client::{Identity, Socket},
    config::{Load, Watch},
    frame::CUSTOMER_CONNECT,
    outcome::Outcome,
    run,
    sample::Sampler,
    scenario::{Scenario, idle, relay, storm},
    target::{Gateway, Side},
};

/// Seconds of load before and while a rate or a latency is measured.
const WARMUP_S: u64 = 2;
const MEASURED_S: u64 = 8;
/// Seconds for which idle connections are held.
const HELD_S: u64 = 4;
/// Seconds for which a cluster is watched that has nothing to do.
const WATCHED: Duration = Duration::from_secs(10);
/// Sockets that ask for staff while the house is full.
const ASKING: u64 = 300;

/// What is loaded, and how much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) pairs: u64,
    pub(super) rate: f64,
    pub(super) connections: u64,
    pub(super) staff: u64,
    pub(super) waiting: u64,
}

/// Pairs, in the closed loop or at a rate.
pub(super) async fn relay(
    servers: &Servers,
    size: &Size,
    sites: u32,
    rate: Option<f64>,
) -> Result<Outcome> {
    let scenario = Scenario::Relay(relay::Options {
        pairs: size.pairs,
        rate,
        window: 1,
        bytes: 100,
    });
    let load = servers.load(sites, WARMUP_S, MEASURED_S);
    run::measure(scenario, load, &servers.watch(), true).await
}

/// Connections that do nothing, on servers that had none before.
pub(super) async fn idle(setup: &Setup, system: System, size: &Size) -> Result<Outcome> {
    let servers = Servers::start(setup, system).await?;
    let scenario = Scenario::Idle(idle::Options {
        connections: size.connections,
        at_once: 100,
    });
    run::measure(scenario, servers.load(1, 0, HELD_S), &servers.watch(), true).await
}

/// Everybody at once, on servers that had nobody before.
pub(super) async fn storm(setup: &Setup, system: System, size: &Size) -> Result<Outcome> {
    let servers = Servers::start(setup, system).await?;
    let scenario = Scenario::Storm(storm::Options {
        connections: size.connections,
        at_once: 250,
        again: storm::Again::None,
        kill: None,
    });
    run::measure(scenario, servers.load(1, 0, 1), &servers.watch(), true).await
}

/// What a cluster uses that has nothing to do.
#[derive(Debug)]
pub(super) struct AtRest {
    pub(super) commands_per_s: f64,
    /// Of the busiest process, in percent of a processor.
    pub(super) most_cpu_percent: f64,
}

/// Watches a cluster without any load.
pub(super) async fn at_rest(servers: &Servers) -> Result<AtRest> {
    let watch = Watch {
        metrics: Vec::new(), // reading them is work, too
        ..servers.watch()
    };
    let mut watcher = Sampler::new(&watch, &[]).await?;
    let (begin, since) = (watcher.take().await, Instant::now());
    sleep(WATCHED).await;
    let end = watcher.take().await;
    let seconds = since.elapsed().as_secs_f64();
    let (before, after) = (
        begin.redis.context("no INFO")?,
        end.redis.context("no INFO")?,
    );
    let both = begin.processes.iter().zip(&end.processes);
    let cpu = both.map(|(a, b)| (b.cpu_s - a.cpu_s) / seconds * 100.0);
    Ok(AtRest {
        commands_per_s: (after.commands - before.commands) as f64 / seconds,
        most_cpu_percent: cpu.fold(0.0, f64::max),
    })
}

/// Microseconds of the script call that queues a customer (median of all calls meanwhile), with so
/// many who wait already.
pub(super) async fn customer_connect(setup: &Setup, staff: u64, waiting: u64) -> Result<f64> {
    let mut setup = setup.clone();
    for (setting, value) in [("--queue-limit", "200000"), ("--idle-s", "3600")] {
        setup.worker.extend([setting.to_owned(), value.to_owned()]);
    }
    let servers = Servers::start(&setup, System::Frontdesk).await?;
    let mut connection = servers.redis().await?;
    let mut crowd = Crowd::new(connection.clone(), "house").await?;
    crowd.gather(staff, waiting).await?;
    let mut sockets = enter(&servers.load(1, 0, 1)).await?;
    redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .exec_async(&mut connection)
        .await?;
    // One after the other, so that each is a call of its own.
    for socket in &mut sockets {
        socket.send(CUSTOMER_CONNECT.to_owned()).await;
        socket.expect("queued").await?;
    }
    fcall_median(&mut connection).await
}

async fn enter(load: &Load) -> Result<Vec<Socket>> {
    let gateway = Gateway::parse(&load.gateway[0])?;
    let mut sockets = Vec::new();
    for n in 0..ASKING {
        let who = Identity {
            gateway: gateway.clone(),
            site: "house".into(),
            uid: format!("asking.{n}"),
            side: Side::Customer,
            peer: None,
            tokens: None,
        };
        sockets.push(Socket::enter(&who).await?);
    }
    Ok(sockets)
}

async fn fcall_median(connection: &mut MultiplexedConnection) -> Result<f64> {
    let mut ask = redis::cmd("INFO");
    let info: String = ask.arg("latencystats").query_async(connection).await?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("latency_percentiles_usec_fcall:p50="));
    let median = line.and_then(|line| line.split(',').next()?.parse().ok());
    median.context("Redis has no latencystats of FCALL")
}
