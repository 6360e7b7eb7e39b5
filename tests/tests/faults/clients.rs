//! Clients that stop reading, stop answering, or are cut off without a word.

use std::time::Duration;

use frontdesk_tests::{
    drill::{Drill, faults::Kind},
    proxy::Proxy,
    raw::{self, Raw},
    wait,
};
use tokio::time::timeout;

use crate::{cluster, drill, rounds};

/// A text frame, whole.
const TEXT: u8 = 0x81;
/// What a gateway may keep for one socket that does not read.
const OUTBOX: u64 = 1024 * 1024;

/// Half of them send without ever reading, half are cut off without a word. They are found by ping and
/// closed, the gateway's memory stays bounded, and those who behave lose nothing.
#[tokio::test]
async fn clients_that_neither_read_nor_answer() {
    let patience = cluster()
        .gateways(1)
        .gateway_setting("ping-interval-s", 1)
        .gateway_setting("idle-timeout-s", 4);
    let drill = drill(patience).await;
    let count = 50 * rounds(1);
    let gateway = &drill.cluster.gateways[0];
    let (addr, before) = (gateway.listen, gateway.memory());
    let proxy = Proxy::start(addr);
    let asks =
        r#"{"action":"dance","payload":{"message":"and ten more words that nobody will read"}}"#;
    let flood = raw::frame(TEXT, true, asks.as_bytes()).repeat(1000);
    let mut sockets = Vec::new();
    for n in 0..count {
        let mut deaf = Raw::connect(addr, &format!("uid=deaf{n}")).await;
        // Once the gateway reads no more, the rest waits here.
        let _ = timeout(Duration::from_millis(50), deaf.write(&flood)).await;
        sockets.push(deaf);
        sockets.push(Raw::connect(proxy.addr(), &format!("uid=gone{n}")).await);
    }
    drill
        .history
        .fault(format!("{count} clients deaf, {count} cut off"));
    proxy.freeze();
    drill.progress(100).await;
    let grown = drill.cluster.gateways[0].memory().saturating_sub(before);
    assert!(grown < OUTBOX * 2 * count as u64, "grown by {grown} bytes");
    until_only_people_are_left(&drill).await;
    drill.progress(60).await;
    drill.finish().await;
}

async fn until_only_people_are_left(drill: &Drill) {
    wait::until("the others are closed", async || {
        let open = drill.metric(Kind::Gateway, "frontdesk_gateway_connections", "");
        (open.await <= drill.count() as f64).then_some(())
    })
    .await;
}
