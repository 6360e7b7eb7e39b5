//! Whether this gateway may take sockets: Redis answers, the subscription is confirmed, and nobody
//! has asked it to stop.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::metrics::METRICS;

/// Three facts, each written by the one role that knows it.
#[derive(Debug, Default)]
pub(crate) struct Status {
    heartbeat: AtomicBool,
    subscriber: AtomicBool,
    draining: AtomicBool,
}

impl Status {
    /// Whether the last heartbeat succeeded. Returns what was known before.
    pub(crate) fn set_heartbeat(&self, well: bool) -> bool {
        self.heartbeat.swap(well, SeqCst)
    }

    /// Whether Redis has confirmed the subscription.
    pub(crate) fn set_subscriber(&self, confirmed: bool) {
        self.subscriber.store(confirmed, SeqCst);
        METRICS.subscriber_confirmed.set(confirmed.into());
    }

    /// No more sockets from here on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, SeqCst);
    }

    /// New sockets are welcome.
    pub(crate) fn ready(&self) -> bool {
        self.heartbeat.load(SeqCst) && self.can_push()
    }

    /// Pushes reach a socket that is registered now. To be asked *after* registering: who loses the
    /// subscription, or drains, first says so here and then closes all that are registered, so a
    /// socket is seen by one of the two.
    pub(crate) fn can_push(&self) -> bool {
        self.subscriber.load(SeqCst) && !self.draining.load(SeqCst)
    }
}
