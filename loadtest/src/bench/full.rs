//! What takes long: more gateways and workers at the same load, appendfsync everysec, and a soak
//! with a process killed every minute.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use tokio::time::{Instant, interval_at, sleep};

use super::{
    Bench,
    measures::relay,
    note,
    servers::{Servers, Setup, System},
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
/// Memory of the second half of a soak may be so much above that of the first.
const FLAT: f64 = 1.15;
/// Memory for all that is said: nothing of it is forgotten within the soak, and more than the shipped
/// limit would be refused with `busy`.
const SOAK_MEMORY: &str = "8gb";
/// Keys of these forms exist only while somebody is there.
const PASSING: [&str; 8] = [
    ":u:", ":free", ":duty", ":waiting", ":q:", "}:due", "}:sites", "}:moved",
];

/// Measures all of it.
pub(super) async fn run(bench: &mut Bench, soak_minutes: u64) -> Result<Vec<Row>> {
    let mut rows = scaling(bench).await?;
    rows.extend(everysec(bench).await?);
    soak(bench, soak_minutes).await?;
    Ok(rows)
}

/// Processor time per message with 1, 2 and 4 of each, at the same rate.
async fn scaling(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut one = Values::default();
    for count in [1, 2, 4] {
        note(&format!("{count} gateways and {count} workers"));
        let setup = Setup {
            gateways: count,
            workers: count,
            ..bench.setup.clone()
        };
        let servers = Servers::start(&setup, System::Frontdesk).await?;
        let outcome = relay(&servers, &bench.size, 16, Some(bench.size.rate)).await?;
        bench.look("scaling", &outcome);
        let cpu = Values(outcome.servers.cpu_s_per_100k.into_iter().collect());
        if count == 1 {
            one = cpu;
            continue;
        }
        rows.push(Row {
            what: format!("CPU per 100,000 messages at 2,000/s: {count} + {count} against 1 + 1"),
            unit: " s",
            frontdesk: cpu,
            other: one.clone(),
            target: Target::AtMost(1.15),
        });
    }
    Ok(rows)
}

/// What waiting for the disk costs.
async fn everysec(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut latencies = Vec::new();
    for mode in ["everysec", "always"] {
        note(&format!("appendfsync {mode}"));
        let mut setup = bench.setup.clone();
        setup.redis = vec!["--appendfsync".into(), mode.into()];
        let servers = Servers::start(&setup, System::Frontdesk).await?;
        let outcome = relay(&servers, &bench.size, 1, Some(bench.size.rate)).await?;
        bench.look("everysec", &outcome);
        latencies.push(Values(vec![outcome.latency().p50]));
    }
    let always = latencies.pop().unwrap_or_default();
    Ok(vec![Row {
        what: "delivery at 2,000 messages/s, p50: everysec against always".into(),
        unit: " ms",
        frontdesk: latencies.pop().unwrap_or_default(),
        other: always,
        target: Target::None,
    }])
}

/// Half load for long, while gateways and workers die in turn; then nobody may be left in Redis.
async fn soak(bench: &mut Bench, minutes: u64) -> Result<()> {
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
    let mut watch = servers.watch();
    // Those that are killed come back as other processes: only Redis is the same to the end.
    watch
        .servers
        .retain(|process| process.starts_with("redis="));
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
    if let Some(sentence) = grown(&outcome) {
        bench.broken.push(sentence);
    }
    if let Some(sentence) = left_behind(&mut servers.redis().await?).await? {
        bench.broken.push(sentence);
    }
    Ok(())
}

/// Gateways and workers in turn.
async fn kill_one(servers: &mut Servers, turn: usize) -> Result<()> {
    let list = if turn.is_multiple_of(2) {
        &mut servers.workers
    } else {
        &mut servers.gateways
    };
    let place = turn / 2 % list.len().max(1);
    let server = list.get_mut(place).context("there is something to kill")?;
    note(&format!("killing {}", server.name));
    server.kill();
    server.restart().await
}

/// Whether Redis's memory grew beyond what the kept conversations need: logs are kept for a week, so
/// it may grow, but not faster in the second half than in the first.
fn grown(outcome: &Outcome) -> Option<String> {
    let used: Vec<f64> = outcome
        .samples
        .iter()
        .filter_map(|sample| Some(sample.redis?.used_memory as f64))
        .collect();
    let at = |part: usize| used.get(used.len() * part / 8).copied();
    let (early, middle, late) = (at(1)?, at(4)?, used.last().copied()?);
    // 1/8 → 4/8 and 4/8 → 8/8: 3 parts against 4.
    let (first, second) = ((middle - early) / 3.0, (late - middle) / 4.0);
    let faster = second > first.max(1e6) * FLAT;
    faster.then(|| {
        format!("soak: Redis's memory grew by {first:.0} bytes an eighth, later by {second:.0}")
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
