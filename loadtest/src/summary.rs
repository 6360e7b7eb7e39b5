//! From ticks and samples to the result.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    context::Plan,
    count::Counts,
    latency::{Kind, Latencies},
    outcome::{Outcome, Servers},
    sample::Sample,
    scenario::Scenario,
    tally::Tally,
};

/// Everything that a run left behind.
#[derive(Debug)]
pub(crate) struct Summing<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) tally: &'a Tally,
    pub(crate) samples: Vec<Sample>,
    pub(crate) watched: Vec<String>,
    /// Connections that were made before the load began.
    pub(crate) connections: u64,
    pub(crate) prepared_in: Duration,
    pub(crate) quiet_pair: Counts,
    pub(crate) warnings: Vec<String>,
}

impl Summing<'_> {
    /// The result.
    pub(crate) fn outcome(self, began_unix_ms: u64) -> Outcome {
        let scenario = &self.plan.scenario;
        let (from, to) = self.measured();
        let latencies = self.tally.latencies(from);
        let counts = self.tally.counts();
        let (rate, seconds) = self.rate(&latencies, from, to);
        let mut broken = BTreeMap::new();
        for counts in [&counts, &self.quiet_pair] {
            for (name, count) in counts.broken(scenario.is_tolerant()) {
                *broken.entry(name.to_owned()).or_default() += count;
            }
        }
        Outcome {
            tool: "frontdesk-loadtest".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: scenario.name().into(),
            options: serde_json::json!({"scenario": scenario, "load": self.plan.load}),
            runs: vec![self.plan.run.clone()],
            began_unix_ms,
            seconds,
            unit: scenario.unit().into(),
            rate,
            counts,
            broken,
            latency_of: scenario.latency(),
            latency_ms: summaries(&latencies),
            histograms: latencies,
            series: self.tally.series(),
            servers: self.servers(rate, from, to),
            watched: self.watched,
            samples: self.samples,
            own_cpu_percent: self.tally.own_cpu(from.max(1), to),
            warnings: self.warnings,
            missed: Vec::new(),
        }
    }

    /// The seconds that count. An idle or storming load has no warm-up.
    fn measured(&self) -> (u64, u64) {
        let load = &self.plan.load;
        match &self.plan.scenario {
            Scenario::Idle(_) => (0, load.duration_s),
            Scenario::Storm(_) => (0, u64::MAX),
            _ => (load.warmup_s, load.warmup_s + load.duration_s),
        }
    }

    /// Completed per second, and over how long.
    fn rate(&self, latencies: &Latencies, from: u64, to: u64) -> (f64, f64) {
        match &self.plan.scenario {
            // Everybody was due at once, so the last one's latency is how long it took.
            Scenario::Storm(_) => {
                let welcome = latencies.0.get(&Kind::Welcome);
                let welcome = welcome.map(crate::latency::Latency::summary);
                let welcome = welcome.unwrap_or_default();
                let seconds = welcome.max / 1000.0;
                (welcome.count as f64 / seconds.max(1e-6), seconds)
            }
            Scenario::Idle(_) => {
                let seconds = self.prepared_in.as_secs_f64().max(1e-6);
                (self.connections as f64 / seconds, seconds)
            }
            _ => (self.tally.rate(from, to), (to - from) as f64),
        }
    }

    /// What the servers used between two seconds.
    fn servers(&self, rate: f64, from: u64, to: u64) -> Servers {
        let mut servers = Servers::default();
        let (begin, end) = (self.at(from), self.at(to));
        let seconds = end.t - begin.t;
        if seconds <= 0.0 {
            return servers;
        }
        for (place, name) in self.watched.iter().enumerate() {
            let (Some(begin), Some(end)) = (begin.processes.get(place), end.processes.get(place))
            else {
                continue;
            };
            let cpu = (end.cpu_s - begin.cpu_s).max(0.0) / seconds;
            servers.cpu.insert(name.clone(), cpu);
            servers.rss.insert(name.clone(), end.rss);
        }
        let all: f64 = servers.cpu.values().sum();
        let counts_messages = self.plan.scenario.unit() == "messages";
        if !servers.cpu.is_empty() && rate > 0.0 && counts_messages {
            servers.cpu_s_per_100k = Some(all / rate * 100_000.0);
        }
        if let (Some(begin), Some(end)) = (begin.redis, end.redis) {
            let commands = end.commands.saturating_sub(begin.commands);
            servers.redis_commands_per_s = Some(commands as f64 / seconds);
            let calls = end.fcalls.saturating_sub(begin.fcalls);
            let spent = end.fcall_us.saturating_sub(begin.fcall_us);
            if calls > 0 {
                servers.redis_fcall_us = Some(spent as f64 / calls as f64);
            }
        }
        if matches!(self.plan.scenario, Scenario::Idle(_)) {
            self.memory(&mut servers, end);
        }
        servers
    }

    /// Growth since before the first connection, by connection.
    fn memory(&self, servers: &mut Servers, end: &Sample) {
        let (Some(before), true) = (self.samples.first(), self.connections > 0) else {
            return;
        };
        let each = |bytes: u64| Some(bytes as f64 / self.connections as f64);
        let holds_sockets = |name: &str| name.contains("gateway") || name.contains("baseline");
        let mut grown = None;
        for (place, name) in self.watched.iter().enumerate() {
            if let (Some(before), Some(end)) =
                (before.processes.get(place), end.processes.get(place))
                && holds_sockets(name)
            {
                *grown.get_or_insert(0) += end.rss.saturating_sub(before.rss);
            }
        }
        servers.gateway_bytes_per_connection = grown.and_then(each);
        if let (Some(before), Some(end)) = (before.redis, end.redis) {
            let grown = end.used_memory.saturating_sub(before.used_memory);
            servers.redis_bytes_per_connection = each(grown);
        }
    }

    /// The last sample that was taken by the end of a second.
    fn at(&self, second: u64) -> &Sample {
        static NONE: std::sync::LazyLock<Sample> = std::sync::LazyLock::new(Sample::default);
        let until = second as f64 + 0.5;
        let sample = self.samples.iter().rev().find(|sample| sample.t <= until);
        sample.or(self.samples.first()).unwrap_or(&NONE)
    }
}

/// Key figures of all.
pub(crate) fn summaries(latencies: &Latencies) -> BTreeMap<Kind, crate::latency::Summary> {
    let each = latencies.0.iter();
    each.map(|(kind, latency)| (*kind, latency.summary()))
        .collect()
}
