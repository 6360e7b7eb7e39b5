//! Processes that die, sleep and are replaced.

use std::time::Duration;

use frontdesk_tests::drill::{Drill, faults::Kind};

use crate::{LEASE, TTL, cluster, drill, rounds};

#[tokio::test]
async fn a_calm_day_breaks_nothing() {
    let drill = drill(cluster()).await;
    drill.progress(200).await;
    drill.finish().await;
}

#[tokio::test]
async fn killed_gateways_and_workers() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(2) {
        drill.kill(Kind::Gateway).await;
        drill.progress(60).await;
        drill.kill(Kind::Worker).await;
        drill.progress(60).await;
    }
    drill.finish().await;
}

#[tokio::test]
async fn a_worker_that_sleeps_through_its_lease() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        drill.progress(60).await;
        drill.pause(Kind::Worker, 3 * LEASE).await;
    }
    drill.progress(60).await;
    let mut refused = 0.0;
    for outcome in ["duplicate", "gap"] {
        let label = format!("outcome=\"{outcome}\"");
        let metric = drill.metric(Kind::Worker, "frontdesk_worker_entries_total", &label);
        refused += metric.await;
    }
    assert!(refused > 0.0, "the woken worker has applied nothing late");
    drill.finish().await;
}

#[tokio::test]
async fn a_gateway_that_sleeps_through_its_death() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        drill.progress(60).await;
        drill.pause(Kind::Gateway, 3 * TTL).await;
    }
    drill.progress(60).await;
    drill.finish().await;
}

/// Short sleeps: a machine that stalls. Nobody is declared dead.
#[tokio::test]
async fn processes_that_stall_for_a_moment() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(2) {
        drill.pause(Kind::Gateway, Duration::from_millis(700)).await;
        drill.pause(Kind::Worker, Duration::from_millis(700)).await;
        drill.progress(40).await;
    }
    drill.finish().await;
}

/// Workers first, then gateways, each replaced while people talk. What goes wrong is told by the
/// checker; here: that the processes end in peace, each in time.
#[tokio::test]
async fn a_rolling_deployment() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        for kind in [Kind::Worker, Kind::Gateway] {
            for index in 0..2 {
                drill.restart(kind, index).await;
                drill.progress(40).await;
            }
        }
    }
    drill.finish().await;
}

/// Everything but Redis dies at once.
#[tokio::test]
async fn all_gateways_and_workers_at_once() {
    let mut drill: Drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        drill.history.fault("all processes at once");
        for index in 0..2 {
            drill.cluster.replace_gateway(index);
            drill.cluster.replace_worker(index);
        }
        drill.gateways_changed();
        drill.all_ready().await;
        drill.progress(60).await;
    }
    drill.finish().await;
}
