//! What takes long: more gateways and workers at the same load, appendfsync everysec, and a soak.

use anyhow::Result;

use super::{
    Bench,
    measures::relay,
    note,
    servers::{Servers, Setup, System},
    soak,
    table::{Row, Target, Values},
};
/// Measures all of it.
pub(super) async fn run(bench: &mut Bench, soak_minutes: u64) -> Result<Vec<Row>> {
    let mut rows = scaling(bench).await?;
    rows.extend(everysec(bench).await?);
    rows.extend(soak::run(bench, soak_minutes).await?);
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
