//! Who asks, and how.

use std::net::SocketAddr;

use frontdesk_tests::{
    cluster::{Builder, Cluster},
    http::{self, Response},
    redis_server::Options,
    tokens,
};
use serde_json::Value;

/// A cluster whose gateways read tokens. Nothing here is about disks.
pub fn signed() -> Builder {
    let fast = [
        ("connection-rate-per-ip", 100_000),
        ("max-connections-per-ip", 100_000),
        ("request-rate-per-ip", 100_000),
    ];
    let all = fast.into_iter();
    all.fold(open().signed(), |builder, (name, value)| {
        builder.gateway_setting(name, value)
    })
}

/// One in open mode.
pub fn open() -> Builder {
    let redis = Options::default().set("appendfsync", "no");
    Cluster::builder().redis(redis)
}

/// Somebody with a token, or without.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The gateway.
    pub addr: SocketAddr,
    token: Option<String>,
}

impl Asker {
    /// With a token that counts now.
    pub fn new(addr: SocketAddr, uid: &str, role: &str) -> Self {
        Self::with(addr, tokens::token(uid, role))
    }

    /// With any token.
    pub fn with(addr: SocketAddr, token: String) -> Self {
        let token = Some(token);
        Self { addr, token }
    }

    /// Without one.
    pub fn nobody(addr: SocketAddr) -> Self {
        Self { addr, token: None }
    }

    /// The same at another gateway.
    pub fn at(&self, addr: SocketAddr) -> Self {
        Self {
            addr,
            ..self.clone()
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "").await
    }

    /// `POST` without a key.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, body).await
    }

    /// `POST` under a key.
    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> Response {
        let key = format!("Idempotency-Key: {key}");
        let headers = [&key[..], "Content-Type: application/json"];
        self.send("POST", path, &headers, &body.to_string()).await
    }

    /// Any method; `null` is no body.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Response {
        if body.is_null() {
            return self.send(method, path, &[], "").await;
        }
        let headers = ["Content-Type: application/json"];
        self.send(method, path, &headers, &body.to_string()).await
    }

    /// Anything.
    pub async fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Response {
        let token = self.token.as_deref();
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers = headers.iter().copied().chain(bearer.as_deref());
        let headers: Vec<&[u8]> = headers.map(str::as_bytes).collect();
        let path = format!("/api/v1/{path}");
        let answer = http::send(self.addr, method, &path, &headers, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}

/// Holds an answer against the one kind of problem that it may be.
#[track_caller]
pub fn is_problem(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["type"], format!("/api/v1/problems#{code}"), "{body}");
}
