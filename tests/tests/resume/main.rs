//! Nobody loses a message: several devices of one user, sockets and gateways that are lost, words to
//! somebody who is away, tokens, and a log that has lost its end. Real processes, two gateways.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod devices;
mod losses;
mod tokens;

use frontdesk_tests::{client::Client, cluster::Cluster};
use serde_json::{Value, json};

/// Sends `resume` and takes its answer: the snapshot, and a history for each position.
async fn resume(
    client: &mut Client,
    token: Option<&Value>,
    positions: &[&Value],
) -> (Value, Vec<Value>) {
    let positions: Vec<Value> = positions.iter().map(|entry| position(entry)).collect();
    let mut payload = json!({ "positions": positions });
    if let Some(token) = token {
        payload["token"] = token.clone();
    }
    client.ask("resume", payload).await;
    let snapshot = client.expect_action("snapshot").await;
    let mut histories = Vec::new();
    for _ in &positions {
        histories.push(client.expect_action("history").await);
    }
    (snapshot, histories)
}

/// The position of an entry, from whatever told it.
fn position(entry: &Value) -> Value {
    json!({"conversation": entry["conversation"], "seq": entry["seq"], "id": entry["id"]})
}

/// What the entries of a history say.
fn texts(history: &Value) -> Vec<&str> {
    let entries = history["entries"].as_array().expect("entries");
    entries
        .iter()
        .filter_map(|entry| entry["message"].as_str())
        .collect()
}

/// A member of staff at gateway 1, and a customer at gateway 0 who is served; both resume. With the frame
/// that told the customer so.
async fn talk(cluster: &Cluster) -> (Client, Client, Value) {
    let mut sam = cluster.connect(1, "uid=sam&lang=en").await;
    resume(&mut sam, None, &[]).await;
    sam.act("staffOnline").await;
    sam.expect("message", "on_duty").await;
    let mut alice = cluster.connect(0, "uid=alice&lang=en").await;
    let (snapshot, _) = resume(&mut alice, None, &[]).await;
    assert_eq!(snapshot["conversations"], json!([]));
    alice.act("customerConnect").await;
    let connected = alice.expect("message", "connected").await;
    sam.expect("message", "new_customer").await;
    (sam, alice, connected)
}
