//! What sockets do arrives in the log, once, in order.

use frontdesk_shared::{event::Kind, protocol::frame::Verb};
use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Bench, decode, eventually, field, lane_key};

#[tokio::test]
async fn a_socket_opens_speaks_and_leaves() {
    let mut bench = Bench::start().await;
    let mut client = bench.client("uid=alice&role=staff&lang=en").await;
    client
        .send(r#"{"action":"staffOnline","payload":{"max":2}}"#)
        .await;
    client
        .send(r#"{"action":"message","payload":{"message":"hi","id":"m1"}}"#)
        .await;
    bench.until_events("alice", 3).await;
    client.socket.close(None).await.expect("closes");
    let events = bench.until_events("alice", 4).await;

    let id = field(&events[0], "client").expect("named");
    assert!(
        id.starts_with(&bench.boot),
        "a client_id leads to its gateway"
    );
    assert_eq!(field(&events[0], "role").as_deref(), Some("staff"));
    assert_eq!(field(&events[0], "lang").as_deref(), Some("en"));
    let kinds: Vec<String> = events
        .iter()
        .map(|e| field(e, "kind").expect("kind"))
        .collect();
    assert_eq!(kinds, ["open", "staff_online", "message", "close"]);
    assert!(
        events
            .iter()
            .all(|event| field(event, "client") == Some(id.clone()))
    );
    assert_eq!(field(&events[1], "n").as_deref(), Some("1"));
    assert_eq!(field(&events[2], "n").as_deref(), Some("2"));
    let Kind::Verb {
        verb: Verb::Message { body, .. },
        ..
    } = decode(&events[2]).kind
    else {
        panic!("a message")
    };
    assert_eq!(body, "\"hi\"");
    assert!(matches!(
        decode(&events[3]).kind,
        Kind::Close { clean: true, .. }
    ));
}

/// Otherwise a page reload would throw people out of their conversation.
#[tokio::test]
async fn only_1000_and_no_code_are_leaving_on_purpose() {
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    let mut bench = Bench::start().await;
    let frame = |code| {
        Some(CloseFrame {
            code,
            reason: "".into(),
        })
    };
    for (uid, ending, clean) in [
        (
            "normal",
            Some(Message::Close(frame(CloseCode::Normal))),
            true,
        ),
        ("nocode", Some(Message::Close(None)), true),
        (
            "reload",
            Some(Message::Close(frame(CloseCode::Away))),
            false,
        ),
        ("broken", None, false),
    ] {
        let (mut client, _) = bench.opened(uid).await;
        let before = bench.events(uid).await.len();
        if let Some(message) = ending {
            client.socket.send(message).await.expect("sent");
        }
        drop(client);
        let events = bench.until_events(uid, before + 1).await;
        let Kind::Close { clean: seen, .. } = decode(&events[before]).kind else {
            panic!("{uid}: a close")
        };
        assert_eq!(seen, clean, "{uid}");
    }
}

#[tokio::test]
async fn a_burst_of_ten_thousand_arrives_whole_and_in_order() {
    const BURST: usize = 10_000;
    // More than a user may say at once.
    let settings = [format!("--rate-burst={BURST}")];
    let mut bench = Bench::start_with(&[&settings[0]]).await;
    let (mut client, _) = bench.opened("alice").await;
    for i in 0..BURST {
        let frame = format!(r#"{{"action":"message","payload":{{"message":"{i}"}}}}"#);
        client.socket.feed(Message::text(frame)).await.expect("fed");
    }
    client.socket.flush().await.expect("flushed");
    let events = bench.until_events("alice", BURST + 1).await;
    assert_eq!(events.len(), BURST + 1);
    for (i, event) in events.iter().enumerate().skip(1) {
        assert_eq!(field(event, "n"), Some(i.to_string()));
        assert_eq!(field(event, "body"), Some(format!("\"{}\"", i - 1)));
    }
}

#[tokio::test]
async fn a_refused_append_closes_the_socket_retryably_and_is_not_retried() {
    let mut bench = Bench::start().await;
    let (mut client, id) = bench.opened("alice").await;
    // Redis refuses every further entry: the stream's key is of another type now.
    let key = lane_key("alice");
    let mut break_it = redis::pipe();
    break_it.rename(&key, "aside").set(&key, "no stream");
    let broken = break_it.exec_async(&mut bench.connection).await;
    broken.expect("renamed");
    client.send(r#"{"action":"customerConnect"}"#).await;
    assert_eq!(client.close_code().await, Some(4002));

    let mut mend_it = redis::pipe();
    mend_it.rename("aside", &key);
    let mended = mend_it.exec_async(&mut bench.connection).await;
    mended.expect("renamed back");
    let events = bench.until_events("alice", 2).await;
    assert_eq!(events.len(), 2, "the message is not retried, the close is");
    assert_eq!(field(&events[1], "kind").as_deref(), Some("close"));
    assert_eq!(field(&events[1], "client"), Some(id));
}

/// Redis stalls with the message in its input buffer: it may or may not be stored. Sending it again
/// on our own could store it twice; the client does that under the same id.
#[tokio::test]
async fn an_append_of_unknown_outcome_closes_the_socket_and_is_not_retried() {
    let mut bench = Bench::start().await;
    let (mut client, _) = bench.opened("alice").await;
    bench.redis.pause();
    client.send(r#"{"action":"customerConnect"}"#).await;
    let code = client.close_code().await;
    bench.redis.unpause();
    // Whichever is noticed first: the silence of the subscription, or that of the append.
    assert!(matches!(code, Some(4000 | 4002)), "{code:?}");
    let kinds = async |bench: &mut Bench| -> Vec<String> {
        let events = bench.events("alice").await;
        events
            .iter()
            .filter_map(|event| field(event, "kind"))
            .collect()
    };
    eventually("the close is in the log", async || {
        kinds(&mut bench).await.contains(&"close".to_owned())
    })
    .await;
    let kinds = kinds(&mut bench).await;
    let messages = kinds
        .iter()
        .filter(|kind| *kind == "customer_connect")
        .count();
    assert!(messages <= 1, "{kinds:?}");
}

#[tokio::test]
async fn a_killed_redis_closes_sockets_and_still_learns_of_it() {
    let mut bench = Bench::start().await;
    let (mut client, id) = bench.opened("alice").await;
    bench.redis.kill9();
    let code = client.close_code().await;
    assert_eq!(code, Some(4000));
    bench.redis.restart();
    bench.connection = bench.redis.connect().await;
    bench.until_ready().await;
    let events = bench.until_events("alice", 2).await;
    assert_eq!(field(&events[1], "kind").as_deref(), Some("close"));
    assert_eq!(field(&events[1], "client"), Some(id));
    bench.opened("alice").await;
}
