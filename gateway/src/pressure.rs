//! Whether the cluster keeps up: how old the oldest event is that no worker has applied, lane by
//! lane, and how full Redis is.
//!
//! Too old or too full, messages are answered `busy` at once instead of joining a queue that nobody
//! sees. Opens and closes are always taken when a lane lags; when memory is short a `close` still
//! is, for it frees some. Only lanes to which this gateway has appended lately are read, once a
//! second; the age is measured by Redis's clock, which also made the events' ids.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use frontdesk_shared::{
    ids::{LANES, Lane, SHARDS, Shard},
    keys,
    redis::{Redis, expect_primary, info_field},
    stream::Entries,
};
use redis::{FromRedisValue as _, RedisError, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{Config, Gateway, metrics::METRICS};

/// Time between two readings.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest and the longest time after which a refused client is asked to try again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// The same while memory is short.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(5);

/// What was read last.
#[derive(Debug)]
pub(crate) struct Pressure {
    limit_ms: u64,
    lanes: [[LaneAge; LANES as usize]; SHARDS as usize],
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct LaneAge {
    /// Appended to since the last reading.
    used: AtomicBool,
    /// Age of the oldest event that is not applied; 0 without one.
    age_ms: AtomicU64,
}

impl Pressure {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limit_ms: config.backlog_limit_ms,
            lanes: std::array::from_fn(|_| std::array::from_fn(|_| LaneAge::default())),
            full: AtomicBool::default(),
        }
    }

    /// Something was appended there: its age is worth reading.
    pub(crate) fn used(&self, shard: Shard, lane: Lane) {
        self.lane(shard, lane).used.store(true, Relaxed);
    }

    /// Redis has little memory left.
    pub(crate) fn full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// Whether a message for that lane must be refused, and when to try again: not all at once.
    pub(crate) fn refuses(&self, shard: Shard, lane: Lane) -> Option<Duration> {
        let age_ms = self.lane(shard, lane).age_ms.load(Relaxed);
        let after = if age_ms > self.limit_ms {
            Duration::from_millis(age_ms).clamp(RETRY_AFTER[0], RETRY_AFTER[1])
        } else if self.full() {
            RETRY_WHEN_FULL
        } else {
            return None;
        };
        Some(after.mul_f64(rand::random_range(1.0..1.5)))
    }

    fn lane(&self, shard: Shard, lane: Lane) -> &LaneAge {
        &self.lanes[usize::from(shard.number())][usize::from(lane.number())]
    }

    /// The lanes whose age is not known to be 0.
    fn watched(&self) -> Vec<(Shard, Lane)> {
        let every = Shard::all().flat_map(|shard| Lane::all().map(move |lane| (shard, lane)));
        every
            .filter(|(shard, lane)| {
                let lane = self.lane(*shard, *lane);
                lane.used.swap(false, Relaxed) || lane.age_ms.load(Relaxed) > 0
            })
            .collect()
    }

    fn read(&self, ages: &[((Shard, Lane), u64)]) {
        for ((shard, lane), age_ms) in ages {
            self.lane(*shard, *lane).age_ms.store(*age_ms, Relaxed);
        }
        let oldest = ages.iter().map(|(_, age_ms)| *age_ms).max().unwrap_or(0);
        METRICS
            .backlog_seconds
            .set(Duration::from_millis(oldest).as_secs_f64());
    }

    /// Nothing is known any more; what is wrong then is judged elsewhere.
    fn forget(&self) {
        for lane in self.lanes.as_flattened() {
            if lane.age_ms.swap(0, Relaxed) > 0 {
                lane.used.store(true, Relaxed); // to be read again
            }
        }
        self.full.store(false, Relaxed);
    }
}

/// Reads until `stop`.
pub(crate) async fn run(redis: Redis, gateway: Arc<Gateway>, stop: CancellationToken) {
    let pressure = &gateway.pressure;
    let percent = u64::from(gateway.config.memory_limit_percent);
    let mut connection = None;
    let mut ticks = interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let reading = async {
            let mut fresh = match connection.take() {
                Some(connection) => connection,
                None => redis.connect().await?,
            };
            expect_primary(&mut fresh).await?; // a replica lags, or has stopped
            let (memory, now_ms) = memory_and_time(&mut fresh).await?;
            let ages = ages(&mut fresh, pressure.watched(), now_ms).await?;
            connection = Some(fresh);
            Ok::<_, RedisError>((memory, ages))
        };
        match stop.run_until_cancelled(reading).await {
            Some(Ok((memory, ages))) => {
                pressure.read(&ages);
                let full = memory.is_some_and(|memory| memory.is_above(percent));
                if full && !pressure.full.swap(full, Relaxed) {
                    warn!(?memory, "Redis is short of memory: messages are refused");
                } else if !full && pressure.full.swap(full, Relaxed) {
                    info!(?memory, "Redis has memory again");
                }
            }
            Some(Err(error)) => {
                debug!(%error, "cannot read the backlog");
                pressure.forget();
            }
            None => return,
        }
    }
}

/// Redis's memory in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    used: u64,
    most: u64,
}

impl Memory {
    /// From INFO; `None` if there is no limit.
    fn parse(info: &str) -> Option<Self> {
        let field = |name| info_field(info, name)?.parse().ok();
        Some(Self {
            used: field("used_memory")?,
            most: field("maxmemory").filter(|most| *most > 0)?,
        })
    }

    fn is_above(self, percent: u64) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.most) * u128::from(percent)
    }
}

/// Redis's memory, if it may be known, and its clock.
async fn memory_and_time(
    connection: &mut MultiplexedConnection,
) -> Result<(Option<Memory>, u64), RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    pipeline.cmd("INFO").arg("memory").cmd("TIME");
    let mut replies: Vec<Result<redis::Value, RedisError>> =
        pipeline.query_async(connection).await?;
    let missing =
        || RedisError::from((redis::ErrorKind::UnexpectedReturnType, "a reply is missing"));
    let time = replies.pop().ok_or_else(missing)??;
    let (seconds, micros) = <(u64, u64)>::from_redis_value(time)?;
    let memory = match replies.pop().ok_or_else(missing)? {
        Ok(info) => Memory::parse(&String::from_redis_value(info)?),
        Err(error) => {
            debug!(%error, "cannot read the memory of Redis; allow INFO");
            None
        }
    };
    Ok((memory, seconds * 1000 + micros / 1000))
}

/// How old the oldest event is in each lane that is not applied.
async fn ages(
    connection: &mut MultiplexedConnection,
    lanes: Vec<(Shard, Lane)>,
    now_ms: u64,
) -> Result<Vec<((Shard, Lane), u64)>, RedisError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for (shard, lane) in &lanes {
        pipeline.hget(keys::applied(*shard), lane.number());
    }
    let applied: Vec<Option<String>> = pipeline.query_async(connection).await?;
    let mut pipeline = redis::pipe();
    for ((shard, lane), applied) in lanes.iter().zip(&applied) {
        let after = applied
            .as_ref()
            .map_or("-".to_owned(), |id| format!("({id}"));
        pipeline.xrange_count(keys::events(*shard, *lane), after, "+", 1);
    }
    let oldest: Vec<Entries> = pipeline.query_async(connection).await?;
    let age = |reply: Entries| -> u64 {
        let first = reply.0.first();
        first.map_or(0, |entry| now_ms.saturating_sub(entry.id.ms).max(1))
    };
    Ok(lanes.into_iter().zip(oldest.into_iter().map(age)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_lane_that_lags_is_refused_and_others_are_not() {
        let pressure = Pressure::new(&Config::parse_from(["", "--backlog-limit-ms=2000"]));
        let (shard, lane) = (Shard::new(3).expect("valid"), Lane::new(2).expect("valid"));
        let other = Lane::new(3).expect("valid");
        assert!(pressure.watched().is_empty());
        pressure.used(shard, lane);
        assert_eq!(pressure.watched(), [(shard, lane)]);
        pressure.read(&[((shard, lane), 2000)]);
        assert_eq!(pressure.refuses(shard, lane), None);
        pressure.read(&[((shard, lane), 2001)]);
        let after = pressure.refuses(shard, lane).expect("refused");
        assert!((2001..3100).contains(&after.as_millis()), "{after:?}");
        assert_eq!(pressure.refuses(shard, other), None);
        assert_eq!(
            pressure.watched(),
            [(shard, lane)],
            "until it has caught up"
        );
        pressure.forget();
        assert_eq!(pressure.refuses(shard, lane), None);
        assert_eq!(pressure.watched(), [(shard, lane)], "read again");
        pressure.read(&[((shard, lane), 0)]);
        assert!(pressure.watched().is_empty());
    }

    #[test]
    fn memory_is_compared_with_its_limit_if_there_is_one() {
        let memory = |text| Memory::parse(text).map(|memory| memory.is_above(80));
        assert_eq!(memory("used_memory:79\r\nmaxmemory:100\r\n"), Some(false));
        assert_eq!(memory("used_memory:80\r\nmaxmemory:100\r\n"), Some(true));
        assert_eq!(memory("used_memory:80\r\nmaxmemory:0\r\n"), None);
        assert_eq!(memory("used_memory_rss:80\r\n"), None);
    }
}
