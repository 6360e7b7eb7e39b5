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
    library::is_missing,
    metrics::METRICS,
};

/// Most that a shard's clock advances in one tick.
const MAX_ADVANCE: Duration = Duration::from_secs(2);
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
    let ticks = shards.iter().map(|shard| {
        let mut call = context.library.call(
            "tick",
            &[keys::clock(*shard), keys::due(*shard), keys::moved(*shard)],
        );
        call.arg(keys::shard_prefix(*shard))
            .arg(MAX_ADVANCE.as_millis().to_string());
        call
    });
    let fired: Vec<(u64, i64)> = pipeline(context, connection, ticks.collect()).await?;
    METRICS
        .timers_fired
        .inc_by(fired.iter().map(|(fired, _)| fired).sum());
    if with_stats {
        let calls = shards.iter().map(|shard| {
            let mut call = context.library.call("stats", &[keys::sites(*shard)]);
            call.arg(keys::shard_prefix(*shard));
            call
        });
        let stats: Vec<[i64; 4]> = pipeline(context, connection, calls.collect()).await?;
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

async fn pipeline<T: redis::FromRedisValue>(
    context: &Context,
    connection: &mut MultiplexedConnection,
    calls: Vec<redis::Cmd>,
) -> RedisResult<T> {
    let mut pipeline = redis::pipe();
    for call in calls {
        pipeline.add_command(call);
    }
    match pipeline.query_async(connection).await {
        Err(error) if is_missing(&error) => {
            context.library.load(connection).await?;
            pipeline.query_async(connection).await
        }
        result => result,
    }
}

fn show([waiting, on_duty, free, timers]: [i64; 4]) {
    METRICS.waiting.set(waiting);
    METRICS.on_duty.set(on_duty);
    METRICS.free.set(free);
    METRICS.timers.set(timers);
}
