//! Which hooks have something to deliver, and who serves them: one [`Runner`] each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use frontdesk_shared::ids::Shard;
use redis::RedisResult;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    HookName, MAX_DUE_HOOKS,
    health::{Health, Sick},
    hints::Hints,
    metrics::METRICS,
    queue::Queue,
    runner::Runner,
    schedule::Schedule,
    sender::Sender,
    slots::Slots,
    sweep::{Held, Sweep},
};
use crate::lane::{Lanes, reads_lane_0};

/// How often shards with webhooks are looked at, hinted at or not, and the metrics are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the others are: a new webhook is hinted at, and this is for lost hints. Most shards have none, and a
/// look is six commands.
const REST_EVERY: Duration = Duration::from_secs(30);
/// How soon a shard is looked at again, however many hints there are.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How long a stop waits for receivers. What they have not answered by then is delivered again by another worker.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked which shards are ours; costs no command.
const OWN_EVERY: Duration = Duration::from_millis(500);

/// What all hooks share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) sender: Sender,
    pub(super) slots: Slots,
    pub(super) schedule: Schedule,
    pub(super) keep: Duration,
}

/// A shard whose hooks this worker serves.
struct Own {
    stop: CancellationToken,
    /// When to look at it.
    look: Instant,
    /// Not before this.
    rested: Instant,
    has_hooks: bool,
    sweep: Sweep,
}

/// What a server of a hook leaves behind.
type Ended = (HookName, Health, Arc<Notify>);

/// Serves the hooks of the shards whose lane 0 this worker reads.
pub(super) struct Role {
    shared: Arc<Shared>,
    active: BTreeMap<Shard, watch::Receiver<Lanes>>,
    hints: Arc<Hints>,
    own: BTreeMap<Shard, Own>,
    runners: JoinSet<Ended>,
    /// Who serves a hook: what wakes them, and what tells them to stop.
    served: HashMap<HookName, (Arc<Notify>, CancellationToken)>,
    sick: Sick,
    stats: Instant,
}

impl Role {
    pub(super) fn new(
        shared: Shared,
        active: BTreeMap<Shard, watch::Receiver<Lanes>>,
        hints: Arc<Hints>,
    ) -> Self {
        Self {
            shared: Arc::new(shared),
            active,
            hints,
            own: BTreeMap::new(),
            runners: JoinSet::new(),
            served: HashMap::new(),
            sick: Sick::default(),
            stats: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.follow_lanes();
            if let Err(error) = self.look().await {
                warn!(%error, "cannot look for webhooks");
            }
            let now = Instant::now();
            let next = self.own.values().map(|own| own.look).min();
            let next = next.unwrap_or(now + OWN_EVERY).min(now + OWN_EVERY);
            let hints = Arc::clone(&self.hints);
            tokio::select! {
                () = hints.wait() => {
                    for shard in hints.take() {
                        self.look_soon(shard);
                    }
                }
                Some(ended) = self.runners.join_next() => self.note_end(ended),
                () = sleep_until(next) => {}
                () = shutdown.cancelled() => {}
            }
        }
        for own in self.own.values() {
            own.stop.cancel();
        }
        let ended = async { while self.runners.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            info!("some receivers of webhooks have not answered yet; others ask them again");
        }
    }

    /// Takes up shards that are ours now, and gives up those that are not.
    fn follow_lanes(&mut self) {
        for (shard, lanes) in &self.active {
            if !reads_lane_0(lanes) {
                if let Some(own) = self.own.remove(shard) {
                    own.stop.cancel();
                }
            } else if !self.own.contains_key(shard) {
                let own = Own {
                    stop: CancellationToken::new(),
                    look: Instant::now(),
                    rested: Instant::now(),
                    has_hooks: false,
                    sweep: Sweep::new(Instant::now()),
                };
                self.own.insert(*shard, own);
            }
        }
    }

    fn look_soon(&mut self, shard: Shard) {
        if let Some(own) = self.own.get_mut(&shard) {
            own.look = own.look.min(own.rested);
        }
    }

    fn note_end(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let (hook, health, wake) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // It is not known whose: whoever has ended is taken up again.
                warn!(%error, "a server of webhooks broke");
                self.served
                    .retain(|_, (wake, _)| Arc::strong_count(wake) > 1);
                return;
            }
        };
        let served = self.served.get(&hook);
        if served.is_some_and(|(newest, _)| Arc::ptr_eq(newest, &wake)) {
            self.served.remove(&hook);
        }
        // What came while it ended it may not have seen.
        self.look_soon(hook.shard());
        self.sick.note(hook, health, Instant::now());
    }

    /// Looks at the shards whose time it is.
    async fn look(&mut self) -> RedisResult<()> {
        let now = Instant::now();
        let due = self.own.iter().filter(|(_, own)| own.look <= now);
        let shards: Vec<Shard> = due.map(|(shard, _)| *shard).collect();
        if !shards.is_empty() {
            // Also if it fails: then there is a pause.
            for shard in &shards {
                if let Some(own) = self.own.get_mut(shard) {
                    own.look = now + LOOK_EVERY;
                    own.rested = now + LOOK_PAUSE;
                }
            }
            let found = self.shared.queue.due(&shards).await?;
            for (shard, due) in shards.into_iter().zip(found) {
                let Some(own) = self.own.get_mut(&shard) else {
                    continue;
                };
                own.has_hooks = due.has_hooks;
                let every = if due.has_hooks {
                    LOOK_EVERY
                } else {
                    REST_EVERY
                };
                let later = due.later.unwrap_or(every).min(every);
                // There may be more than it is told of at once.
                let full = u64::try_from(due.hooks.len()).is_ok_and(|found| found >= MAX_DUE_HOOKS);
                let next = if full {
                    LOOK_PAUSE
                } else {
                    later.max(LOOK_PAUSE)
                };
                own.look = Instant::now() + next;
                let stop = own.stop.clone();
                for hook in due.hooks.into_iter().filter(|it| it.shard() == shard) {
                    self.serve(hook, &stop);
                }
            }
        }
        if self.stats <= now {
            self.stats = now + LOOK_EVERY;
            self.sick.forget(now);
            self.sweep(now).await;
        }
        Ok(())
    }

    /// Sees what the shards hold, and has them forget what was kept for long.
    async fn sweep(&mut self, now: Instant) {
        let (queue, keep) = (&self.shared.queue, self.shared.keep);
        let mut held = Held::default();
        for (shard, own) in &mut self.own {
            if own.has_hooks {
                if let Err(error) = own.sweep.step(queue, *shard, keep, now).await {
                    warn!(%error, shard = shard.number(), "cannot see what waits for webhooks");
                }
            } else {
                own.sweep.skip();
            }
            for (sum, part) in held.iter_mut().zip(own.sweep.held()) {
                *sum += part;
            }
        }
        METRICS.show(held);
    }

    fn serve(&mut self, hook: HookName, stop: &CancellationToken) {
        // Who was told to stop, since the shard was another's for a while, only finishes what is under way.
        if let Some((wake, stopping)) = self.served.get(&hook)
            && !stopping.is_cancelled()
        {
            wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        let serving = (Arc::clone(&wake), stop.clone());
        self.served.insert(hook.clone(), serving);
        let health = self.sick.health(&hook, Instant::now());
        let shared = Arc::clone(&self.shared);
        let runner = Runner::new(hook, shared, wake, stop.clone(), health);
        self.runners.spawn(runner.run());
    }
}
