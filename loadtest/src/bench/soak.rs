//! A soak at half load with a process killed every minute. One gateway and one worker live through it:
//! their memory is to be flat, Redis's to grow by no more per message than at first, and nobody may be left in Redis.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use tokio::time::{Instant, interval_at, sleep};

use super::{
    Bench, note,
    servers::{Servers, System},
    table::{Row, Target, Values},
};
use crate::{
    outcome::Outcome,
    run,
    scenario::{Scenario, soak},
};

const KILL_EVERY: Duration = Duration::from_secs(60);
/// A killed gateway's users are gone after its TTL (15 s) and a tick; then Redis must be clean.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);
/// Later memory may be so many times earlier memory.
const FLAT: f64 = 1.15;
/// Memory for all that is said: nothing of it is forgotten within the soak, and more than the shipped
/// limit would be refused with `busy`.
const SOAK_MEMORY: &str = "8gb";
/// Keys of these forms exist only while somebody is there.
const PASSING: [&str; 14] = [
    ":u:", ":free", ":duty", ":waiting", ":away", ":q:", ":talks", ":taken", "}:boot:", "}:due",
    "}:sites", "}:moved", "}:moving", "}:again",
];

/// Half of the closed loop's rate for so long, while gateways and workers die in turn.
pub(super) async fn run(bench: &mut Bench, minutes: u64) -> Result<Vec<Row>> {
    note(&format!(
        "soak of {minutes} minutes with a kill each minute"
    ));
    let half = bench.figures.rate.0[0].median() / 2.0;
    let rate = if half.is_finite() {
        half.max(50.0)
    } else {
        1000.0
    };
    let mut setup = bench.setup.clone();
    setup.redis = vec!["--maxmemory".into(), SOAK_MEMORY.into()];
    let mut servers = Servers::start(&setup, System::Frontdesk).await?;
    let scenario = Scenario::Soak(soak::Options {
        talkers: (bench.size.pairs / 2).max(5),
        rate,
        arrivals: 5.0,
        max: 5,
        bytes: 100,
        strict: false,
    });
    let load = servers.load(1, 10, minutes * 60);
    let watch = servers.watch();
    let measuring = run::measure(scenario, load, &watch, true);
    tokio::pin!(measuring);
    let mut kills = interval_at(Instant::now() + KILL_EVERY, KILL_EVERY);
    let mut turn = 0;
    let outcome = loop {
        tokio::select! {
            outcome = &mut measuring => break outcome?,
            _ = kills.tick() => {
                turn += 1;
                kill_one(&mut servers, turn).await?;
            }
        }
    };
    bench.look("soak", &outcome);
    bench.broken.extend(grown(&outcome));
    let left = left_behind(&mut servers.redis().await?).await?;
    bench.broken.extend(left);
    let lived = [&servers.gateways[0], &servers.workers[0]];
    Ok(lived.map(|server| memory(&outcome, &server.name)).into())
}

/// Gateways and workers in turn, but never the first of them.
async fn kill_one(servers: &mut Servers, turn: usize) -> Result<()> {
    let list = if turn.is_multiple_of(2) {
        &mut servers.workers
    } else {
        &mut servers.gateways
    };
    let place = 1 + turn / 2 % list.len().saturating_sub(1).max(1);
    let server = list.get_mut(place).context("there is something to kill")?;
    note(&format!("killing {}", server.name));
    server.kill();
    server.restart().await
}

/// What a process that lived through it used in the last quarter, against the second: in the first
/// quarter everybody comes.
fn memory(outcome: &Outcome, name: &str) -> Row {
    let place = outcome.watched.iter().position(|watched| watched == name);
    let used = outcome.samples.iter().filter_map(|sample| {
        let rss = sample.processes.get(place?)?.rss;
        Some(rss as f64 / (1024.0 * 1024.0))
    });
    let used: Vec<f64> = used.collect();
    let quarter = |number: usize| {
        let part = used.len() / 4 * (number - 1)..used.len() / 4 * number;
        Values(vec![Values(used[part].to_vec()).median()])
    };
    Row {
        what: format!(
            "soak: resident memory of {name}, which lived through it: last quarter against second"
        ),
        unit: " MiB",
        frontdesk: quarter(4),
        other: quarter(2),
        target: Target::AtMost(FLAT),
    }
}

/// Whether Redis's memory grew by more per message towards the end: logs are kept for a week, so it grows, but
/// evenly.
fn grown(outcome: &Outcome) -> Option<String> {
    let used: Vec<(f64, f64)> = outcome
        .samples
        .iter()
        .filter_map(|sample| Some((sample.t, sample.redis?.used_memory as f64)))
        .collect();
    let at = |part: usize| used.get(used.len() * part / 8).copied();
    let (early, middle, late) = (at(1)?, at(4)?, used.last().copied()?);
    let per_message = |(from, before): (f64, f64), (to, after): (f64, f64)| {
        let within = outcome
            .series
            .iter()
            .filter(|point| (from..to).contains(&(point.t as f64)));
        let messages: f64 = within.map(|point| point.rate).sum();
        (after - before) / messages.max(1.0)
    };
    let (first, second) = (per_message(early, middle), per_message(middle, late));
    note(&format!(
        "Redis's memory grew by {first:.0} bytes per message in the first half, {second:.0} in the second"
    ));
    (second > first * FLAT).then(|| {
        format!("soak: Redis's memory grew by {first:.0} bytes per message, later by {second:.0}")
    })
}

/// Keys that should be gone when nobody is there.
async fn left_behind(connection: &mut MultiplexedConnection) -> Result<Option<String>> {
    let deadline = Instant::now() + CLEAN_WITHIN;
    loop {
        let mut left = Vec::new();
        let mut keys = connection.scan::<String>().await?;
        while let Some(key) = keys.next_item().await {
            let key = key?;
            if PASSING.iter().any(|part| key.contains(part)) {
                left.push(key);
            }
        }
        drop(keys);
        if left.is_empty() {
            return Ok(None);
        }
        if Instant::now() > deadline {
            left.truncate(5);
            return Ok(Some(format!("soak: left in Redis: {}", left.join(", "))));
        }
        sleep(Duration::from_secs(1)).await;
    }
}
