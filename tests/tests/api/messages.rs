//! Words by a request: where they arrive, and once.

use frontdesk_tests::client::Client;
use serde_json::json;

use crate::asking::{Asker, is_problem, signed};

#[tokio::test]
async fn words_reach_both_sides_and_are_stored_once() {
    let cluster = signed().start().await;
    let (here, there) = (cluster.addr(0), cluster.addr(1));
    let token = |uid, role| frontdesk_tests::tokens::token(uid, role);
    let mut sam = Client::connect_with(here, &token("sam", "staff")).await;
    sam.act("staffOnline").await;
    sam.expect("message", "on_duty").await;
    let mut alice = Client::connect_with(there, &token("alice", "customer")).await;
    alice.act("customerConnect").await;
    let connected = alice.expect("message", "connected").await;
    sam.expect("message", "new_customer").await;
    let conversation = connected["conversation"].as_str().unwrap();
    let path = format!("conversations/{conversation}/messages");

    let asker = Asker::new(here, "alice", "customer");
    let words = json!({"message": "hello"});
    let first = asker.post_once("k1", &path, &words).await;
    assert_eq!(first.status, 201, "{first:?}");
    let said = first.json();
    assert_eq!(said["conversation"], conversation);
    for client in [&mut sam, &mut alice] {
        let payload = client.expect_words("customer", "hello").await;
        assert_eq!(payload["id"], said["id"]);
    }
    let again = asker.at(there).post_once("k1", &path, &words).await;
    assert_eq!((again.status, again.json()), (201, said));
    let other = asker
        .post_once("k1", &path, &json!({"message": "bye"}))
        .await;
    is_problem(&other, 422, "key_reused");
    for (path, body, status, code) in [
        (&*path, json!({}), 400, "bad_field"),
        (&*path, json!({"message": ""}), 400, "bad_field"),
        (&*path, json!({"message": 7}), 400, "bad_field"),
        (&*path, json!([]), 400, "bad_json"),
        (
            &*path,
            json!({"message": "x".repeat(16 * 1024 + 1)}),
            413,
            "too_large",
        ),
        (
            "conversations/1.1.1-1.1/messages",
            words.clone(),
            404,
            "no_conversation",
        ),
        ("conversations/*/messages", words, 400, "bad_field"),
    ] {
        is_problem(&asker.post(path, &body).await, status, code);
    }
    sam.ping().await;
}
