//! Socket → stream, the sockets' side: events are encoded, find room, and wait for `batcher`.
//!
//! Each append is answered with what is *known*: stored, not stored, or unknown. Nothing is retried
//! here. The room is bounded; messages cannot take that of opens and closes.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, EventId, LANES, Lane, Shard},
    keys,
};
use redis::Cmd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::outbox::{InFlight, Outbox};

/// Most bytes of messages that wait for the batcher or for Redis, all sockets together. It bounds
/// their number too, since each counts with at least `EVENT_OVERHEAD`.
const MAX_QUEUED_BYTES: u32 = 16 * 1024 * 1024;
/// The same for opens and closes, which have room of their own.
const MAX_QUEUED_CONTROL_BYTES: u32 = 8 * 1024 * 1024;
/// What an event costs beside its fields: queue entry, command, answer.
const EVENT_OVERHEAD: usize = 512;
/// What the command of a short message has; others grow.
const COMMAND_ARGS: usize = 7;
const COMMAND_BYTES: usize = 384;

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
    #[cfg(test)]
    pub(crate) fn new(answer: oneshot::Receiver<Outcome>) -> Self {
        Self(answer)
    }

    #[cfg(test)]
    pub(crate) fn try_outcome(&mut self) -> Option<Outcome> {
        self.0.try_recv().ok()
    }

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

/// The batcher's side of the uplink.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) appends: mpsc::UnboundedReceiver<Append>,
    /// The number of the probe to publish.
    pub(crate) probes: watch::Receiver<u64>,
    /// Changes when the connection is to be given up.
    pub(crate) distrust: watch::Receiver<()>,
}

/// One event on its way.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) command: Cmd,
    pub(crate) bytes: u32,
    pub(crate) waiting: Waiting,
}

/// Where the outcome goes.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To whoever repeats an `open` or a `close` until it is stored.
    Receipt(oneshot::Sender<Outcome>),
    /// To the socket of a message, which hears only of failures.
    Socket(InFlight),
}

impl Waiting {
    /// A request that nobody waits for any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.kind == "request"
            && matches!(&self.answer, Answer::Receipt(receipt) if receipt.is_closed())
    }
}

impl Answer {
    /// A socket that is gone does not mind.
    pub(crate) fn give(self, outcome: Outcome) {
        match (self, outcome) {
            (Self::Receipt(receipt), outcome) => drop(receipt.send(outcome)),
            (Self::Socket(message), Outcome::Stored(_)) => message.stored(),
            (Self::Socket(message), Outcome::Refused | Outcome::Unknown) => drop(message),
        }
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) shard: Shard,
    pub(crate) lane: Lane,
    pub(crate) kind: &'static str,
    /// The connection it is of.
    pub(crate) client: Option<ClientId>,
    /// Messages have an order to keep.
    pub(crate) ordered: bool,
    pub(crate) since: Instant,
    pub(crate) answer: Answer,
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Uplink {
    /// The sockets' side, and the batcher's.
    pub(crate) fn new() -> (Self, Queue) {
        // The channel is bounded by the room that each append holds until it is answered.
        let (queue, appends) = mpsc::unbounded_channel();
        let (probes, distrust) = (watch::Sender::new(0), watch::Sender::new(()));
        let other_side = Queue {
            appends,
            probes: probes.subscribe(),
            distrust: distrust.subscribe(),
        };
        let uplink = Self {
            queue,
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize)),
            control_room: Arc::new(Semaphore::new(MAX_QUEUED_CONTROL_BYTES as usize)),
            probes,
            distrust,
        };
        (uplink, other_side)
    }

    /// Queues a socket's message if there is room at once.
    pub(crate) fn try_message(&self, event: &Event, outbox: &Arc<Outbox>) -> bool {
        let entry = Entry::of(event);
        let room = Arc::clone(&self.room).try_acquire_many_owned(entry.bytes);
        if let Ok(room) = room {
            self.send(event, entry, Answer::Socket(outbox.sent()), room);
            return true;
        }
        false
    }

    /// Waits for room, then queues a socket's message. Whoever has several awaits one before the next.
    pub(crate) async fn message(&self, event: &Event, outbox: &Arc<Outbox>) {
        let entry = Entry::of(event);
        let room = Arc::clone(&self.room).acquire_many_owned(entry.bytes);
        if let Ok(room) = room.await {
            self.send(event, entry, Answer::Socket(outbox.sent()), room);
        } // never closed
    }

    /// Queues a request of the HTTP API if there is room for messages at once. Whoever drops the receipt asks
    /// no more: what has not been sent then is not.
    pub(crate) fn try_request(&self, event: &Event) -> Option<Receipt> {
        let entry = Entry::of(event);
        let room = Arc::clone(&self.room).try_acquire_many_owned(entry.bytes);
        let (answer, receipt) = oneshot::channel();
        self.send(event, entry, Answer::Receipt(answer), room.ok()?);
        Some(Receipt(receipt))
    }

    /// Waits for room, then queues an `open` or `close`.
    pub(crate) async fn append(&self, event: &Event) -> Receipt {
        let entry = Entry::of(event);
        let (answer, receipt) = oneshot::channel();
        let room = Arc::clone(&self.control_room).acquire_many_owned(entry.bytes);
        if let Ok(room) = room.await {
            self.send(event, entry, Answer::Receipt(answer), room);
        } // never closed; the receipt would say Unknown
        Receipt(receipt)
    }

    /// Publishes a probe as soon as possible; a later one replaces one that is still waiting.
    pub(crate) fn probe(&self, number: u64) {
        self.probes.send_replace(number);
    }

    /// The network is not what it seems: give the connection up, whatever is under way on it.
    pub(crate) fn reconnect(&self) {
        self.distrust.send_replace(());
    }

    fn send(&self, event: &Event, entry: Entry, answer: Answer, room: OwnedSemaphorePermit) {
        let (kind, client) = match &event.kind {
            Kind::Open { client, .. } => ("open", Some(client.clone())),
            Kind::Close { client, .. } => ("close", Some(client.clone())),
            Kind::Verb { client, .. } => ("verb", Some(client.clone())),
            Kind::Request(_) => ("request", None),
            _ => ("other", None),
        };
        let waiting = Waiting {
            shard: entry.shard,
            lane: entry.lane,
            kind,
            client,
            ordered: matches!(event.kind, Kind::Verb { .. }),
            since: Instant::now(),
            answer,
            _room: room,
        };
        // A batcher that has ended drops the append, and so its outcome is unknown.
        let _ = self.queue.send(Append {
            command: entry.command,
            bytes: entry.bytes,
            waiting,
        });
    }
}

/// An event, ready to be appended.
struct Entry {
    shard: Shard,
    lane: Lane,
    /// The XADD.
    command: Cmd,
    /// What it counts against the bounds.
    bytes: u32,
}

impl Entry {
    fn of(event: &Event) -> Self {
        let (shard, lane) = (Shard::of(&event.site), Lane::of(&event.uid));
        let mut command = Cmd::with_capacity(COMMAND_ARGS, COMMAND_BYTES);
        command.arg("XADD").arg(stream(shard, lane)).arg("*");
        let fields = event.pack();
        let bytes = EVENT_OVERHEAD + fields.iter().map(Vec::len).sum::<usize>();
        command.arg(&fields);
        // One event can never be larger than all the room, or it would wait for ever.
        let bytes = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(MAX_QUEUED_CONTROL_BYTES);
        Self {
            shard,
            lane,
            command,
            bytes,
        }
    }
}

/// The name of a lane's stream, made once.
fn stream(shard: Shard, lane: Lane) -> &'static str {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let every = Shard::all().flat_map(|shard| Lane::all().map(move |lane| (shard, lane)));
        every
            .map(|(shard, lane)| keys::events(shard, lane))
            .collect()
    });
    &NAMES[usize::from(shard.number()) * usize::from(LANES) + usize::from(lane.number())]
}
