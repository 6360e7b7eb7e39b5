//! Which workers are alive: each increments its counter in one hash; one whose counter stood still
//! for the TTL on the observer's own monotonic clock is dead. Wall clocks play no part, and a time
//! in which nothing could be read counts for nobody.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use frontdesk_shared::{ids::Shard, keys, redis::Redis};
use futures_util::StreamExt as _;
use redis::{Msg, RedisResult, aio::MultiplexedConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{hooks::Hints, library::Library};

/// How long to wait before subscribing to hints again.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// Judges life by counters that move.
#[derive(Debug)]
pub struct Observer {
    ttl: Duration,
    seen: HashMap<String, (u64, Instant)>,
    last: Option<Instant>,
}

impl Observer {
    /// An observer that calls dead what has not moved for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            seen: HashMap::new(),
            last: None,
        }
    }

    /// Takes one reading. Returns (alive, dead). After half a TTL without one (this process was
    /// stopped, Redis slow) nobody's silence meanwhile counts.
    pub fn observe(
        &mut self,
        now: Instant,
        counters: &HashMap<String, u64>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let unbroken = self
            .last
            .is_some_and(|last| now.duration_since(last) <= self.ttl / 2);
        if !unbroken {
            self.seen.clear();
        }
        self.last = Some(now);
        self.seen.retain(|id, _| counters.contains_key(id));
        let (mut alive, mut dead) = (BTreeSet::new(), BTreeSet::new());
        for (id, counter) in counters {
            let entry = self.seen.entry(id.clone()).or_insert((*counter, now));
            if entry.0 != *counter {
                *entry = (*counter, now);
            }
            let still = now.duration_since(entry.1);
            if still < self.ttl {
                &mut alive
            } else {
                &mut dead
            }
            .insert(id.clone());
        }
        (alive, dead)
    }

    /// A reading failed: nobody's silence since the last one counts.
    pub fn interrupted(&mut self) {
        self.seen.clear();
    }
}

/// This worker's place among the workers.
#[derive(Debug)]
pub struct Membership {
    /// This worker's id.
    pub id: String,
    observer: Observer,
    known: BTreeSet<String>,
    /// What Redis counted at the last beat.
    counter: u64,
    /// When it said so.
    beaten: Option<Instant>,
    set_back: Option<SetBack>,
}

/// Redis counts this worker's beats from less than it had confirmed.
#[derive(Debug, Clone, Copy)]
pub struct SetBack {
    /// What it counts now.
    pub counter: u64,
    /// This worker was silent for so long that others may have removed it, so nothing need be lost.
    pub slept: bool,
}

impl Membership {
    /// A worker that calls others dead after `ttl`.
    pub fn new(id: String, ttl: Duration) -> Self {
        Self {
            id,
            observer: Observer::new(ttl),
            known: BTreeSet::new(),
            counter: 0,
            beaten: None,
            set_back: None,
        }
    }

    /// Shows that this worker lives and returns who else does. Removes the dead.
    pub async fn beat(
        &mut self,
        library: &Library,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<BTreeSet<String>> {
        let call = library
            .call("beat", &[keys::WORKERS.to_owned()])
            .arg(&self.id)
            .to_owned();
        let counters: HashMap<String, u64> = match library.run(connection, &call).await {
            Ok(counters) => counters,
            Err(error) => {
                self.observer.interrupted();
                return Err(error);
            }
        };
        let counter = counters.get(&self.id).copied().unwrap_or_default();
        let now = Instant::now();
        if counter <= self.counter {
            let silence = self.beaten.map_or(Duration::ZERO, |last| now - last);
            let slept = counter == 1 && silence >= self.observer.ttl;
            self.set_back = Some(SetBack { counter, slept });
        }
        (self.counter, self.beaten) = (counter, Some(now));
        if counter == 1 {
            hint(connection).await?;
        }
        let (mut alive, dead) = self.observer.observe(now, &counters);
        alive.insert(self.id.clone());
        for id in dead.iter().filter(|id| **id != self.id) {
            warn!(worker = id, "worker is dead: its counter stands still");
            redis::cmd("HDEL")
                .arg(keys::WORKERS)
                .arg(id)
                .exec_async(connection)
                .await?;
        }
        if alive != self.known {
            info!(workers = alive.len(), "the set of live workers has changed");
            self.known.clone_from(&alive);
        }
        Ok(alive)
    }

    /// A beat was given up: nobody's silence since the last one counts.
    pub fn interrupted(&mut self) {
        self.observer.interrupted();
    }

    /// Whether this worker's counter was found lower than Redis had said before; told once.
    pub fn take_set_back(&mut self) -> Option<SetBack> {
        self.set_back.take()
    }

    /// What could not be looked into yet is asked for again.
    pub fn keep_set_back(&mut self, set_back: SetBack) {
        self.set_back = Some(set_back);
    }

    /// Leaves: the others need not wait for the TTL.
    pub async fn leave(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        redis::cmd("HDEL")
            .arg(keys::WORKERS)
            .arg(&self.id)
            .exec_async(connection)
            .await?;
        self.counter = 0;
        hint(connection).await
    }
}

/// Tells the other workers to look at once. Losing it costs them a heartbeat.
pub async fn hint(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    redis::cmd("PUBLISH")
        .arg(keys::WORKERS_CHANNEL)
        .arg("")
        .exec_async(connection)
        .await
}

/// Turns hints into `changed`, those about webhooks into `hooks`, until `shutdown`.
pub async fn listen(redis: Redis, changed: &Notify, hooks: &Hints, shutdown: CancellationToken) {
    let channels = [keys::WORKERS_CHANNEL, keys::HOOKS_CHANNEL];
    while !shutdown.is_cancelled() {
        match redis.subscriber().await {
            Ok(mut subscriber) => match subscriber.subscribe(&channels).await {
                Ok(()) => {
                    hooks.put_all();
                    let mut hints = subscriber.on_message();
                    while let Some(Some(hint)) = shutdown.run_until_cancelled(hints.next()).await {
                        if hint.get_channel_name() == keys::HOOKS_CHANNEL {
                            note_hook(&hint, hooks);
                        } else {
                            changed.notify_one();
                        }
                    }
                }
                Err(error) => warn!(%error, "cannot subscribe to hints"),
            },
            Err(error) => warn!(%error, "cannot connect for hints"),
        }
        shutdown
            .run_until_cancelled(tokio::time::sleep(RESUBSCRIBE_PAUSE))
            .await;
    }
}

/// A hint names its shard.
fn note_hook(hint: &Msg, hooks: &Hints) {
    let shard = std::str::from_utf8(hint.get_payload_bytes()).ok();
    let shard = shard.and_then(|shard| Shard::new(shard.parse().ok()?));
    match shard {
        Some(shard) => hooks.put(shard),
        None => hooks.put_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(pairs: &[(&str, u64)]) -> HashMap<String, u64> {
        pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect()
    }

    #[test]
    fn a_counter_that_stands_still_for_the_ttl_is_dead() {
        let mut observer = Observer::new(Duration::from_secs(5));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        for (second, a) in [(0, 1), (2, 2), (4, 3)] {
            let (alive, _) = observer.observe(at(second), &counters(&[("a", a), ("b", 1)]));
            assert_eq!(alive.len(), 2, "at {second} s");
        }
        let (alive, dead) = observer.observe(at(5), &counters(&[("a", 4), ("b", 1)]));
        assert!(alive.contains("a") && dead.contains("b"));
    }

    #[test]
    fn a_time_without_readings_kills_nobody() {
        let mut observer = Observer::new(Duration::from_secs(5));
        let start = Instant::now();
        let late = start + Duration::from_secs(60);
        observer.observe(start, &counters(&[("a", 1)]));
        // This process was stopped meanwhile.
        assert!(observer.observe(late, &counters(&[("a", 1)])).1.is_empty());
        // A reading failed.
        observer.interrupted();
        let (alive, dead) = observer.observe(late + Duration::from_secs(2), &counters(&[("a", 1)]));
        assert!(alive.contains("a") && dead.is_empty());
    }
}
