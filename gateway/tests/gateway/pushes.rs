//! What workers publish reaches the sockets, or closes them; it is never lost in silence.

use std::time::Duration;

use frontdesk_shared::{ids::Shard, keys};
use frontdesk_tests::{proxy::Proxy, wait};

use crate::harness::{Bench, eventually, field, payload, shard};

const FRAME: &str = r#"{"action":"message","payload":{"message":"你好"}}"#;

#[tokio::test]
async fn a_push_reaches_its_targets_only() {
    let mut bench = Bench::start().await;
    let (mut alice, a) = bench.opened("alice").await;
    let (mut bob, b) = bench.opened("bob").await;
    let (mut eve, _) = bench.opened("eve").await;
    bench.publish(&payload(1, 'W', &a, "welcome")).await;
    bench
        .publish(&payload(2, 'F', &format!("{a},gone,{b}"), FRAME))
        .await;
    bench.publish(&payload(0, 'F', &a, "ack")).await;
    assert_eq!(alice.text().await, "welcome");
    assert_eq!(alice.text().await, FRAME);
    assert_eq!(alice.text().await, "ack");
    assert_eq!(bob.text().await, FRAME);
    eve.send("PING").await;
    assert_eq!(eve.text().await, "PONG", "nothing came before");
}

#[tokio::test]
async fn a_worker_closes_a_socket_after_what_it_was_told() {
    let mut bench = Bench::start().await;
    let (mut alice, a) = bench.opened("alice").await;
    bench.publish(&payload(1, 'F', &a, FRAME)).await;
    bench.publish(&payload(2, 'C', &a, "4500")).await;
    assert_eq!(alice.text().await, FRAME);
    assert_eq!(alice.close_code().await, Some(4500));
}

#[tokio::test]
async fn a_hole_closes_the_shards_sockets_only() {
    let mut bench = Bench::start().await;
    let (mut alice, a) = bench.opened("alice").await;
    let mut other = bench.client("site=elsewhere&uid=alice").await;
    bench.publish(&payload(1, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME);
    bench.publish(&payload(3, 'F', &a, FRAME)).await;
    assert_eq!(alice.close_code().await, Some(4000));
    other.send("PING").await;
    assert_eq!(other.text().await, "PONG", "another shard is not concerned");
    let (mut again, a) = bench.opened("alice").await;
    bench.publish(&payload(4, 'F', &a, FRAME)).await;
    assert_eq!(again.text().await, FRAME, "counting goes on from there");
}

#[tokio::test]
async fn a_payload_that_does_not_decode_closes_everybody() {
    let mut bench = Bench::start().await;
    let (mut alice, _) = bench.opened("alice").await;
    bench.publish(b"nonsense").await;
    assert_eq!(alice.close_code().await, Some(4000));
}

#[tokio::test]
async fn a_lost_subscription_closes_everybody_and_heals() {
    let mut bench = Bench::start().await;
    let (mut alice, _) = bench.opened("alice").await;
    let mut kill = redis::cmd("CLIENT");
    let killed: u64 = kill
        .arg(&["KILL", "TYPE", "pubsub"])
        .query_async(&mut bench.connection)
        .await
        .expect("CLIENT KILL");
    assert_eq!(killed, 1);
    wait::ends_within("the gateway is well again", HEALED, async {
        assert_eq!(alice.close_code().await, Some(4000));
        bench.until_ready().await;
    })
    .await;
    let (mut again, a) = bench.opened("alice").await;
    bench.publish(&payload(1, 'F', &a, FRAME)).await;
    assert_eq!(again.text().await, FRAME);
}

/// How soon everything must be well again after whatever broke.
const HEALED: Duration = Duration::from_secs(5);

/// Breaks something and waits until the gateway is well again, in time. Neither the disk nor a
/// machine that runs nobody counts.
async fn heals(bench: &mut Bench, break_it: impl FnOnce()) {
    bench
        .redis_does(&["CONFIG", "SET", "appendfsync", "no"])
        .await;
    let (mut alice, _) = bench.opened("alice").await;
    break_it();
    wait::ends_within("the gateway is well again", HEALED, async {
        assert_eq!(alice.close_code().await, Some(4000));
        bench.until_ready().await;
    })
    .await;
    let (mut again, a) = bench.opened("alice").await;
    bench.publish(&payload(1, 'F', &a, FRAME)).await;
    assert_eq!(again.text().await, FRAME);
}

#[tokio::test]
async fn cut_connections_heal() {
    let (mut bench, proxy) = Bench::start_behind_a_proxy(&[]).await;
    heals(&mut bench, || proxy.cut()).await;
}

/// Nothing ends, nothing arrives: only the probe tells.
#[tokio::test]
async fn half_open_connections_heal() {
    for freeze in [Proxy::freeze, Proxy::freeze_up, Proxy::freeze_down] {
        let (mut bench, proxy) = Bench::start_behind_a_proxy(&[]).await;
        heals(&mut bench, || freeze(&proxy)).await;
    }
}

/// A hole shows at the next payload; the last payload has no next one.
#[tokio::test]
async fn a_push_that_was_published_and_did_not_arrive_closes_the_shards_sockets() {
    let mut bench = Bench::start().await;
    let (mut alice, a) = bench.opened("alice").await;
    let mut other = bench.client("site=elsewhere&uid=alice").await;
    let (pushes, boot) = (
        keys::pushes(Shard::new(shard()).expect("valid")),
        bench.boot.clone(),
    );
    bench.redis_does(&["HINCRBY", &pushes, &boot, "1"]).await;
    bench.publish(&payload(1, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME);
    bench.redis_does(&["HINCRBY", &pushes, &boot, "1"]).await;
    assert_eq!(alice.close_code().await, Some(4000));
    other.send("PING").await;
    assert_eq!(other.text().await, "PONG", "another shard is not concerned");
    let (mut again, a) = bench.opened("alice").await;
    bench.publish(&payload(3, 'F', &a, FRAME)).await;
    assert_eq!(again.text().await, FRAME, "counting goes on from there");
}

#[tokio::test]
async fn numbers_count_from_what_was_stored_when_the_subscription_began() {
    let mut bench = Bench::start().await;
    let (pushes, boot) = (
        keys::pushes(Shard::new(shard()).expect("valid")),
        bench.boot.clone(),
    );
    bench.redis_does(&["HSET", &pushes, &boot, "6"]).await;
    bench
        .redis_does(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await;
    eventually("not ready", async || {
        bench.get("/readyz").await.starts_with("HTTP/1.1 503")
    })
    .await;
    bench.until_ready().await;
    let (mut alice, a) = bench.opened("alice").await;
    bench.publish(&payload(7, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME);
    bench.publish(&payload(9, 'F', &a, FRAME)).await;
    assert_eq!(alice.close_code().await, Some(4000));
}

/// What would be answered could not be heard. Redis takes the right to subscribe away, and nothing
/// else.
#[tokio::test]
async fn appends_wait_while_no_push_would_arrive() {
    let mut bench = Bench::start().await;
    let (mut alice, id) = bench.opened("alice").await;
    bench
        .redis_does(&["ACL", "SETUSER", "gateway", "resetchannels"])
        .await;
    assert_eq!(alice.close_code().await, Some(4000));
    let boot = bench.boot.clone();
    let beats = async |bench: &mut Bench| -> u64 {
        let beats = bench.registration(&boot).await.expect("registered");
        beats.parse().expect("alive")
    };
    let before = beats(&mut bench).await;
    eventually("it lives on", async || beats(&mut bench).await > before + 5).await;
    assert_eq!(bench.events("alice").await.len(), 1, "the close waits");
    bench
        .redis_does(&["ACL", "SETUSER", "gateway", "allchannels"])
        .await;
    bench.redis_does(&["ACL", "LOG", "RESET"]).await; // as was wanted
    let events = bench.until_events("alice", 2).await;
    assert_eq!(field(&events[1], "kind").as_deref(), Some("close"));
    assert_eq!(field(&events[1], "client"), Some(id));
}

/// One client that does not read costs itself its socket, the process a bounded queue, and the
/// others nothing.
#[tokio::test]
async fn a_slow_reader_is_closed_and_memory_stays_bounded() {
    const PUSHES: u64 = 4000;
    let mut bench = Bench::start().await;
    let (mut slow, s) = bench.opened("slow").await;
    let (mut alice, a) = bench.opened("alice").await;
    let frame = "x".repeat(16 * 1024);
    let before = resident_kib();
    let mut most = 0;
    for counter in 1..=PUSHES {
        bench.publish(&payload(counter, 'F', &s, &frame)).await;
        most = most.max(resident_kib());
    }
    bench.publish(&payload(PUSHES + 1, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME);
    let grown = most.saturating_sub(before);
    assert!(
        grown < 24 * 1024,
        "grew by {grown} KiB for {} KiB of pushes",
        PUSHES * 16
    );
    assert_eq!(slow.close_code().await, Some(4001));
    let events = bench.until_events("slow", 2).await;
    assert!(!events.is_empty());
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_one_that_answers_nothing_is_closed() {
    let settings = ["--ping-interval-s=1", "--idle-timeout-s=2"];
    let mut bench = Bench::start_with(&settings).await;
    let (mut alive, _) = bench.opened("alive").await;
    let (mut dead, _) = bench.opened("dead").await;
    // `alive` reads, so its library answers pings; `dead` is not read, so it answers none.
    let reader = tokio::spawn(async move { alive.close_code().await });
    eventually("the dead socket is closed", async || {
        bench.events("dead").await.len() >= 2
    })
    .await;
    assert!(!reader.is_finished(), "the living stay");
    reader.abort();
    let code = tokio::time::timeout(Duration::from_secs(3), dead.close_code()).await;
    assert_eq!(code.expect("in time"), Some(4003));
}
