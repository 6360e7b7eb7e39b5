//! What one sees while it runs: a block that is redrawn on a terminal, a line every five seconds
//! elsewhere. On standard error: standard output is for the JSON line.

use std::io::{IsTerminal as _, Write as _, stderr};

use crate::{context::Plan, outcome::Point, sample::Sample, tally::Tally};

const BAR: usize = 30;
/// Seconds between two lines where nothing can be redrawn.
const EVERY: u64 = 5;
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// The view.
#[derive(Debug)]
pub(crate) struct Live {
    title: String,
    unit: &'static str,
    tolerant: bool,
    total_s: u64,
    quiet: bool,
    terminal: bool,
    /// Lines that are to be drawn over.
    drawn: usize,
    seconds: u64,
}

impl Live {
    pub(crate) fn new(plan: &Plan, quiet: bool) -> Self {
        let scenario = &plan.scenario;
        let timed = scenario.is_timed();
        Self {
            title: format!(
                "{} {} · {} gateways · {} sites · {} processes",
                scenario.name(),
                plan.run,
                plan.gateways.len(),
                plan.sites.len(),
                plan.processes
            ),
            unit: scenario.unit(),
            tolerant: scenario.is_tolerant(),
            total_s: if timed { plan.length().as_secs() } else { 0 },
            quiet,
            terminal: stderr().is_terminal(),
            drawn: 0,
            seconds: 0,
        }
    }

    /// Says a sentence.
    pub(crate) fn say(&mut self, sentence: &str) {
        if !self.quiet {
            let line = format!("{} · {sentence}", self.title);
            self.draw(&[line]);
            self.drawn = 0;
        }
    }

    /// Shows the last second.
    pub(crate) fn show(&mut self, tally: &Tally, sample: Option<&Sample>) {
        self.seconds += 1;
        if self.quiet || (!self.terminal && !self.seconds.is_multiple_of(EVERY)) {
            return;
        }
        let (point, counts) = (tally.last(), tally.counts());
        let mut lines = vec![format!("{}  {}", self.progress(), self.latency(&point))];
        let broken = counts.broken(self.tolerant);
        if self.terminal {
            lines.push(format!(
                "  {} {} · connected {} · queued {} · resent {} · retried {} · disconnected {}",
                counts.completed,
                self.unit,
                counts.connected,
                counts.queued,
                counts.resent,
                counts.retried,
                counts.disconnected
            ));
            lines.extend(sample.and_then(servers));
        }
        if !broken.is_empty() {
            let list: Vec<_> = broken
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect();
            lines.push(format!("  BROKEN: {}", list.join(", ")));
        }
        self.draw(&lines);
    }

    /// Leaves the last view where it is.
    pub(crate) fn end(&mut self) {
        self.drawn = 0;
    }

    fn progress(&self) -> String {
        if self.total_s == 0 {
            return format!("{:>4} s", self.seconds);
        }
        let done = self.seconds.min(self.total_s);
        let filled = usize::try_from(done * BAR as u64 / self.total_s).unwrap_or(0);
        let bar = "█".repeat(filled) + &"░".repeat(BAR - filled);
        if self.terminal {
            format!("{bar} {done}/{} s", self.total_s)
        } else {
            format!("{done}/{} s", self.total_s)
        }
    }

    fn latency(&self, point: &Point) -> String {
        let mut text = format!(
            "{:>8.0} {}/s  p50 {:.2}  p99 {:.2}  max {:.1} ms",
            point.rate, self.unit, point.p50_ms, point.p99_ms, point.max_ms
        );
        if point.probe_ms > 0.0 {
            text = format!("{text}  quiet pair {:.2} ms", point.probe_ms);
        }
        text
    }

    fn draw(&mut self, lines: &[String]) {
        let mut out = if self.terminal && self.drawn > 0 {
            // Up to the first line of what is there, and clear from there on.
            format!("\x1b[{}A\x1b[J", self.drawn)
        } else {
            String::new()
        };
        for line in lines {
            out += line;
            out.push('\n');
        }
        self.drawn = lines.len();
        // Nobody looks: then nothing is lost.
        let _ = stderr().write_all(out.as_bytes());
    }
}

fn servers(sample: &Sample) -> Option<String> {
    let mut parts = Vec::new();
    if !sample.processes.is_empty() {
        let rss: u64 = sample.processes.iter().map(|usage| usage.rss).sum();
        parts.push(format!("servers {:.0} MiB", rss as f64 / BYTES_PER_MIB));
    }
    if let Some(redis) = sample.redis {
        parts.push(format!(
            "redis {:.0} MiB",
            redis.used_memory as f64 / BYTES_PER_MIB
        ));
    }
    if let Some(waiting) = sample.metrics.get("frontdesk_desk_customers_waiting") {
        parts.push(format!("{waiting:.0} waiting"));
    }
    if let Some(age) = sample.metrics.get("frontdesk_gateway_backlog_seconds") {
        parts.push(format!("backlog {age:.2} s"));
    }
    (!parts.is_empty()).then(|| format!("  {}", parts.join(" · ")))
}
