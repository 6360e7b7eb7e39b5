//! Drives the clocks of the shards whose lane 0 this worker reads: one pipeline per interval that asks
//! which of them have anything to tick for, and one of tick calls for those. A tick appends events and
//! changes nothing else (lua/tick.lua).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use frontdesk_shared::{ids::Shard, keys, redis::expect_primary};
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    lane::{Context, Lanes, reads_lane_0},
    library::{MAX_ADVANCE_MS, MAX_TIMERS_PER_TICK},
    metrics::METRICS,
};

/// Most that a shard's clock advances in one tick.
const MAX_ADVANCE: Duration = Duration::from_millis(MAX_ADVANCE_MS);
/// Most calls for one shard in one tick.
const MAX_ROUNDS: usize = 50;
/// Every how many ticks the shards at rest are looked at.
const LOOK_EVERY: u32 = 2;
/// Every how many ticks the metrics are read.
const STATS_EVERY: u32 = 5;

/// Ticks until `shutdown`.
pub async fn run(
    context: Context,
    active: BTreeMap<Shard, watch::Receiver<Lanes>>,
    interval: Duration,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticker = Ticker {
        context,
        interval,
        connection: None,
        running: BTreeSet::new(),
        rounds: 0,
    };
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let shards: Vec<Shard> = active
            .iter()
            .filter(|(_, lanes)| reads_lane_0(lanes))
            .map(|(shard, _)| *shard)
            .collect();
        if let Err(error) = ticker.round(&shards).await {
            warn!(%error, "tick failed");
        }
        ticker.rounds = ticker.rounds.wrapping_add(1);
    }
}

struct Ticker {
    context: Context,
    interval: Duration,
    connection: Option<MultiplexedConnection>,
    /// Shards whose clocks ran at the last round; the others' stood still.
    running: BTreeSet<Shard>,
    rounds: u32,
}

impl Ticker {
    async fn round(&mut self, shards: &[Shard]) -> RedisResult<()> {
        if shards.is_empty() {
            show([0; 4]);
            return Ok(());
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.context.redis.connect().await?,
        };
        let look = self.rounds.is_multiple_of(LOOK_EVERY);
        if look {
            // While nothing is due nothing is written, and a demoted primary answers reads for ever.
            expect_primary(&mut connection).await?;
        }
        let asked = shards.iter().copied();
        let asked: Vec<Shard> = asked
            .filter(|shard| look || self.running.contains(shard))
            .collect();
        let due = existing(&mut connection, &asked, |shard| {
            [keys::due(shard), keys::moved(shard)]
        })
        .await?;
        self.tick(&mut connection, &due).await?;
        self.running = due.into_iter().collect();
        if self.rounds.is_multiple_of(STATS_EVERY) {
            self.stats(&mut connection, shards).await?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Ticks until nothing is due.
    async fn tick(
        &self,
        connection: &mut MultiplexedConnection,
        shards: &[Shard],
    ) -> RedisResult<()> {
        let mut due = shards.to_vec();
        for _ in 0..MAX_ROUNDS {
            if due.is_empty() {
                break;
            }
            let calls = due.iter().map(|shard| {
                let names = [keys::clock(*shard), keys::due(*shard), keys::moved(*shard)];
                let mut call = self.context.library.call("tick", &names);
                call.arg(keys::shard_prefix(*shard))
                    .arg(self.most(*shard).as_millis().to_string());
                call
            });
            let library = &self.context.library;
            let fired: Vec<(usize, i64)> =
                library.run_pipeline(connection, calls.collect()).await?;
            let total: usize = fired.iter().map(|(fired, _)| fired).sum();
            METRICS.timers_fired.inc_by(total as u64);
            // Who fired as many as a tick may has more.
            due = due
                .into_iter()
                .zip(fired)
                .filter(|(_, (fired, _))| *fired >= MAX_TIMERS_PER_TICK)
                .map(|(shard, _)| shard)
                .collect();
        }
        Ok(())
    }

    /// Most that a shard's clock may advance: where it stood still the first timer was set since the
    /// last look, and is no older than that. (Who set it added what had passed since the last tick, at most
    /// [`MAX_ADVANCE`]: lua/prelude.lua.)
    fn most(&self, shard: Shard) -> Duration {
        if self.running.contains(&shard) {
            MAX_ADVANCE
        } else {
            (self.interval * LOOK_EVERY).min(MAX_ADVANCE)
        }
    }

    /// Reads the metrics.
    async fn stats(
        &self,
        connection: &mut MultiplexedConnection,
        shards: &[Shard],
    ) -> RedisResult<()> {
        let shown = existing(connection, shards, |shard| {
            [keys::sites(shard), keys::due(shard)]
        })
        .await?;
        let mut sum = [0; 4];
        if !shown.is_empty() {
            let calls = shown.iter().map(|shard| {
                let mut call = self.context.library.call("stats", &[keys::sites(*shard)]);
                call.arg(keys::shard_prefix(*shard));
                call
            });
            let library = &self.context.library;
            let stats: Vec<[i64; 4]> = library.run_pipeline(connection, calls.collect()).await?;
            for shard in stats {
                for (total, part) in sum.iter_mut().zip(shard) {
                    *total += part;
                }
            }
        }
        show(sum);
        Ok(())
    }
}

/// The shards of which one of two keys is there.
async fn existing(
    connection: &mut MultiplexedConnection,
    shards: &[Shard],
    names: impl Fn(Shard) -> [String; 2],
) -> RedisResult<Vec<Shard>> {
    if shards.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for shard in shards {
        pipeline.cmd("EXISTS").arg(&names(*shard));
    }
    let found: Vec<i64> = pipeline.query_async(connection).await?;
    let found = shards.iter().zip(found).filter(|(_, found)| *found > 0);
    Ok(found.map(|(shard, _)| *shard).collect())
}

fn show([waiting, on_duty, free, timers]: [i64; 4]) {
    METRICS.waiting.set(waiting);
    METRICS.on_duty.set(on_duty);
    METRICS.free.set(free);
    METRICS.timers.set(timers);
}
