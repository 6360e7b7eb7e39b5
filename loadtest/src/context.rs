//! What a scenario has at hand in its process: who it is, where the load goes, what it records, and
//! when it begins and ends.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Identity, OpenError, Socket},
    config::Load,
    count::Counts,
    latency::{Kind, Latencies, micros},
    scenario::Scenario,
    target::{Gateway, Side},
    tokens::Tokens,
};

/// What one process of the load has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) load: Load,
    pub(crate) run: String,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) sites: Vec<String>,
    /// Which process this is, of how many.
    pub(crate) index: u32,
    pub(crate) processes: u32,
}

impl Plan {
    /// This process's part of a number of things: which ones, by global number.
    pub(crate) fn share(&self, total: u64) -> std::ops::Range<u64> {
        let (index, count) = (u64::from(self.index), u64::from(self.processes.max(1)));
        total * index / count..total * (index + 1) / count
    }

    /// Measured and warm-up time.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.load.warmup_s + self.load.duration_s)
    }
}

/// Counts and the latencies since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) counts: Counts,
    pub(crate) latencies: Latencies,
}

/// Shared by all tasks of a process.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) plan: Plan,
    /// What its users come with, unless the gateways are in open mode.
    tokens: Option<Arc<Tokens>>,
    record: Mutex<Record>,
    /// Says that everything is prepared, with the number of connections.
    ready: mpsc::UnboundedSender<u64>,
    /// How many stages may begin.
    go: watch::Receiver<u32>,
    /// How many were asked for.
    stages: AtomicU32,
    /// The load ends now; what is under way may finish.
    pub(crate) stop: CancellationToken,
    /// The two clocks at the start of this process.
    clocks: (Instant, Duration),
}

impl Context {
    pub(crate) fn new(
        plan: Plan,
        ready: mpsc::UnboundedSender<u64>,
        go: watch::Receiver<u32>,
    ) -> Arc<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Arc::new(Self {
            // The variable was there when the plan was made; without it the gateways refuse.
            tokens: Tokens::of(&plan.load).ok().flatten(),
            plan,
            record: Mutex::default(),
            ready,
            go,
            stages: AtomicU32::new(0),
            stop: CancellationToken::new(),
            clocks: (Instant::now(), since.unwrap_or_default()),
        })
    }

    /// The counts and histograms, for a moment.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.record().counts);
    }

    pub(crate) fn measure(&self, kind: Kind, since: Instant) {
        let latency = since.elapsed();
        self.record().latencies.record(kind, latency);
    }

    /// Says that this process is prepared for the next stage; waits until all are. Gives the moment
    /// at which it begins. The first one is the beginning of the load.
    pub(crate) async fn ready(&self, connections: u64) -> Result<Instant> {
        let stage = self.stages.fetch_add(1, Ordering::Relaxed);
        self.ready.send(connections)?;
        let mut go = self.go.clone();
        go.wait_for(|go| *go > stage).await?;
        Ok(Instant::now())
    }

    /// A moment in µs since 1970: comparable between the processes of one machine.
    pub(crate) fn wall_us(&self, moment: Instant) -> u64 {
        micros(self.clocks.1 + moment.saturating_duration_since(self.clocks.0))
    }

    /// The moment that [`Self::wall_us`] gave, here or in another process of this machine.
    pub(crate) fn moment(&self, wall_us: u64) -> Instant {
        let since = wall_us.saturating_sub(micros(self.clocks.1));
        self.clocks.0 + Duration::from_micros(since)
    }

    /// Who the `index`-th customer or staff member of the run is.
    pub(crate) fn identity(&self, side: Side, index: u64) -> Identity {
        let plan = &self.plan;
        let sites = u64::try_from(plan.sites.len()).unwrap_or(1).max(1);
        let place = usize::try_from(index % sites).unwrap_or(0);
        let uid = |side: Side| format!("{}.{}{index}", plan.run, side.letter());
        let other = side.other();
        Identity {
            gateway: plan.gateways[self.gateway_of(side, index)].clone(),
            site: plan.sites[place].clone(),
            uid: uid(side),
            side,
            tokens: self.tokens.clone(),
            peer: plan
                .load
                .bare
                .then(|| (self.gateway_of(other, index), uid(other))),
        }
    }

    /// The place of a user's gateway in the list.
    pub(crate) fn gateway_of(&self, side: Side, index: u64) -> usize {
        let sites = u64::try_from(self.plan.sites.len()).unwrap_or(1).max(1);
        // Sites go round as the gateways do: without a shift a site would have its own gateway.
        let shift = if sites > 1 { index / sites } else { 0 };
        side.gateway(index + shift, self.plan.gateways.len())
    }

    /// Waits until the measured time is over or the user stops it; from then on nothing new begins.
    pub(crate) async fn until_over(&self, began: Instant) {
        let over = tokio::time::sleep_until((began + self.plan.length()).into());
        tokio::select! {
            () = over => self.stop.cancel(),
            () = self.stop.cancelled() => {}
        }
    }

    /// Connects and takes the `welcome`, trying again as the protocol says, until it succeeds or
    /// `patience` is over.
    pub(crate) async fn enter(
        &self,
        who: &Identity,
        patience: Duration,
    ) -> Result<Socket, OpenError> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match Socket::enter(who).await {
                Ok(socket) => {
                    self.count(|counts| counts.connected += 1);
                    return Ok(socket);
                }
                Err(error) => error,
            };
            // 4xx: trying again would not help, except for "too many requests".
            let hopeless = matches!(error, OpenError::Refused(status) if (400..500).contains(&status) && status != 429);
            if hopeless || Instant::now() + pause > deadline {
                return Err(error);
            }
            self.count(|counts| counts.retried += 1);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}
