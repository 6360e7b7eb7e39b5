//! Sockets against the state: what one has and the other has not is put right.

use frontdesk_shared::{
    ids::{BootId, ClientId, Shard},
    keys,
};

use crate::harness::{Bench, eventually, field, payload, shard};

const SOON: &str = "--roll-call-s=1";

fn connections(bench: &Bench) -> String {
    let boot = BootId::parse(&bench.boot).expect("valid");
    keys::connections(Shard::new(shard()).expect("valid"), &boot)
}

fn ghost(bench: &Bench) -> String {
    let boot = BootId::parse(&bench.boot).expect("valid");
    ClientId::random(&boot).to_string()
}

#[tokio::test]
async fn a_connection_that_only_the_state_knows_gets_its_close() {
    let mut bench = Bench::start_with(&[SOON]).await;
    let (ghost, key) = (ghost(&bench), connections(&bench));
    bench
        .redis_does(&["HSET", &key, &ghost, "default alice"])
        .await;
    let events = bench.until_events("alice", 1).await;
    assert_eq!(field(&events[0], "kind").as_deref(), Some("close"));
    assert_eq!(field(&events[0], "client"), Some(ghost));
    assert_eq!(field(&events[0], "clean").as_deref(), Some("0"));
}

/// Its close may be in the log already and wait for a worker.
#[tokio::test]
async fn a_connection_is_written_off_only_after_what_is_in_its_lane() {
    let mut bench = Bench::start_with(&[SOON]).await;
    let (client, id) = bench.opened("alice").await;
    let key = connections(&bench);
    bench
        .redis_does(&["HSET", &key, &id, "default alice"])
        .await;
    drop(client);
    bench.until_events("alice", 2).await;
    let ghost = ghost(&bench);
    bench
        .redis_does(&["HSET", &key, &ghost, "default alice"])
        .await;
    // Two calls of the roll find both, and wait.
    let (mut bob, b) = bench.opened("bob").await;
    bench.publish(&payload(1, 'W', &b, "welcome")).await;
    assert_eq!(bob.text().await, "welcome");
    assert_eq!(
        bob.close_code().await,
        Some(4000),
        "a call of the roll found him unknown"
    );
    assert_eq!(bench.events("alice").await.len(), 2, "and wrote nobody off");
    // The worker comes.
    bench.apply_all("alice").await;
    bench.redis_does(&["HDEL", &key, &id]).await;
    let events = bench.until_events("alice", 3).await;
    assert_eq!(field(&events[2], "client"), Some(ghost));
}

#[tokio::test]
async fn a_socket_that_the_state_does_not_know_is_closed_and_others_stay() {
    let mut bench = Bench::start_with(&[SOON]).await;
    let (mut alice, a) = bench.opened("alice").await;
    let (mut bob, b) = bench.opened("bob").await;
    let (mut carol, _) = bench.opened("carol").await;
    let key = connections(&bench);
    bench.redis_does(&["HSET", &key, &b, "default bob"]).await;
    bench
        .publish(&payload(1, 'W', &format!("{a},{b}"), "welcome"))
        .await;
    assert_eq!(alice.text().await, "welcome");
    assert_eq!(bob.text().await, "welcome");
    assert_eq!(alice.close_code().await, Some(4000));
    for client in [&mut bob, &mut carol] {
        client.send("PING").await;
        assert_eq!(client.text().await, "PONG", "known, or not welcomed yet");
    }
}

#[tokio::test]
async fn another_run_of_redis_calls_the_roll() {
    let mut bench = Bench::start_with(&["--roll-call-s=86400"]).await;
    let (ghost, key) = (ghost(&bench), connections(&bench));
    bench
        .redis_does(&["HSET", &key, &ghost, "default alice"])
        .await;
    bench.redis.kill9();
    bench.redis.restart();
    bench.connection = bench.redis.connect().await;
    eventually("the close", async || {
        let events = bench.events("alice").await;
        events
            .iter()
            .any(|event| field(event, "client") == Some(ghost.clone()))
    })
    .await;
}
