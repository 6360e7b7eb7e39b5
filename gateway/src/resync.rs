//! Telling sockets that pushes to them may be missing, a few at a time.
//!
//! A client that has resumed once is told `resync` and resumes again on the same socket; the answer
//! costs Redis a snapshot each, so many sockets (a subscription was lost) are told one after the
//! other. Appends wait while there is no confirmed subscription, and an answer cannot come before its
//! append, so it does not matter that some are told while pushes cannot arrive yet.
//! Sockets of other clients are closed instead: they can only come back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::METRICS,
    outbox::{Outbox, Outgoing},
};

/// Most sockets of one gateway that are told per second.
const RATE: usize = 500;
/// Time between two handfuls.
const PAUSE: Duration = Duration::from_millis(20);
/// How many are told at once.
const HANDFUL: usize = RATE * PAUSE.as_millis() as usize / 1000;

/// Who is to be told, in the order in which they were found. A socket is in it at most once, so it
/// is bounded by the number of sockets.
#[derive(Debug, Default)]
pub(crate) struct Resync {
    waiting: Mutex<VecDeque<Weak<Outbox>>>,
    somebody: Notify,
}

impl Resync {
    /// Tells this socket soon, unless it is to be told already.
    pub(crate) fn tell(&self, outbox: &Arc<Outbox>) {
        if outbox.begin_resync() {
            self.queue().push_back(Arc::downgrade(outbox));
            self.somebody.notify_one();
        }
    }

    /// Tells a handful. Returns whether anybody waits still.
    fn tell_some(&self) -> bool {
        let mut queue = self.queue();
        let handful = queue.len().min(HANDFUL);
        let some: Vec<_> = queue.drain(..handful).collect();
        let more = !queue.is_empty();
        drop(queue);
        for outbox in some.iter().filter_map(Weak::upgrade) {
            outbox.end_resync(); // first, so that whatever is missing from here on is told again
            if outbox.push(Outgoing::Resync) {
                METRICS.resyncs.inc();
            }
        }
        more
    }

    // A queue is whole after any panic under its lock.
    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Weak<Outbox>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells them until `stop`.
pub(crate) async fn run(resync: Arc<Resync>, stop: CancellationToken) {
    let telling = async {
        loop {
            if !resync.tell_some() {
                resync.somebody.notified().await;
            }
            sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(telling).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_once_and_a_handful_at_a_time() {
        let resync = Resync::default();
        let sockets: Vec<_> = (0..=HANDFUL).map(|_| Arc::new(Outbox::default())).collect();
        for socket in &sockets {
            resync.tell(socket);
            resync.tell(socket);
        }
        assert!(resync.tell_some());
        assert!(!resync.tell_some());
        for socket in &sockets {
            assert_eq!(socket.pop(), Some(Outgoing::Resync));
            assert_eq!(socket.pop(), None);
        }
        resync.tell(&sockets[0]);
        resync.tell_some();
        assert_eq!(sockets[0].pop(), Some(Outgoing::Resync), "missing again");
    }

    #[test]
    fn who_has_left_is_not_told() {
        let resync = Resync::default();
        resync.tell(&Arc::new(Outbox::default()));
        assert!(!resync.tell_some());
    }
}
