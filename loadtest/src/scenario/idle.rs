//! Connections that do nothing but answer pings.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    client::{Incoming, Socket},
    context::Context,
    latency::Kind,
    target::Side,
};

/// How long a connection may be tried for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `idle`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Connections, one user each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) connections: u64,
    /// Connections that one process makes at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) at_once: u32,
}

/// Runs this process's connections.
pub(crate) async fn run(options: &Options, context: &Arc<Context>) -> Result<()> {
    let at_once = usize::try_from(options.at_once)?;
    let mut sockets = Vec::new();
    let mut opening = stream::iter(context.plan.share(options.connections))
        .map(async |index| {
            let began = Instant::now();
            let who = context.identity(Side::Customer, index);
            let socket = context.enter(&who, PATIENCE).await?;
            context.measure(Kind::Welcome, began);
            anyhow::Ok(socket)
        })
        .buffer_unordered(at_once);
    while let Some(socket) = opening.next().await {
        sockets.push(socket?);
        context.count(|counts| counts.completed += 1);
    }
    let began = context.ready(u64::try_from(sockets.len())?).await?;
    let mut waiting = JoinSet::new();
    for socket in sockets {
        waiting.spawn(wait(socket, context.clone()));
    }
    context.until_over(began).await;
    while waiting.join_next().await.is_some() {}
    Ok(())
}

/// Holds a socket until the end.
pub(crate) async fn wait(mut socket: Socket, context: Arc<Context>) {
    loop {
        tokio::select! {
            incoming = socket.next() => if let Incoming::Closed(_) = incoming {
                context.count(|counts| counts.disconnected += 1);
                return;
            },
            () = context.stop.cancelled() => break,
        }
    }
    socket.close().await;
}
