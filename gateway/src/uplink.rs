//! Socket → stream. One task owns one connection and appends in batches: what is there goes out as
//! one pipeline of XADDs, and what arrives meanwhile is the next batch. So the batch grows with the
//! load and a lonely event waits for nobody.
//!
//! Each append is answered with what is *known*: stored, not stored, or unknown. Nothing is retried
//! here. Messages are numbered per connection and must reach the log in that order; after a failure
//! in a pipeline, later messages of the same connection may be in the log but have jumped over one,
//! and the worker will not apply them. They are answered as unknown, so the socket closes and the
//! client sends again.

use std::{collections::HashSet, sync::Arc, time::Instant};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, EventId, Lane, Shard, StreamId},
    keys,
    redis::Redis,
};
use redis::{Cmd, RedisError, aio::MultiplexedConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{backoff::Backoff, metrics::METRICS};

/// Most events in one pipeline.
const MAX_BATCH: usize = 512;
/// A pipeline takes no further event once it has so many bytes.
const MAX_BATCH_BYTES: u32 = 1024 * 1024;
/// Most bytes of events that wait for the batcher or for Redis, all sockets together. It bounds
/// their number too, since each counts with at least `EVENT_OVERHEAD`.
const MAX_QUEUED_BYTES: u32 = 16 * 1024 * 1024;
/// What an event costs beside its fields: queue entry, command, answer.
const EVENT_OVERHEAD: usize = 512;

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the log.
    Stored(EventId),
    /// It is not in the log.
    Refused,
    /// It may be in the log, or there but out of order.
    Unknown,
}

/// Where the outcome arrives.
#[derive(Debug)]
pub(crate) struct Receipt(oneshot::Receiver<Outcome>);

impl Receipt {
    /// Waits for the outcome. Cancelling loses nothing; once it is there, do not ask again.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        (&mut self.0).await.unwrap_or(Outcome::Unknown) // dropped: nobody knows
    }
}

/// The sockets' side of the batcher.
#[derive(Debug, Clone)]
pub(crate) struct Uplink {
    queue: mpsc::UnboundedSender<Append>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
pub(crate) struct Append {
    command: Cmd,
    bytes: u32,
    waiting: Waiting,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiting {
    shard: Shard,
    lane: Lane,
    kind: &'static str,
    /// The connection, for messages: those have an order to keep.
    ordered: Option<ClientId>,
    since: Instant,
    answer: oneshot::Sender<Outcome>,
    _room: OwnedSemaphorePermit,
}

impl Uplink {
    /// The sockets' side, and the batcher to run.
    pub(crate) fn new(redis: Redis) -> (Self, Batcher) {
        // The channel is bounded by the room that each append holds until it is answered.
        let (queue, appends) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize));
        let batcher = Batcher {
            redis,
            appends,
            connection: None,
            backoff: Backoff::new(),
        };
        (Self { queue, room }, batcher)
    }

    /// Queues an event if there is room at once.
    pub(crate) fn try_append(&self, event: &Event) -> Option<Receipt> {
        let (command, bytes) = encode(event);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()?;
        Some(self.send(event, command, bytes, room))
    }

    /// Waits for room, then queues. Whoever has several to append awaits one before the next.
    pub(crate) async fn append(&self, event: &Event) -> Receipt {
        let (command, bytes) = encode(event);
        match Arc::clone(&self.room).acquire_many_owned(bytes).await {
            Ok(room) => self.send(event, command, bytes, room),
            Err(_closed) => Receipt(oneshot::channel().1), // never closed; answers Unknown
        }
    }

    fn send(&self, event: &Event, command: Cmd, bytes: u32, room: OwnedSemaphorePermit) -> Receipt {
        let (answer, receipt) = oneshot::channel();
        let (kind, ordered) = match &event.kind {
            Kind::Open { .. } => ("open", None),
            Kind::Close { .. } => ("close", None),
            Kind::Verb { client, .. } => ("verb", Some(client.clone())),
            _ => ("other", None),
        };
        let waiting = Waiting {
            shard: Shard::of(&event.site),
            lane: Lane::of(&event.uid),
            kind,
            ordered,
            since: Instant::now(),
            answer,
            _room: room,
        };
        // A batcher that has ended drops the append, and the receipt says Unknown.
        let _ = self.queue.send(Append {
            command,
            bytes,
            waiting,
        });
        Receipt(receipt)
    }
}

/// The XADD, and what it counts against the bounds.
fn encode(event: &Event) -> (Cmd, u32) {
    let mut command = redis::cmd("XADD");
    command.arg(keys::events(Shard::of(&event.site), Lane::of(&event.uid)));
    command.arg("*");
    let mut bytes = EVENT_OVERHEAD;
    for (name, value) in event.encode() {
        bytes += name.len() + value.len();
        command.arg(name).arg(value);
    }
    // One event can never be larger than all the room, or it would wait for ever.
    let bytes = u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .min(MAX_QUEUED_BYTES);
    (command, bytes)
}

/// The one task that talks to the streams.
pub(crate) struct Batcher {
    redis: Redis,
    appends: mpsc::UnboundedReceiver<Append>,
    connection: Option<MultiplexedConnection>,
    backoff: Backoff,
}

impl Batcher {
    /// Appends until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(first)) = stop.run_until_cancelled(self.appends.recv()).await {
            let mut bytes = first.bytes;
            let mut pipeline = redis::pipe();
            pipeline.ignore_errors().add_command(first.command);
            let mut batch = vec![first.waiting];
            while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                let Ok(next) = self.appends.try_recv() else {
                    break;
                };
                bytes += next.bytes;
                pipeline.add_command(next.command);
                batch.push(next.waiting);
            }
            METRICS.append_batch_size.observe(batch.len() as f64);
            self.flush(&pipeline, batch).await;
        }
    }

    async fn flush(&mut self, pipeline: &redis::Pipeline, batch: Vec<Waiting>) {
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                warn!(%error, events = batch.len(), "cannot append: no connection to Redis");
                answer(batch, |_| Outcome::Refused); // nothing was sent
                self.backoff.wait().await;
                return;
            }
        };
        let replies: Result<Vec<Result<String, RedisError>>, _> =
            pipeline.query_async(&mut connection).await;
        match replies {
            Ok(replies) if replies.len() == batch.len() => {
                // A demoted primary stays read-only: look for the new one.
                let demoted = |reply: &Result<_, RedisError>| matches!(reply, Err(error) if error.code() == Some("READONLY"));
                if !replies.iter().any(demoted) {
                    self.connection = Some(connection);
                }
                settle(batch, replies);
            }
            Ok(_) => answer(batch, |_| Outcome::Unknown),
            Err(error) => {
                warn!(%error, events = batch.len(), "appends of unknown outcome");
                answer(batch, |_| Outcome::Unknown);
            }
        }
    }

    /// The connection, which is put back only after a success.
    async fn connect(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connection = self.redis.connect().await?;
        self.backoff.reset();
        Ok(connection)
    }
}

/// Answers each append by its own reply, and by the failures before it.
fn settle(batch: Vec<Waiting>, replies: Vec<Result<String, RedisError>>) {
    let mut replies = replies.into_iter();
    let mut broken: HashSet<ClientId> = HashSet::new();
    answer(batch, |waiting| {
        let stored = match replies.next() {
            Some(Ok(id)) => StreamId::parse(&id).ok(),
            Some(Err(error)) => {
                warn!(%error, kind = waiting.kind, "Redis refused an append");
                broken.extend(waiting.ordered.clone());
                return Outcome::Refused;
            }
            None => None,
        };
        let jumped = || {
            waiting
                .ordered
                .as_ref()
                .is_some_and(|client| broken.contains(client))
        };
        match stored {
            Some(stream) if !jumped() => Outcome::Stored(EventId {
                shard: waiting.shard,
                lane: waiting.lane,
                stream,
            }),
            _ => Outcome::Unknown,
        }
    });
}

fn answer(batch: Vec<Waiting>, mut judge: impl FnMut(&Waiting) -> Outcome) {
    for waiting in batch {
        let outcome = judge(&waiting);
        match outcome {
            Outcome::Stored(event) => {
                METRICS
                    .append_seconds
                    .observe(waiting.since.elapsed().as_secs_f64());
                METRICS
                    .events_appended
                    .with_label_values(&[waiting.kind])
                    .inc();
                let client = waiting.ordered.as_ref().map(tracing::field::display);
                debug!(%event, kind = waiting.kind, client, "appended");
            }
            Outcome::Refused => METRICS
                .append_failures
                .with_label_values(&["refused"])
                .inc(),
            Outcome::Unknown => METRICS
                .append_failures
                .with_label_values(&["unknown"])
                .inc(),
        }
        // A socket that is gone does not mind.
        let _ = waiting.answer.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::ids::BootId;

    fn waiting(client: Option<&ClientId>) -> (Waiting, Receipt) {
        let (answer, receipt) = oneshot::channel();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned();
        let waiting = Waiting {
            shard: Shard::new(7).expect("valid"),
            lane: Lane::new(3).expect("valid"),
            kind: "verb",
            ordered: client.cloned(),
            since: Instant::now(),
            answer,
            _room: room.expect("free"),
        };
        (waiting, Receipt(receipt))
    }

    fn oom() -> RedisError {
        RedisError::from((
            redis::ErrorKind::Extension,
            "OOM",
            "out of memory".to_owned(),
        ))
    }

    /// Otherwise a client would get an ack for a message that the worker refuses.
    #[test]
    fn after_a_refusal_later_messages_of_that_connection_do_not_count() {
        let boot = BootId::random();
        let (a, b) = (ClientId::random(&boot), ClientId::random(&boot));
        let script = [
            (Some(&a), Ok("5-0")),
            (Some(&a), Err(oom())),
            (Some(&b), Ok("5-1")),
            (Some(&a), Ok("5-2")),
            (None, Ok("5-3")),
            (None, Ok("nonsense")),
        ];
        let (mut batch, mut receipts, mut replies) = (vec![], vec![], vec![]);
        for (client, reply) in script {
            let (waiting, receipt) = waiting(client);
            batch.push(waiting);
            receipts.push(receipt);
            replies.push(reply.map(str::to_owned));
        }
        settle(batch, replies);
        let outcomes: Vec<String> = receipts
            .iter_mut()
            .map(|receipt| match receipt.0.try_recv().expect("answered") {
                Outcome::Stored(event) => event.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            outcomes,
            [
                "7.3.5-0", "Refused", "7.3.5-1", "Unknown", "7.3.5-3", "Unknown"
            ]
        );
    }
}
