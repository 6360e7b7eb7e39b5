//! When the cluster does not keep up, clients are told at once, and closes are still written.

use frontdesk_shared::protocol::close::TRY_AGAIN;

use crate::harness::{Bench, Client, eventually, field};

const MESSAGE: &str = r#"{"action":"message","payload":{"message":"hi","id":"m1"}}"#;

/// Sends until one message is refused, and returns the refusal.
async fn until_busy(client: &mut Client) -> String {
    let mut answer = String::new();
    eventually("a message is refused", async || {
        client.send(MESSAGE).await;
        client.send("PING").await;
        answer = client.text().await;
        if answer == "PONG" {
            return false;
        }
        assert_eq!(client.text().await, "PONG");
        true
    })
    .await;
    answer
}

fn retry_after_ms(answer: &str) -> u64 {
    let (_, rest) = answer.split_once(r#""retry_after_ms":"#).expect("told");
    let digits = rest.trim_end_matches('}');
    digits.parse().expect("a number")
}

/// No worker runs here, so the lane's oldest event only gets older.
#[tokio::test]
async fn a_backlog_is_answered_at_once_and_ends_with_the_backlog() {
    let mut bench = Bench::start_with(&["--backlog-limit-ms=500"]).await;
    let (mut alice, _) = bench.opened("alice").await;
    let refusal = until_busy(&mut alice).await;
    assert!(refusal.contains(r#""code":"busy""#), "{refusal}");
    assert!(refusal.contains(r#""ref":"m1""#), "{refusal}");
    assert!(retry_after_ms(&refusal) >= 1000, "{refusal}");

    let before = bench.events("alice").await.len();
    alice.send(MESSAGE).await;
    assert!(alice.text().await.contains("busy"));
    let (opened, _) = bench.opened("alice").await;
    drop(opened);
    let events = bench.until_events("alice", before + 2).await;
    let kinds: Vec<_> = events[before..]
        .iter()
        .map(|event| field(event, "kind"))
        .collect();
    assert_eq!(kinds, [Some("open".to_owned()), Some("close".to_owned())]);

    let numbers = events
        .iter()
        .filter(|event| field(event, "n").is_some())
        .count();
    bench.apply_all("alice").await;
    eventually("messages are taken again", async || {
        alice.send(MESSAGE).await;
        bench.apply_all("alice").await;
        bench.events("alice").await.len() > before + 2
    })
    .await;
    let events = bench.events("alice").await;
    let next = (numbers + 1).to_string();
    assert_eq!(
        field(&events[before + 2], "n"),
        Some(next),
        "refusals are not numbered"
    );
}

#[tokio::test]
async fn a_redis_short_of_memory_takes_closes_only() {
    let mut bench = Bench::start().await;
    let (mut alice, id) = bench.opened("alice").await;
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut bench.connection)
        .await
        .expect("INFO");
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.expect("used_memory").parse().expect("a number");
    let limit = (used * 10 / 9).to_string();
    bench
        .redis_does(&["CONFIG", "SET", "maxmemory", &limit])
        .await;
    let refusal = until_busy(&mut alice).await;
    assert!(refusal.contains(r#""code":"busy""#), "{refusal}");
    assert!(retry_after_ms(&refusal) >= 5000, "{refusal}");
    let mut bob = bench.client("uid=bob").await;
    assert_eq!(bob.close_code().await, Some(TRY_AGAIN.code));
    alice.socket.close(None).await.expect("closes");
    eventually("the close is in the log", async || {
        let events = bench.events("alice").await;
        let last = events.last().expect("events");
        field(last, "kind").as_deref() == Some("close") && field(last, "client") == Some(id.clone())
    })
    .await;
    assert!(
        bench.events("bob").await.is_empty(),
        "never opened, so never closed"
    );
    bench.redis_does(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("sockets are taken again", async || {
        let mut carol = bench.client("uid=carol").await;
        carol.send("PING").await;
        matches!(carol.next().await, Some(Ok(message)) if message.is_text())
    })
    .await;
}
