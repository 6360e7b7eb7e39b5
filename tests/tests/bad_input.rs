//! What comes in broken is answered by a clear code, and disturbs nobody else.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{collections::HashSet, time::Duration};

use frontdesk_tests::{
    bystanders::Bystanders,
    client::{Client, Incoming},
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log,
    process::Program,
    raw::{self, Raw},
    wait,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Text frame, final.
const TEXT: u8 = 0x81;
const MIB: usize = 1024 * 1024;

/// Frame, code, field at fault.
#[rustfmt::skip]
const BROKEN: &[(&str, &str, Option<&str>)] = &[
    ("", "bad_json", None),
    ("{", "bad_json", None),
    ("null", "bad_json", None),
    ("[]", "bad_json", None),
    ("{}", "bad_json", None),
    ("ping", "bad_json", None),
    (r#"{"action":null}"#, "bad_json", None),
    (r#"{"action":7}"#, "bad_json", None),
    (r#"{"action":"message","payload":"你好"}"#, "bad_json", None),
    (
            r#"{"action":"message"}{"action":"message"}"#,
            "bad_json",
            None,
        ),
    (r#"{"action":""}"#, "unknown_action", None),
    (r#"{"action":"ack"}"#, "unknown_action", None),
    (r#"{"action":"open"}"#, "unknown_action", None),
    (r#"{"action":"message"}"#, "bad_field", Some("message")),
    (
            r#"{"action":"message","payload":null}"#,
            "bad_field",
            Some("message"),
        ),
    (
            r#"{"action":"message","payload":{"message":7}}"#,
            "bad_field",
            Some("message"),
        ),
    (
            r#"{"action":"message","payload":{"message":["a"]}}"#,
            "bad_field",
            Some("message"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","id":5}}"#,
            "bad_field",
            Some("id"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","id":"{x}"}}"#,
            "bad_field",
            Some("id"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","id":"*"}}"#,
            "bad_field",
            Some("id"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","id":"a\nb"}}"#,
            "bad_field",
            Some("id"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","id":"a\u0000"}}"#,
            "bad_field",
            Some("id"),
        ),
    (
            r#"{"action":"message","payload":{"message":"a","conversation":"{s00}:x"}}"#,
            "bad_field",
            Some("conversation"),
        ),
    (
            r#"{"action":"close","payload":{"conversation":"*"}}"#,
            "bad_field",
            Some("conversation"),
        ),
    (
            r#"{"action":"close","payload":{"conversation":"a\r\nb"}}"#,
            "bad_field",
            Some("conversation"),
        ),
    (
            r#"{"action":"staffOnline","payload":{"name":""}}"#,
            "bad_field",
            Some("name"),
        ),
    (
            r#"{"action":"staffOnline","payload":{"name":"a\u001b[2J"}}"#,
            "bad_field",
            Some("name"),
        ),
    (
            r#"{"action":"staffOnline","payload":{"max":"many"}}"#,
            "bad_field",
            Some("max"),
        ),
    (
            r#"{"action":"staffOnline","payload":{"max":1.5}}"#,
            "bad_max",
            Some("max"),
        ),
    (
            r#"{"action":"staffOnline","payload":{"max":99999999999999999999}}"#,
            "bad_max",
            Some("max"),
        ),
];

#[tokio::test]
async fn broken_frames_are_refused_by_name_and_the_socket_lives() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let mut bystanders = Bystanders::start(&cluster, 0, 0).await;
    let mut client = cluster.connect(0, "uid=c1").await;
    for (frame, code, field) in BROKEN {
        client.send_text(frame).await;
        let refused = client.expect("error", code).await;
        assert_eq!(refused["field"].as_str(), *field, "{frame}");
    }
    // Deep nesting neither.
    client
        .send_text(&format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)))
        .await;
    client.expect("error", "bad_json").await;
    client.expect_nothing().await;
    bystanders.talk().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_closes_only_its_own_socket() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let mut bystanders = Bystanders::start(&cluster, 0, 0).await;

    let mut client = cluster.connect(0, "uid=c1").await;
    client
        .send_raw(Message::binary(vec![1, 2, 3]))
        .await
        .expect("sent");
    assert_eq!(client.expect_close().await, 1003);

    let mut client = cluster.connect(0, "uid=c2").await;
    // The server may hang up before it has read all of it.
    let _ = client.send_raw(Message::text("x".repeat(MIB))).await;
    match client.next().await {
        Incoming::Closed(code) => assert_eq!(code, 1009),
        // A reset that overtook the close frame.
        Incoming::Lost(_) => {}
        other => panic!("{other}"),
    }

    let fragment = |first, payload: &[u8]| raw::frame(first, true, payload);
    let half = vec![b'x'; 40_000];
    for (name, bytes, code) in [
        ("1 MiB announced", frame_head_of_one_mib(), 1009),
        (
            "64 KiB + 1",
            raw::frame(TEXT, true, &vec![b'x'; 64 * 1024 + 1]),
            1009,
        ),
        (
            "too big in pieces",
            [fragment(0x01, &half), fragment(0x80, &half)].concat(),
            1009,
        ),
        (
            "invalid UTF-8",
            raw::frame(TEXT, true, b"\"\xff\xfe\""),
            1007,
        ),
        ("not masked", raw::frame(TEXT, false, b"{}"), 1002),
        ("a reserved bit", raw::frame(TEXT | 0x40, true, b"{}"), 1002),
        ("a reserved opcode", raw::frame(0x83, true, b"{}"), 1002),
        ("a long ping", raw::frame(0x89, true, &[0; 126]), 1002),
        ("a fragmented ping", raw::frame(0x09, true, b"x"), 1002),
        (
            "a continuation of nothing",
            raw::frame(0x80, true, b"x"),
            1002,
        ),
    ] {
        let mut raw = Raw::connect(cluster.addr(0), "uid=raw").await;
        raw.write(&bytes).await;
        assert_eq!(raw.close_code().await, Some(code), "{name}");
    }
    bystanders.talk().await;
}

/// The head of a frame that never comes.
fn frame_head_of_one_mib() -> Vec<u8> {
    let mut bytes = raw::frame(TEXT, true, &[0; 200]);
    bytes[2..10].copy_from_slice(&(MIB as u64).to_be_bytes());
    bytes
}

#[tokio::test]
async fn hostile_ids_do_not_pass_the_door() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let long = "x".repeat(65);
    for query in [
        "uid=%7Bs00%7D",
        "uid=a*",
        "uid=a%0Ab",
        "uid=a%00",
        "uid=%E5%AE%A2",
        "uid=-",
        &format!("uid={long}"),
        "uid=a&site=%7Bs00%7D",
        "uid=a&site=*",
        "uid=a&site=..%2F",
        "uid=a&role=admin",
    ] {
        match Client::try_connect(cluster.addr(0), query).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400, "{query}"),
            Err(error) => panic!("{query}: {error}"),
            Ok(_) => panic!("{query} was let in"),
        }
    }
    // Without a uid one is made.
    let client = cluster.connect(0, "").await;
    assert!(
        client.welcome["uid"]
            .as_str()
            .is_some_and(|uid| uid.len() >= 20)
    );
}

/// A client that reads as fast as it can is no slow one, however much comes at once.
#[tokio::test]
async fn a_burst_of_the_biggest_messages_does_not_throw_its_reader_out() {
    const COUNT: usize = 64;
    let cluster = Cluster::start().await;
    let mut staff = cluster.connect(1, "uid=s1").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = cluster.connect(0, "uid=c1").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let words = "长".repeat(16 * 1024 / 3);
    let burst = tokio::spawn(async move {
        for n in 0..COUNT {
            customer.say_with_id(&words, &format!("m{n}")).await;
        }
        for n in 0..COUNT {
            customer.expect_ack(&format!("m{n}")).await;
        }
        customer
    });
    for _ in 0..COUNT {
        match staff.next().await {
            Incoming::Frame(frame) => assert_eq!(frame["payload"]["from"], "customer"),
            other => staff.fail(&format!("unexpected: {other:?}")),
        }
    }
    // Held until the end: a customer who is dropped leaves, and staff are told.
    let _customer = burst.await.expect("all are acknowledged");
    staff.ping().await;
}

/// 10,000 messages at once: each is answered, what is acknowledged is written once, others talk on
/// meanwhile, and memory stays small.
#[tokio::test]
async fn a_burst_is_answered_message_by_message() {
    const COUNT: usize = 10_000;
    let cluster = Cluster::start().await;
    let mut bystanders = Bystanders::start(&cluster, 0, 0).await;
    let mut staff = cluster.connect(1, "uid=s1").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = cluster.connect(0, "uid=c1").await;
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;

    let before: Vec<_> = cluster.gateways.iter().map(Program::memory).collect();
    let burst = tokio::spawn(async move {
        for n in 0..COUNT {
            customer
                .say_with_id(&format!("第{n}句"), &format!("m{n}"))
                .await;
        }
        let (mut acked, mut refused) = (HashSet::new(), HashSet::new());
        while acked.len() + refused.len() < COUNT {
            let Some(Incoming::Frame(frame)) = customer.next_within(wait::DEADLINE * 4).await
            else {
                customer.fail(&format!("{} acks, {} refusals", acked.len(), refused.len()));
            };
            let reference = frame["payload"]["ref"].as_str().expect("a ref").to_owned();
            let new = match (frame["action"].as_str(), frame["payload"]["code"].as_str()) {
                (Some("ack"), _) => acked.insert(reference),
                (_, Some("busy")) => refused.insert(reference),
                _ => customer.fail(&format!("unexpected: {frame}")),
            };
            assert!(new, "answered twice: {frame}");
        }
        (customer, acked)
    });
    let mut peak = 0;
    while !burst.is_finished() {
        bystanders.talk().await;
        for (gateway, before) in cluster.gateways.iter().zip(&before) {
            peak = peak.max(gateway.memory().saturating_sub(*before));
        }
    }
    let (mut customer, acked) = burst.await.expect("every message was answered");
    assert!(!acked.is_empty(), "all were refused");
    customer.expect_nothing().await;
    assert!(
        peak < 64 * MIB as u64,
        "a gateway grew by {} MiB",
        peak / MIB as u64
    );

    let conversation = connected["conversation"].as_str().expect("an id");
    let mut redis = cluster.redis.connect().await;
    let log = conversation_log::read(&mut redis, DEFAULT_SITE, conversation).await;
    let written: Vec<_> = log
        .iter()
        .filter_map(|entry| entry.reference.clone())
        .collect();
    assert_eq!(written.len(), acked.len());
    assert_eq!(written.into_iter().collect::<HashSet<_>>(), acked);
    for _ in 0..acked.len() {
        let heard = staff.next().await;
        assert!(
            matches!(&heard, Incoming::Frame(frame) if frame["payload"]["from"] == "customer"),
            "{heard}"
        );
    }
    staff.expect_nothing().await;
}

/// Somebody who writes without ever reading is slowed down or cut; nobody else notices.
#[tokio::test]
async fn who_never_reads_is_bounded() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let mut bystanders = Bystanders::start(&cluster, 0, 0).await;
    let before = cluster.gateways[0].memory();
    let asks: Value = json!({"action": "dance", "payload": {"message": "x".repeat(100)}});
    let frames = raw::frame(TEXT, true, asks.to_string().as_bytes()).repeat(1000);
    let mut deaf = Raw::connect(cluster.addr(0), "uid=deaf").await;
    for _ in 0..100 {
        // Blocked: the gateway reads no more, as it should.
        if timeout(Duration::from_secs(1), deaf.write(&frames))
            .await
            .is_err()
        {
            break;
        }
    }
    bystanders.talk().await;
    let grown = cluster.gateways[0].memory().saturating_sub(before);
    assert!(
        grown < 64 * MIB as u64,
        "the gateway grew by {} MiB",
        grown / MIB as u64
    );
}
