//! Socket → stream, the one task that talks to the streams. It owns one connection and appends in batches: what is there goes out as
//! one pipeline of XADDs, and what arrives meanwhile is the next batch. So the batch grows with the
//! load and a lonely event waits for nobody.
//!
//! Messages are numbered per connection and must reach the log in that order; after a failure
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

use std::{collections::HashSet, sync::Arc, time::Duration};

use frontdesk_shared::{
    ids::{ClientId, EventId, StreamId},
    push,
    redis::{Redis, is_displaced},
};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::{
    select,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    backoff::Backoff,
    metrics::METRICS,
    pressure::Pressure,
    roll_call::Bell,
    status::Status,
    uplink::{Append, Outcome, Queue, Waiting},
};

/// Most events in one pipeline.
const MAX_BATCH: usize = 512;
/// A pipeline takes no further event once it has so many bytes.
const MAX_BATCH_BYTES: u32 = 1024 * 1024;
/// A message that has waited longer is not sent any more: by now its client sends it again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// What the batcher needs to know.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) redis: Redis,
    /// The gateway's own channel, for probes.
    pub(crate) channel: String,
    pub(crate) status: Arc<Status>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) bell: Arc<Bell>,
}

/// The one task that talks to the streams.
pub(crate) struct Batcher {
    context: Context,
    appends: mpsc::UnboundedReceiver<Append>,
    /// Taken from the queue and not sent yet.
    held: Option<Batch>,
    /// Connections of which a message has failed, until their `close` comes by.
    broken: HashSet<ClientId>,
    probes: watch::Receiver<u64>,
    distrust: watch::Receiver<()>,
    changed: watch::Receiver<()>,
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
    /// A batcher that takes from this queue.
    pub(crate) fn new(context: Context, queue: Queue) -> Self {
        Self {
            changed: context.status.watch(),
            context,
            appends: queue.appends,
            held: None,
            broken: HashSet::new(),
            probes: queue.probes,
            distrust: queue.distrust,
            connection: None,
            backoff: Backoff::new(),
        }
    }

    /// Appends until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.changed.mark_unchanged();
            let allowed = self.context.status.may_append();
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
        if !self.context.status.may_append() {
            self.connection = Some(connection);
            self.held = Some(batch);
            return;
        }
        for Waiting { shard, lane, .. } in &batch.waiting {
            self.context.pressure.used(*shard, *lane);
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
                let displaced =
                    |reply: &Result<_, RedisError>| reply.as_ref().is_err_and(is_displaced);
                if !replies.iter().any(displaced) {
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
                self.context.bell.later(); // they may still arrive
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
        publish.arg(&self.context.channel).arg(message);
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
        let connection = self.context.redis.connect().await?;
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

/// Answers at once what would jump over a failed message, has waited too long, or is asked for no more.
fn worth_sending(append: Append, broken: &mut HashSet<ClientId>) -> Option<Append> {
    let waiting = &append.waiting;
    if waiting.is_given_up() {
        settle(vec![append.waiting], broken, |_| Outcome::Refused);
        return None;
    }
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
            if let Some(counter) = METRICS.events_appended.of(waiting.kind) {
                counter.inc();
            }
            let client = waiting.client.as_ref().map(tracing::field::display);
            debug!(%event, kind = waiting.kind, client, "appended");
        }
        Outcome::Refused => failed("refused"),
        Outcome::Unknown => failed("unknown"),
    }
    waiting.answer.give(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::{Answer, Receipt};
    use frontdesk_shared::ids::{BootId, Lane, Shard};
    use std::time::Instant;
    use tokio::sync::{Semaphore, oneshot};

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
            answer: Answer::Receipt(answer),
            _room: room.expect("free"),
        };
        (waiting, Receipt::new(receipt))
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
            .map(|receipt| match receipt.try_outcome().expect("answered") {
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
