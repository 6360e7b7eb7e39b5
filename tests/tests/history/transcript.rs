//! The whole log of a conversation.

use frontdesk_tests::client::Client;
use serde_json::{Value, json};

use crate::scene::{Scene, entries_of};

/// Every frame of the answer.
async fn transcript(client: &mut Client, conversation: &str, reference: &str) -> Vec<Value> {
    let payload = json!({"conversation": conversation, "id": reference});
    client.ask("transcript", payload).await;
    let mut frames = Vec::new();
    loop {
        let frame = client.expect_action("history").await;
        assert_eq!(frame["conversation"], conversation);
        assert_eq!(frame["ref"], reference);
        frames.push(frame);
        if frames.last().unwrap()["more"] == false {
            return frames;
        }
    }
}

#[tokio::test]
async fn a_transcript_of_an_ended_conversation_is_its_log() {
    let mut scene = Scene::start().await;
    scene.chat(100).await;
    let pages: Vec<_> = (0..20).map(|n| format!("{n}").repeat(8 * 1024)).collect();
    scene.talk(&pages).await;
    scene.end().await;
    let log = scene.entries().await;
    assert_eq!(log.len(), 122);
    for client in [&mut scene.staff, &mut scene.customer] {
        let frames = transcript(client, &scene.conversation, "t1").await;
        assert!(frames.len() > 3, "{} frames", frames.len());
        for frame in &frames {
            assert!(frame.to_string().len() <= 64 * 1024);
        }
        let all: Vec<_> = frames.iter().flat_map(entries_of).collect();
        assert_eq!(all, log);
        client.ping().await;
    }
}

/// Who talks on is not run after: the transcript ends where the log ended when it was asked for.
#[tokio::test]
async fn a_transcript_comes_between_the_words_of_those_who_talk() {
    let mut scene = Scene::start().await;
    scene.chat(120).await;
    let frames = transcript(&mut scene.customer, &scene.conversation, "t1").await;
    let all: Vec<_> = frames.iter().flat_map(entries_of).collect();
    assert_eq!(all, scene.entries().await);
    scene.chat(2).await;
}
