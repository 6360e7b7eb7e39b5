//! Who may come in and what they may do then: real gateways with a secret, real workers, and a look at
//! every log at the end, at level debug, for tokens and tickets.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod commands;
mod corpus;
mod expiry;
mod forged;
mod revoked;
mod roles;
mod tickets;
mod visitors;

use std::net::SocketAddr;

use frontdesk_tests::{
    cluster::{Builder, Cluster},
    http::{self, Response},
    redis_server::Options,
};

/// A cluster whose gateways read tokens, and everything that must not be in a log.
struct House {
    cluster: Cluster,
    secrets: Vec<String>,
}

impl House {
    async fn open() -> Self {
        Self::open_with(|builder| builder).await
    }

    async fn open_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        // Nothing here is about disks, and one that hangs for seconds has all sockets closed with 4000.
        let redis = Options::default().set("appendfsync", "no");
        let builder = Cluster::builder()
            .redis(redis)
            .signed()
            .gateway_setting("log", "debug")
            .worker_setting("log", "debug");
        Self {
            cluster: change(builder).start().await,
            secrets: vec![frontdesk_tests::tokens::SECRET.to_owned()],
        }
    }

    /// Remembers that this may be in no log.
    fn secret(&mut self, secret: &str) -> String {
        self.secrets.push(secret.to_owned());
        secret.to_owned()
    }

    /// A ticket for a token, from one of the gateways.
    async fn ticket(&mut self, gateway: usize, token: &str) -> String {
        let token = self.secret(token);
        let answer = post(self.cluster.addr(gateway), "tickets", Some(&token), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let ticket = answer.json()["ticket"]
            .as_str()
            .expect("a ticket")
            .to_owned();
        self.secret(&ticket)
    }

    /// No program has written a token or ticket, or a part of one that would be enough.
    fn close(self) {
        let (gateways, workers) = (&self.cluster.gateways, &self.cluster.workers);
        let logs = gateways.iter().chain(workers);
        let logs = logs.map(|program| (program.child.name(), program.child.log()));
        let logs: Vec<_> = logs.collect();
        let chatty = logs.iter().any(|(_, log)| log.contains("DEBUG"));
        assert!(chatty, "nobody logs at level debug: {logs:?}");
        for (name, log) in &logs {
            assert!(!log.contains("panicked"), "{name}: {log}");
            for secret in &self.secrets {
                for part in secret.split('.').filter(|part| part.len() > 20) {
                    let line = log.lines().find(|line| line.contains(part));
                    assert_eq!(line, None, "{name} has written down {secret}");
                }
            }
        }
    }
}

/// `POST /api/v1/<what>`.
async fn post(addr: SocketAddr, what: &str, token: Option<&str>, body: &str) -> Response {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    let headers: Vec<&[u8]> = bearer.iter().map(String::as_bytes).collect();
    let path = format!("/api/v1/{what}");
    let answer = http::send(addr, "POST", &path, &headers, body).await;
    answer.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The status with which a handshake is answered: 101 lets in.
async fn handshake(addr: SocketAddr, query: &str, headers: &[&[u8]]) -> u16 {
    let upgrade: [&[u8]; 4] = [
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let headers = [&upgrade[..], headers].concat();
    // A request that is cut off has been refused.
    http::status(addr, &format!("/ws?{query}"), &headers)
        .await
        .unwrap_or(431)
}
