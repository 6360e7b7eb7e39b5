//! WebSocket clients of other make hold a whole conversation with the cluster; `tests/src/peer.rs`
//! says which and what. One of them goes through the proxy in `haproxy.rs`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use frontdesk_tests::{
    cluster::Cluster,
    peer::{MOJO, Peer, WEBSOCKETS, WS},
};

async fn converse(peer: &Peer) {
    let cluster = Cluster::start().await;
    let (staff, customer) = (cluster.addr(0), cluster.addr(1));
    peer.converse(staff, customer, cluster.logs()).await;
}

#[tokio::test]
async fn nodes_ws_holds_a_conversation() {
    converse(&WS).await;
}

#[tokio::test]
async fn pythons_websockets_holds_a_conversation() {
    converse(&WEBSOCKETS).await;
}

#[tokio::test]
async fn perls_mojolicious_holds_a_conversation() {
    converse(&MOJO).await;
}
