//! Socket → stream. One task owns one connection and appends in batches: what is there goes out as
//! one pipeline of XADDs, and what arrives meanwhile is the next batch. So the batch grows with the
//! load and a lonely event waits for nobody.
//!
//! Each append is answered with what is *known*: stored, not stored, or unknown. Nothing is retried
//! here. Messages are numbered per connection and must reach the log in that order; after a failure
//! in a pipeline, later messages of the same connection may be in the log but have jumped over one,
//! and the worker will not apply them. They are answered as unknown, so the socket closes and the
//! client sends again; those of later batches are not even sent.
//!
//! Nothing is appended while this gateway may not act or would not hear what follows (see
//! `status`). That is looked at right before each pipeline, after everything that takes time: a
//! process that was stopped in between appends nothing when it wakes. What has not been sent waits;
//! its room is bounded, messages leave some of it to opens and closes, and one that has waited too
//! long is given up, since its client has sent it again by then.
//!
//! The subscriber's probes are published here, on the connection of the appends: that they come
//! back proves that both reach the same Redis.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, EventId, Lane, Shard, StreamId},
    keys, push,
    redis::Redis,
};
use redis::{Cmd, RedisError, aio::MultiplexedConnection};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{backoff::Backoff, metrics::METRICS, roll_call::Bell, status::Status};

/// Most events in one pipeline.
const MAX_BATCH: usize = 512;
/// A pipeline takes no further event once it has so many bytes.
const MAX_BATCH_BYTES: u32 = 1024 * 1024;
/// Most bytes of messages that wait for the batcher or for Redis, all sockets together. It bounds
/// their number too, since each counts with at least `EVENT_OVERHEAD`.
const MAX_QUEUED_BYTES: u32 = 16 * 1024 * 1024;
/// The same for opens and closes, which have room of their own.
const MAX_QUEUED_CONTROL_BYTES: u32 = 8 * 1024 * 1024;
/// What an event costs beside its fields: queue entry, command, answer.
const EVENT_OVERHEAD: usize = 512;
/// A message that has waited longer is not sent any more: by now its client sends it again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

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
    /// Room for messages.
    room: Arc<Semaphore>,
    /// Room for opens and closes.
    control_room: Arc<Semaphore>,
    probes: watch::Sender<u64>,
    distrust: watch::Sender<()>,
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
    /// The connection it is of.
    client: Option<ClientId>,
    /// Messages have an order to keep.
    ordered: bool,
    since: Instant,
    answer: oneshot::Sender<Outcome>,
    _room: OwnedSemaphorePermit,
}

impl Uplink {
    /// The sockets' side, and the batcher to run.
    pub(crate) fn new(
        redis: Redis,
        channel: String,
        status: Arc<Status>,
        bell: Arc<Bell>,
    ) -> (Self, Batcher) {
        // The channel is bounded by the room that each append holds until it is answered.
        let (queue, appends) = mpsc::unbounded_channel();
        let (probes, distrust) = (watch::Sender::new(0), watch::Sender::new(()));
        let batcher = Batcher {
            redis,
            channel,
            appends,
            held: None,
            broken: HashSet::new(),
            probes: probes.subscribe(),
            distrust: distrust.subscribe(),
            changed: status.watch(),
            status,
            bell,
            connection: None,
            backoff: Backoff::new(),
        };
        let uplink = Self {
            queue,
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize)),
            control_room: Arc::new(Semaphore::new(MAX_QUEUED_CONTROL_BYTES as usize)),
            probes,
            distrust,
        };
        (uplink, batcher)
    }

    /// Queues a message if there is room at once.
    pub(crate) fn try_append(&self, event: &Event) -> Option<Receipt> {
        let (command, bytes) = encode(event);
        let room = Arc::clone(self.room_for(event))
            .try_acquire_many_owned(bytes)
            .ok()?;
        Some(self.send(event, command, bytes, room))
    }

    /// Waits for room, then queues. Whoever has several to append awaits one before the next.
    pub(crate) async fn append(&self, event: &Event) -> Receipt {
        let (command, bytes) = encode(event);
        match Arc::clone(self.room_for(event))
            .acquire_many_owned(bytes)
            .await
        {
            Ok(room) => self.send(event, command, bytes, room),
            Err(_closed) => Receipt(oneshot::channel().1), // never closed; answers Unknown
        }
    }

    /// Publishes a probe as soon as possible; a later one replaces one that is still waiting.
    pub(crate) fn probe(&self, number: u64) {
        self.probes.send_replace(number);
    }

    /// The network is not what it seems: give the connection up, whatever is under way on it.
    pub(crate) fn reconnect(&self) {
        self.distrust.send_replace(());
    }

    fn room_for(&self, event: &Event) -> &Arc<Semaphore> {
        match event.kind {
            Kind::Verb { .. } => &self.room,
            _ => &self.control_room,
        }
    }

    fn send(&self, event: &Event, command: Cmd, bytes: u32, room: OwnedSemaphorePermit) -> Receipt {
        let (answer, receipt) = oneshot::channel();
        let (kind, client) = match &event.kind {
            Kind::Open { client, .. } => ("open", Some(client.clone())),
            Kind::Close { client, .. } => ("close", Some(client.clone())),
            Kind::Verb { client, .. } => ("verb", Some(client.clone())),
            _ => ("other", None),
        };
        let waiting = Waiting {
            shard: Shard::of(&event.site),
            lane: Lane::of(&event.uid),
            kind,
            client,
            ordered: matches!(event.kind, Kind::Verb { .. }),
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
        .min(MAX_QUEUED_CONTROL_BYTES);
    (command, bytes)
}

/// The one task that talks to the streams.
pub(crate) struct Batcher {
    redis: Redis,
    channel: String,
    appends: mpsc::UnboundedReceiver<Append>,
    /// Taken from the queue and not sent yet.
    held: Option<Batch>,
    /// Connections of which a message has failed, until their `close` comes by.
    broken: HashSet<ClientId>,
    probes: watch::Receiver<u64>,
    distrust: watch::Receiver<()>,
    changed: watch::Receiver<()>,
    status: Arc<Status>,
    bell: Arc<Bell>,
    connection: Option<MultiplexedConnection>,
    backoff: Backoff,
}

#[derive(Default)]
struct Batch {
    pipeline: redis::Pipeline,
    waiting: Vec<Waiting>,
    bytes: u32,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }
}

impl Batcher {
    /// Appends until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.changed.mark_unchanged();
            let allowed = self.status.may_append();
            select! {
                biased;
                () = stop.cancelled() => {}
                Ok(()) = self.probes.changed() => self.probe().await,
                Ok(()) = self.changed.changed(), if !allowed => {}
                batch = next_batch(&mut self.appends, &mut self.held, &mut self.broken), if allowed => match batch {
                    Some(batch) => self.flush(batch).await,
                    None => return,
                },
            }
        }
    }

    async fn flush(&mut self, batch: Batch) {
        METRICS
            .append_batch_size
            .observe(batch.waiting.len() as f64);
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                warn!(%error, events = batch.waiting.len(), "cannot append: no connection to Redis");
                settle(batch.waiting, &mut self.broken, |_| Outcome::Refused); // nothing was sent
                self.backoff.wait().await;
                return;
            }
        };
        // Here, and not earlier: the process may have been stopped at any point above.
        if !self.status.may_append() {
            self.connection = Some(connection);
            self.held = Some(batch);
            return;
        }
        let sent = async {
            let mut pipeline = batch.pipeline;
            pipeline.ignore_errors();
            pipeline.query_async(&mut connection).await
        };
        let replies: Result<Vec<Result<String, RedisError>>, RedisError> = select! {
            replies = sent => replies,
            _ = self.distrust.changed() => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()),
        };
        match replies {
            Ok(replies) if replies.len() == batch.waiting.len() => {
                // A demoted primary stays read-only: look for the new one.
                let demoted = |reply: &Result<_, RedisError>| matches!(reply, Err(error) if error.code() == Some("READONLY"));
                if !replies.iter().any(demoted) {
                    self.connection = Some(connection);
                }
                let mut replies = replies.into_iter();
                settle(batch.waiting, &mut self.broken, |waiting| {
                    judge(waiting, replies.next())
                });
            }
            broken => {
                let error = broken.err().map(tracing::field::display);
                warn!(
                    error,
                    events = batch.waiting.len(),
                    "appends of unknown outcome"
                );
                settle(batch.waiting, &mut self.broken, |_| Outcome::Unknown);
                self.bell.later(); // they may still arrive
            }
        }
    }

    /// Best effort: a probe that is not published does not come back, and its sender draws the
    /// conclusion.
    async fn probe(&mut self) {
        let message = push::probe(*self.probes.borrow_and_update());
        let Ok(mut connection) = self.connect().await else {
            return;
        };
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel).arg(message);
        let published: Result<u64, RedisError> = select! {
            published = publish.query_async(&mut connection) => published,
            _ = self.distrust.changed() => return,
        };
        match published {
            Ok(_) => self.connection = Some(connection),
            Err(error) => warn!(%error, "cannot publish a probe"),
        }
    }

    /// The connection, which is put back only after a success.
    async fn connect(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if self.distrust.has_changed().unwrap_or(false) {
            self.distrust.mark_unchanged();
            self.connection = None;
        }
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connection = self.redis.connect().await?;
        self.backoff.reset();
        Ok(connection)
    }
}

/// What was held back, or what is queued, or the next that will be. Loses nothing when cancelled.
async fn next_batch(
    appends: &mut mpsc::UnboundedReceiver<Append>,
    held: &mut Option<Batch>,
    broken: &mut HashSet<ClientId>,
) -> Option<Batch> {
    if let Some(batch) = held.take() {
        return Some(batch);
    }
    let mut batch = Batch::default();
    while batch.waiting.is_empty() {
        let mut next = Some(appends.recv().await?);
        while let Some(append) = next {
            if let Some(append) = worth_sending(append, broken) {
                batch.bytes += append.bytes;
                batch.pipeline.add_command(append.command);
                batch.waiting.push(append.waiting);
            }
            next = if batch.is_full() {
                None
            } else {
                appends.try_recv().ok()
            };
        }
    }
    Some(batch)
}

/// Answers at once what would jump over a failed message, or has waited too long.
fn worth_sending(append: Append, broken: &mut HashSet<ClientId>) -> Option<Append> {
    let waiting = &append.waiting;
    let Some(client) = &waiting.client else {
        return Some(append);
    };
    if !waiting.ordered {
        broken.remove(client);
        return Some(append);
    }
    if broken.contains(client) || waiting.since.elapsed() >= GIVE_UP_AFTER {
        settle(vec![append.waiting], broken, |_| Outcome::Refused);
        return None;
    }
    Some(append)
}

/// What one reply says of one append.
fn judge(waiting: &Waiting, reply: Option<Result<String, RedisError>>) -> Outcome {
    match reply {
        Some(Ok(id)) => StreamId::parse(&id).map_or(Outcome::Unknown, |stream| {
            Outcome::Stored(EventId {
                shard: waiting.shard,
                lane: waiting.lane,
                stream,
            })
        }),
        Some(Err(error)) => {
            warn!(%error, kind = waiting.kind, "Redis refused an append");
            Outcome::Refused
        }
        None => Outcome::Unknown,
    }
}

/// Answers each append by its own outcome, and by the failures before it.
fn settle(
    batch: Vec<Waiting>,
    broken: &mut HashSet<ClientId>,
    mut judge: impl FnMut(&Waiting) -> Outcome,
) {
    for waiting in batch {
        let mut outcome = judge(&waiting);
        if let Some(client) = &waiting.client {
            if !waiting.ordered {
                broken.remove(client); // its `close`: no message of it follows
            } else if !matches!(outcome, Outcome::Stored(_)) {
                broken.insert(client.clone());
            } else if broken.contains(client) {
                outcome = Outcome::Unknown; // there, but out of order
            }
        }
        answer(waiting, outcome);
    }
}

fn answer(waiting: Waiting, outcome: Outcome) {
    let failed = |name| METRICS.append_failures.with_label_values(&[name]).inc();
    match outcome {
        Outcome::Stored(event) => {
            METRICS
                .append_seconds
                .observe(waiting.since.elapsed().as_secs_f64());
            METRICS
                .events_appended
                .with_label_values(&[waiting.kind])
                .inc();
            let client = waiting.client.as_ref().map(tracing::field::display);
            debug!(%event, kind = waiting.kind, client, "appended");
        }
        Outcome::Refused => failed("refused"),
        Outcome::Unknown => failed("unknown"),
    }
    // A socket that is gone does not mind.
    let _ = waiting.answer.send(outcome);
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
            client: client.cloned(),
            ordered: client.is_some(),
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
        let (mut broken, mut replies) = (HashSet::new(), replies.into_iter());
        settle(batch, &mut broken, |waiting| judge(waiting, replies.next()));
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

    fn append(client: &ClientId, ordered: bool) -> (Append, Receipt) {
        let (mut waiting, receipt) = waiting(Some(client));
        waiting.ordered = ordered;
        let command = redis::cmd("XADD");
        (
            Append {
                command,
                bytes: 1,
                waiting,
            },
            receipt,
        )
    }

    /// Its place in the order is lost, so the worker would refuse it anyway.
    #[tokio::test]
    async fn what_follows_a_failure_in_a_later_batch_is_not_sent() {
        let boot = BootId::random();
        let (a, b) = (ClientId::random(&boot), ClientId::random(&boot));
        let mut broken = HashSet::from([a.clone()]);
        let (queue, mut appends) = mpsc::unbounded_channel();
        let (late, mut refused) = append(&a, true);
        let (other, _other) = append(&b, true);
        let (close, _close) = append(&a, false);
        for one in [late, other, close] {
            queue.send(one).expect("open");
        }
        let batch = next_batch(&mut appends, &mut None, &mut broken).await;
        assert_eq!(batch.expect("something").waiting.len(), 2);
        assert_eq!(refused.outcome().await, Outcome::Refused);
        assert!(broken.is_empty(), "forgotten with the close");
    }

    #[tokio::test]
    async fn a_message_that_waited_too_long_is_given_up_and_a_close_never() {
        let client = ClientId::random(&BootId::random());
        let (queue, mut appends) = mpsc::unbounded_channel();
        let (mut message, mut refused) = append(&client, true);
        let (mut close, _close) = append(&client, false);
        let long_ago = Instant::now()
            .checked_sub(GIVE_UP_AFTER)
            .expect("up longer");
        (message.waiting.since, close.waiting.since) = (long_ago, long_ago);
        queue.send(message).and(queue.send(close)).expect("open");
        let batch = next_batch(&mut appends, &mut None, &mut HashSet::new()).await;
        assert!(!batch.expect("something").waiting[0].ordered);
        assert_eq!(refused.outcome().await, Outcome::Refused);
    }
}
