//! What operators do by hand, against a live cluster: `status`, `watch` and `dead` of the worker's program and
//! `send` of the gateway's, each as the Redis user that docs/OPERATIONS.md names for it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod dead;
mod refusals;
mod send;
mod status;
mod watch;
mod webhooks;

use std::process::{Output, Stdio};

use frontdesk_tests::{child, process, redis_server::RedisServer};
use serde_json::Value;
use tokio::process::Command;

const WORKER_PROGRAM: &str = "frontdesk-worker";
/// Where nobody may look silent for a busy machine's sake; what moves is seen at once all the same.
const PATIENT: [&str; 2] = ["--observe-ms", "60000"];

/// Runs the worker's program with these arguments and no terminal.
async fn run(redis: &RedisServer, user: &str, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(process::binary(WORKER_PROGRAM));
    child::without_settings(&mut command);
    let mut command = Command::from(command);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.env("FRONTDESK_REDIS_URL", redis.url_for(user));
    command.output().await.expect("the program runs")
}

/// The same; it must print one line of JSON and end with this code.
async fn json(redis: &RedisServer, user: &str, args: &[&str], code: i32) -> Value {
    let output = run(redis, user, args).await;
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same; it must refuse with one sentence, and do nothing. Returns the sentence.
async fn refusal(redis: &RedisServer, user: &str, args: &[&str]) -> String {
    let output = run(redis, user, args).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

/// An element of an array by one of its fields.
fn by<'v>(list: &'v Value, field: &str, value: impl Into<Value>) -> &'v Value {
    let value = value.into();
    let elements = list.as_array().expect("an array");
    let found = elements.iter().find(|element| element[field] == value);
    found.unwrap_or_else(|| panic!("no {field} {value} in {list}"))
}
