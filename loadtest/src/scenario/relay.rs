//! Pairs of a customer and a staff member who pass messages back and forth.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    open_loop::Schedule,
    pair::{Pace, Pair},
};
use crate::{
    client::Socket,
    context::Context,
    frame::{CUSTOMER_CONNECT, Frame, staff_online},
    target::Side,
};

/// Connections that are made at a time.
const AT_ONCE: usize = 100;
/// How long a connection may be tried for.
const PATIENCE: Duration = Duration::from_secs(30);
/// A customer who says nothing for a minute is closed; so often each of them must speak.
const LONGEST_SILENCE_S: f64 = 30.0;

/// Options of `relay`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Pairs of one customer and one staff member
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) pairs: u64,
    /// Messages per second of all pairs together, at due times (open loop). Without it the loop is
    /// closed: each pair sends its next message when one is delivered and acknowledged
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Messages that each pair has on their way in the closed loop
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) window: u64,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=16_384))]
    pub(crate) bytes: u32,
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        ensure!(
            rate > 0.0 && rate.is_finite(),
            "--rate must be above 0 messages per second"
        );
        let silence = 2.0 * self.pairs as f64 / rate;
        ensure!(
            silence <= LONGEST_SILENCE_S,
            "--rate {rate} lets each of {} customers speak every {silence:.0} s, and who is silent for a minute is closed: take fewer --pairs, or a higher --rate",
            self.pairs
        );
        Ok(())
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(100)
    }
}

/// Runs this process's pairs.
pub(crate) async fn run(options: &Options, context: &Arc<Context>) -> Result<()> {
    let plan = &context.plan;
    let share: Vec<u64> = plan.share(options.pairs).collect();
    let pairs = gather(options, context, &share).await?;
    let count = u64::try_from(pairs.len())?;
    let began = context.ready(count * 2).await?;
    let wake: Vec<_> = pairs.iter().map(|_| Arc::new(Notify::new())).collect();
    let schedule = options.rate.map(|rate| {
        let processes = f64::from(plan.processes);
        let rate = rate * count as f64 / options.pairs as f64;
        // The processes take turns, too.
        let shift = Duration::from_secs_f64(f64::from(plan.index) / processes / rate.max(1e-9));
        Schedule {
            begin: began + shift,
            rate,
            pairs: count,
        }
    });
    if let Some(schedule) = schedule
        && count > 0
    {
        schedule.start(wake.clone(), context.stop.clone());
    }
    let mut talks = JoinSet::new();
    for (place, (pair, wake)) in pairs.into_iter().zip(wake).enumerate() {
        let pace = match schedule {
            None => Pace::Closed(options.window),
            Some(schedule) => Pace::Open {
                schedule,
                place: u64::try_from(place)?,
                wake,
            },
        };
        talks.spawn(pair.talk(pace));
    }
    context.until_over(began).await;
    while talks.join_next().await.is_some() {}
    Ok(())
}

/// Connects the pairs with these numbers.
pub(crate) async fn gather(
    options: &Options,
    context: &Arc<Context>,
    share: &[u64],
) -> Result<Vec<Pair>> {
    if context.plan.load.bare {
        meet_bare(options, context, share).await
    } else {
        meet(options, context, share).await
    }
}

/// Brings the staff on duty, then the customers, and finds out who was given to whom: the cluster
/// decides that.
async fn meet(options: &Options, context: &Arc<Context>, share: &[u64]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    // Gateway by gateway: then whoever is free is on another gateway than the customers who ask.
    for gateway in 0..context.plan.gateways.len() {
        let here = |index: &u64| context.gateway_of(Side::Customer, *index) == gateway;
        let indices: Vec<u64> = share.iter().copied().filter(here).collect();
        pairs.extend(meet_at(options, context, &indices).await?);
    }
    Ok(pairs)
}

async fn meet_at(options: &Options, context: &Arc<Context>, share: &[u64]) -> Result<Vec<Pair>> {
    let mut staff = HashMap::new();
    for_each(
        share,
        async |index| go_on_duty(context, index).await,
        |index, socket| {
            staff.insert(index, socket);
        },
    )
    .await?;
    let mut customers = HashMap::new();
    for_each(
        share,
        async |index| ask(context, index).await,
        |index, (socket, conversation)| {
            customers.insert(conversation, (index, socket));
        },
    )
    .await?;
    let mut pairs = Vec::new();
    for (_, mut socket) in staff {
        let text = socket.expect("new_customer").await?;
        let conversation = Frame::parse(&text)
            .and_then(|frame| frame.payload.conversation.map(str::to_owned))
            .context("new_customer names no conversation")?;
        let (index, customer) = customers
            .remove(&conversation)
            .ok_or_else(|| anyhow!("staff got a customer of somebody else: use another --run"))?;
        let talk = format!("{}.{index}", context.plan.run);
        let sockets = (customer, socket);
        pairs.push(Pair::new(
            context,
            talk,
            options.bytes(),
            conversation,
            sockets,
        ));
    }
    Ok(pairs)
}

async fn go_on_duty(context: &Context, index: u64) -> Result<Socket> {
    let who = context.identity(Side::Staff, index);
    let mut socket = context.enter(&who, PATIENCE).await?;
    socket.send(staff_online(1)).await;
    socket.expect("on_duty").await?;
    Ok(socket)
}

/// A customer's socket and conversation.
async fn ask(context: &Context, index: u64) -> Result<(Socket, String)> {
    let who = context.identity(Side::Customer, index);
    let mut socket = context.enter(&who, PATIENCE).await?;
    socket.send(CUSTOMER_CONNECT.to_owned()).await;
    let text = socket.expect("connected").await?;
    let conversation = Frame::parse(&text)
        .and_then(|frame| frame.payload.conversation.map(str::to_owned))
        .context("connected names no conversation")?;
    Ok((socket, conversation))
}

/// With the bare relay everybody names their peer.
async fn meet_bare(options: &Options, context: &Arc<Context>, share: &[u64]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let open = async |index| {
        let customer = context.identity(Side::Customer, index);
        let staff = context.identity(Side::Staff, index);
        let (customer, staff) = tokio::join!(
            context.enter(&customer, PATIENCE),
            context.enter(&staff, PATIENCE)
        );
        Ok((customer?, staff?))
    };
    for_each(share, open, |index, sockets| {
        let talk = format!("{}.{index}", context.plan.run);
        pairs.push(Pair::new(
            context,
            talk,
            options.bytes(),
            String::new(),
            sockets,
        ));
    })
    .await?;
    Ok(pairs)
}

/// Does something for each, some at a time; the first error ends it.
async fn for_each<T>(
    share: &[u64],
    make: impl AsyncFn(u64) -> Result<T>,
    mut put: impl FnMut(u64, T),
) -> Result<()> {
    let make = &make;
    let mut results = stream::iter(share.iter().copied())
        .map(|index| async move { (index, make(index).await) })
        .buffer_unordered(AT_ONCE);
    while let Some((index, result)) = results.next().await {
        put(index, result?);
    }
    Ok(())
}
