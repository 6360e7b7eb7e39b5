//! The way between a program and Redis is cut, deaf, slow or gone.

use std::time::Duration;

use frontdesk_tests::drill::faults::{Kind, Network};

use crate::{LEASE, TTL, cluster, drill, long, rounds};

async fn disturbed(kind: Kind, networks: &[Network]) {
    let mut drill = drill(cluster().proxies()).await;
    for _ in 0..rounds(1) {
        for network in networks {
            drill.disturb(kind, *network).await;
            drill.progress(60).await;
        }
    }
    drill.finish().await;
}

#[tokio::test]
async fn cut_connections_of_gateways() {
    disturbed(
        Kind::Gateway,
        &[Network::Cut, Network::CutInside, Network::CutInside],
    )
    .await;
}

#[tokio::test]
async fn cut_connections_of_workers() {
    disturbed(
        Kind::Worker,
        &[Network::Cut, Network::CutInside, Network::CutInside],
    )
    .await;
}

/// Nothing ends and nothing arrives, in one direction or both: only probes and timeouts tell.
#[tokio::test]
async fn half_open_connections_of_gateways() {
    disturbed(
        Kind::Gateway,
        &[Network::HalfOpen, Network::DeafUp, Network::DeafDown],
    )
    .await;
}

#[tokio::test]
async fn half_open_connections_of_workers() {
    disturbed(
        Kind::Worker,
        &[Network::HalfOpen, Network::DeafUp, Network::DeafDown],
    )
    .await;
}

/// Everything is held for a while, shorter and longer than what makes a gateway fence itself, and then
/// arrives after all.
#[tokio::test]
async fn held_connections_of_gateways() {
    let short = Network::Stall(Duration::from_secs(1));
    disturbed(Kind::Gateway, &[short, Network::Stall(2 * TTL)]).await;
}

#[tokio::test]
async fn held_connections_of_workers() {
    let short = Network::Stall(Duration::from_secs(1));
    disturbed(Kind::Worker, &[short, Network::Stall(2 * LEASE)]).await;
}

/// A gateway that cannot reach Redis for longer than its TTL is dead, and starts over.
#[tokio::test]
async fn a_gateway_without_redis() {
    let time = if long() {
        Duration::from_secs(60)
    } else {
        2 * TTL
    };
    disturbed(Kind::Gateway, &[Network::Partition(time)]).await;
}

/// A worker that cannot reach Redis loses its leases to others, and comes back.
#[tokio::test]
async fn a_worker_without_redis() {
    disturbed(Kind::Worker, &[Network::Partition(2 * LEASE)]).await;
}

#[tokio::test]
async fn slow_connections() {
    let slow = Network::Slow(Duration::from_millis(200));
    let mut drill = drill(cluster().proxies()).await;
    for _ in 0..rounds(1) {
        drill.disturb(Kind::Gateway, slow).await;
        drill.disturb(Kind::Worker, slow).await;
        drill.progress(40).await;
    }
    drill.finish().await;
}
