//! The page: key figures, what was broken or doubtful, plots, and all counts.

use std::fmt::Write as _;

use super::plot::{Axis, Line, escape, plot};
use crate::{
    latency::{Kind, Latency},
    outcome::Outcome,
    sample::Sample,
};

const STYLE: &str = include_str!("style.css");
/// Up to so many nines the percentiles are drawn.
const MOST_NINES: u32 = 5;
const STEPS_PER_NINE: u32 = 12;
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// The whole page.
pub(crate) fn page(outcome: &Outcome) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Frontdesk load test: {0}</title><style>{STYLE}</style><h1>Load test: {0}</h1><p>{1} · version {2}</p>",
        escape(&outcome.scenario),
        escape(&outcome.runs.join(", ")),
        escape(&outcome.version)
    );
    page += &figures(outcome);
    page += &verdict(outcome);
    page += &plots(outcome);
    page += &latencies(outcome);
    page += &servers(outcome);
    page += &counts(outcome);
    page + &format!(
        "<details><summary>Options</summary><pre>{}</pre></details></html>\n",
        escape(&serde_json::to_string_pretty(&outcome.options).unwrap_or_default())
    )
}

fn figures(outcome: &Outcome) -> String {
    let latency = outcome.latency();
    let mut list = vec![
        (
            format!("{}/s", outcome.unit),
            format!("{:.0}", outcome.rate),
        ),
        ("p50".into(), format!("{:.2} ms", latency.p50)),
        ("p99".into(), format!("{:.2} ms", latency.p99)),
        ("max".into(), format!("{:.1} ms", latency.max)),
        ("measured".into(), format!("{:.1} s", outcome.seconds)),
    ];
    let servers = &outcome.servers;
    if let Some(cpu) = servers.cpu_s_per_100k {
        list.push((
            format!("server CPU per 100,000 {}", outcome.unit),
            format!("{cpu:.2} s"),
        ));
    }
    if let Some(bytes) = servers.gateway_bytes_per_connection {
        list.push((
            "gateway memory per connection".into(),
            format!("{bytes:.0} B"),
        ));
    }
    if let Some(bytes) = servers.redis_bytes_per_connection {
        list.push((
            "Redis memory per connection".into(),
            format!("{bytes:.0} B"),
        ));
    }
    let mut html = String::from("<div class=\"figures\">");
    for (name, value) in list {
        let _ = write!(
            html,
            "<div><b>{}</b>{}</div>",
            escape(&value),
            escape(&name)
        );
    }
    html + "</div>"
}

fn verdict(outcome: &Outcome) -> String {
    let mut html = String::new();
    let mut item = |class: &str, text: &str| {
        let _ = write!(html, "<p class=\"{class}\">{}</p>", escape(text));
    };
    if outcome.broken.is_empty() {
        item(
            "good",
            "Nothing lost, doubled, reordered or misdelivered; no capacity exceeded.",
        );
    }
    for (name, count) in &outcome.broken {
        item("bad", &format!("Broken: {name} {count}"));
    }
    for missed in &outcome.missed {
        item("bad", &format!("Missed: {missed}"));
    }
    for warning in &outcome.warnings {
        item("warn", &format!("Warning: {warning}"));
    }
    html
}

fn plots(outcome: &Outcome) -> String {
    let series = |name: &str, value: fn(&crate::outcome::Point) -> f64| Line {
        name: name.to_owned(),
        points: outcome
            .series
            .iter()
            .map(|p| (p.t as f64, value(p)))
            .collect(),
    };
    let mut latency = vec![
        series("p50", |p| p.p50_ms),
        series("p99", |p| p.p99_ms),
        series("max", |p| p.max_ms),
    ];
    if outcome.series.iter().any(|point| point.probe_ms > 0.0) {
        latency.push(series("quiet pair", |p| p.probe_ms));
    }
    let rate = format!("{} per second", outcome.unit);
    let mut html = plot("Rate", &rate, Axis::Time, &[series("rate", |p| p.rate)]);
    let label = outcome.latency_of.label();
    html += &plot(
        "Latency over time",
        &format!("ms, {label}"),
        Axis::Time,
        &latency[..2],
    );
    html += &plot("Worst of each second", "ms", Axis::Time, &latency[2..]);
    let nines: Vec<Line> = outcome
        .histograms
        .0
        .iter()
        .filter(|(kind, _)| **kind != Kind::Wait)
        .map(|(kind, latency)| by_percentile(kind.label(), latency))
        .collect();
    html += &plot("Latency by percentile", "ms", Axis::Nines, &nines);
    html += &plot(
        "Processor use",
        "% of one processor, by process",
        Axis::Time,
        &cpu(outcome),
    );
    html += &plot(
        "Memory",
        "MiB resident, by process; Redis also by its own count",
        Axis::Time,
        &memory(outcome),
    );
    let metric = |title: &str, name: &str| {
        let line = sampled(outcome, title, |sample| sample.metrics.get(name).copied());
        plot(title, "", Axis::Time, &[line])
    };
    html += &metric("Customers waiting", "frontdesk_desk_customers_waiting");
    html += &metric(
        "Age of the oldest unapplied event, s",
        "frontdesk_gateway_backlog_seconds",
    );
    html
}

fn by_percentile(name: &str, latency: &Latency) -> Line {
    // Beyond the last recorded value there is nothing to see.
    let most = (latency.count().max(2) as f64)
        .log10()
        .min(f64::from(MOST_NINES));
    let points = (0..=MOST_NINES * STEPS_PER_NINE)
        .map(|step| f64::from(step) / f64::from(STEPS_PER_NINE))
        .filter(|nines| *nines <= most)
        .map(|nines| (nines, latency.ms(100.0 * (1.0 - 10_f64.powf(-nines)))))
        .collect();
    Line {
        name: name.to_owned(),
        points,
    }
}

fn sampled(outcome: &Outcome, name: &str, value: impl Fn(&Sample) -> Option<f64>) -> Line {
    let samples = outcome.samples.iter().filter(|sample| sample.t >= 0.0);
    Line {
        name: name.to_owned(),
        points: samples.filter_map(|s| Some((s.t, value(s)?))).collect(),
    }
}

fn cpu(outcome: &Outcome) -> Vec<Line> {
    let lines = outcome.watched.iter().enumerate().map(|(place, name)| {
        let mut points = Vec::new();
        for two in outcome.samples.windows(2) {
            let (Some(a), Some(b)) = (two[0].processes.get(place), two[1].processes.get(place))
            else {
                continue;
            };
            let seconds = two[1].t - two[0].t;
            if two[0].t >= 0.0 && seconds > 0.1 {
                points.push((two[1].t, (b.cpu_s - a.cpu_s).max(0.0) / seconds * 100.0));
            }
        }
        Line {
            name: name.clone(),
            points,
        }
    });
    lines.collect()
}

fn memory(outcome: &Outcome) -> Vec<Line> {
    let mut lines: Vec<Line> = outcome
        .watched
        .iter()
        .enumerate()
        .map(|(place, name)| {
            sampled(outcome, name, |sample| {
                let usage = sample.processes.get(place)?;
                Some(usage.rss as f64 / BYTES_PER_MIB)
            })
        })
        .collect();
    lines.push(sampled(outcome, "Redis used_memory", |sample| {
        Some(sample.redis?.used_memory as f64 / BYTES_PER_MIB)
    }));
    lines
}

fn latencies(outcome: &Outcome) -> String {
    let mut html = String::from(
        "<h2>Latency, ms from the due time</h2><table><tr><th><th>count<th>mean<th>p50<th>p90<th>p99<th>p99.9<th>max</tr>",
    );
    for (kind, ms) in &outcome.latency_ms {
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}</tr>",
            kind.label(),
            ms.count,
            ms.mean,
            ms.p50,
            ms.p90,
            ms.p99,
            ms.p999,
            ms.max
        );
    }
    html + "</table>"
}

fn servers(outcome: &Outcome) -> String {
    let servers = &outcome.servers;
    let mut html = String::from(
        "<h2>Processes</h2><table><tr><th><th>% of a processor<th>MiB at the end</tr>",
    );
    for (name, cpu) in &servers.cpu {
        let rss = servers.rss.get(name).copied().unwrap_or(0) as f64 / BYTES_PER_MIB;
        let _ = write!(
            html,
            "<tr><td>{}<td>{:.1}<td>{rss:.1}</tr>",
            escape(name),
            cpu * 100.0
        );
    }
    for (process, cpu) in outcome.own_cpu_percent.iter().enumerate() {
        let _ = write!(
            html,
            "<tr><td>this tool, process {process}<td>{cpu:.1}<td></tr>"
        );
    }
    html += "</table>";
    if let Some(commands) = servers.redis_commands_per_s {
        let _ = write!(
            html,
            "<p>Redis ran {commands:.0} commands per second, those inside scripts included.</p>"
        );
    }
    if let Some(us) = servers.redis_fcall_us {
        let _ = write!(
            html,
            "<p>A call of a script took {us:.1} µs on average.</p>"
        );
    }
    html
}

fn counts(outcome: &Outcome) -> String {
    let mut html = String::from("<h2>Counts, warm-up included</h2><table>");
    for (name, count) in outcome.counts.list() {
        if count > 0 {
            let _ = write!(html, "<tr><td>{name}<td>{count}</tr>");
        }
    }
    html + "</table>"
}
