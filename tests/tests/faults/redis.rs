//! Redis dies, stalls, loses power, memory, its disk, its functions, its sense of time, or everything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use frontdesk_shared::keys;
use frontdesk_tests::{
    cluster::Cluster,
    drill::{Drill, faults::Kind},
    redis_server::Options,
    wait,
};
use redis::AsyncCommands as _;

use crate::{TTL, cluster, drill, long, rounds};

#[tokio::test]
async fn a_killed_redis() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(2) {
        drill.kill_redis();
        drill.progress(60).await;
    }
    assert_eq!(declared_dead(&drill.cluster).await, 0);
    drill.finish().await;
}

/// With `appendfsync always` what was answered is on disk, whatever is cut off behind it.
#[tokio::test]
async fn a_loss_of_power() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(3) {
        drill.cut_power(Duration::ZERO).await;
        drill.progress(60).await;
    }
    drill.finish().await;
}

/// With `everysec` the last two seconds may be gone. They are gone for everybody alike: nothing
/// older is lost, nothing is doubled, and every socket that could have seen more was closed.
#[tokio::test]
async fn a_loss_of_power_with_everysec() {
    let redis = Options::default().set("appendfsync", "everysec");
    let mut drill = drill(cluster().redis(redis)).await;
    for _ in 0..rounds(2) {
        drill.cut_power(Duration::from_secs(2)).await;
        drill.progress(60).await;
    }
    let losses = drill
        .metric(Kind::Worker, "frontdesk_worker_data_losses_total", "")
        .await
        + drill
            .metric(Kind::Gateway, "frontdesk_gateway_data_losses_total", "")
            .await;
    assert!(losses > 0.0, "no program has noticed");
    drill.finish().await;
}

/// No reordering, nobody declared dead, nobody timed out, however long it takes.
#[tokio::test]
async fn a_redis_that_stalls() {
    let mut drill = drill(cluster()).await;
    let mut stalls = vec![400, 2000, 2 * TTL.as_millis()];
    if long() {
        stalls.push(30_000);
    }
    for _ in 0..rounds(1) {
        for ms in &stalls {
            let time = Duration::from_millis(u64::try_from(*ms).expect("short"));
            drill.pause_redis(time).await;
            drill.progress(40).await;
        }
    }
    assert_eq!(declared_dead(&drill.cluster).await, 0);
    drill.finish().await;
}

async fn declared_dead(cluster: &Cluster) -> usize {
    let mut redis = cluster.redis.connect().await;
    let all: Vec<String> = redis.hvals(keys::GATEWAYS).await.expect("a hash");
    all.iter().filter(|value| value.starts_with("dead")).count()
}

#[tokio::test]
async fn flushed_functions_and_killed_subscriptions() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(2) {
        drill.flush_functions().await;
        drill.progress(40).await;
        drill.kill_subscriptions().await;
        drill.progress(40).await;
    }
    drill.finish().await;
}

/// Everything is gone at once, as after somebody's mistake: every program says so, starts over, and
/// serves; nobody has to be restarted.
#[tokio::test]
async fn a_redis_that_has_lost_everything() {
    let mut cluster = cluster().start().await;
    for round in 0..rounds(2) {
        let mut staff = cluster.connect(0, "uid=staff").await;
        staff.act("staffOnline").await;
        staff.expect("message", "on_duty").await;
        let mut redis = cluster.redis.connect().await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut redis)
            .await
            .expect("flushed");
        assert_eq!(staff.expect_close().await, 4000, "round {round}");
        for program in cluster.gateways.iter_mut().chain(&mut cluster.workers) {
            program.ready().await;
        }
        cluster.settled().await;
        let mut staff = cluster.connect(0, "uid=staff").await;
        staff.act("staffOnline").await;
        staff.expect("message", "on_duty").await;
        let mut customer = cluster.connect(1, "uid=customer").await;
        customer.act("customerConnect").await;
        customer.expect("message", "connected").await;
        customer.say_with_id("hello", "m1").await;
        customer.expect_ack("m1").await;
        staff.expect("message", "new_customer").await;
        staff.expect_words("customer", "hello").await;
        customer.close(Some(1000)).await;
        staff.close(Some(1000)).await;
    }
    for program in cluster.gateways.iter().chain(&cluster.workers) {
        let log = program.child.log();
        let alert = log.lines().any(|line| line.contains("ERROR"));
        assert!(alert, "{} does not say so:\n{log}", program.child.name());
    }
}

/// Memory runs out: messages are refused with a hint when to come again, everything else goes on,
/// and all is well when there is room.
#[tokio::test]
async fn a_redis_without_memory() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        set(&mut drill, "maxmemory", "4mb").await;
        let before = drill.told("busy");
        wait::until("messages are refused", async || {
            (drill.told("busy") > before + 20).then_some(())
        })
        .await;
        set(&mut drill, "maxmemory", "1gb").await;
        drill.progress(60).await;
    }
    drill.finish().await;
}

async fn set(drill: &mut Drill, directive: &str, value: &str) {
    drill
        .history
        .fault(format!("CONFIG SET {directive} {value}"));
    let mut redis = drill.cluster.redis.connect().await;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", directive, value])
        .query_async(&mut redis)
        .await
        .expect("Redis takes it");
}

/// The disk is full: with `appendfsync always` Redis ends itself rather than to promise. Nothing that
/// was acknowledged is lost when it comes back with room.
#[tokio::test]
async fn a_full_disk() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        let room = 20_000;
        drill
            .history
            .fault(format!("the disk has room for {room} more bytes"));
        drill.cluster.redis.limit_log(room);
        let redis = &mut drill.cluster.redis;
        wait::until("Redis ends", async || redis.ended().then_some(())).await;
        drill.history.fault("the disk has room again");
        drill.cluster.redis.restart();
        drill.progress(60).await;
    }
    drill.finish().await;
}

/// The clock of Redis's machine jumps forth and back, at a restart. Nobody is timed out, nobody is
/// declared dead, and order is kept.
#[tokio::test]
async fn a_redis_whose_clock_jumps() {
    let mut drill = drill(cluster()).await;
    for _ in 0..rounds(1) {
        for hours in [1, 0, -1, 0] {
            drill
                .history
                .fault(format!("Redis restarts with its clock {hours} h off"));
            drill.cluster.redis.restart_with_clock(hours * 3600);
            assert_eq!(hours_off(&drill.cluster).await, hours);
            drill.progress(60).await;
        }
    }
    assert_eq!(declared_dead(&drill.cluster).await, 0);
    drill.finish().await;
}

/// How far Redis's clock is off.
async fn hours_off(cluster: &Cluster) -> i64 {
    let mut redis = cluster.redis.connect().await;
    let (time, _): (i64, u64) = redis::cmd("TIME")
        .query_async(&mut redis)
        .await
        .expect("two numbers");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_secs()).expect("a small number");
    (time - now + 1800).div_euclid(3600)
}

/// Clocks of workers mean nothing.
#[tokio::test]
async fn workers_whose_clocks_are_wrong() {
    let mut drill = drill(cluster()).await;
    for hours in [1, -1] {
        drill
            .history
            .fault(format!("another worker with its clock {hours} h off"));
        drill.cluster.replace_worker_with_clock(0, hours * 3600);
        drill.all_ready().await;
        drill.progress(60).await;
    }
    assert_eq!(declared_dead(&drill.cluster).await, 0);
    drill.finish().await;
}
