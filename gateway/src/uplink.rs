//! Socket → stream, the sockets' side: events are encoded, find room, and wait for `batcher`.
//!
//! Each append is answered with what is *known*: stored, not stored, or unknown. Nothing is retried
//! here. The room is bounded; messages cannot take that of opens and closes.

use std::{sync::Arc, time::Instant};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, EventId, Lane, Shard},
    keys,
};
use redis::Cmd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Most bytes of messages that wait for the batcher or for Redis, all sockets together. It bounds
/// their number too, since each counts with at least `EVENT_OVERHEAD`.
const MAX_QUEUED_BYTES: u32 = 16 * 1024 * 1024;
/// The same for opens and closes, which have room of their own.
const MAX_QUEUED_CONTROL_BYTES: u32 = 8 * 1024 * 1024;
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
    pub(crate) answer: oneshot::Sender<Outcome>,
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
