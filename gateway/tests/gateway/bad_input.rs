//! Bad input gets a clear answer: an `error`, or the right close code before the TCP close.
//! What breaks the WebSocket protocol itself is in `conformance`.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Bench, DEADLINE, field};

#[tokio::test]
async fn bad_frames_are_answered_and_change_nothing() {
    let mut bench = Bench::start().await;
    let mut client = bench.client("uid=alice&lang=en").await;
    for (text, code) in [
        ("nonsense", "bad_json"),
        ("{}", "bad_json"),
        (r#"{"action":"dance"}"#, "unknown_action"),
        (r#"{"action":"message"}"#, "bad_field"),
        (
            r#"{"action":"message","payload":{"message":"x","id":"{s06}"}}"#,
            "bad_field",
        ),
        (r#"{"action":"staffOnline","payload":{"max":0}}"#, "bad_max"),
    ] {
        client.send(text).await;
        let answer = client.text().await;
        assert!(
            answer.contains(&format!(r#""code":"{code}""#)),
            "{text}: {answer}"
        );
    }
    client.send("nonsense").await;
    assert!(
        client.text().await.contains("not a JSON object"),
        "in the user's language"
    );
    client.send(r#"{"action":"customerConnect"}"#).await;
    let events = bench.until_events("alice", 2).await;
    assert_eq!(events.len(), 2, "nothing else was appended");
    assert_eq!(
        field(&events[1], "n").as_deref(),
        Some("1"),
        "refusals are not numbered"
    );
}

#[tokio::test]
async fn ping_is_answered_bare() {
    let bench = Bench::start().await;
    let mut client = bench.client("").await;
    client.send("PING").await;
    assert_eq!(client.text().await, "PONG");
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let bench = Bench::start().await;
    let mut client = bench.client("").await;
    client
        .socket
        .send(Message::binary(vec![1]))
        .await
        .expect("sent");
    assert_eq!(client.close_code().await, Some(1003));
}

#[tokio::test]
async fn the_largest_frame_is_read_and_one_byte_more_is_not() {
    let bench = Bench::start().await;
    let mut client = bench.client("lang=en").await;
    client.send(&"x".repeat(64 * 1024)).await;
    assert!(client.text().await.contains("bad_json"));
    let _ = client
        .socket
        .send(Message::text("x".repeat(64 * 1024 + 1)))
        .await;
    assert_eq!(client.close_code().await, Some(1009));
}

#[tokio::test]
async fn a_client_that_stalls_in_its_headers_is_cut() {
    let bench = Bench::start_with(&["--handshake-timeout-s=1"]).await;
    let mut stream = TcpStream::connect(bench.address).await.expect("listening");
    stream.write_all(b"G").await.expect("sent");
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("cut in time");
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "but not before its time"
    );
}

#[tokio::test]
async fn bad_handshakes_are_refused_with_a_sentence() {
    let bench = Bench::start().await;
    for (query, status) in [
        ("uid=%7B", 400),
        ("site=a%0Ab", 400),
        ("lang=fr", 400),
        ("role=boss", 400),
    ] {
        let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) =
            bench.try_client(query).await
        else {
            panic!("{query} was let in")
        };
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
    assert!(bench.get("/ws").await.starts_with("HTTP/1.1 426"));
}
