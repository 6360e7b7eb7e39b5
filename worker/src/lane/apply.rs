//! Applies one lane's entries in order: decodes and prepares what has arrived, calls the apply
//! script with it, and what arrives during the call is the next call. One at low load, up to
//! [`MAX_ENTRIES_PER_CALL`] under load.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use frontdesk_shared::{
    event::{DecodeError, Event, Kind},
    ids::{Lane, Shard, StreamId},
    keys,
    redis::text,
};
use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::{Context, acks::Outgoing};
use crate::{
    app::{App, Transition},
    library::{Outcome, Prepared, event_id},
    metrics::METRICS,
};

/// Most entries in one call of the apply script.
pub const MAX_ENTRIES_PER_CALL: usize = 32;
/// After how many applied entries a lane's stream is trimmed.
const TRIM_EVERY: usize = 512;
/// How long a lane must be quiet to be trimmed earlier.
const TRIM_QUIET: Duration = Duration::from_secs(10);

/// An entry as it was read.
#[derive(Debug)]
pub struct Entry {
    /// Its place in the stream.
    pub id: StreamId,
    /// Its fields.
    pub fields: HashMap<String, Value>,
}

/// Why a lane's applier gave up. The session starts again from `applied`.
#[derive(Debug, thiserror::Error)]
pub enum LaneEnd {
    /// The script says that an entry in between is missing: somebody else may read this lane.
    #[error("the script answered GAP")]
    Gap,
    /// An entry that only a newer program understands.
    #[error("an entry is of a newer version")]
    UnknownVersion,
    /// Redis failed or refused; the outcome of the last call is unknown, which the log rule allows.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
}

impl LaneEnd {
    /// A task that panicked, as an error of its own.
    pub fn panicked(error: &tokio::task::JoinError) -> Self {
        error!(%error, "a lane's applier panicked");
        Self::Gap
    }
}

/// Applies one lane.
pub struct Applier {
    /// What it needs.
    pub context: Context,
    /// Its shard.
    pub shard: Shard,
    /// Its lane.
    pub lane: Lane,
    /// For calls of the script.
    pub connection: MultiplexedConnection,
    /// Where acks go.
    pub acks: mpsc::Sender<Outgoing>,
}

impl Applier {
    /// Applies what comes until the sender is gone or something fails.
    pub async fn run(mut self, mut entries: mpsc::Receiver<Entry>) -> Result<(), LaneEnd> {
        let (mut untrimmed, mut last) = (0, None);
        loop {
            let first = match tokio::time::timeout(TRIM_QUIET, entries.recv()).await {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(_quiet) => {
                    if untrimmed > 0 {
                        self.trim(last).await?;
                        untrimmed = 0;
                    }
                    continue;
                }
            };
            let mut batch = vec![first];
            while batch.len() < MAX_ENTRIES_PER_CALL {
                match entries.try_recv() {
                    Ok(entry) => batch.push(entry),
                    Err(_) => break,
                }
            }
            untrimmed += batch.len();
            last = batch.last().map(|entry| entry.id);
            self.apply(batch).await?;
            if untrimmed >= TRIM_EVERY {
                self.trim(last).await?;
                untrimmed = 0;
            }
        }
    }

    /// Applies a batch, however many calls that takes.
    async fn apply(&mut self, batch: Vec<Entry>) -> Result<(), LaneEnd> {
        let mut prepared = Vec::with_capacity(batch.len());
        let mut newer = false;
        for entry in batch {
            let Some(transition) = prepare(&*self.context.app, self.shard, self.lane, &entry)
            else {
                newer = true;
                break;
            };
            prepared.push(Prepared {
                id: entry.id,
                transition,
            });
        }
        let mut rest = &prepared[..];
        while !rest.is_empty() {
            METRICS.entries_per_call.observe(rest.len() as f64);
            let started = Instant::now();
            let outcomes = self
                .context
                .library
                .apply(&mut self.connection, self.shard, self.lane, rest)
                .await?;
            METRICS
                .call_seconds
                .observe(started.elapsed().as_secs_f64());
            let done = outcomes.len();
            for (entry, outcome) in rest.iter().zip(outcomes) {
                self.settle(entry, outcome).await?;
            }
            if done == 0 {
                return Err(LaneEnd::Gap);
            }
            rest = &rest[done.min(rest.len())..];
        }
        if newer {
            Err(LaneEnd::UnknownVersion)
        } else {
            Ok(())
        }
    }

    /// Counts, logs and acknowledges what became of an entry.
    async fn settle(&self, entry: &Prepared, outcome: Outcome) -> Result<(), LaneEnd> {
        let event = event_id(self.shard, self.lane, entry.id);
        METRICS.count(&outcome);
        METRICS.age_seconds.observe(age(entry.id));
        match outcome {
            Outcome::Applied => debug!(%event, transition = entry.transition.name, "applied"),
            Outcome::Duplicate => debug!(%event, "applied before"),
            Outcome::Dead(why) => {
                error!(%event, transition = entry.transition.name, why, "dead letter: see docs/OPERATIONS.md");
            }
            Outcome::Gap => {
                warn!(%event, "gap");
                return Err(LaneEnd::Gap);
            }
            Outcome::Acked(ack) => {
                debug!(%event, transition = entry.transition.name, "applied");
                let outgoing = Outgoing {
                    event: event.to_string(),
                    client: ack.client.clone(),
                    frame: ack.frame(),
                };
                // A closed channel means that the session ends; the sender will ask again.
                if self.acks.send(outgoing).await.is_err() {
                    warn!(%event, "ack not published");
                }
            }
        }
        Ok(())
    }

    /// Removes what is applied, save the last entry.
    async fn trim(&mut self, last: Option<StreamId>) -> Result<(), LaneEnd> {
        let Some(last) = last else { return Ok(()) };
        let mut command = redis::cmd("XTRIM");
        command
            .arg(keys::events(self.shard, self.lane))
            .arg("MINID")
            .arg(last.to_string());
        command.exec_async(&mut self.connection).await?;
        Ok(())
    }
}

/// The transition for an entry; poison becomes one that no App has, so that the script files it as
/// a dead letter. `None` for an entry of a newer version.
pub fn prepare(app: &dyn App, shard: Shard, lane: Lane, entry: &Entry) -> Option<Transition> {
    let get = |name: &str| entry.fields.get(name).and_then(text);
    let event = Event::decode(get).and_then(|event| belongs(event, shard, lane));
    match event {
        Ok(event) => Some(app.prepare(&event)),
        Err(DecodeError::UnknownVersion(version)) => {
            error!(event = %event_id(shard, lane, entry.id), version, "entry of a newer version");
            None
        }
        Err(DecodeError::Poison(field)) => {
            error!(event = %event_id(shard, lane, entry.id), field, "entry does not decode");
            Some(Transition {
                name: "undecodable",
                fields: vec![("field", field.to_owned())],
            })
        }
    }
}

/// An event in the wrong stream would escape the order of its user.
fn belongs(event: Event, shard: Shard, lane: Lane) -> Result<Event, DecodeError> {
    let of_user = matches!(
        event.kind,
        Kind::Open { .. } | Kind::Close { .. } | Kind::Verb { .. } | Kind::IdleTimer { .. }
    );
    if Shard::of(&event.site) != shard {
        return Err(DecodeError::Poison("site"));
    }
    if of_user && Lane::of(&event.uid) != lane {
        return Err(DecodeError::Poison("uid"));
    }
    Ok(event)
}

/// Seconds since the entry was appended, by this machine's clock against Redis's.
fn age(id: StreamId) -> f64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_secs_f64() - id.ms as f64 / 1000.0).max(0.0)
}
