//! Workers come, go, die and sleep: lanes change hands in time, and nothing that was acknowledged
//! is lost or doubled.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::time::Duration;

use frontdesk_tests::{cluster::Cluster, load::Load, wait};
use redis::aio::MultiplexedConnection;

/// How late a change of hands may be.
const SLACK: Duration = Duration::from_secs(2);
/// Conversations in a load; two senders each.
const CONVERSATIONS: usize = 4;

#[tokio::test]
async fn a_second_worker_takes_its_share_within_two_seconds() {
    let mut cluster = Cluster::builder().gateways(0).workers(1).start().await;
    cluster.launch_worker();
    cluster.workers[1].ready().await;
    let names = cluster.running_workers();
    wait::within("both hold their share", SLACK, async || {
        cluster.shared_by(&names).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stopped_workers_share_moves_at_once() {
    // So long that nobody can have waited for it.
    let cluster = Cluster::builder()
        .gateways(0)
        .worker_setting("lease-ms", 30_000);
    let mut cluster = cluster.start().await;
    cluster.workers[0].child.term();
    let code = cluster.workers[0].child.wait_exit().await;
    assert_eq!(code, Ok(0), "{}", cluster.workers[0].child.log());
    let names = cluster.running_workers();
    wait::within("the other holds all", SLACK, async || {
        cluster.shared_by(&names).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_workers_share_moves_within_its_lease() {
    const LEASE: Duration = Duration::from_secs(4);
    let cluster = Cluster::builder()
        .gateways(0)
        .worker_setting("lease-ms", LEASE.as_millis());
    let mut cluster = cluster.start().await;
    cluster.workers[0].child.kill9();
    let names = cluster.running_workers();
    wait::within("the other holds all", LEASE + SLACK, async || {
        cluster.shared_by(&names).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_loses_and_doubles_nothing() {
    let mut cluster = Cluster::builder()
        .worker_setting("lease-ms", 3000)
        .start()
        .await;
    let load = Load::start(&cluster, CONVERSATIONS).await;
    load.progress(200).await;
    cluster.workers[0].child.kill9();
    cluster.settled().await;
    load.progress(200).await;
    // The dead one's successor joins under load, then the survivor dies.
    cluster.launch_worker();
    cluster.settled().await;
    load.progress(200).await;
    cluster.workers[1].child.kill9();
    cluster.settled().await;
    load.progress(200).await;
    let messages = load.finish(&cluster).await;
    assert!(messages >= 800, "{messages}");
}

#[tokio::test]
async fn a_rolling_restart_of_the_workers_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster, CONVERSATIONS).await;
    for n in 0..2 {
        load.progress(200).await;
        cluster.launch_worker();
        cluster.settled().await;
        cluster.workers[n].child.term();
        assert_eq!(cluster.workers[n].child.wait_exit().await, Ok(0));
        cluster.settled().await;
    }
    load.progress(200).await;
    load.finish(&cluster).await;
}

/// A worker that sleeps through its lease wakes up with work in hand that others have done since.
#[tokio::test]
async fn a_worker_that_wakes_after_its_lease_changes_nothing() {
    let mut cluster = Cluster::builder()
        .worker_setting("lease-ms", 3000)
        .start()
        .await;
    let load = Load::start(&cluster, CONVERSATIONS).await;
    let other = vec![cluster.workers[1].child.name().to_owned()];
    for _ in 0..3 {
        load.progress(100).await;
        cluster.workers[0].child.pause();
        wait::until("the other holds all", async || {
            cluster.shared_by(&other).await.then_some(())
        })
        .await;
        load.progress(100).await;
        cluster.workers[0].child.unpause();
        cluster.settled().await;
    }
    load.progress(100).await;
    let mut refused = 0.0;
    for outcome in ["duplicate", "gap"] {
        let label = format!("outcome=\"{outcome}\"");
        let worker = &cluster.workers[0];
        let count = worker
            .metric_where("frontdesk_worker_entries_total", &label)
            .await;
        refused += count;
    }
    // It did try: what it had in hand was refused by the log rule.
    assert!(
        refused > 0.0,
        "the woken worker has applied nothing late, so nothing was tested"
    );
    load.finish(&cluster).await;
}

#[tokio::test]
async fn a_flushed_function_library_is_loaded_again() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster, CONVERSATIONS).await;
    let mut redis: MultiplexedConnection = cluster.redis.connect().await;
    for _ in 0..5 {
        load.progress(100).await;
        let () = redis::cmd("FUNCTION")
            .arg("FLUSH")
            .arg("SYNC")
            .query_async(&mut redis)
            .await
            .expect("flushed");
    }
    load.progress(100).await;
    load.finish(&cluster).await;
}

/// After a load and a quiet moment every entry is applied and trimmed, and none is a dead letter.
#[tokio::test]
async fn a_lane_is_trimmed_up_to_what_is_applied() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster, 2).await;
    load.progress(1500).await;
    load.finish(&cluster).await;
    let mut redis = cluster.redis.connect().await;
    wait::until("the lanes are trimmed", async || {
        let mut left = 0;
        for key in keys(&mut redis, "*}:events:*").await {
            let length: usize = redis::cmd("XLEN")
                .arg(key)
                .query_async(&mut redis)
                .await
                .expect("a stream");
            left += length;
        }
        // Trimming may be by whole nodes of a stream, which hold up to 100 entries each.
        (left <= 5 * 100).then_some(())
    })
    .await;
}

async fn keys(redis: &mut MultiplexedConnection, pattern: &str) -> Vec<String> {
    redis::cmd("KEYS")
        .arg(pattern)
        .query_async(redis)
        .await
        .expect("keys are text")
}
