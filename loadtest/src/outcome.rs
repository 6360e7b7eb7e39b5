//! What a run found: the JSON line, from which the report is drawn and results are merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    config::Thresholds,
    count::Counts,
    latency::{Kind, Latencies, Summary},
    sample::Sample,
};

/// A whole result. Times in the names' units; `*_ms` are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) tool: String,
    pub(crate) version: String,
    pub(crate) scenario: String,
    /// The options as they held.
    pub(crate) options: serde_json::Value,
    pub(crate) runs: Vec<String>,
    /// When the load began, in ms since 1970.
    pub(crate) began_unix_ms: u64,
    /// Measured time.
    pub(crate) seconds: f64,
    /// What is completed: messages, connections, conversations.
    pub(crate) unit: String,
    /// Completed per second of the measured time.
    pub(crate) rate: f64,
    /// All counts, warm-up included.
    pub(crate) counts: Counts,
    /// Broken promises by name; empty if all held.
    pub(crate) broken: BTreeMap<String, u64>,
    /// The latency that the thresholds are about.
    pub(crate) latency_of: Kind,
    /// In milliseconds.
    pub(crate) latency_ms: BTreeMap<Kind, Summary>,
    /// HdrHistograms in µs (V2, deflated, base64).
    pub(crate) histograms: Latencies,
    /// One point per second.
    pub(crate) series: Vec<Point>,
    /// The watched processes, in the order of the samples.
    pub(crate) watched: Vec<String>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) servers: Servers,
    /// Processor use of each process of this tool, in percent of one processor.
    pub(crate) own_cpu_percent: Vec<f64>,
    /// What makes the figures doubtful.
    pub(crate) warnings: Vec<String>,
    /// Thresholds that were missed.
    pub(crate) missed: Vec<String>,
}

/// One second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Seconds since the beginning, at the end of this one.
    pub(crate) t: u64,
    /// Completed per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// 99th percentile of the quiet pair.
    pub(crate) probe_ms: f64,
}

/// What the watched servers used over the measured time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Servers {
    /// Processors used on average, by process.
    pub(crate) cpu: BTreeMap<String, f64>,
    /// Resident memory at the end, in bytes, by process.
    pub(crate) rss: BTreeMap<String, u64>,
    /// Processor time of all of them for 100,000 completed.
    pub(crate) cpu_s_per_100k: Option<f64>,
    /// Growth of the gateways' resident memory from before the load, by connection.
    pub(crate) gateway_bytes_per_connection: Option<f64>,
    /// Growth of Redis's used memory, by connection.
    pub(crate) redis_bytes_per_connection: Option<f64>,
    /// Commands per second that Redis ran, those inside scripts included.
    pub(crate) redis_commands_per_s: Option<f64>,
    /// Microseconds of a call of a function (FCALL) on average.
    pub(crate) redis_fcall_us: Option<f64>,
}

impl Outcome {
    /// The latency that matters.
    pub(crate) fn latency(&self) -> Summary {
        let summary = self.latency_ms.get(&self.latency_of);
        summary.copied().unwrap_or_default()
    }

    /// Holds it against the thresholds.
    pub(crate) fn judge(&mut self, thresholds: &Thresholds) {
        self.missed.clear();
        let p99 = self.latency().p99;
        if let Some(max) = thresholds.max_p99_ms
            && p99 > max
        {
            let sentence = format!("p99 is {p99:.1} ms, more than {max} ms");
            self.missed.push(sentence);
        }
        if let Some(min) = thresholds.min_rate
            && self.rate < min
        {
            let rate = format!("{:.1} {}/s are fewer than {min}", self.rate, self.unit);
            self.missed.push(rate);
        }
        for (process, percent) in self.own_cpu_percent.iter().enumerate() {
            if *percent > thresholds.own_cpu_percent {
                self.warnings.push(format!(
                    "process {process} of this tool used {percent:.0} % of a processor: it may be what was measured; give it more --processes or machines"
                ));
            }
        }
    }

    /// The exit code of the program.
    pub(crate) fn exit_code(&self) -> u8 {
        if !self.broken.is_empty() {
            crate::BROKEN
        } else if !self.missed.is_empty() {
            crate::MISSED
        } else {
            0
        }
    }

    /// For people, on a few lines.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "{}: {:.0} {}/s over {:.1} s\n",
            self.scenario, self.rate, self.unit, self.seconds
        );
        for (kind, ms) in &self.latency_ms {
            let _ = writeln!(
                text,
                "  {:<28} p50 {:>8.2}  p90 {:>8.2}  p99 {:>8.2}  p99.9 {:>8.2}  max {:>8.2} ms  ({})",
                kind.label(),
                ms.p50,
                ms.p90,
                ms.p99,
                ms.p999,
                ms.max,
                ms.count
            );
        }
        let servers = &self.servers;
        for (name, cpu) in &servers.cpu {
            let rss = servers.rss.get(name).copied().unwrap_or(0) as f64 / 1_048_576.0;
            let _ = writeln!(
                text,
                "  {name:<28} {:>5.1} % cpu  {rss:>8.1} MiB",
                cpu * 100.0
            );
        }
        if let Some(cpu) = servers.cpu_s_per_100k {
            let _ = writeln!(
                text,
                "  processor time of the servers: {cpu:.2} s per 100,000 {}",
                self.unit
            );
        }
        if let Some(bytes) = servers.gateway_bytes_per_connection {
            let _ = writeln!(text, "  gateways: {bytes:.0} bytes per connection");
        }
        if let Some(bytes) = servers.redis_bytes_per_connection {
            let _ = writeln!(text, "  redis: {bytes:.0} bytes per connection");
        }
        let own: Vec<_> = self
            .own_cpu_percent
            .iter()
            .map(|cpu| format!("{cpu:.0} %"))
            .collect();
        let _ = writeln!(text, "  this tool: {} of a processor", own.join(", "));
        for warning in &self.warnings {
            let _ = writeln!(text, "  warning: {warning}");
        }
        for (name, count) in &self.broken {
            let _ = writeln!(text, "  BROKEN: {name} {count}");
        }
        for missed in &self.missed {
            let _ = writeln!(text, "  MISSED: {missed}");
        }
        text
    }
}
