//! Latencies as HdrHistograms of microseconds, from the moment something was *due*: a client that waits
//! for a slow server and measures only what it then sends would leave the worst out (coordinated
//! omission).

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

/// Three digits: an error of at most 0.1 %.
const DIGITS: u8 = 3;
/// Longest that is told apart.
const MAX_US: u64 = 3_600_000_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// From due to the other side's socket.
    Delivery,
    /// From due to the sender's ack.
    Ack,
    /// From due until both are there.
    Complete,
    /// From the beginning of the connection to `welcome`.
    Welcome,
    /// From the loss of a socket to the `welcome` of the next one.
    Again,
    /// From `customerConnect` to its answer.
    Answer,
    /// From `customerConnect` to the beginning of the conversation.
    Wait,
    /// Delivery of the quiet pair.
    Probe,
    /// From due to the send: how late this tool itself was.
    Lag,
}

impl Kind {
    /// As people call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Ack => "ack",
            Self::Complete => "delivered and acknowledged",
            Self::Welcome => "connect to welcome",
            Self::Again => "lost socket to welcome",
            Self::Answer => "answer to customerConnect",
            Self::Wait => "wait for staff",
            Self::Probe => "quiet pair, delivery",
            Self::Lag => "lag of this tool",
        }
    }
}

/// One histogram.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // Fails only for bounds that contradict each other, and these are constants.
        #[allow(clippy::expect_used)]
        let histogram = Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("valid bounds");
        Self(histogram)
    }
}

impl Latency {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency).max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// A percentile in milliseconds.
    pub(crate) fn ms(&self, percentile: f64) -> f64 {
        self.0.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }

    /// Key figures in milliseconds.
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            mean: self.0.mean() / 1000.0,
            p50: self.ms(50.0),
            p90: self.ms(90.0),
            p99: self.ms(99.0),
            p999: self.ms(99.9),
            max: self.0.max() as f64 / 1000.0,
        }
    }

    fn encode(&self) -> Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .context("a histogram cannot be written")?;
        Ok(STANDARD.encode(bytes))
    }

    fn decode(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).context("a histogram is no base64")?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .context("a histogram cannot be read")?;
        // Into our own bounds, whatever the file's were.
        let mut own = Self::default();
        for step in histogram.iter_recorded() {
            own.0
                .saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
        Ok(own)
    }
}

impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.encode().map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::decode(&text).map_err(serde::de::Error::custom)
    }
}

/// Key figures of a histogram, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Histograms by what they measure; only those that hold something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latencies(pub(crate) BTreeMap<Kind, Latency>);

impl Latencies {
    pub(crate) fn record(&mut self, kind: Kind, latency: Duration) {
        self.0.entry(kind).or_default().record(latency);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, latency) in &other.0 {
            self.0.entry(*kind).or_default().add(latency);
        }
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_survive_json_and_add_up() {
        let mut one = Latencies::default();
        for ms in 1..=100 {
            one.record(Kind::Delivery, Duration::from_millis(ms));
        }
        let text = serde_json::to_string(&one).expect("JSON");
        let mut two: Latencies = serde_json::from_str(&text).expect("JSON");
        two.add(&one);
        let summary = two.0[&Kind::Delivery].summary();
        assert_eq!(summary.count, 200);
        assert!((summary.p50 - 50.0).abs() < 0.1, "{summary:?}");
        assert!((summary.max - 100.0).abs() < 0.2, "{summary:?}");
    }
}
