//! Resuming, as far as the gateway sees to it: tokens, and telling sockets that pushes are missing.

use serde_json::{Value, json};

use crate::harness::{Bench, Client, field, payload};

const WELCOME: &str = r#"{"action":"welcome","payload":{"code":"welcome","uid":"u"}}"#;
const FRAME: &str = r#"{"action":"message","payload":{"message":"你好"}}"#;

async fn frame(client: &mut Client) -> Value {
    serde_json::from_str(&client.text().await).expect("JSON")
}

/// A welcomed client, its id, and its token.
async fn welcomed(bench: &mut Bench, counter: u64, uid: &str) -> (Client, String, String) {
    let (mut client, id) = bench.opened(uid).await;
    bench.publish(&payload(counter, 'W', &id, WELCOME)).await;
    let welcome = frame(&mut client).await;
    assert_eq!(welcome["payload"]["uid"], "u", "nothing else is changed");
    let token = welcome["payload"]["resume"].as_str().expect("a token");
    (client, id, token.to_owned())
}

fn resume(token: &str) -> String {
    json!({"action": "resume", "payload": {"token": token}}).to_string()
}

#[tokio::test]
async fn a_token_names_the_connection_that_it_replaces() {
    let mut bench = Bench::start().await;
    let (_first, id, token) = welcomed(&mut bench, 1, "alice").await;
    let (mut second, _) = bench.opened("alice").await;
    second.send(&resume(&token)).await;
    second
        .send(r#"{"action":"resume","payload":{"positions":[{"conversation":"6.1.1-0.1","seq":2,"id":"6.1.2-0.1"}]}}"#)
        .await;
    let events = bench.until_events("alice", 4).await;
    assert_eq!(field(&events[2], "kind").as_deref(), Some("resume"));
    assert_eq!(field(&events[2], "replaces"), Some(id));
    assert_eq!(field(&events[3], "replaces"), None);
    let positions = field(&events[3], "positions");
    assert_eq!(positions.as_deref(), Some("6.1.1-0.1 2 6.1.2-0.1"));
    for event in &events {
        let shown = event.iter().any(|(_, value)| value.contains(&token));
        assert!(!shown, "no token in Redis: {event:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_this_users_appends_nothing() {
    let mut bench = Bench::start().await;
    let (_alice, _, token) = welcomed(&mut bench, 1, "alice").await;
    let (mut bob, _) = bench.opened("bob").await;
    let forged = token.replace('.', "x.");
    for bad in [token.as_str(), forged.as_str(), "nonsense", ".."] {
        bob.send(&resume(bad)).await;
        let answer = frame(&mut bob).await;
        assert_eq!(answer["payload"]["code"], "bad_resume", "{bad}");
    }
    bob.send(r#"{"action":"resume","payload":{"token":7}}"#)
        .await;
    let answer = frame(&mut bob).await;
    assert_eq!(answer["payload"]["field"], "token");
    bob.send(r#"{"action":"resume"}"#).await;
    let events = bench.until_events("bob", 2).await;
    assert_eq!(field(&events[1], "kind").as_deref(), Some("resume"));
    assert_eq!(events.len(), 2, "only the last one");
    assert_eq!(field(&events[1], "n").as_deref(), Some("1"));
}

/// A hole in the pushes, or a lost subscription: who can resumes where they are.
#[tokio::test]
async fn who_resumes_is_told_that_pushes_are_missing_and_stays() {
    let mut bench = Bench::start().await;
    let (mut alice, a, _) = welcomed(&mut bench, 1, "alice").await;
    let (mut by_hand, _) = bench.opened("bob").await;
    alice.send(r#"{"action":"resume"}"#).await;
    bench.until_events("alice", 2).await;
    bench.publish(&payload(2, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME);
    bench.publish(&payload(4, 'F', &a, FRAME)).await;
    assert_eq!(by_hand.close_code().await, Some(4000));
    // The push behind the hole is as good as any; the telling is paced.
    let mut heard = [frame(&mut alice).await, frame(&mut alice).await];
    heard.sort_by_key(|frame| frame["action"] == "resync");
    assert_eq!(heard[0]["payload"]["message"], "你好");
    assert_eq!(heard[1]["payload"]["code"], "resync");
    bench
        .redis_does(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await;
    assert_eq!(frame(&mut alice).await["action"], "resync");
    bench.until_ready().await;
    bench.publish(&payload(5, 'F', &a, FRAME)).await;
    assert_eq!(alice.text().await, FRAME, "on the same socket");
}

/// Its welcome may be what is missing, so nobody can know whether it may resume.
#[tokio::test]
async fn who_was_not_welcomed_yet_comes_again() {
    let mut bench = Bench::start().await;
    let (mut alice, _) = bench.opened("alice").await;
    let (_bob, b, _) = welcomed(&mut bench, 1, "bob").await;
    alice.send(r#"{"action":"resume"}"#).await;
    bench.until_events("alice", 2).await;
    bench.publish(&payload(3, 'F', &b, FRAME)).await;
    assert_eq!(alice.close_code().await, Some(4000));
}
