//! Drives the clocks of the shards whose lane 0 this worker reads: one pipeline of tick calls per
//! interval. A tick appends events and changes nothing else (lua/tick.lua).

use std::{collections::BTreeMap, time::Duration};

use frontdesk_shared::{ids::Shard, keys};
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    lane::{Context, Lanes, reads_lane_0},
    library::MAX_TIMERS_PER_TICK,
    metrics::METRICS,
};

/// Most that a shard's clock advances in one tick.
const MAX_ADVANCE: Duration = Duration::from_secs(2);
/// Most calls for one shard in one tick.
const MAX_ROUNDS: usize = 50;
/// Every how many ticks the metrics are read.
const STATS_EVERY: u64 = 5;

/// Ticks until `shutdown`.
pub async fn run(
    context: Context,
    active: BTreeMap<Shard, watch::Receiver<Lanes>>,
    interval: Duration,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    let mut count: u64 = 0;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let shards: Vec<Shard> = active
            .iter()
            .filter(|(_, lanes)| reads_lane_0(lanes))
            .map(|(shard, _)| *shard)
            .collect();
        let ticked = tick(
            &context,
            &mut connection,
            &shards,
            count.is_multiple_of(STATS_EVERY),
        )
        .await;
        if let Err(error) = ticked {
            warn!(%error, "tick failed");
            connection = None;
        }
        count += 1;
    }
}

async fn tick(
    context: &Context,
    connection: &mut Option<MultiplexedConnection>,
    shards: &[Shard],
    with_stats: bool,
) -> RedisResult<()> {
    if shards.is_empty() {
        show([0; 4]);
        return Ok(());
    }
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(context.redis.connect().await?),
    };
    let mut due: Vec<Shard> = shards.to_vec();
    for _ in 0..MAX_ROUNDS {
        let calls = due.iter().map(|shard| {
            let names = [keys::clock(*shard), keys::due(*shard), keys::moved(*shard)];
            let mut call = context.library.call("tick", &names);
            call.arg(keys::shard_prefix(*shard))
                .arg(MAX_ADVANCE.as_millis().to_string());
            call
        });
        let fired: Vec<(usize, i64)> = context
            .library
            .run_pipeline(connection, calls.collect())
            .await?;
        let total: usize = fired.iter().map(|(fired, _)| fired).sum();
        METRICS.timers_fired.inc_by(total as u64);
        // Who fired as many as a tick may has more.
        due = due
            .into_iter()
            .zip(fired)
            .filter(|(_, (fired, _))| *fired >= MAX_TIMERS_PER_TICK)
            .map(|(shard, _)| shard)
            .collect();
        if due.is_empty() {
            break;
        }
    }
    if with_stats {
        let calls = shards.iter().map(|shard| {
            let mut call = context.library.call("stats", &[keys::sites(*shard)]);
            call.arg(keys::shard_prefix(*shard));
            call
        });
        let stats: Vec<[i64; 4]> = context
            .library
            .run_pipeline(connection, calls.collect())
            .await?;
        let mut sum = [0; 4];
        for shard in stats {
            for (total, part) in sum.iter_mut().zip(shard) {
                *total += part;
            }
        }
        show(sum);
    }
    Ok(())
}

fn show([waiting, on_duty, free, timers]: [i64; 4]) {
    METRICS.waiting.set(waiting);
    METRICS.on_duty.set(on_duty);
    METRICS.free.set(free);
    METRICS.timers.set(timers);
}
