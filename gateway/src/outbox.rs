//! What a socket's task shares with others: the outgoing queue, bounded in frames and in bytes, the
//! kill switch, and how many of its messages are on their way to the log.
//!
//! The downlink fills it without ever waiting; the socket's task empties it. When a client reads
//! too slowly for the bound, its socket is closed retryably: nothing is dropped in silence, and one
//! slow client costs the others nothing.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Instant,
};

use frontdesk_shared::protocol::close::{APPEND_UNKNOWN, CloseCode, SLOW_CONSUMER};
use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::metrics::METRICS;

/// Most frames that wait for one socket.
pub(crate) const MAX_QUEUED_FRAMES: usize = 1024;
/// Most bytes of frames that wait for one socket: several times what one call of the apply script
/// can push to it (128 KiB of entries and one more), so that only a slow reader fills it. What a frame keeps in memory is at most twice its
/// size (see `downlink`), and less when it goes to several sockets.
pub(crate) const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// Most messages of one socket on their way to the log. Beyond, the socket is not read: TCP slows
/// the client down, and memory stays bounded however much it sends.
const MAX_IN_FLIGHT: usize = 64;

/// What the socket's task is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Send a text frame.
    Text(Utf8Bytes),
    /// Send this text frame with the connection's resume token in it.
    Welcome(Utf8Bytes),
    /// Say that pushes may be missing.
    Resync,
    /// Close, after everything queued before.
    Close(CloseCode),
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    kill: OnceLock<CloseCode>,
    in_flight: AtomicUsize,
    welcomed: OnceLock<Instant>,
    /// Its client has resumed once, so it knows what to do when pushes are missing.
    resumes: AtomicBool,
    /// It is to be told that pushes are missing.
    resync: AtomicBool,
    /// The socket's task, which alone waits here.
    task: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Outgoing>,
    bytes: usize,
}

impl Outbox {
    /// Queues; over the bound, the socket is closed instead. False if it is closing already.
    pub(crate) fn push(&self, item: Outgoing) -> bool {
        if self.kill.get().is_some() {
            return false;
        }
        let mut queue = self.lock();
        let size = item.size();
        if queue.items.len() >= MAX_QUEUED_FRAMES || queue.bytes + size > MAX_QUEUED_BYTES {
            drop(queue);
            self.kill(SLOW_CONSUMER);
            return false;
        }
        queue.bytes += size;
        queue.items.push_back(item);
        let first = queue.items.len() == 1; // the task empties the queue, so it knows of the others
        drop(queue);
        if first {
            self.task.wake();
        }
        true
    }

    /// Closes the socket now, ahead of what is queued. The first code counts.
    pub(crate) fn kill(&self, code: CloseCode) {
        if self.kill.set(code).is_ok() {
            let dropped = std::mem::take(&mut *self.lock()).items.len();
            METRICS
                .frames_dropped
                .with_label_values(&[code.name])
                .inc_by(dropped as u64);
            self.task.wake();
        }
    }

    /// The state knows this socket from now on.
    pub(crate) fn welcome(&self) {
        let _ = self.welcomed.set(Instant::now()); // the first time counts
    }

    /// When the state first knew it.
    pub(crate) fn welcomed(&self) -> Option<Instant> {
        self.welcomed.get().copied()
    }

    /// Its client resumes.
    pub(crate) fn set_resumes(&self) {
        self.resumes.store(true, SeqCst);
    }

    /// Whether its client has resumed once.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes.load(SeqCst)
    }

    /// It is to be told that pushes are missing. False if that was known.
    pub(crate) fn begin_resync(&self) -> bool {
        !self.resync.swap(true, SeqCst)
    }

    /// It is told now.
    pub(crate) fn end_resync(&self) {
        self.resync.store(false, SeqCst);
    }

    /// The next item, if there is one.
    pub(crate) fn pop(&self) -> Option<Outgoing> {
        let mut queue = self.lock();
        let item = queue.items.pop_front()?;
        queue.bytes -= item.size();
        if queue.items.is_empty() {
            queue.items = VecDeque::new(); // an idle socket keeps no buffer
        }
        Some(item)
    }

    /// Waits until something is queued. For the socket's task only.
    pub(crate) async fn filled(&self) {
        self.until(|| (!self.lock().items.is_empty()).then_some(()))
            .await;
    }

    /// Waits until somebody kills the socket. For the socket's task only.
    pub(crate) async fn killed(&self) -> CloseCode {
        self.until(|| self.kill.get().copied()).await
    }

    /// One more message is on its way to the log.
    pub(crate) fn sent(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, SeqCst);
        InFlight {
            outbox: Arc::clone(self),
            stored: false,
        }
    }

    /// Whether the socket may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.load(SeqCst) < MAX_IN_FLIGHT
    }

    /// Waits until the socket may be read. For the socket's task only.
    pub(crate) async fn room(&self) {
        self.until(|| self.has_room().then_some(())).await;
    }

    /// Looks, asks to be woken, and looks again: what came in between has woken nobody.
    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        poll_fn(|context| {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            self.task.register(context.waker());
            look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that runs under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message on its way to the log. Unless it is known to be there in its place, the socket closes
/// retryably and the client sends again under the same id.
#[derive(Debug)]
pub(crate) struct InFlight {
    outbox: Arc<Outbox>,
    stored: bool,
}

impl InFlight {
    /// It is in the log. Wakes the socket's task only if that waits for room: nothing else follows.
    pub(crate) fn stored(mut self) {
        self.stored = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.outbox.in_flight.fetch_sub(1, SeqCst);
        if !self.stored {
            self.outbox.kill(APPEND_UNKNOWN);
        } else if before == MAX_IN_FLIGHT {
            self.outbox.task.wake();
        }
    }
}

impl Outgoing {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Welcome(text) => text.len(),
            Self::Resync | Self::Close(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::protocol::close::RESYNC;

    fn text(length: usize) -> Outgoing {
        Outgoing::Text("x".repeat(length).into())
    }

    #[tokio::test]
    async fn what_is_queued_comes_out_in_order() {
        let outbox = Outbox::default();
        assert!(outbox.push(text(1)) && outbox.push(Outgoing::Close(RESYNC)));
        outbox.filled().await;
        assert_eq!(outbox.pop(), Some(text(1)));
        assert_eq!(outbox.pop(), Some(Outgoing::Close(RESYNC)));
        assert_eq!(outbox.pop(), None);
    }

    #[tokio::test]
    async fn too_many_bytes_close_the_socket_and_free_the_queue() {
        let outbox = Outbox::default();
        assert!(outbox.push(text(MAX_QUEUED_BYTES)));
        assert!(!outbox.push(text(1)));
        assert_eq!(outbox.killed().await, SLOW_CONSUMER);
        assert_eq!(outbox.pop(), None);
        assert!(!outbox.push(text(1)));
    }

    #[tokio::test]
    async fn too_many_frames_close_the_socket() {
        let outbox = Outbox::default();
        assert!((0..MAX_QUEUED_FRAMES).all(|_| outbox.push(text(0))));
        assert!(!outbox.push(text(0)));
        assert_eq!(outbox.killed().await, SLOW_CONSUMER);
    }

    #[tokio::test]
    async fn a_socket_is_read_again_when_one_of_its_messages_is_stored() {
        let outbox = Arc::new(Outbox::default());
        let mut sent: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| outbox.sent()).collect();
        assert!(!outbox.has_room());
        let waits = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        sent.pop().expect("many").stored();
        waits.await.expect("woken");
        assert!(outbox.push(text(1)), "alive");
    }

    #[tokio::test]
    async fn a_message_that_nobody_has_stored_closes_its_socket() {
        let outbox = Arc::new(Outbox::default());
        drop(outbox.sent());
        assert_eq!(outbox.killed().await, APPEND_UNKNOWN);
    }

    #[tokio::test]
    async fn the_first_kill_counts() {
        let outbox = Outbox::default();
        outbox.kill(RESYNC);
        outbox.kill(SLOW_CONSUMER);
        assert_eq!(outbox.killed().await, RESYNC);
    }
}
