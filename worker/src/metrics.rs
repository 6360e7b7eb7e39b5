//! The worker's metrics, in the process's default registry. No ids in labels.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, core::Collector,
};

use crate::library::Outcome;

/// The one instance.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// All metrics of a worker.
#[derive(Debug)]
pub struct Metrics {
    /// Entries by outcome: applied, duplicate, gap, dead.
    entries: IntCounterVec,
    /// Acks published.
    pub acks: IntCounter,
    /// Entries that went the quick way of their transition.
    pub quick: IntCounter,
    /// Acks that could not be published.
    pub acks_lost: IntCounter,
    /// Sessions of a shard's reader that failed and started again.
    pub sessions_failed: IntCounter,
    /// Entries in one call of the apply script.
    pub entries_per_call: Histogram,
    /// Time of one call of the apply script.
    pub call_seconds: Histogram,
    /// Age of an entry when it was applied.
    pub age_seconds: Histogram,
    /// Lanes this worker reads.
    pub lanes: IntGauge,
    /// Gateways that are registered and not dead.
    pub gateways: IntGauge,
    /// Gateways that this worker declared dead.
    pub gateways_dead: IntCounter,
    /// Times that Redis was found to have lost confirmed writes.
    pub data_losses: IntCounter,
    /// Timers that became events.
    pub timers_fired: IntCounter,
    /// Customers waiting, in the shards whose lane 0 this worker holds.
    pub waiting: IntGauge,
    /// Staff on duty, likewise.
    pub on_duty: IntGauge,
    /// Staff with a free place, likewise.
    pub free: IntGauge,
    /// Timers set, likewise.
    pub timers: IntGauge,
}

/// A metric that cannot be registered twice still counts; it is only not shown.
pub(crate) fn shown<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    // Names and labels are literals below, so making them cannot fail.
    #[allow(clippy::expect_used)]
    let metric = metric.expect("literal metric names are valid");
    if let Err(error) = prometheus::register(Box::new(metric.clone())) {
        tracing::error!(%error, "metric not registered");
    }
    metric
}

fn counter(name: &str, help: &str) -> IntCounter {
    shown(IntCounter::new(name, help))
}

pub(crate) fn gauge(name: &str, help: &str) -> IntGauge {
    shown(IntGauge::new(name, help))
}

pub(crate) fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    shown(Histogram::with_opts(
        HistogramOpts::new(name, help).buckets(buckets.to_vec()),
    ))
}

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

impl Metrics {
    fn new() -> Self {
        let entries = Opts::new(
            "frontdesk_worker_entries_total",
            "Entries looked at by the apply script, by outcome",
        );
        Self {
            entries: shown(IntCounterVec::new(entries, &["outcome"])),
            acks: counter("frontdesk_worker_acks_total", "Acks published"),
            quick: counter(
                "frontdesk_worker_quick_total",
                "Entries for which nothing had to be looked up",
            ),
            acks_lost: counter(
                "frontdesk_worker_acks_lost_total",
                "Acks that could not be published",
            ),
            sessions_failed: counter(
                "frontdesk_worker_sessions_failed_total",
                "Reading sessions that failed and started again",
            ),
            entries_per_call: histogram(
                "frontdesk_worker_entries_per_call",
                "Entries in one call of the apply script",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
            ),
            call_seconds: histogram(
                "frontdesk_worker_call_seconds",
                "Time of one call of the apply script",
                SECONDS,
            ),
            age_seconds: histogram(
                "frontdesk_worker_age_seconds",
                "Age of an entry when it was applied",
                SECONDS,
            ),
            lanes: gauge("frontdesk_worker_lanes", "Lanes this worker reads"),
            gateways: gauge(
                "frontdesk_worker_gateways",
                "Gateways registered and not dead, as every worker sees them",
            ),
            gateways_dead: counter(
                "frontdesk_worker_gateways_dead_total",
                "Gateways that this worker declared dead",
            ),
            data_losses: counter(
                "frontdesk_worker_data_losses_total",
                "Times that Redis was found to have lost confirmed writes",
            ),
            timers_fired: counter(
                "frontdesk_worker_timers_fired_total",
                "Timers that became events",
            ),
            waiting: gauge(
                "frontdesk_desk_customers_waiting",
                "Customers waiting, in the shards whose clock this worker drives",
            ),
            on_duty: gauge(
                "frontdesk_desk_staff_on_duty",
                "Staff on duty, in the shards whose clock this worker drives",
            ),
            free: gauge(
                "frontdesk_desk_staff_free",
                "Staff with a free place, in the shards whose clock this worker drives",
            ),
            timers: gauge(
                "frontdesk_desk_timers",
                "Timers set, in the shards whose clock this worker drives",
            ),
        }
    }

    /// Counts what became of one entry.
    pub fn count(&self, outcome: &Outcome) {
        let label = match outcome {
            Outcome::Applied | Outcome::Acked(_) | Outcome::Said(_) => "applied",
            Outcome::Duplicate => "duplicate",
            Outcome::Gap => "gap",
            Outcome::Dead(_) => "dead",
        };
        self.entries.with_label_values(&[label]).inc();
    }
}
