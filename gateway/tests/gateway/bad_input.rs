//! Bad input gets a clear answer: an `error`, or the right close code before the TCP close.

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

/// Each case: bytes after the handshake, and the close code that must come before the end.
#[tokio::test]
async fn raw_violations_get_their_close_code() {
    let bench = Bench::start().await;
    let mut megabyte = vec![0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    megabyte.resize(14 + 1024 * 1024, b'x');
    let mut fragments = masked(0x01, &vec![b'x'; 40_000]);
    fragments.extend(masked(0x80, &vec![b'x'; 40_000]));
    let cases: [(&str, Vec<u8>, u16); 10] = [
        ("1 MiB frame", megabyte, 1009),
        ("fragments of 80 kB", fragments, 1009),
        ("invalid UTF-8", masked(0x81, b"\xff\xfe"), 1007),
        ("UTF-8 cut short", masked(0x81, b"\xe4\xbd"), 1007),
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", masked(0xc1, b"x"), 1002),
        ("reserved opcode", masked(0x83, b"x"), 1002),
        ("fragmented ping", masked(0x09, b"x"), 1002),
        ("stray continuation", masked(0x80, b"x"), 1002),
        ("close code of one byte", masked(0x88, b"x"), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut stream = raw_socket(&bench).await;
        // The server may end its side while we still write; the close frame must be there anyway.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("ends in time")
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            answer.first(),
            Some(&0x88),
            "{what}: a close frame, not {answer:?}"
        );
        assert_eq!(answer.get(2..4), Some(&code.to_be_bytes()[..]), "{what}");
    }
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
    let old = "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let stream = old.replace("Connection: upgrade", "Connection: upgrade, close");
    let answer = bench.raw(stream.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 426") && answer.contains("sec-websocket-version: 13"),
        "{answer}"
    );
    assert!(bench.get("/ws").await.starts_with("HTTP/1.1 426"));
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).expect("short") {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("below 126")),
        long => {
            frame.push(0xfe);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend([0; 4]); // a mask of zeros leaves the bytes as they are
    frame.extend(payload);
    frame
}

/// A TCP stream right after the handshake.
async fn raw_socket(bench: &Bench) -> TcpStream {
    let mut stream = TcpStream::connect(bench.address).await.expect("listening");
    let request = "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream
}
