//! Applies one lane's entries in order: decodes and prepares what has arrived, calls the apply
//! script with it, and what arrives during the call is the next call. One at low load, up to
//! [`MAX_ENTRIES_PER_CALL`] under load.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use frontdesk_shared::{
    event::{DecodeError, Event, Kind},
    ids::{EventId, Lane, Shard, StreamId},
    keys,
    redis::text,
    stream::StreamEntry,
};
use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, error, warn};

use super::{Context, acks::Outgoing};
use crate::{
    app::{App, Transition},
    library::{Outcome, Prepared, event_id},
    metrics::METRICS,
};

/// Most entries in one call of the apply script.
pub const MAX_ENTRIES_PER_CALL: usize = 32;
/// A call takes no further entry once it has so many bytes of them: what one call pushes must fit
/// into a socket's queue several times over.
pub const MAX_BYTES_PER_CALL: usize = 128 * 1024;
/// Most bytes of entries that a worker holds in memory, all lanes together.
pub const MAX_READ_BYTES: usize = 64 * 1024 * 1024;
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
    bytes: usize,
    _room: Option<OwnedSemaphorePermit>,
}

impl Entry {
    /// An entry in memory, once there is room for it among all that this worker has read.
    pub async fn new(entry: StreamEntry, room: &Arc<Semaphore>) -> Self {
        let StreamEntry { id, fields } = entry;
        let size = |value: &Value| match value {
            Value::BulkString(bytes) => bytes.len(),
            _ => 0,
        };
        let bytes: usize = fields
            .iter()
            .map(|(name, value)| name.len() + size(value))
            .sum();
        // More than all the room would wait for ever.
        let wanted = u32::try_from(bytes.min(MAX_READ_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(room).acquire_many_owned(wanted).await.ok();
        Self {
            id,
            fields,
            bytes,
            _room: room,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(text)
    }
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
    /// The connections have gone silent.
    #[error("connections to Redis have gone silent")]
    Silent,
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
            let mut bytes = first.bytes;
            let mut batch = vec![first];
            while batch.len() < MAX_ENTRIES_PER_CALL && bytes < MAX_BYTES_PER_CALL {
                let Ok(entry) = entries.try_recv() else { break };
                bytes += entry.bytes;
                batch.push(entry);
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
            let event = event_id(self.shard, self.lane, entry.id);
            let Some(transition) = prepare(&*self.context.app, event, |name| entry.get(name))
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
        if !matches!(outcome, Outcome::Duplicate | Outcome::Gap) {
            METRICS.age_seconds.observe(age(entry.id));
        }
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
pub fn prepare<'a>(
    app: &dyn App,
    event: EventId,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Option<Transition> {
    let decoded = Event::decode(get).and_then(|it| belongs(it, event.shard, event.lane));
    match decoded {
        Ok(decoded) => Some(app.prepare(&decoded)),
        Err(DecodeError::UnknownVersion(version)) => {
            error!(%event, version, "entry of a newer version");
            None
        }
        Err(DecodeError::Poison(field)) => {
            error!(%event, field, "entry does not decode");
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
