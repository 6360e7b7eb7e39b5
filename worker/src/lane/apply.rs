//! Applies what the reader of a shard has read: decodes and prepares it, calls the apply script with
//! entries of all lanes at once, and collects the acks. What arrives during a call is read after it and is
//! the next call: one entry at low load, up to [`MAX_ENTRIES_PER_CALL`] under load.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use frontdesk_shared::{
    event::{DecodeError, Event, Kind},
    ids::{EventId, Lane, Shard, StreamId},
    stream::StreamEntry,
};
use redis::{RedisError, aio::MultiplexedConnection};
use tracing::{debug, error, warn};

use super::{Context, ahead::Ahead};
use crate::{
    app::{Memory, Transition},
    library::{Answer, Answers, Outcome, Prepared, event_id},
    metrics::METRICS,
};

/// Most entries in one call of the apply script.
pub const MAX_ENTRIES_PER_CALL: usize = 32;
/// A call takes no further entry once it has so many bytes of them: what one call pushes must fit
/// into a socket's queue several times over.
pub const MAX_BYTES_PER_CALL: usize = 128 * 1024;
/// Most bytes of entries that a worker holds in memory, all shards together.
pub const MAX_READ_BYTES: usize = 64 * 1024 * 1024;

/// Why a session ended. The next one starts again from `applied`.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
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

/// What one XREAD brought of one lane: all that came after a place, up to some number, without a hole.
#[derive(Debug)]
pub struct Read {
    /// The lane.
    pub lane: Lane,
    /// The place.
    pub after: StreamId,
    /// The entries.
    pub entries: Vec<StreamEntry>,
}

/// Entries of one lane, in order.
#[derive(Debug)]
struct Waiting {
    lane: Lane,
    entries: Vec<Prepared>,
    /// Bytes of each.
    sizes: Vec<usize>,
    /// How many of them the script has looked at.
    done: usize,
}

/// Applies the lanes of one shard, one call at a time.
pub struct Applier {
    /// What it needs.
    pub context: Context,
    /// Its shard.
    pub shard: Shard,
    /// For calls of the script.
    pub connection: MultiplexedConnection,
    /// What goes to Redis ahead of the next call or read.
    pub ahead: Ahead,
    /// What the App remembers of these lanes.
    pub memory: Box<dyn Memory>,
}

impl Applier {
    /// Applies entries of some lanes, in however many calls that takes.
    pub async fn apply(&mut self, read: Vec<Read>) -> Result<(), SessionEnd> {
        let mut newer = false;
        let mut lanes: Vec<Waiting> = Vec::with_capacity(read.len());
        for part in &read {
            lanes.push(self.waiting(part, &mut newer));
        }
        loop {
            let call = next_call(&lanes);
            if call.is_empty() {
                break;
            }
            let answers = self.call(&lanes, &call).await?;
            let (mut looked_at, mut gap, mut unsure) = (0, false, false);
            for ((index, _), answers) in call.into_iter().zip(answers.0) {
                let waiting = &mut lanes[index];
                looked_at += answers.len();
                for answer in answers {
                    let Some(entry) = waiting.entries.get(waiting.done) else {
                        break;
                    };
                    waiting.done += 1;
                    gap |= answer.outcome == Outcome::Gap;
                    unsure |= matches!(answer.outcome, Outcome::Duplicate | Outcome::Dead(_));
                    self.settle(waiting.lane, entry, answer);
                }
            }
            if unsure {
                self.memory.forget();
                let prepared = lanes.iter_mut().flat_map(|lane| &mut lane.entries);
                prepared.for_each(|entry| entry.transition.hint = None);
            }
            if gap || looked_at == 0 {
                return Err(SessionEnd::Gap);
            }
        }
        if newer {
            Err(SessionEnd::UnknownVersion)
        } else {
            Ok(())
        }
    }

    /// Prepares a lane's entries, up to the first one of a newer version.
    fn waiting(&mut self, read: &Read, newer: &mut bool) -> Waiting {
        let mut waiting = Waiting {
            lane: read.lane,
            entries: Vec::with_capacity(read.entries.len()),
            sizes: Vec::with_capacity(read.entries.len()),
            done: 0,
        };
        let mut before = read.after;
        for entry in &read.entries {
            let event = event_id(self.shard, read.lane, entry.id);
            let get = |name: &str| entry.fields.text(name);
            let memory = &mut self.memory;
            let Some(transition) = prepare(event, get, |it| memory.prepare(event, it)) else {
                *newer = true;
                break;
            };
            waiting.sizes.push(entry.fields.bytes());
            waiting.entries.push(Prepared {
                id: entry.id,
                before,
                transition,
            });
            before = entry.id;
        }
        waiting
    }

    /// One call, for so many entries of these lanes.
    async fn call(
        &mut self,
        lanes: &[Waiting],
        call: &[(usize, usize)],
    ) -> Result<Answers, SessionEnd> {
        let total: usize = call.iter().map(|(_, count)| count).sum();
        METRICS.entries_per_call.observe(total as f64);
        let entries = call.iter().map(|(index, count)| {
            let waiting = &lanes[*index];
            let next = &waiting.entries[waiting.done..][..*count];
            (waiting.lane, next)
        });
        let library = self.context.library.clone();
        let command = library.apply_call(self.shard, entries);
        let ahead = self.ahead.take();
        let started = Instant::now();
        let answers = library
            .run_behind(&mut self.connection, &ahead.commands, command)
            .await;
        ahead.count(&answers);
        METRICS
            .call_seconds
            .observe(started.elapsed().as_secs_f64());
        Ok(answers?)
    }

    /// Counts, logs and acknowledges what became of an entry.
    fn settle(&mut self, lane: Lane, entry: &Prepared, answer: Answer) {
        let event = event_id(self.shard, lane, entry.id);
        let answer = answer.of(event, entry);
        METRICS.quick.inc_by(u64::from(answer.placed.is_some()));
        self.memory.settle(event, &entry.transition, &answer);
        let outcome = answer.outcome;
        METRICS.count(&outcome);
        if !matches!(outcome, Outcome::Duplicate | Outcome::Gap) {
            METRICS.age_seconds.observe(age(entry.id));
        }
        match &outcome {
            Outcome::Applied => {
                debug!(%event, transition = entry.transition.name, "applied");
            }
            Outcome::Duplicate => debug!(%event, "applied before"),
            Outcome::Dead(why) => {
                error!(%event, transition = entry.transition.name, why, "dead letter: see docs/OPERATIONS.md");
            }
            Outcome::Gap => warn!(%event, "gap"),
            Outcome::Acked(ack) => {
                debug!(%event, transition = entry.transition.name, "applied");
                self.ahead.acks.put(self.shard, &event.to_string(), ack);
            }
            Outcome::Said(said) => {
                debug!(%event, transition = entry.transition.name, "applied");
                self.ahead.acks.say(self.shard, &event.to_string(), said);
            }
        }
    }
}

/// What the next call takes: indexes of lanes, and how many entries of each.
fn next_call(lanes: &[Waiting]) -> Vec<(usize, usize)> {
    let mut call = Vec::with_capacity(lanes.len());
    let (mut entries, mut bytes) = (0, 0);
    for (index, waiting) in lanes.iter().enumerate() {
        let mut count = 0;
        for size in &waiting.sizes[waiting.done..] {
            if entries == MAX_ENTRIES_PER_CALL || bytes >= MAX_BYTES_PER_CALL {
                break;
            }
            (entries, bytes, count) = (entries + 1, bytes + size, count + 1);
        }
        if count > 0 {
            call.push((index, count));
        }
    }
    call
}
/// The transition for an entry; poison becomes one that no App has, so that the script files it as
/// a dead letter. `None` for an entry of a newer version.
pub fn prepare<'a>(
    event: EventId,
    get: impl Fn(&str) -> Option<&'a str>,
    prepare: impl FnOnce(&Event) -> Transition,
) -> Option<Transition> {
    let decoded = Event::decode(get).and_then(|it| belongs(it, event.shard, event.lane));
    match decoded {
        Ok(decoded) => Some(prepare(&decoded)),
        Err(DecodeError::UnknownVersion(version)) => {
            error!(%event, version, "entry of a newer version");
            None
        }
        Err(DecodeError::Poison(field)) => {
            error!(%event, field, "entry does not decode");
            Some(Transition {
                name: "undecodable",
                fields: vec![("field", field.to_owned())],
                hint: None,
            })
        }
    }
}

/// An event in the wrong stream would escape the order of its user.
fn belongs(event: Event, shard: Shard, lane: Lane) -> Result<Event, DecodeError> {
    let of_user = matches!(
        event.kind,
        Kind::Open { .. }
            | Kind::Close { .. }
            | Kind::Revoke { .. }
            | Kind::Verb { .. }
            | Kind::Request(_)
            | Kind::IdleTimer { .. }
            | Kind::LostTimer { .. }
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
