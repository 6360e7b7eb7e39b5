//! A site with webhooks: a cluster, its program, a member of staff and customers.

use frontdesk_tests::{
    client::Client,
    cluster::{Builder, Cluster},
    http::{self, Response},
    redis_server::Options,
};
use serde_json::{Value, json};

/// Every type.
pub const ALL: [&str; 6] = [
    "conversation.queued",
    "conversation.started",
    "conversation.transferred",
    "conversation.ended",
    "message.created",
    "message.recalled",
];

/// A cluster whose workers may call servers on loopback, and try again soon. Nothing here is about disks.
pub fn builder() -> Builder {
    Cluster::builder()
        .redis(Options::default().set("appendfsync", "no"))
        .worker_setting("hook-allow", "127.0.0.0/8,::1/128")
        .worker_setting("hook-retry-s", "1,1,1")
}

/// What a program of the site asks, in open mode.
pub async fn asks(
    cluster: &Cluster,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &Value,
) -> Response {
    let path = format!("/api/v1/{path}?uid=robot&role=service&lang=en");
    let key = key.map(|key| format!("Idempotency-Key: {key}"));
    let mut headers: Vec<&[u8]> = vec![b"Content-Type: application/json"];
    headers.extend(key.as_ref().map(String::as_bytes));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = http::send(cluster.addr(0), method, &path, &headers, &body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// A webhook: its id and its secret.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// Makes a webhook.
pub async fn hook(cluster: &Cluster, url: &str, types: &[&str]) -> Hook {
    let body = json!({"url": url, "types": types});
    let answer = asks(cluster, "POST", "webhooks", None, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    Hook {
        id: text("id"),
        secret: text("secret"),
    }
}

/// What Redis has under a key of a hook, by its command.
pub async fn kept(cluster: &Cluster, command: &str, hook: &Hook, rest: &str) -> i64 {
    let site = frontdesk_shared::ids::Site::parse("default").expect("valid");
    let id = frontdesk_shared::ids::HookId::parse(&hook.id).expect("valid");
    let key = frontdesk_shared::keys::hook(&site, &id) + rest;
    let mut redis = cluster.redis.connect().await;
    let mut command = redis::cmd(command);
    command
        .arg(key)
        .query_async(&mut redis)
        .await
        .expect("a number")
}

/// A member of staff on duty, on the last gateway.
pub async fn staff(cluster: &Cluster, uid: &str) -> Client {
    let last = cluster.gateways.len() - 1;
    let mut staff = cluster.connect(last, &format!("uid={uid}")).await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    staff
}

/// A customer in conversation with them, on the first gateway. Returns the conversation.
pub async fn customer(cluster: &Cluster, staff: &mut Client, uid: &str) -> (Client, String) {
    let mut customer = cluster.connect(0, &format!("uid={uid}")).await;
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let conversation = connected["conversation"].as_str().expect("an id");
    (customer, conversation.to_owned())
}

/// Says something, and waits until the other side has heard it.
pub async fn say(from: &mut Client, to: &mut Client, text: &str) {
    from.say(text).await;
    to.expect_words("customer", text).await;
}
