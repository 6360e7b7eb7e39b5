//! Whether this gateway may act: take sockets, and append what they say.
//!
//! A gateway that is cut off cannot know whether it has been declared dead. So it acts only for
//! two thirds of the TTL after the *sending* of the last heartbeat that Redis answered, by the
//! monotonic clock: whoever declares it dead has waited longer than that. Once Redis has said
//! FENCED, this boot never acts again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::METRICS;

/// What is known, each fact written by the one role that knows it.
#[derive(Debug)]
pub(crate) struct Status {
    /// How long a heartbeat is good for.
    fence_after: Duration,
    beat: Mutex<Beat>,
    well: AtomicBool,
    subscriber: AtomicBool,
    draining: AtomicBool,
    fenced: CancellationToken,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Beat {
    /// When the last heartbeat that succeeded was sent.
    sent: Option<Instant>,
    /// Its lapse has been acted upon.
    told: bool,
}

impl Status {
    pub(crate) fn new(fence_after: Duration) -> Self {
        Self {
            fence_after,
            beat: Mutex::default(),
            well: AtomicBool::default(),
            subscriber: AtomicBool::default(),
            draining: AtomicBool::default(),
            fenced: CancellationToken::new(),
            changed: watch::Sender::default(),
        }
    }

    /// Redis has answered a heartbeat that was sent then. Returns whether the one before had succeeded.
    pub(crate) fn beat_succeeded(&self, sent: Instant) -> bool {
        *self.lock() = Beat {
            sent: Some(sent),
            told: false,
        };
        let was_well = self.well.swap(true, SeqCst);
        self.changed.send_replace(());
        was_well
    }

    /// The last heartbeat failed. Returns whether the one before had succeeded.
    pub(crate) fn beat_failed(&self) -> bool {
        self.well.swap(false, SeqCst)
    }

    /// When the last heartbeat stops being good; `None` before the first.
    pub(crate) fn lapses_at(&self) -> Option<Instant> {
        self.lock().sent.map(|sent| sent + self.fence_after)
    }

    /// True once per lapse, for who closes the sockets then.
    pub(crate) fn take_lapse(&self) -> bool {
        let mut beat = self.lock();
        let lapsed = beat
            .sent
            .is_some_and(|sent| sent.elapsed() >= self.fence_after);
        lapsed && !std::mem::replace(&mut beat.told, true)
    }

    /// This boot is dead: never act again.
    pub(crate) fn fence(&self) {
        self.fenced.cancel();
        self.well.store(false, SeqCst);
        self.changed.send_replace(());
    }

    /// Cancelled once this boot is fenced.
    pub(crate) fn fenced(&self) -> &CancellationToken {
        &self.fenced
    }

    /// Whether pushes arrive. Returns what was known before.
    pub(crate) fn set_subscriber(&self, confirmed: bool) -> bool {
        let before = self.subscriber.swap(confirmed, SeqCst);
        if before != confirmed {
            METRICS.subscriber_confirmed.set(confirmed.into());
            self.changed.send_replace(());
        }
        before
    }

    /// No more sockets from here on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, SeqCst);
    }

    /// Whether that was said.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// New sockets are welcome.
    pub(crate) fn ready(&self) -> bool {
        self.well.load(SeqCst) && self.may_serve()
    }

    /// A socket that is registered now can be served. To be asked *after* registering: who finds
    /// that this has ended first says so here and then closes all that are registered, so a socket
    /// is seen by one of the two.
    pub(crate) fn may_serve(&self) -> bool {
        self.may_append() && !self.draining.load(SeqCst)
    }

    /// Events may be sent to the log: this boot lives, and what they bring about will be heard.
    pub(crate) fn may_append(&self) -> bool {
        !self.fenced.is_cancelled()
            && self.subscriber.load(SeqCst)
            && self.lapses_at().is_some_and(|end| Instant::now() < end)
    }

    /// Tells of every change for the better; a lapse is a matter of time and tells nobody.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner) // two plain values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago() -> Instant {
        Instant::now()
            .checked_sub(Duration::from_secs(10))
            .expect("the machine runs longer")
    }

    #[test]
    fn a_gateway_acts_only_while_its_heartbeat_is_young() {
        let status = Status::new(Duration::from_secs(10));
        status.set_subscriber(true);
        assert!(!status.may_append(), "not before the first");
        assert!(!status.take_lapse(), "nothing to lapse yet");
        status.beat_succeeded(Instant::now());
        assert!(status.may_append() && status.ready() && !status.take_lapse());
        status.beat_failed();
        assert!(status.may_serve() && !status.ready());
        status.beat_succeeded(long_ago());
        assert!(!status.may_append() && !status.ready());
        assert!(status.take_lapse() && !status.take_lapse(), "told once");
        status.beat_succeeded(Instant::now());
        assert!(status.ready(), "and back");
    }

    #[test]
    fn a_fenced_gateway_never_acts_again() {
        let status = Status::new(Duration::from_secs(10));
        status.set_subscriber(true);
        status.beat_succeeded(Instant::now());
        status.fence();
        status.beat_succeeded(Instant::now());
        assert!(!status.may_append() && !status.ready());
    }

    #[test]
    fn without_a_subscription_or_while_draining_no_socket_is_welcome() {
        let status = Status::new(Duration::from_secs(10));
        status.beat_succeeded(Instant::now());
        assert!(!status.may_append());
        status.set_subscriber(true);
        status.drain();
        assert!(
            status.may_append() && !status.may_serve(),
            "closes are still written"
        );
    }
}
