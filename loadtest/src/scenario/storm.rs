//! Everybody at once: first from cold, then again after a gateway died or all sockets were lost.
//! Everybody is due at the same moment, so the latency of the last one is how long the storm lasted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::{Identity, Incoming, Socket},
    context::Context,
    latency::Kind,
    target::Side,
};

/// How long somebody tries to come in.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sockets of a gateway that was killed are lost at once; when none was for so long, that was all.
const SETTLED: Duration = Duration::from_secs(2);

/// Options of `storm`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Connections, one user each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) connections: u64,
    /// Handshakes under way at a time in one process; more than the listen queue of the gateways (1024
    /// together) costs SYNs, which are sent again after a second
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) at_once: u32,
    /// What happens once all are there: nothing; all sockets break and come back; or the process of
    /// --kill dies and its sockets come back elsewhere
    #[arg(long, value_enum, default_value_t = Again::All)]
    pub(crate) again: Again,
    /// Process of a gateway on this machine to be killed (SIGKILL), for `--again kill`
    #[arg(long, required_if_eq("again", "kill"))]
    pub(crate) kill: Option<i32>,
}

/// The second storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Again {
    /// None.
    None,
    /// All sockets break.
    All,
    /// A gateway dies.
    Kill,
}

/// Runs this process's part.
pub(crate) async fn run(options: &Options, context: &Arc<Context>) -> Result<()> {
    let limit = Arc::new(Semaphore::new(usize::try_from(options.at_once)?));
    let due = context.ready(0).await?;
    let mut opening = JoinSet::new();
    for index in context.plan.share(options.connections) {
        let (context, limit) = (context.clone(), limit.clone());
        opening.spawn(async move {
            let who = context.identity(Side::Customer, index);
            let _turn = limit.acquire_owned().await?;
            let socket = context.enter(&who, PATIENCE).await?;
            context.measure(Kind::Welcome, due);
            context.count(|counts| counts.completed += 1);
            anyhow::Ok((index, socket))
        });
    }
    let mut sockets = Vec::new();
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    let began = context.ready(u64::try_from(sockets.len())?).await?;
    let sockets = match options.again {
        Again::None => sockets,
        Again::All => {
            let lost = sockets.into_iter().map(|(index, _broken)| index).collect();
            come_back(context, &limit, lost, began).await?
        }
        Again::Kill => {
            if context.plan.index == 0 {
                kill(options.kill.unwrap_or(0))?;
            }
            survive(context, &limit, sockets).await?
        }
    };
    context.ready(u64::try_from(sockets.len())?).await?;
    let mut leaving = JoinSet::new();
    for (_, socket) in sockets {
        leaving.spawn(socket.close());
    }
    leaving.join_all().await;
    Ok(())
}

fn kill(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("--kill must be a process id")?;
    kill_process(pid, Signal::KILL).context("--kill: the process cannot be killed")
}

/// Everybody comes back at once.
async fn come_back(
    context: &Arc<Context>,
    limit: &Arc<Semaphore>,
    lost: Vec<u64>,
    due: Instant,
) -> Result<Vec<(u64, Socket)>> {
    let mut opening = JoinSet::new();
    for index in lost {
        let (context, limit) = (context.clone(), limit.clone());
        opening.spawn(async move {
            let who = context.identity(Side::Customer, index);
            let _turn = limit.acquire_owned().await?;
            let socket = context.enter(&who, PATIENCE).await?;
            context.measure(Kind::Again, due);
            anyhow::Ok((index, socket))
        });
    }
    let mut sockets = Vec::new();
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    Ok(sockets)
}

/// Sockets that are lost come back, each to the next gateway that takes it.
async fn survive(
    context: &Arc<Context>,
    limit: &Arc<Semaphore>,
    sockets: Vec<(u64, Socket)>,
) -> Result<Vec<(u64, Socket)>> {
    let (lost, back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut watching = JoinSet::new();
    for (index, mut socket) in sockets {
        let (context, limit) = (context.clone(), limit.clone());
        let (lost, back) = (lost.clone(), back.clone());
        watching.spawn(async move {
            loop {
                tokio::select! {
                    incoming = socket.next() => if let Incoming::Closed(_) = incoming { break },
                    () = context.stop.cancelled() => return anyhow::Ok((index, socket)),
                }
            }
            let due = Instant::now();
            lost.fetch_add(1, Ordering::Relaxed);
            context.count(|counts| counts.disconnected += 1);
            let _turn = limit.acquire_owned().await?;
            socket = elsewhere(&context, context.identity(Side::Customer, index)).await?;
            context.measure(Kind::Again, due);
            back.fetch_add(1, Ordering::Relaxed);
            context.stop.cancelled().await;
            Ok((index, socket))
        });
    }
    let mut before = 0;
    loop {
        sleep(SETTLED).await;
        let now = lost.load(Ordering::Relaxed);
        if now == before && back.load(Ordering::Relaxed) == now {
            break;
        }
        before = now;
    }
    context.stop.cancel();
    let mut sockets = Vec::new();
    while let Some(watched) = watching.join_next().await {
        sockets.push(watched??);
    }
    Ok(sockets)
}

/// Tries the gateways in turn.
pub(crate) async fn elsewhere(context: &Context, mut who: Identity) -> Result<Socket> {
    let gateways = &context.plan.gateways;
    let mut place = gateways.iter().position(|g| *g == who.gateway).unwrap_or(0);
    let trying = async {
        loop {
            place = (place + 1) % gateways.len();
            who.gateway = gateways[place].clone();
            match Socket::enter(&who).await {
                Ok(socket) => return socket,
                Err(_) => context.count(|counts| counts.retried += 1),
            }
            sleep(Duration::from_millis(rand::random_range(100..1000))).await;
        }
    };
    let socket = timeout(PATIENCE, trying).await;
    let socket = socket.with_context(|| format!("{} found no gateway in two minutes", who.uid))?;
    context.count(|counts| counts.connected += 1);
    Ok(socket)
}
