//! Who counts as alive, and what a gateway does when it is not, or cannot know.

use std::time::Duration;

use frontdesk_shared::keys;
use frontdesk_tests::{redis_server::RedisServer, wait};
use redis::{RedisResult, Script};

use crate::harness::{Bench, eventually, field};

/// The boot's registration, taken away in either way, ends it: its users are being taken out.
#[tokio::test]
async fn a_fenced_gateway_closes_its_sockets_and_goes_on_under_another_boot_id() {
    for death in ["declared dead", "forgotten"] {
        let mut bench = Bench::start().await;
        let (mut alice, _) = bench.opened("alice").await;
        let old = bench.boot.clone();
        if death == "forgotten" {
            bench.redis_does(&["HDEL", keys::GATEWAYS, &old]).await;
        } else {
            bench
                .redis_does(&["HSET", keys::GATEWAYS, &old, "dead 1"])
                .await;
        }
        assert_eq!(alice.close_code().await, Some(4000), "{death}");
        bench.until_another_boot().await;
        let (mut again, id) = bench.opened("alice").await;
        assert!(id.starts_with(&bench.boot), "{death}");
        again.send("PING").await;
        assert_eq!(again.text().await, "PONG");
        let kept = bench.registration(&old).await;
        let expected = (death == "declared dead").then(|| "dead 1".to_owned());
        assert_eq!(kept, expected, "the old boot never beats again");
        let events = bench.events("alice").await;
        assert_eq!(
            events.len(),
            2,
            "the reaper writes the old close: {events:?}"
        );

        bench.shutdown.cancel();
        bench.ended().await.expect("a clean end");
        let boot = bench.boot.clone();
        let registration = bench.registration(&boot).await.expect("kept");
        assert!(registration.starts_with("dead "), "{registration}");
        let events = bench.events("alice").await;
        assert_eq!(field(&events[2], "client"), Some(id), "only the new boot's");
    }
}

#[tokio::test]
async fn a_gateway_that_hears_nothing_from_redis_closes_its_sockets_before_its_ttl_is_over() {
    let settings = ["--gateway-ttl-ms=3000", "--heartbeat-ms=50"];
    let mut bench = Bench::start_with(&settings).await;
    let (mut alice, id) = bench.opened("alice").await;
    bench.redis.pause();
    let closed = wait::ends_within(
        "its sockets are closed",
        Duration::from_secs(3),
        alice.close_code(),
    );
    let code = closed.await;
    bench.redis.unpause();
    assert_eq!(code, Some(4000));
    bench.until_ready().await;
    assert_eq!(
        bench.boots().await,
        [bench.boot.clone()],
        "nobody declared it dead"
    );
    let events = bench.until_events("alice", 2).await;
    assert_eq!(field(&events[1], "kind").as_deref(), Some("close"));
    assert_eq!(field(&events[1], "client"), Some(id));
    bench.opened("alice").await;
}

/// Registrations have no TTL and beats are only counted, so an outage alone kills nobody.
#[tokio::test]
async fn a_restart_of_redis_does_not_change_the_boot() {
    let mut bench = Bench::start().await;
    bench.redis.kill9();
    eventually("not ready", async || {
        bench.get("/readyz").await.starts_with("HTTP/1.1 503")
    })
    .await;
    bench.redis.restart();
    bench.connection = bench.redis.connect().await;
    bench.until_ready().await;
    assert_eq!(bench.boots().await, [bench.boot.clone()]);
}

#[tokio::test]
async fn the_script_registers_once_and_fences_the_dead_and_the_unknown() {
    let redis = RedisServer::start();
    let mut connection = redis.connect().await;
    let script = Script::new(include_str!("../../lua/heartbeat.lua"));
    let mut call = async |mode: &str| -> RedisResult<String> {
        let mut call = script.key(keys::GATEWAYS);
        call.arg("boot")
            .arg(mode)
            .invoke_async(&mut connection)
            .await
    };
    let fenced =
        |answer: RedisResult<String>| answer.is_err_and(|error| error.code() == Some("FENCED"));
    assert!(
        fenced(call("beat").await) && fenced(call("stop").await),
        "unknown"
    );
    assert_eq!(call("first").await.as_deref(), Ok("1"));
    assert_eq!(
        call("first").await.as_deref(),
        Ok("2"),
        "its answer was lost"
    );
    assert_eq!(call("beat").await.as_deref(), Ok("3"));
    let stopped = call("stop").await.expect("a clean stop");
    let ms = stopped
        .strip_prefix("dead ")
        .and_then(|ms| ms.parse::<u64>().ok());
    assert!(ms.is_some_and(|ms| ms > 1_600_000_000_000), "{stopped}");
    for mode in ["first", "beat", "stop"] {
        assert!(fenced(call(mode).await), "{mode}");
    }
}

/// Else every gateway would count as dead when Redis is full.
#[tokio::test]
async fn a_full_redis_still_takes_heartbeats() {
    let mut bench = Bench::start().await;
    bench.redis_does(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let boot = bench.boot.clone();
    let mut beats = async || -> u64 {
        let beats = bench.registration(&boot).await.expect("registered");
        beats.parse().expect("alive")
    };
    let before = beats().await;
    eventually("it goes on", async || beats().await > before + 3).await;
}
