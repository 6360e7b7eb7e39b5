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
    open().signed()
}

/// One in open mode.
pub fn open() -> Builder {
    let redis = Options::default().set("appendfsync", "no");
    Cluster::builder().redis(redis)
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The gateway.
    pub addr: SocketAddr,
    token: String,
}

impl Asker {
    /// With a token that counts now.
    pub fn new(addr: SocketAddr, uid: &str, role: &str) -> Self {
        Self::with(addr, tokens::token(uid, role))
    }

    /// With any token.
    pub fn with(addr: SocketAddr, token: String) -> Self {
        Self { addr, token }
    }

    /// The same at another gateway.
    pub fn at(&self, addr: SocketAddr) -> Self {
        Self::with(addr, self.token.clone())
    }

    /// `POST` without a key.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, None, Some(body)).await
    }

    /// `POST` under a key.
    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> Response {
        self.send("POST", path, Some(key), Some(body)).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Response {
        let mut headers = vec![format!("Authorization: Bearer {}", self.token)];
        headers.extend(key.map(|key| format!("Idempotency-Key: {key}")));
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            headers.push("Content-Type: application/json".to_owned());
        }
        let headers: Vec<&[u8]> = headers.iter().map(String::as_bytes).collect();
        let path = format!("/api/v1/{path}");
        let answer = http::send(self.addr, method, &path, &headers, &body).await;
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
