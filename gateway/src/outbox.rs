//! One socket's outgoing queue, bounded in frames and in bytes, and its kill switch.
//!
//! The downlink fills it without ever waiting; the socket's task empties it. When a client reads
//! too slowly for the bound, its socket is closed retryably: nothing is dropped in silence, and one
//! slow client costs the others nothing.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use frontdesk_shared::protocol::close::{CloseCode, SLOW_CONSUMER};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::metrics::METRICS;

/// Most frames that wait for one socket.
pub(crate) const MAX_QUEUED_FRAMES: usize = 1024;
/// Most bytes of frames that wait for one socket: several times what one call of the apply script
/// can push to it (128 KiB of entries and one more), so that only a slow reader fills it. What a frame keeps in memory is at most twice its
/// size (see `downlink`), and less when it goes to several sockets.
pub(crate) const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// What the socket's task is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Send a text frame.
    Text(Utf8Bytes),
    /// Close, after everything queued before.
    Close(CloseCode),
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    kill: OnceLock<CloseCode>,
    killed: Notify,
    welcomed: OnceLock<Instant>,
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
        drop(queue);
        self.filled.notify_one();
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
            self.killed.notify_one();
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

    /// Waits until something is queued. For the socket's task only: there is one permit.
    pub(crate) async fn filled(&self) {
        while self.lock().items.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Waits until somebody kills the socket. For the socket's task only.
    pub(crate) async fn killed(&self) -> CloseCode {
        loop {
            if let Some(code) = self.kill.get() {
                return *code;
            }
            self.killed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that runs under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Close(_) => 0,
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
    async fn the_first_kill_counts() {
        let outbox = Outbox::default();
        outbox.kill(RESYNC);
        outbox.kill(SLOW_CONSUMER);
        assert_eq!(outbox.killed().await, RESYNC);
    }
}
