//! Everybody resumes, with three devices each: nothing that was acknowledged is lost, and every device
//! has all that is theirs, once and in order, whatever dies in between.

use std::time::Duration;

use frontdesk_tests::{
    cluster::Builder,
    drill::{Cast, Drill, faults::Kind},
    redis_server::Options,
};

use crate::{cluster, rounds};

async fn everybody_resumes(cluster: Builder) -> Drill {
    let cast = Cast {
        customers: 5,
        staff: 2,
        resuming: 1,
        devices: 3,
    };
    let drill = Drill::start(cluster, cast).await;
    drill.progress(30).await;
    drill
}

#[tokio::test]
async fn a_calm_day() {
    let drill = everybody_resumes(cluster()).await;
    drill.progress(200).await;
    let evidence = drill.finish().await;
    assert_eq!(evidence.resets(), 0);
}

#[tokio::test]
async fn gateways_and_workers_are_killed_every_few_seconds() {
    let mut drill = everybody_resumes(cluster()).await;
    for _ in 0..rounds(3) {
        drill.kill(Kind::Gateway).await;
        drill.progress(40).await;
        drill.kill(Kind::Worker).await;
        drill.progress(40).await;
    }
    drill.finish().await;
}

#[tokio::test]
async fn redis_is_killed() {
    let mut drill = everybody_resumes(cluster()).await;
    for _ in 0..rounds(3) {
        drill.kill_redis();
        drill.progress(40).await;
    }
    let evidence = drill.finish().await;
    assert_eq!(evidence.resets(), 0, "what was told is on disk");
}

/// Nobody is cut off: everybody is told to resume on the same socket.
#[tokio::test]
async fn subscriptions_are_killed() {
    let mut drill = everybody_resumes(cluster()).await;
    for _ in 0..rounds(3) {
        drill.kill_subscriptions().await;
        drill.progress(40).await;
    }
    let evidence = drill.finish().await;
    assert!(evidence.resyncs() > 0, "nobody was told");
}

/// With `appendfsync always` what was acknowledged is on disk, whatever is cut off behind it.
#[tokio::test]
async fn power_is_lost() {
    let mut drill = everybody_resumes(cluster()).await;
    for _ in 0..rounds(3) {
        drill.cut_power(Duration::ZERO).await;
        drill.progress(40).await;
    }
    drill.finish().await;
}

/// With `everysec` the last two seconds may be gone: clients that were ahead are told so, and have
/// what is left.
#[tokio::test]
async fn power_is_lost_with_everysec() {
    let redis = Options::default().set("appendfsync", "everysec");
    let mut drill = everybody_resumes(cluster().redis(redis)).await;
    for _ in 0..rounds(3) {
        drill.cut_power(Duration::from_secs(2)).await;
        drill.progress(40).await;
    }
    let evidence = drill.finish().await;
    assert!(evidence.resets() > 0, "no client was ahead of the log");
}
