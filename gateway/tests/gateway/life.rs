//! Start, readiness, drain.

use std::time::Duration;

use frontdesk_tests::wait;
use tokio_tungstenite::tungstenite::Error as WsError;

use crate::harness::{Bench, eventually, field};

#[tokio::test]
async fn people_see_a_page_that_runs_nothing() {
    let bench = Bench::start().await;
    let page = bench.get("/").await;
    assert!(page.starts_with("HTTP/1.1 200"));
    assert!(page.contains("content-security-policy: default-src 'none'"));
    assert!(page.contains("x-content-type-options: nosniff"));
    assert!(page.contains("staffOnline") && page.contains("customerConnect"));
}

#[tokio::test]
async fn both_paths_upgrade() {
    let bench = Bench::start().await;
    for path in ["/", "/ws", "/?uid=alice"] {
        let url = format!("ws://{}{path}", bench.address);
        assert!(
            tokio_tungstenite::connect_async(url).await.is_ok(),
            "{path}"
        );
    }
}

/// A stalled Redis takes the gateway out of the load balancer, and does not restart it.
#[tokio::test]
async fn readiness_follows_redis_and_liveness_does_not() {
    let bench = Bench::start().await;
    bench.redis.pause();
    eventually("not ready", async || {
        bench.get("/readyz").await.starts_with("HTTP/1.1 503")
    })
    .await;
    assert!(bench.get("/livez").await.starts_with("HTTP/1.1 200"));
    let Err(WsError::Http(answer)) = bench.try_client("").await else {
        panic!("a socket was taken without Redis")
    };
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    bench.redis.unpause();
    bench.until_ready().await;
    bench.client("").await;
}

#[tokio::test]
async fn the_limit_of_connections_holds_and_places_come_back() {
    let mut bench = Bench::start_with(&["--max-connections=1"]).await;
    let (mut first, _) = bench.opened("alice").await;
    let Err(WsError::Http(answer)) = bench.try_client("uid=bob").await else {
        panic!("one too many was let in")
    };
    assert_eq!(answer.status().as_u16(), 503);
    first.socket.close(None).await.expect("closes");
    eventually("the place is free", async || {
        bench.try_client("uid=bob").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_drain_closes_sockets_and_leaves_nothing_behind() {
    let mut bench = Bench::start().await;
    let (mut alice, a) = bench.opened("alice").await;
    let (mut bob, _) = bench.opened("bob").await;
    alice.send(r#"{"action":"customerConnect"}"#).await;
    bench.until_events("alice", 2).await;
    bench.shutdown.cancel();
    assert_eq!(alice.close_code().await, Some(1001));
    assert_eq!(bob.close_code().await, Some(1001));
    bench.ended().await.expect("a clean end");
    let events = bench.events("alice").await;
    let last = events.last().expect("events");
    assert_eq!(
        field(last, "kind").as_deref(),
        Some("close"),
        "confirmed before the end"
    );
    assert_eq!(
        field(last, "clean").as_deref(),
        Some("0"),
        "the user did not leave"
    );
    assert_eq!(field(last, "client"), Some(a));
    let boot = bench.boot.clone();
    let registration = bench.registration(&boot).await.expect("kept");
    assert!(registration.starts_with("dead "), "{registration}");
}

/// Clients that neither answer nor leave must not keep a process from ending.
#[tokio::test]
async fn a_drain_without_redis_ends_at_its_deadline() {
    let mut bench = Bench::start_with(&["--drain-timeout-s=1"]).await;
    let (_alice, _) = bench.opened("alice").await;
    bench.redis.pause();
    bench.shutdown.cancel();
    let limit = Duration::from_secs(3); // its own, and room
    let ended = wait::ends_within("the gateway ends", limit, bench.ended());
    ended.await.expect("it ends");
    bench.redis.unpause();
    let boot = bench.boot.clone();
    let registration = bench.registration(&boot).await.expect("kept");
    assert!(
        registration.parse::<u64>().is_ok(),
        "the reaper must find what is left: {registration}"
    );
}

/// The place is free again although Redis has not answered the `open` yet.
#[tokio::test]
async fn a_client_that_leaves_while_its_open_is_pending_is_noticed() {
    let settings = [
        "--max-connections=1",
        "--heartbeat-ms=5000",
        "--gateway-ttl-ms=300000",
    ];
    let bench = Bench::start_with(&settings).await;
    bench.redis.pause();
    let mut first = bench.client("uid=alice").await;
    first.socket.close(None).await.expect("closes");
    drop(first);
    eventually("the place is free", async || {
        bench.try_client("uid=bob").await.is_ok()
    })
    .await;
    bench.redis.unpause();
}
