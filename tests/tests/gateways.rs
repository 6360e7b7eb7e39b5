//! Gateways die, hang and come back: who they held leaves in time, nobody else's place changes, and
//! an outage of Redis declares nobody dead.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{collections::HashMap, time::Duration};

use frontdesk_shared::keys;
use frontdesk_tests::{cluster::Cluster, wait};

/// The shortest TTL that may be set.
const TTL: Duration = Duration::from_secs(3);
/// How late the end of a dead gateway's users may be.
const SLACK: Duration = Duration::from_secs(2);

async fn cluster(gateways: usize) -> Cluster {
    Cluster::builder()
        .gateways(gateways)
        .gateway_setting("gateway-ttl-ms", TTL.as_millis())
        .gateway_setting("heartbeat-ms", 300)
        .worker_setting("gateway-ttl-ms", TTL.as_millis())
        .worker_setting("heartbeat-ms", 300)
        .start()
        .await
}

/// Boot id → counter, or `dead <ms>`.
async fn registrations(cluster: &Cluster) -> HashMap<String, String> {
    let mut redis = cluster.redis.connect().await;
    redis::cmd("HGETALL")
        .arg(keys::GATEWAYS)
        .query_async(&mut redis)
        .await
        .expect("Redis answers")
}

async fn dead(cluster: &Cluster) -> usize {
    let all = registrations(cluster).await;
    all.values()
        .filter(|value| value.starts_with("dead"))
        .count()
}

#[tokio::test]
async fn who_a_killed_gateway_held_leaves_and_nobody_else_moves() {
    let mut cluster = cluster(2).await;
    let mut staff = cluster.connect(0, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut talking = cluster.connect(1, "uid=talking").await;
    talking.act("customerConnect").await;
    talking.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let mut second = cluster.connect(1, "uid=second").await;
    second.act("customerConnect").await;
    second.expect("message", "queued").await;
    let mut third = cluster.connect(0, "uid=third").await;
    third.act("customerConnect").await;
    assert_eq!(third.expect("message", "queued").await["queue"], 2);

    cluster.gateways[1].child.kill9();
    // The dead gateway's customers leave: the one in conversation, then the one who was next.
    let told = staff.expect("chat_close", "customer_left");
    wait::ends_within("staff are told of the end", TTL + SLACK, told).await;
    let place = third.expect_after_moves("message", "your_turn").await;
    assert!(place["conversation"].is_string());
    third.expect("message", "connected").await;
    // Whether the second one got the place for a moment or had left before is a matter of lanes.
    wait::until("the third one is served", async || {
        let mut redis = cluster.redis.connect().await;
        let key = "{s06}:site:default:u:staff";
        let open: Option<u32> = redis::cmd("HGET")
            .arg(key)
            .arg("open")
            .query_async(&mut redis)
            .await
            .ok()?;
        (open == Some(1)).then_some(())
    })
    .await;
    wait::until("nothing of the dead gateway is left", async || {
        let mut redis = cluster.redis.connect().await;
        let left: Vec<String> = redis::cmd("KEYS")
            .arg("{s06}:boot:*")
            .query_async(&mut redis)
            .await
            .ok()?;
        (left.len() == 1).then_some(())
    })
    .await;
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn a_gateway_that_wakes_after_its_death_starts_over_under_a_new_boot_id() {
    let mut cluster = cluster(2).await;
    let mut staff = cluster.connect(0, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = cluster.connect(1, "uid=customer").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;

    cluster.gateways[1].child.pause();
    staff.expect("chat_close", "customer_left").await;
    assert_eq!(dead(&cluster).await, 1);
    cluster.gateways[1].child.unpause();
    assert_eq!(
        customer.expect_close().await,
        4000,
        "the old socket is closed retryably"
    );
    cluster.gateways[1].ready().await;
    let all = registrations(&cluster).await;
    assert_eq!(all.len(), 3, "one alive, one dead, one new: {all:?}");

    let mut again = cluster.connect(1, "uid=customer").await;
    again.act("customerConnect").await;
    again.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn an_outage_of_redis_declares_nobody_dead() {
    let mut cluster = cluster(2).await;
    let before = registrations(&cluster).await;
    cluster.redis.pause();
    tokio::time::sleep(TTL * 2).await; // the outage itself: nothing to wait for
    cluster.redis.unpause();
    for gateway in &mut cluster.gateways {
        gateway.ready().await;
    }
    // So many beats take longer than the TTL: who was to be declared dead is by then.
    let counters = registrations(&cluster).await;
    wait::within("gateways have beaten on", TTL * 4, async || {
        let now = registrations(&cluster).await;
        let beats =
            |all: &HashMap<String, String>, boot: &String| all.get(boot)?.parse::<u64>().ok();
        before
            .keys()
            .all(|boot| beats(&now, boot) >= beats(&counters, boot).map(|n| n + 12))
            .then_some(())
    })
    .await;
    assert_eq!(dead(&cluster).await, 0);
}

#[tokio::test]
async fn a_stopped_gateway_leaves_nothing_behind() {
    let mut cluster = cluster(2).await;
    let mut customer = cluster.connect(1, "uid=somebody").await;
    cluster.gateways[1].child.term();
    assert_eq!(customer.expect_close().await, 1001);
    assert_eq!(cluster.gateways[1].child.wait_exit().await, Ok(0));
    assert_eq!(dead(&cluster).await, 1, "a stop marks the registration");
    wait::until("all shards know", async || {
        let mut redis = cluster.redis.connect().await;
        let fenced: Vec<String> = redis::cmd("KEYS")
            .arg("*:fenced")
            .query_async(&mut redis)
            .await
            .ok()?;
        (fenced.len() == 16).then_some(())
    })
    .await;
}
