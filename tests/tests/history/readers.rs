//! Who may read what.

use frontdesk_tests::client::Client;
use serde_json::json;

use crate::scene::{Scene, ask_history, entries_of, history, meet};

/// Every question about one conversation, with the code that answers it.
async fn refused_everywhere(client: &mut Client, conversation: &str, code: &str) {
    ask_history(client, conversation, json!({"id": "q1"})).await;
    let refused = client.expect("error", code).await;
    assert_eq!(refused["ref"], "q1");
    ask_history(client, conversation, json!({"after": 0})).await;
    client.expect("error", code).await;
    let payload = json!({"conversation": conversation, "id": "q2"});
    client.ask("transcript", payload).await;
    let refused = client.expect("error", code).await;
    assert_eq!(refused["ref"], "q2");
}

#[tokio::test]
async fn only_members_read_a_conversation_and_the_site_is_a_wall() {
    let mut scene = Scene::start().await;
    scene.chat(4).await;
    let conversation = scene.conversation.clone();
    for query in [
        "uid=mallory",
        "uid=mallory&role=customer",
        "uid=carol&role=staff",
    ] {
        let mut other = scene.cluster.connect(0, query).await;
        refused_everywhere(&mut other, &conversation, "forbidden").await;
        refused_everywhere(&mut other, "7.3.1-0.1", "no_conversation").await;
    }
    // Another site has no such conversation, whoever asks.
    for uid in ["alice", "bob"] {
        let query = format!("uid={uid}&site=other");
        let mut other = scene.cluster.connect(0, &query).await;
        refused_everywhere(&mut other, &conversation, "no_conversation").await;
    }
    // Members do not see each other's other conversations either.
    let mut second = scene.cluster.connect(0, "uid=carl").await;
    let other = meet(&mut second, &mut scene.staff).await;
    refused_everywhere(&mut scene.customer, &other, "forbidden").await;
    refused_everywhere(&mut second, &conversation, "forbidden").await;
    let page = history(&mut scene.staff, &other, json!({})).await;
    assert_eq!(entries_of(&page).len(), 1);
}

/// Both sides read on after the end, also on another device.
#[tokio::test]
async fn members_read_what_has_ended() {
    let mut scene = Scene::start().await;
    scene.chat(3).await;
    scene.end().await;
    let log = scene.entries().await;
    assert_eq!(log.last().unwrap()["reason"], "customer_left");
    let mut device = scene.cluster.connect(1, "uid=alice&lang=en").await;
    for client in [&mut scene.customer, &mut scene.staff, &mut device] {
        let page = history(client, &scene.conversation, json!({"after": 0})).await;
        assert_eq!(entries_of(&page), log);
    }
}
