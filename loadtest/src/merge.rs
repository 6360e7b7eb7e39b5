//! Joins results: rates and counts add up, histograms add up exactly, series line up by the clock.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::{
    config::Merge,
    outcome::{Outcome, Point},
    run::finish,
    summary::summaries,
};

/// Merges the files; gives the exit code.
pub(crate) fn run(options: &Merge) -> Result<u8> {
    let mut outcomes = Vec::new();
    for file in &options.files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        // What a terminal's redirection caught besides is left out.
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("{} holds no JSON line", file.display()))?;
        let outcome: Outcome = serde_json::from_str(line)
            .with_context(|| format!("{} is no result of this tool", file.display()))?;
        outcomes.push(outcome);
    }
    finish(merge(outcomes)?, &options.output, &options.thresholds)
}

/// Joins results of the same scenario.
pub(crate) fn merge(outcomes: Vec<Outcome>) -> Result<Outcome> {
    let mut outcomes = outcomes.into_iter();
    let mut sum = outcomes.next().context("nothing to merge")?;
    for other in outcomes {
        ensure!(
            other.scenario == sum.scenario,
            "{} and {} cannot be merged: give results of one scenario",
            sum.scenario,
            other.scenario
        );
        add(&mut sum, other);
    }
    sum.latency_ms = summaries(&sum.histograms);
    Ok(sum)
}

fn add(sum: &mut Outcome, other: Outcome) {
    let overlap = overlap_s(sum, &other);
    let shortest = sum.seconds.min(other.seconds);
    if overlap < 0.8 * shortest {
        sum.warnings.push(format!(
            "the loads of {} overlapped by {overlap:.0} of {shortest:.0} s only, so their rates were not there at once",
            other.runs.join(", ")
        ));
    }
    sum.series = join(sum, &other);
    sum.began_unix_ms = sum.began_unix_ms.min(other.began_unix_ms);
    sum.rate += other.rate;
    sum.seconds = sum.seconds.max(other.seconds);
    sum.counts.add(&other.counts);
    for (name, count) in other.broken {
        *sum.broken.entry(name).or_default() += count;
    }
    sum.histograms.add(&other.histograms);
    sum.runs.extend(other.runs);
    sum.own_cpu_percent.extend(other.own_cpu_percent);
    sum.warnings.extend(other.warnings);
    // The servers are looked at from one place; where two did, both saw the same.
    if sum.samples.len() < 2 || sum.watched.is_empty() {
        sum.watched = other.watched;
        sum.samples = other.samples;
        sum.servers = other.servers;
    }
}

fn overlap_s(one: &Outcome, two: &Outcome) -> f64 {
    let begin = one.began_unix_ms.max(two.began_unix_ms) as f64 / 1000.0;
    let end =
        |outcome: &Outcome| outcome.began_unix_ms as f64 / 1000.0 + outcome.series.len() as f64;
    (end(one).min(end(two)) - begin).max(0.0)
}

/// Seconds of both on one axis. Percentiles of a second cannot be merged from percentiles: the worse
/// one is shown. (The whole run's are exact, from the histograms.)
fn join(one: &Outcome, two: &Outcome) -> Vec<Point> {
    let begin = one.began_unix_ms.min(two.began_unix_ms);
    let mut points: BTreeMap<u64, Point> = BTreeMap::new();
    for outcome in [one, two] {
        let shift = (outcome.began_unix_ms - begin) / 1000;
        for point in &outcome.series {
            let t = point.t + shift;
            let sum = points.entry(t).or_default();
            *sum = Point {
                t,
                rate: sum.rate + point.rate,
                p50_ms: sum.p50_ms.max(point.p50_ms),
                p99_ms: sum.p99_ms.max(point.p99_ms),
                max_ms: sum.max_ms.max(point.max_ms),
                probe_ms: sum.probe_ms.max(point.probe_ms),
            };
        }
    }
    points.into_values().collect()
}
