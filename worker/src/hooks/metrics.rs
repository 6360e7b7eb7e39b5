//! What is to be seen of webhooks. No site and no hook in labels: there may be any number of them.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounterVec, IntGauge, Opts};

use super::sweep::Held;
use crate::metrics::{gauge, histogram, shown};

/// The one instance.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// All metrics of webhooks.
#[derive(Debug)]
pub struct Metrics {
    /// Attempts by outcome: delivered, failed (to be tried again), parked.
    pub attempts: IntCounterVec,
    /// How long they took.
    pub seconds: Histogram,
    /// Requests under way.
    pub sending: IntGauge,
    /// Deliveries by where they are.
    waiting: IntGauge,
    retrying: IntGauge,
    parked: IntGauge,
    dropped: IntGauge,
    forgotten: IntGauge,
}

impl Metrics {
    fn new() -> Self {
        let attempts = Opts::new(
            "frontdesk_hooks_attempts_total",
            "Attempts to deliver a webhook, by outcome",
        );
        Self {
            attempts: shown(IntCounterVec::new(attempts, &["outcome"])),
            seconds: histogram(
                "frontdesk_hooks_seconds",
                "Time of an attempt to deliver a webhook",
                &[0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            ),
            sending: gauge("frontdesk_hooks_sending", "Webhooks that are being sent"),
            waiting: gauge(
                "frontdesk_hooks_waiting",
                "Webhooks that wait for a first attempt, in the shards whose clock this worker drives",
            ),
            retrying: gauge(
                "frontdesk_hooks_retrying",
                "Webhooks that are being tried or will be again, in the shards whose clock this worker drives",
            ),
            parked: gauge(
                "frontdesk_hooks_parked",
                "Webhooks that are not tried any more, in the shards whose clock this worker drives",
            ),
            dropped: gauge(
                "frontdesk_hooks_dropped",
                "Webhooks dropped so far since too many waited, in the shards whose clock this worker drives",
            ),
            forgotten: gauge(
                "frontdesk_hooks_forgotten",
                "Webhooks forgotten so far since too many were parked or they were kept for long, in the shards whose clock this worker drives",
            ),
        }
    }

    /// Shows what the shards hold.
    pub(super) fn show(&self, [waiting, retrying, parked, dropped, forgotten]: Held) {
        self.waiting.set(waiting);
        self.retrying.set(retrying);
        self.parked.set(parked);
        self.dropped.set(dropped);
        self.forgotten.set(forgotten);
    }
}
