//! The fault matrix, row by row (docs/TESTING.md lists it): people live on a cluster while a fault is
//! done to it, and the history checker judges what they lived through.
//!
//! Each row is short here. `FRONTDESK_FAULT_ROUNDS` makes them longer; `make test-faults` does that.
//! `FRONTDESK_SEED` repeats the chance of a failed one.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod checker;
mod clients;
mod mix;
mod network;
mod processes;
mod redis;
mod resuming;

use std::time::Duration;

use frontdesk_tests::{
    cluster::{Builder, Cluster},
    drill::{Cast, Drill},
};

/// How long a worker's lease lasts here.
const LEASE: Duration = Duration::from_secs(3);
/// After which silence a gateway is dead here.
const TTL: Duration = Duration::from_secs(3);

/// Two gateways and two workers that notice each other's ends soon.
fn cluster() -> Builder {
    Cluster::builder()
        .worker_setting("lease-ms", LEASE.as_millis())
        .worker_setting("heartbeat-ms", 300)
        .worker_setting("gateway-ttl-ms", TTL.as_millis())
        .gateway_setting("heartbeat-ms", 300)
        .gateway_setting("gateway-ttl-ms", TTL.as_millis())
}

/// A cluster with people on it.
async fn drill(cluster: Builder) -> Drill {
    let drill = Drill::start(cluster, Cast::default()).await;
    drill.progress(30).await;
    drill
}

/// How often a row does its fault: so often, times `FRONTDESK_FAULT_ROUNDS`.
fn rounds(short: usize) -> usize {
    let times = std::env::var("FRONTDESK_FAULT_ROUNDS").ok();
    let times = times.map_or(1, |times| {
        times.parse().expect("FRONTDESK_FAULT_ROUNDS is a number")
    });
    short * times
}

/// Whether rows are to take their time.
fn long() -> bool {
    rounds(1) > 1
}
