//! Reads [`Status`] from Redis: plain commands that change nothing, so a user with few rights is enough
//! (`viewer` in deploy/users.acl), in a dozen of pipelines.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use frontdesk_shared::redis::{Redis, RedisSetupError, info_field};
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::time::{sleep, timeout};

use super::{Gateway, LaneState, RedisState, Status, Worker, ask, lanes};
use crate::operator::pulse::{Pulse, Pulses};

/// Time between two looks at the counters, until all have moved.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A connection that is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads again and again.
#[derive(Debug)]
pub struct Reader {
    redis: Redis,
    connection: Option<MultiplexedConnection>,
    pulses: Pulses,
    observe: Duration,
}

impl Reader {
    /// A reader that calls silent who was not seen to move for `observe`.
    pub fn new(redis: Redis, observe: Duration) -> Self {
        Self {
            redis,
            connection: None,
            pulses: Pulses::new(observe),
            observe,
        }
    }

    /// The cluster as it is now. The first time, and after a failure, it takes until every counter was seen to
    /// move, or nobody's would any more.
    pub async fn look(&mut self) -> anyhow::Result<Status> {
        let looked = match self.connection.take() {
            Some(connection) => self.read(connection).await,
            None => self.begin().await,
        };
        if looked.is_err() {
            self.pulses.forget();
        }
        looked
    }

    async fn begin(&mut self) -> anyhow::Result<Status> {
        let mut connection = self.redis.connect().await.map_err(RedisSetupError::from)?;
        ask::check_shape(&mut connection).await?;
        let start = Instant::now();
        loop {
            let counters = ask::counters(&mut connection).await;
            let now = Instant::now();
            self.observe_all(now, &counters.map_err(RedisSetupError::from)?);
            if self.pulses.all_alive(now) || now - start >= self.observe {
                return self.read(connection).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn observe_all(&mut self, now: Instant, [gateways, workers]: &[HashMap<String, String>; 2]) {
        let living = gateways.iter().filter(|(_, value)| dead(value).is_none());
        self.pulses.observe(now, living.chain(workers));
    }

    async fn read(&mut self, mut connection: MultiplexedConnection) -> anyhow::Result<Status> {
        let reading = async {
            let (info, (seconds, micros)): (String, (u64, u64)) = redis::pipe()
                .cmd("INFO")
                .cmd("TIME")
                .query_async(&mut connection)
                .await?;
            let counters = ask::counters(&mut connection).await?;
            let time = seconds * 1000 + micros / 1000;
            let lanes = lanes::read(&mut connection, time).await?;
            let (sites, more_sites) = ask::sites(&mut connection).await?;
            let connections = ask::connections(&mut connection, &counters[0]).await?;
            let letters = ask::dead_letters(&mut connection).await?;
            RedisResult::Ok((
                info,
                counters,
                time,
                lanes,
                sites,
                more_sites,
                connections,
                letters,
            ))
        };
        let reading = timeout(PATIENCE, reading).await;
        let (info, counters, time, lanes, sites, more_sites, connections, dead_letters) = reading
            .context("Redis does not answer")?
            .map_err(RedisSetupError::from)?;
        let now = Instant::now();
        self.observe_all(now, &counters);
        self.connection = Some(connection);
        let [gateways, workers] = counters;
        let status = Status {
            time,
            redis: redis_state(&info),
            gateways: self.gateways(now, gateways, &connections),
            workers: self.workers(now, workers, &lanes),
            lanes,
            sites,
            more_sites,
            dead_letters,
            problems: Vec::new(),
        };
        Ok(status.judged())
    }

    /// The living first.
    fn gateways(
        &self,
        now: Instant,
        registrations: HashMap<String, String>,
        connections: &HashMap<String, u64>,
    ) -> Vec<Gateway> {
        let mut gateways: Vec<Gateway> = registrations
            .into_iter()
            .map(|(boot, value)| {
                let dead_since = dead(&value);
                let state = dead_since.map_or_else(|| self.pulses.of(now, &boot), |_| Pulse::Dead);
                Gateway {
                    state,
                    dead_since,
                    connections: connections.get(&boot).copied().unwrap_or_default(),
                    boot,
                }
            })
            .collect();
        gateways.sort_by(|a, b| (a.dead_since, &a.boot).cmp(&(b.dead_since, &b.boot)));
        gateways
    }

    fn workers(
        &self,
        now: Instant,
        counters: HashMap<String, String>,
        lanes: &[LaneState],
    ) -> Vec<Worker> {
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in lanes.iter().filter_map(|lane| lane.owner.as_deref()) {
            *held.entry(owner).or_default() += 1;
        }
        let mut workers: Vec<Worker> = counters
            .into_keys()
            .map(|id| Worker {
                state: self.pulses.of(now, &id),
                lanes: held.get(&*id).copied().unwrap_or_default(),
                id,
            })
            .collect();
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        workers
    }
}

/// Since when a registration says that its gateway is dead.
fn dead(registration: &str) -> Option<u64> {
    let since = registration.strip_prefix("dead ")?;
    Some(since.parse().unwrap_or_default())
}

fn redis_state(info: &str) -> RedisState {
    let field = |name| info_field(info, name).unwrap_or_default();
    let number = |name| field(name).parse().unwrap_or_default();
    RedisState {
        version: field("redis_version").to_owned(),
        role: field("role").to_owned(),
        replicas: number("connected_slaves"),
        uptime_s: number("uptime_in_seconds"),
        memory_used_bytes: number("used_memory"),
        memory_max_bytes: Some(number("maxmemory")).filter(|most| *most > 0),
        appendonly: field("aof_enabled") == "1",
        appendonly_ok: field("aof_last_write_status") == "ok",
    }
}
