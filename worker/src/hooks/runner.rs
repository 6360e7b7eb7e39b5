//! One hook, while there is something to deliver to it.
//!
//! A receiver that answers gets its deliveries one after the other, in order. When more wait, several are under way at
//! once, but never two of one conversation. One that has failed twice in a row gets one at a time.
//!
//! What is taken is claimed for [`CLAIM`], and the claim is renewed while it is under way: if this worker
//! dies somebody else takes it again then.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    CLAIM_MS, HookName,
    attempt::{self, NotDelivered, Outcome},
    health::Health,
    metrics::METRICS,
    queue::{Delivery, Report, Taken, What},
    role::Shared,
    sender::Failure,
};

/// For how long a worker that falls silent keeps what it was delivering.
const CLAIM: Duration = Duration::from_millis(CLAIM_MS);
/// How often claims are renewed, and reports that did not get through are made again.
const RENEW: Duration = Duration::from_secs(5);
/// How long to wait after a failure of Redis before anything else is asked of it for this hook.
const PAUSE: Duration = Duration::from_secs(1);
/// Most deliveries of one hook under way at once.
const MAX_AT_ONCE: usize = 8;
/// For each that wait so many one more is under way.
const PER_WAITING: usize = 8;

/// One hook being served.
pub(super) struct Runner {
    hook: HookName,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    health: Health,
    /// Deliveries taken and not settled, with their conversations.
    claimed: BTreeMap<String, String>,
    /// Of conversations with one under way: what comes after it.
    behind: BTreeMap<String, VecDeque<Delivery>>,
    reports: Vec<Report>,
    /// How many waited in Redis at the last look.
    waiting: usize,
    outcomes: mpsc::UnboundedSender<Outcome>,
    settled: mpsc::UnboundedReceiver<Outcome>,
}

impl Runner {
    pub(super) fn new(
        hook: HookName,
        shared: Arc<Shared>,
        wake: Arc<Notify>,
        stop: CancellationToken,
        health: Health,
    ) -> Self {
        let (outcomes, settled) = mpsc::unbounded_channel();
        Self {
            hook,
            shared,
            wake,
            stop,
            health,
            claimed: BTreeMap::new(),
            behind: BTreeMap::new(),
            reports: Vec::new(),
            waiting: 0,
            outcomes,
            settled,
        }
    }

    /// Delivers until there is nothing to do, or it is told to stop; what is under way then is finished.
    /// Returns the hook, how its receiver does, and by what it was woken.
    pub(super) async fn run(mut self) -> (HookName, Health, Arc<Notify>) {
        let mut renew = tokio::time::interval(RENEW);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.tick().await;
        let (mut more, mut stopping) = (true, false);
        loop {
            if self.stop.is_cancelled() {
                more = false;
            }
            if more && !self.reports.is_empty() {
                // Or what has arrived would be taken again where its claim ended meanwhile.
                self.report(Vec::new()).await;
            }
            let room = self.at_once().saturating_sub(self.claimed.len());
            if more && room > 0 && self.reports.is_empty() {
                more = self.take(room).await;
            }
            let done = self.claimed.is_empty();
            if !more && done && (self.reports.is_empty() || self.stop.is_cancelled()) {
                return (self.hook, self.health, self.wake);
            }
            tokio::select! {
                Some(outcome) = self.settled.recv(), if !done => {
                    self.settle(outcome);
                    while let Ok(outcome) = self.settled.try_recv() {
                        self.settle(outcome);
                    }
                    self.report(Vec::new()).await;
                    // What came meanwhile nobody has said: who holds claims is not hinted at.
                    more = true;
                }
                () = self.wake.notified() => more = true,
                // Whoever serves it next need not wait for what is under way here.
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    let reports = std::mem::take(&mut self.reports);
                    self.tell(reports).await;
                }
                _ = renew.tick() => {
                    let hold = |member: &String| Report { member: member.clone(), what: What::Hold(CLAIM) };
                    self.report(self.claimed.keys().map(hold).collect()).await;
                }
            }
        }
    }

    /// How many may be under way.
    fn at_once(&self) -> usize {
        if self.health.is_sick() {
            1
        } else {
            (1 + self.waiting / PER_WAITING).min(MAX_AT_ONCE)
        }
    }

    /// Takes what there is and begins to deliver it. False if there is no more for now.
    async fn take(&mut self, room: usize) -> bool {
        let attempts = self.shared.schedule.attempts();
        let queue = &self.shared.queue;
        let taken = match queue
            .take(&self.hook, room, CLAIM, attempts, self.claimed.len())
            .await
        {
            Ok(Some(taken)) => taken,
            Ok(None) => return false,
            Err(error) => {
                // What was taken all the same is due again when its claim has run out.
                warn!(%error, site = %self.hook.site, hook = %self.hook.id, "cannot take webhooks");
                tokio::time::sleep(PAUSE).await;
                return false;
            }
        };
        self.look_at(&taken);
        let all = taken.deliveries.len() < room;
        for delivery in taken.deliveries {
            let conversation = delivery.conversation.clone();
            self.claimed
                .insert(delivery.member.clone(), conversation.clone());
            if let Some(behind) = self.behind.get_mut(&conversation) {
                behind.push_back(delivery);
            } else {
                self.behind.insert(conversation, VecDeque::new());
                self.send(delivery);
            }
        }
        !all || self.waiting > 0
    }

    fn look_at(&mut self, taken: &Taken) {
        self.waiting = taken.waiting;
        if taken.dropped > 0 {
            warn!(site = %self.hook.site, hook = %self.hook.id, dropped = taken.dropped,
                "webhooks were dropped: too many wait for this receiver");
        }
    }

    /// Begins an attempt.
    fn send(&self, delivery: Delivery) {
        let shared = Arc::clone(&self.shared);
        attempt::begin(
            shared,
            self.hook.clone(),
            self.health,
            delivery,
            self.outcomes.clone(),
        );
    }

    /// Notes what became of an attempt, and begins the next one of its conversation.
    fn settle(&mut self, outcome: Outcome) {
        let Outcome {
            delivery,
            result,
            took,
        } = outcome;
        let what = match result {
            Ok(()) => {
                if self.health.has_failed() {
                    info!(site = %self.hook.site, hook = %self.hook.id, "the receiver of webhooks answers again");
                }
                self.health = Health::answered(took);
                METRICS.attempts.with_label_values(&["delivered"]).inc();
                What::Delivered
            }
            Err(NotDelivered::NotSent) => What::Back(Duration::ZERO),
            Err(NotDelivered::Failed(failure)) => self.failed(&delivery, failure),
        };
        if let Some(conversation) = self.claimed.remove(&delivery.member)
            && let Some(behind) = self.behind.get_mut(&conversation)
        {
            match behind.pop_front() {
                Some(next) => self.send(next),
                None => drop(self.behind.remove(&conversation)),
            }
        }
        let member = delivery.member;
        self.reports.push(Report { member, what });
    }

    fn failed(&mut self, delivery: &Delivery, failure: Failure) -> What {
        let (site, hook, id) = (&self.hook.site, &self.hook.id, &delivery.id);
        self.health.fail();
        if self.health.failures() == 1 {
            warn!(%site, %hook, id, why = %failure, "a webhook was not delivered; it is tried again");
        } else {
            debug!(%site, %hook, id, why = %failure, "a webhook was not delivered");
        }
        let asked = match failure {
            Failure::Status(_, retry_after) => retry_after,
            _ => None,
        };
        if let Some(pause) = self.shared.schedule.pause(delivery.attempts, asked) {
            METRICS.attempts.with_label_values(&["failed"]).inc();
            What::Retry(pause, failure.to_string())
        } else {
            METRICS.attempts.with_label_values(&["parked"]).inc();
            warn!(%site, %hook, id, why = %failure, "a webhook is parked: its last attempt has failed");
            What::Park(failure.to_string())
        }
    }

    /// Tells Redis what there is to tell. What does not get through is told again later, if it still counts then.
    async fn report(&mut self, mut also: Vec<Report>) {
        also.append(&mut self.reports);
        if !also.is_empty() {
            self.tell(also).await;
        }
    }

    /// The same, and for how long claims are held.
    async fn tell(&mut self, mut also: Vec<Report>) {
        let held = if self.claimed.is_empty() || self.stop.is_cancelled() {
            Duration::ZERO
        } else {
            CLAIM
        };
        if let Err(error) = self.shared.queue.done(&self.hook, held, &also).await {
            warn!(%error, site = %self.hook.site, hook = %self.hook.id, "cannot say what became of webhooks");
            // A claim ends by itself, and what was given back may be taken again meanwhile under the same name.
            also.retain(|report| !matches!(report.what, What::Hold(_) | What::Back(_)));
            self.reports = also;
        }
    }
}
