//! The door: whose pages may ask, how long a body may be, how many may ask at once.

use std::time::Duration;

use frontdesk_tests::{http, wait};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    asking::{Asker, is_problem, signed},
    scene::Scene,
};

/// Pages of another origin ask first; those that may read every answer, refusals too, and when to come again.
#[tokio::test]
async fn pages_of_allowed_origins_read_every_answer() {
    let builder = signed().gateway_setting("allow-origin", "https://shop.example");
    let scene = Scene::start(builder).await;
    let (addr, alice) = (scene.cluster.addr(0), scene.asker("alice", "customer"));
    let good = "Origin: https://shop.example";
    let path = format!("/api/v1/{}", scene.path("messages"));
    let asked = http::send(addr, "OPTIONS", &path, &[good.as_bytes()], "")
        .await
        .unwrap();
    assert_eq!(asked.status, 204);
    let headers = asked.header("access-control-allow-headers");
    assert_eq!(
        headers,
        Some("authorization, content-type, idempotency-key")
    );
    let methods = asked.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("GET") && methods.contains("POST"));
    for (asker, path, status) in [
        (alice.clone(), "conversations".to_owned(), 200),
        (alice.clone(), "staff".to_owned(), 403),
        (alice.clone(), "conversations/1.1.1-1.1".to_owned(), 404),
        (Asker::nobody(addr), "conversations".to_owned(), 401),
        (alice.clone(), "nowhere".to_owned(), 404),
    ] {
        let answer = asker.send("GET", &path, &[good], "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        let readable = answer.header("access-control-allow-origin");
        assert_eq!(readable, Some("https://shop.example"), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, Some("retry-after"));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    for bad in ["Origin: https://evil.example", "Origin: null"] {
        for method in ["OPTIONS", "GET", "POST"] {
            let answer = alice.send(method, "conversations", &[bad], "").await;
            is_problem(&answer, 403, "forbidden");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
}

/// A body that never ends is cut, and one that is too long is not read to its end.
#[tokio::test]
async fn bodies_are_bounded_in_length_and_time() {
    let builder = signed().gateway_setting("handshake-timeout-s", 1);
    let scene = Scene::start(builder).await;
    let (addr, path) = (scene.cluster.addr(0), scene.path("messages"));
    let token = frontdesk_tests::tokens::token("alice", "customer");
    for (length, sent, status) in [(100, "{\"mess", 503), (10_000_000, "", 413)] {
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{sent}"
        );
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = wait::ends_within("an answer", wait::DEADLINE, stream.read(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{length}: {answer}");
    }
    let big = json!({"message": "x", "rest": "y".repeat(64 * 1024)});
    is_problem(
        &scene.asker("alice", "customer").post(&path, &big).await,
        413,
        "too_large",
    );
    assert_eq!(scene.words().await, Vec::<String>::new());
}

/// Addresses have their limits, and so has the gateway: beyond them nobody waits for an answer.
#[tokio::test]
async fn an_address_that_asks_too_much_is_told_when_to_come_again() {
    const ASKED: usize = 200;
    let builder = signed()
        .gateway_setting("max-connections-per-ip", 1)
        .gateway_setting("request-rate-per-ip", 5);
    let cluster = builder.start().await;
    let asker = Asker::new(cluster.addr(0), "alice", "customer");
    let answers = join_all((0..ASKED).map(|_| asker.get("conversations"))).await;
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !refused.is_empty());
    for answer in refused {
        is_problem(&answer, 429, "rate_limited");
        assert!(answer.header("retry-after").is_some());
        assert!(answer.json()["retry_after_ms"].as_u64().unwrap() >= 1000);
    }
}

/// The user's bucket is one, whoever asks: sockets, requests, on whatever gateway.
#[tokio::test]
async fn a_user_who_asks_too_fast_is_told_when_to_come_again() {
    let builder = signed()
        .worker_setting("rate-per-user", 1)
        .worker_setting("rate-burst", 3);
    let scene = Scene::start(builder).await;
    let (kim, words) = (
        scene.asker("kim", "staff"),
        json!({"message": "hi", "to": "sam"}),
    );
    let mut limited = None;
    for _ in 0..100 {
        let answer = kim.post("messages", &words).await;
        if answer.status != 201 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("faster than one a second");
    is_problem(&limited, 429, "rate_limited");
    let wait = limited.json()["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_millis(wait)).await; // as it was told
    assert_eq!(kim.post("messages", &words).await.status, 201);
}

/// More than a gateway has places for are refused at once; the others are answered.
#[tokio::test]
async fn requests_under_way_are_bounded() {
    let builder = signed().gateways(1).gateway_setting("max-requests", 4);
    let scene = Scene::start(builder).await;
    for worker in &scene.cluster.workers {
        worker.child.pause();
    }
    let (alice, path) = (scene.asker("alice", "customer"), scene.path("messages"));
    let asked = (0..12).map(|n| {
        let (alice, path) = (alice.clone(), path.clone());
        async move { alice.post(&path, &json!({"message": n.to_string()})).await }
    });
    let answers = join_all(asked).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(504), count(503)), (4, 8), "{answers:?}");
    for worker in &scene.cluster.workers {
        worker.child.unpause();
    }
    let answer = wait::until("there is room again", async || {
        let answer = alice.post(&path, &json!({"message": "last"})).await;
        (answer.status == 201).then_some(answer)
    });
    answer.await;
    let words = scene.words().await;
    assert_eq!(
        words.iter().filter(|text| *text != "last").count(),
        4,
        "{words:?}"
    );
}
