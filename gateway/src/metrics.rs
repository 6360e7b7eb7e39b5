//! What the gateway counts. No ids in labels: their number has no bound.

use std::sync::LazyLock;

use prometheus::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, exponential_buckets, histogram_opts,
    opts, register_gauge, register_histogram, register_int_counter, register_int_counter_vec,
    register_int_gauge,
};

/// The process's counters, registered at first use.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    // Fails only if a name below is malformed or used twice, which the test notices.
    #[allow(clippy::expect_used)]
    Metrics::register().expect("metric names are valid and unique")
});

pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) frames_in: FramesIn,
    pub(crate) events_appended: EventsAppended,
    pub(crate) append_failures: IntCounterVec,
    pub(crate) append_seconds: Histogram,
    pub(crate) append_batch_size: Histogram,
    pub(crate) push_payloads: IntCounter,
    pub(crate) pushes_out: IntCounter,
    pub(crate) closes: IntCounterVec,
    pub(crate) frames_dropped: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) handshakes_refused: IntCounterVec,
    pub(crate) identity_requests: IntCounterVec,
    /// Requests of the HTTP API by the status of their answer.
    pub(crate) api_requests: IntCounterVec,
    /// Clients of plain HTTP that did not read their answer in time.
    pub(crate) answers_cut: IntCounterVec,
    pub(crate) holes: IntCounter,
    pub(crate) malformed_payloads: IntCounter,
    pub(crate) unknown_targets: IntCounter,
    pub(crate) subscriber_losses: IntCounter,
    /// Sockets told that pushes to them may be missing.
    pub(crate) resyncs: IntCounter,
    pub(crate) subscriber_confirmed: IntGauge,
    pub(crate) backlog_seconds: Gauge,
    pub(crate) self_fenced: IntCounter,
    pub(crate) fenced: IntCounter,
    pub(crate) data_losses: IntCounter,
    pub(crate) roll_calls: IntCounter,
    pub(crate) reads: IntCounterVec,
    pub(crate) read_seconds: Histogram,
    pub(crate) typing: Typing,
    pub(crate) roll_call_findings: IntCounterVec,
}

/// Frames from clients by kind, found without a lookup: each frame counts here.
pub(crate) struct FramesIn {
    pub(crate) ping: IntCounter,
    pub(crate) text: IntCounter,
    pub(crate) binary: IntCounter,
    pub(crate) control: IntCounter,
}

/// What became of words that somebody is typing.
pub(crate) struct Typing {
    pub(crate) told: IntCounter,
    pub(crate) dropped: IntCounter,
}

impl Typing {
    fn register() -> prometheus::Result<Self> {
        let help = "Words that somebody types: told, or dropped under pressure";
        let by_outcome = counters("typing_total", help, "outcome")?;
        Ok(Self {
            told: by_outcome.with_label_values(&["told"]),
            dropped: by_outcome.with_label_values(&["dropped"]),
        })
    }
}

/// Events confirmed in the log, likewise.
pub(crate) struct EventsAppended {
    open: IntCounter,
    close: IntCounter,
    verb: IntCounter,
    request: IntCounter,
}

impl Metrics {
    fn register() -> prometheus::Result<Self> {
        Ok(Self {
            connections: register_int_gauge!("frontdesk_gateway_connections", "Open sockets")?,
            frames_in: FramesIn::register()?,
            events_appended: EventsAppended::register()?,
            append_failures: counters(
                "append_failures_total",
                "Appends refused or of unknown outcome",
                "outcome",
            )?,
            append_seconds: register_histogram!(histogram_opts!(
                "frontdesk_gateway_append_seconds",
                "From an event's queueing to Redis's confirmation",
                exponential_buckets(0.000_25, 2.0, 15)?
            ))?,
            append_batch_size: register_histogram!(histogram_opts!(
                "frontdesk_gateway_append_batch_size",
                "Events in one pipeline",
                exponential_buckets(1.0, 2.0, 10)?
            ))?,
            push_payloads: counter("push_payloads_total", "Payloads from workers")?,
            pushes_out: counter("pushes_out_total", "Frames queued for sockets")?,
            closes: counters("closes_total", "Ended sockets", "reason")?,
            frames_dropped: counters(
                "frames_dropped_total",
                "Frames queued for a socket that was closed before they were sent",
                "reason",
            )?,
            refused: counters("refused_total", "Frames answered with an error", "code")?,
            handshakes_refused: counters(
                "handshakes_refused_total",
                "Handshakes refused",
                "status",
            )?,
            identity_requests: register_int_counter_vec!(
                opts!(
                    "frontdesk_gateway_identity_requests_total",
                    "Requests for tickets and visitors' identities"
                ),
                &["what", "status"]
            )?,
            api_requests: counters("api_requests_total", "Requests of the HTTP API", "status")?,
            answers_cut: counters(
                "answers_cut_total",
                "Clients of plain HTTP cut because they did not read their answer in time",
                "reason",
            )?,
            holes: counter("holes_total", "Holes in the workers' numbering of payloads")?,
            malformed_payloads: counter("malformed_payloads_total", "Payloads that do not decode")?,
            unknown_targets: counter("unknown_targets_total", "Pushes to sockets that are gone")?,
            resyncs: counter("resyncs_total", "Sockets told to resume where they are")?,
            subscriber_losses: counter("subscriber_losses_total", "Losses of the subscription")?,
            subscriber_confirmed: register_int_gauge!(
                "frontdesk_gateway_subscriber_confirmed",
                "1 while pushes arrive"
            )?,
            backlog_seconds: register_gauge!(
                "frontdesk_gateway_backlog_seconds",
                "Age of the oldest event that no worker has applied, in lanes used lately"
            )?,
            self_fenced: counter(
                "self_fenced_total",
                "Times without a heartbeat for two thirds of the TTL",
            )?,
            data_losses: counter(
                "data_losses_total",
                "Times that Redis was found to have lost confirmed writes",
            )?,
            fenced: counter("fenced_total", "Boots that were declared dead")?,
            roll_calls: counter("roll_calls_total", "Comparisons of sockets with the state")?,
            reads: counters("reads_total", "Pages asked for", "outcome")?,
            read_seconds: register_histogram!(histogram_opts!(
                "frontdesk_gateway_read_seconds",
                "From a page's being asked for to its answer",
                exponential_buckets(0.000_5, 2.0, 13)?
            ))?,
            typing: Typing::register()?,
            roll_call_findings: counters(
                "roll_call_findings_total",
                "Sockets closed because the state did not know them, and the reverse",
                "kind",
            )?,
        })
    }
}

impl FramesIn {
    fn register() -> prometheus::Result<Self> {
        let by_kind = counters("frames_in_total", "Frames from clients", "kind")?;
        Ok(Self {
            ping: by_kind.with_label_values(&["ping"]),
            text: by_kind.with_label_values(&["text"]),
            binary: by_kind.with_label_values(&["binary"]),
            control: by_kind.with_label_values(&["control"]),
        })
    }
}

impl EventsAppended {
    fn register() -> prometheus::Result<Self> {
        let help = "Events confirmed in the log";
        let by_kind = counters("events_appended_total", help, "kind")?;
        Ok(Self {
            open: by_kind.with_label_values(&["open"]),
            close: by_kind.with_label_values(&["close"]),
            verb: by_kind.with_label_values(&["verb"]),
            request: by_kind.with_label_values(&["request"]),
        })
    }

    /// The counter of a kind that gateways append.
    pub(crate) fn of(&self, kind: &str) -> Option<&IntCounter> {
        match kind {
            "verb" => Some(&self.verb),
            "open" => Some(&self.open),
            "close" => Some(&self.close),
            "request" => Some(&self.request),
            _ => None,
        }
    }
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register_int_counter!(format!("frontdesk_gateway_{name}"), help)
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    register_int_counter_vec!(opts!(format!("frontdesk_gateway_{name}"), help), &[label])
}

#[cfg(test)]
mod tests {
    use super::METRICS;

    #[test]
    fn every_metric_can_be_registered() {
        METRICS.connections.set(0);
    }
}
