//! Two real workers that are made to read one lane at once.

use frontdesk_shared::{
    ids::{BootId, Lane, Shard, Site, StreamId},
    keys,
    protocol::frame::Verb,
};
use frontdesk_tests::{
    cluster::Cluster,
    lane_driver::{LaneDriver, Socket, on_duty, words_with_id},
    process::Program,
    redis_server::Options,
    wait,
};

use crate::{
    lane, settings, start,
    trace::{Trace, assert_same},
};

const DUPLICATES_AND_GAPS: &str = "frontdesk_worker_entries_total";

/// How many entries a worker has met that were not its to apply.
async fn collisions(worker: &Program) -> f64 {
    let page = frontdesk_tests::http::get(worker.metrics, "/metrics").await;
    let page = page.expect("metrics are served").body;
    let lines = page.lines().filter(|line| {
        line.starts_with(DUPLICATES_AND_GAPS)
            && (line.contains("\"duplicate\"") || line.contains("\"gap\""))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

async fn two_workers() -> Cluster {
    Cluster::builder()
        .gateways(0)
        .workers(2)
        .worker_setting("lease-ms", 1500)
        .worker_setting("heartbeat-ms", 300)
        .worker_setting("idle-s", settings().idle_s)
        .redis(Options::default().set("appendfsync", "everysec"))
        .worker_setting("allow-weak-redis", "")
        .start()
        .await
}

/// A worker sleeps through its lease with entries in hand, again and again, while others are
/// appended; it wakes when the other one has its lanes.
#[tokio::test]
async fn two_real_workers_on_one_lane_apply_each_entry_once() {
    const CUSTOMERS: usize = 4;
    let mut cluster = two_workers().await;
    let mut driver = LaneDriver::connect(&cluster.redis.url(), "default", settings()).await;
    let boot = BootId::random();
    let mut sam = Socket::new("sam", &boot);
    let mut last = driver.append("sam", sam.open()).await;
    let mut customers = Vec::new();
    for verb in [on_duty(u32::try_from(CUSTOMERS).expect("small"))] {
        let kind = sam.verb(verb);
        last = driver.append("sam", kind).await;
    }
    until_applied(&mut driver, lane("sam"), last).await;
    for n in 0..CUSTOMERS {
        // In lanes of the worker that will sleep.
        let uid = cluster.uid_at(&format!("c{n}-"), 0).await;
        let mut socket = Socket::new(&uid, &boot);
        driver.append(&uid, socket.open()).await;
        let kind = socket.verb(Verb::CustomerConnect);
        last = driver.append(&uid, kind).await;
        until_applied(&mut driver, lane(&uid), last).await;
        let conv = driver.conversation_of(&uid).await.expect("connected");
        customers.push((socket, conv, 0_usize));
    }
    let both: Vec<String> = cluster.running_workers();
    let mut rounds = 0;
    while rounds < 4 || collisions(&cluster.workers[0]).await < 1.0 {
        rounds += 1;
        assert!(rounds < 30, "they never met");
        for half in 0..2 {
            for n in 0..400 {
                let (socket, _, said) = &mut customers[n % CUSTOMERS];
                let kind = socket.verb(words_with_id(&format!("w{said}"), &format!("m{said}")));
                *said += 1;
                let uid = socket.uid.to_string();
                driver.append(&uid, kind).await;
                // In the middle of the first half, so with entries read and not applied.
                if half == 0 && n == 200 {
                    cluster.workers[0].child.pause();
                }
            }
            if half == 0 {
                let other = vec![both[1].clone()];
                wait::until("the other holds all", async || {
                    cluster.shared_by(&other).await.then_some(())
                })
                .await;
            } else {
                cluster.workers[0].child.unpause();
            }
        }
        cluster.settled().await;
    }
    for lane in Lane::all() {
        until_quiet(&mut driver, lane).await;
    }
    let dump = driver.dump().await;
    for (socket, conv, said) in &customers {
        let log = dump.stream(&driver.key(&format!("log:{conv}")));
        let words: Vec<&str> = log
            .iter()
            .filter_map(|(_, fields)| {
                let message = fields.iter().find(|(name, _)| name == "message")?;
                Some(message.1.trim_matches('"'))
            })
            .collect();
        let expected: Vec<String> = (0..*said).map(|n| format!("w{n}")).collect();
        assert_eq!(words, expected, "{}", socket.uid);
        for (place, (id, _)) in (1..).zip(&log) {
            assert_eq!(*id, format!("{place}-0"), "{}", socket.uid);
        }
    }
    assert_eq!(dump.stream(&keys::dead(driver.shard)), []);
}

async fn until_applied(driver: &mut LaneDriver, lane: Lane, id: StreamId) {
    wait::until("the entry is applied", async || {
        let applied = driver.applied(lane).await?;
        (applied >= id).then_some(())
    })
    .await;
}

async fn until_quiet(driver: &mut LaneDriver, lane: Lane) {
    wait::until("the lane is done", async || {
        driver.pending(lane, 1).await.is_empty().then_some(())
    })
    .await;
}

/// The trace waits at each step that crosses users; each worker in turn sleeps through its lease.
#[tokio::test]
async fn a_trace_with_sleeping_workers_ends_like_an_undisturbed_one() {
    let trace = Trace::random(99);
    let (_server, mut alone) = start().await;
    let (expected, _) = trace.run_undisturbed(&mut alone).await;
    let mut cluster = two_workers().await;
    let mut driver = LaneDriver::connect(&cluster.redis.url(), "default", settings()).await;
    let mut names = trace.names(&driver);
    for (n, (uid, events)) in trace.stages.iter().enumerate() {
        let sleeper = n / 16 % 2;
        if n % 16 == 8 {
            cluster.workers[sleeper].child.pause();
        }
        let mut last = StreamId::ZERO;
        for kind in events {
            last = driver.append(uid, kind.clone()).await;
            names.event(driver.event_id(lane(uid), last));
        }
        until_applied(&mut driver, lane(uid), last).await;
        if n % 16 == 15 {
            cluster.workers[sleeper].child.unpause();
            cluster.settled().await;
        }
    }
    let state = names.state(&driver.dump().await);
    assert_same("state and logs", trace.seed, &state, &expected);
}

#[tokio::test]
async fn an_entry_of_a_newer_version_makes_workers_leave_it_to_newer_ones() {
    let cluster = two_workers().await;
    let site = Site::parse("default").expect("well-formed");
    let mut driver = LaneDriver::connect(&cluster.redis.url(), site.as_str(), settings()).await;
    let alice = driver_open(&mut driver).await;
    let newer = [("v", "3".to_owned()), ("news", "unknown".to_owned())];
    let id = driver.append_fields(lane("alice"), &newer).await;
    let after = driver.append("alice", alice.close()).await;
    wait::until("no worker reads any lane", async || {
        cluster.leases().await.is_empty().then_some(())
    })
    .await;
    // And they wait quietly: each says once that it leaves.
    let from = driver.time_ms().await;
    wait::until("a second passes", async || {
        (driver.time_ms().await > from + 1000).then_some(())
    })
    .await;
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut driver.connection)
        .await
        .expect("readable");
    let leaving = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_hdel:calls="));
    let leaving = leaving.and_then(|rest| rest.split(',').next()?.parse().ok());
    assert!(leaving.unwrap_or(0) < 20, "{leaving:?} times");
    let applied = driver
        .applied(lane("alice"))
        .await
        .expect("the open is applied");
    assert!(applied < id && id < after);
    let dump = driver.dump().await;
    assert_eq!(dump.stream(&keys::dead(Shard::of(&site))), []);
    assert!(dump.0.contains_key(&driver.key("u:alice")));
}

async fn driver_open(driver: &mut LaneDriver) -> Socket {
    let alice = Socket::new("alice", &BootId::random());
    let id = driver.append("alice", alice.open()).await;
    until_applied(driver, lane("alice"), id).await;
    alice
}
