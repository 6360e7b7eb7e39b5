//! The lease keeper: which lanes this worker reads. One task; everything else follows its grants.
//!
//! A round: heartbeat, list of live workers, our share, lease calls, grants to the readers. A lane
//! that moves away is first dropped by its reader, then released, then the others get a hint: so a
//! clean change of hands needs no TTL. Leases are for liveness only; two readers of one lane do
//! each other no harm (lua/apply.lua).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use frontdesk_shared::{
    ids::Shard,
    keys,
    redis::{Redis, RedisSetupError},
};
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Context, Lanes, share::share};
use crate::{
    membership::{self, Membership, SetBack},
    metrics::METRICS,
};

/// Time to wait for a lane that somebody else still holds.
const RETRY: Duration = Duration::from_millis(250);
/// How long a reader may take to drop a lane before its lease is kept for another round.
const DROP_PATIENCE: Duration = Duration::from_secs(1);
/// How long a worker that met an entry of a newer version leaves all lanes to newer workers.
const STANDBY: Duration = Duration::from_secs(30);

/// How long a beat may be unanswered before another connection is tried.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much later than on another connection an answer may come.
const GRACE: Duration = Duration::from_millis(200);

/// Timing of leases and heartbeats.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Lease TTL, and how long a silent worker counts as alive.
    pub lease: Duration,
    /// Time between heartbeats.
    pub heartbeat: Duration,
}

impl Timing {
    /// A lease's time in Redis. A dead worker's lanes move once others have seen its counter stand still
    /// for `lease`, which takes up to a heartbeat more; so long its leases may take to fade.
    fn ttl(self) -> Duration {
        self.lease + self.heartbeat
    }

    /// How old leases become, since to renew them costs Redis a command per lane: so old that they
    /// still outlast a round that fails.
    fn renew_after(self) -> Duration {
        self.ttl().saturating_sub(self.heartbeat * 5 / 2)
    }
}

/// The keeper's end of one shard's reader.
#[derive(Debug)]
pub struct Slot {
    /// What the reader may read.
    pub granted: watch::Sender<Lanes>,
    /// What it reads.
    pub active: watch::Receiver<Lanes>,
}

/// Keeps this worker's leases.
pub struct Keeper {
    context: Context,
    membership: Membership,
    timing: Timing,
    token: String,
    slots: BTreeMap<Shard, Slot>,
    held: BTreeMap<Shard, Lanes>,
    connection: Option<MultiplexedConnection>,
    renewed: Option<Instant>,
    standby_until: Option<Instant>,
    /// Whether the others have been told of the standby: once, since telling wakes everybody.
    left: bool,
    ready: watch::Sender<bool>,
}

impl Keeper {
    /// A keeper for the worker `id`, which tells `ready` whether its rounds succeed.
    pub fn new(
        context: Context,
        id: String,
        timing: Timing,
        slots: BTreeMap<Shard, Slot>,
        ready: watch::Sender<bool>,
    ) -> Self {
        let token = format!("{id}.{}", Uuid::new_v4().simple());
        let membership = Membership::new(id, timing.lease);
        Self {
            context,
            membership,
            timing,
            token,
            slots,
            held: BTreeMap::new(),
            connection: None,
            renewed: None,
            standby_until: None,
            left: false,
            ready,
        }
    }

    /// Keeps leases until `shutdown`, then gives them back.
    pub async fn run(mut self, changed: &Notify, shutdown: CancellationToken) {
        let signals = self.context.signals.clone();
        while !shutdown.is_cancelled() {
            let complete = match self.round().await {
                Ok(complete) => complete,
                Err(error) => {
                    warn!(%error, "lease round failed; keeping what we read");
                    self.connection = None;
                    self.ready.send_replace(false);
                    true
                }
            };
            let pause = if complete {
                self.timing.heartbeat
            } else {
                RETRY
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = changed.notified() => {}
                () = signals.recheck.notified() => self.renewed = None,
                () = signals.outdated.notified() => {
                    warn!("an entry is of a newer version than this program: leaving the lanes to newer workers");
                    self.standby_until = Some(Instant::now() + STANDBY);
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.give_back().await;
    }

    /// One round. Returns whether there is nothing to wait for.
    async fn round(&mut self) -> RedisResult<bool> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.context.redis.connect().await?,
        };
        let standby = self
            .standby_until
            .is_some_and(|until| Instant::now() < until);
        let wanted: BTreeMap<Shard, Lanes> = if standby {
            if !self.left {
                self.membership.leave(&mut connection).await?;
                self.left = true;
            }
            BTreeMap::new()
        } else {
            self.left = false;
            let alive = self.beat(&mut connection).await?;
            if let Some(set_back) = self.membership.take_set_back() {
                self.after_a_loss(set_back).await;
            }
            let me = &self.membership.id;
            self.slots
                .keys()
                .map(|shard| (*shard, share(&alive, me, *shard)))
                .collect()
        };
        let settled = self
            .slots
            .keys()
            .all(|shard| self.held.get(shard) == wanted.get(shard));
        let fresh = self
            .renewed
            .is_some_and(|at| at.elapsed() < self.timing.renew_after());
        if !(settled && fresh) {
            self.shrink(&wanted).await;
            let released = self.lease(&mut connection, &wanted).await?;
            self.grant(&wanted);
            if released {
                membership::hint(&mut connection).await?;
            }
            self.renewed = Some(Instant::now());
        }
        self.connection = Some(connection);
        let complete = self
            .slots
            .keys()
            .all(|shard| self.held.get(shard) == wanted.get(shard));
        self.ready.send_replace(complete && !standby);
        Ok(complete || standby)
    }

    /// One beat. If it is not answered while a new connection is, its connection is dead, and those
    /// of the readers may be, too (a cable, a firewall): they begin anew, sooner than they would by
    /// their own timeouts. A Redis that is only slow answers nobody, and changes nothing.
    async fn beat(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<BTreeSet<String>> {
        let library = self.context.library.clone();
        let other = {
            let beat = self.membership.beat(&library, connection);
            tokio::pin!(beat);
            tokio::select! {
                alive = &mut beat => return alive,
                other = another_connection(&self.context.redis) => {
                    let other = other?;
                    match tokio::time::timeout(GRACE, &mut beat).await {
                        Ok(alive) => return alive,
                        Err(_silent) => other,
                    }
                }
            }
        };
        warn!("a connection to Redis is silent while another one is answered: all begin anew");
        self.membership.interrupted();
        self.context.signals.renew.send_modify(|times| *times += 1);
        *connection = other;
        self.membership.beat(&library, connection).await
    }

    /// Redis counts this worker's beats from less than it had confirmed. Says what that means, and sees
    /// to it that the cluster's shape is known again; positions are read anew with each session.
    async fn after_a_loss(&mut self, set_back: SetBack) {
        let counter = set_back.counter;
        let app = self.context.app.name();
        match self.context.redis.check_cluster(Some(app)).await {
            Ok(true) => {
                METRICS.data_losses.inc();
                error!("Redis has lost everything: the cluster begins anew");
            }
            Ok(false) if !set_back.slept => {
                METRICS.data_losses.inc();
                error!(
                    counter,
                    "Redis has lost writes that it had confirmed (docs/OPERATIONS.md, loss windows)"
                );
            }
            Ok(false) => warn!("others have counted this worker as dead; it goes on"),
            Err(error @ RedisSetupError::OtherCluster { .. }) => {
                error!(%error, "not the cluster that this worker was started for");
                self.standby_until = Some(Instant::now() + STANDBY);
            }
            Err(error) => {
                warn!(%error, "cannot see yet what Redis has lost");
                self.membership.keep_set_back(set_back);
            }
        }
    }

    /// Makes readers drop the lanes that are no longer wanted, and waits for them a while.
    async fn shrink(&mut self, wanted: &BTreeMap<Shard, Lanes>) {
        let deadline = tokio::time::Instant::now() + DROP_PATIENCE;
        let none = Lanes::new();
        for (shard, slot) in &self.slots {
            let want = wanted.get(shard).unwrap_or(&none);
            slot.granted.send_if_modified(|granted| {
                let before = granted.len();
                granted.retain(|lane| want.contains(lane));
                granted.len() != before
            });
        }
        for (shard, slot) in &mut self.slots {
            let want = wanted.get(shard).unwrap_or(&none).clone();
            let dropped = slot.active.wait_for(|active| active.is_subset(&want));
            let _ = tokio::time::timeout_at(deadline, dropped).await;
        }
    }

    /// Takes, renews and releases leases in one pipeline. Returns whether any was released.
    async fn lease(
        &mut self,
        connection: &mut MultiplexedConnection,
        wanted: &BTreeMap<Shard, Lanes>,
    ) -> RedisResult<bool> {
        let mut calls = Vec::new();
        let mut asked: Vec<(Shard, Vec<frontdesk_shared::ids::Lane>)> = Vec::new();
        let (mut released, none) = (false, Lanes::new());
        for (shard, slot) in &self.slots {
            let want = wanted.get(shard).unwrap_or(&none);
            let keep: Lanes = want.union(&slot.active.borrow()).copied().collect();
            let lanes: Vec<_> = keep
                .union(self.held.get(shard).unwrap_or(&none))
                .copied()
                .collect();
            if lanes.is_empty() {
                continue;
            }
            let names: Vec<String> = lanes
                .iter()
                .map(|lane| keys::lease(*shard, *lane))
                .collect();
            let mut call = self.context.library.call("lease", &names);
            call.arg(self.timing.ttl().as_millis().to_string())
                .arg(&self.token);
            let held = self.held.get(shard).unwrap_or(&none);
            for lane in &lanes {
                call.arg(match (keep.contains(lane), held.contains(lane)) {
                    (true, true) => "renew",
                    (true, false) => "take",
                    (false, _) => "release",
                });
                released |= !keep.contains(lane);
            }
            calls.push(call);
            asked.push((*shard, lanes));
        }
        if asked.is_empty() {
            self.held.clear();
            return Ok(false);
        }
        let answers: Vec<Vec<i64>> = self.context.library.run_pipeline(connection, calls).await?;
        self.held = asked
            .into_iter()
            .zip(answers)
            .map(|((shard, lanes), held)| {
                let ours = lanes
                    .into_iter()
                    .zip(held)
                    .filter(|(_, held)| *held == 1)
                    .map(|(lane, _)| lane);
                (shard, ours.collect())
            })
            .collect();
        for shard in self.slots.keys() {
            self.held.entry(*shard).or_default();
        }
        Ok(released)
    }

    /// Lets readers read what is wanted and held.
    fn grant(&self, wanted: &BTreeMap<Shard, Lanes>) {
        let none = Lanes::new();
        let mut total = 0;
        for (shard, slot) in &self.slots {
            let held = self.held.get(shard).unwrap_or(&none);
            let lanes: Lanes = held
                .intersection(wanted.get(shard).unwrap_or(&none))
                .copied()
                .collect();
            total += lanes.len();
            slot.granted.send_if_modified(|granted| {
                let changed = *granted != lanes;
                granted.clone_from(&lanes);
                changed
            });
        }
        METRICS.lanes.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    /// The end: readers finish what they apply, then leases and membership are given back.
    async fn give_back(mut self) {
        let nothing = BTreeMap::new();
        self.shrink(&nothing).await;
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.context.redis.connect().await,
        };
        let done = match connection {
            Ok(mut connection) => match self.lease(&mut connection, &nothing).await {
                Ok(_) => self.membership.leave(&mut connection).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => info!("leases given back"),
            Err(error) => warn!(%error, "leases not given back; others take over after their TTL"),
        }
    }
}
/// A new connection that is answered, after a while.
async fn another_connection(redis: &Redis) -> RedisResult<MultiplexedConnection> {
    tokio::time::sleep(PATIENCE).await;
    let mut other = redis.connect().await?;
    redis::cmd("TIME").exec_async(&mut other).await?;
    Ok(other)
}
