//! Transcripts that take their time: of clients that do not read them, and of gateways that end meanwhile.

use std::{io, net::SocketAddr};

use frontdesk_tests::{
    http,
    tokens::token,
    wait::{self, DEADLINE},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    asking::{is_problem, signed},
    scene::Scene,
};

/// So many messages of so many bytes are more than the sockets of both sides hold.
const MESSAGES: usize = 400;
const BYTES: usize = 15_000;

/// Alice and sam have talked for long.
async fn talked(settings: &[(&str, u64)]) -> Scene {
    let rates = [("rate-per-user", 10_000), ("rate-burst", 10_000)];
    let builder = signed().gateways(1).workers(1);
    let builder = rates.into_iter().fold(builder, |builder, (name, value)| {
        builder
            .gateway_setting(name, value)
            .worker_setting(name, value)
    });
    let builder = settings.iter().fold(builder, |builder, (name, value)| {
        builder.gateway_setting(name, value)
    });
    let mut scene = Scene::start(builder).await;
    for n in 0..MESSAGES {
        let text = format!("{n:0BYTES$}");
        scene.alice.say(&text).await;
        scene.sam.expect_words("customer", &text).await;
    }
    scene
}

/// The beginning of the transcript, by a client that has read no more than that.
async fn begun(scene: &Scene) -> (TcpStream, Vec<u8>) {
    let (addr, path) = (scene.cluster.addr(0), scene.path("transcript"));
    let asking = async {
        let mut stream = asked(addr, &path).await?;
        let mut head = vec![0; 15];
        stream.read_exact(&mut head).await?;
        Ok::<_, io::Error>((stream, head))
    };
    let begun = wait::ends_within("an answer", DEADLINE, asking).await;
    let (stream, head) = begun.unwrap();
    assert_eq!(head, b"HTTP/1.1 200 OK");
    (stream, head)
}

async fn asked(addr: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    let token = token("archivist", "service");
    let request = format!(
        "GET /api/v1/{path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Without a bound, one client per place would keep everybody out. Sockets have other rules.
#[tokio::test]
async fn a_transcript_that_nobody_reads_gives_its_place_back() {
    let mut scene = talked(&[("max-requests", 1), ("answer-stall-s", 1)]).await;
    let unread = begun(&scene).await;
    let alice = scene.asker("alice", "customer");
    let answer = wait::until("there is room again", async || {
        let answer = alice.get("conversations").await;
        (answer.status == 200).then_some(answer)
    });
    answer.await;
    let stalled = "reason=\"stalled\"";
    let gateway = &scene.cluster.gateways[0];
    let cut = gateway.metric_where("frontdesk_gateway_answers_cut_total", stalled);
    assert!((cut.await - 1.0).abs() < f64::EPSILON);
    scene.alice.say("still here").await;
    scene.sam.expect_words("customer", "still here").await;
    drop(unread);
}

#[tokio::test]
async fn a_gateway_that_drains_sends_a_transcript_under_way_to_its_end() {
    let mut scene = talked(&[("drain-timeout-s", 240), ("answer-stall-s", 240)]).await;
    let (mut stream, mut bytes) = begun(&scene).await;
    scene.cluster.gateways[0].child.term();
    let addr = scene.cluster.addr(0);
    wait::until("it drains", async || {
        let ready = http::get(addr, "/readyz").await.ok()?;
        (ready.status == 503).then_some(())
    })
    .await;
    let alice = scene.asker("alice", "customer");
    for path in ["conversations", "openapi.json"] {
        let refused = alice
            .send("GET", path, &["Connection: keep-alive"], "")
            .await;
        is_problem(&refused, 503, "busy");
        assert_eq!(refused.header("connection"), Some("close"), "{refused:?}");
    }
    let read = wait::ends_within("the rest", DEADLINE, stream.read_to_end(&mut bytes));
    read.await.unwrap();
    let whole = http::parse(&bytes).unwrap().json();
    assert_eq!(whole["more"], false);
    assert_eq!(whole["entries"].as_array().unwrap().len(), MESSAGES + 1);
    assert_eq!(scene.cluster.gateways[0].child.wait_exit().await, Ok(0));
}
