//! What a receiver that answers is sent: each event as what it is, once, in order, signed.

use std::sync::Arc;

use frontdesk_tests::wait;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    receiver::{Behaviour, Got, Receiver},
    site::{ALL, asks, builder, customer, hook, kept, say, staff},
};

fn types(got: &[Got]) -> Vec<String> {
    let kind = |got: &Got| got.json()["type"].as_str().expect("text").to_owned();
    got.iter().map(kind).collect()
}

#[tokio::test]
async fn each_event_comes_once_in_order_and_signed() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    let hook = hook(&cluster, &receiver.url(), &ALL).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, conversation) = customer(&cluster, &mut sam, "alice").await;
    let mut bob = cluster.connect(1, "uid=bob").await;
    bob.act("customerConnect").await;
    bob.expect("message", "queued").await;
    say(&mut alice, &mut sam, "hello \"you\"\n客服").await;
    alice
        .ask("recall", json!({"conversation": conversation, "seq": 2}))
        .await;
    alice.expect_action("recalled").await;
    sam.expect_action("recalled").await;
    sam.say("bye").await;
    alice.expect_words("staff", "bye").await;
    sam.act("close").await;
    alice.expect("chat_close", "closed").await;

    let got = receiver.wait(7).await;
    let expected = [
        "conversation.started",
        "conversation.queued",
        "message.created",
        "message.recalled",
        "message.created",
        "conversation.ended",
        "conversation.started",
    ];
    assert_eq!(types(&got), expected);
    for got in &got {
        assert_eq!(got.line, "POST /hook HTTP/1.1");
        assert_eq!(got.header("content-type"), "application/json");
        assert!(got.header("user-agent").starts_with("Frontdesk/"));
        assert!(got.is_signed_with(&hook.secret), "{got:?}");
        let timestamp: u64 = got.header("webhook-timestamp").parse().expect("seconds");
        assert!(frontdesk_tests::tokens::now_s().abs_diff(timestamp) < 600);
        assert_eq!(got.json()["site"], "default");
        got.id();
    }
    let about_alice: Vec<Value> = got.iter().map(Got::json).collect();
    let about_alice = about_alice
        .iter()
        .filter(|it| it["conversation"] == conversation.as_str());
    let seqs: Vec<_> = about_alice.clone().map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=5).map(Some).collect::<Vec<_>>());
    let said = got[2].json();
    // It was recalled before or after it was delivered.
    let words = json!({"message": "hello \"you\"\n客服"});
    assert!(
        said["data"] == words || said["data"] == json!({"recalled": true}),
        "{said}"
    );
    assert_eq!(
        (&said["from"], &said["uid"]),
        (&json!("customer"), &json!("alice"))
    );
    assert_eq!(got[3].json()["data"], json!({"of": 2, "of_id": said["id"]}));
    assert_eq!(got[4].json()["data"], json!({"message": "bye"}));
    let ended = json!({"customer": "alice", "staff": "sam", "reason": "closed"});
    assert_eq!(got[5].json()["data"], ended);
    assert_eq!(
        got[6].json()["data"],
        json!({"customer": "bob", "staff": "sam"})
    );

    // Nothing comes twice: what is said now is the very next.
    bob.expect("message", "your_turn").await;
    bob.expect("message", "connected").await;
    sam.expect("chat_close", "closed").await;
    sam.expect("message", "new_customer").await;
    say(&mut bob, &mut sam, "me").await;
    let got = receiver.wait(8).await;
    assert_eq!(
        (got.len(), &got[7].json()["data"]),
        (8, &json!({"message": "me"}))
    );
}

#[tokio::test]
async fn many_messages_come_each_once_and_in_the_order_of_their_conversation() {
    const EACH: usize = 60;
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut people = Vec::new();
    for n in 0..4 {
        let mut staff = staff(&cluster, &format!("s{n}")).await;
        let (customer, _) = customer(&cluster, &mut staff, &format!("c{n}")).await;
        people.push((customer, staff));
    }
    for n in 0..EACH {
        for (customer, _) in &mut people {
            customer.say(&n.to_string()).await;
        }
    }
    let got = receiver.wait(people.len() * EACH).await;
    let mut seen = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for got in &got {
        let json = got.json();
        let seq = json["seq"].as_u64().expect("a place");
        assert_eq!(json["data"]["message"], (seq - 2).to_string());
        let conversation = json["conversation"].as_str().expect("an id");
        seen.entry(conversation.to_owned()).or_default().push(seq);
    }
    assert_eq!(seen.len(), people.len());
    for seqs in seen.values() {
        assert_eq!(*seqs, (2..2 + EACH as u64).collect::<Vec<_>>());
    }
    // All of it over a few connections.
    assert!(receiver.connections() <= 16, "{}", receiver.connections());
}

#[tokio::test]
async fn a_changed_secret_counts_at_once_and_the_one_before_too() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    let path = format!("webhooks/{}/secret", hook.id);
    let answer = asks(&cluster, "POST", &path, None, &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let second = answer.json()["secret"].as_str().expect("text").to_owned();
    assert_ne!(second, hook.secret);
    say(&mut alice, &mut sam, "hello").await;
    let got = receiver.wait(1).await;
    assert!(got[0].is_signed_with(&hook.secret) && got[0].is_signed_with(&second));
    assert!(!got[0].is_signed_with("whsec_AAAA"));
}

/// Also at the level at which a body or a secret would be easiest to let slip.
#[tokio::test]
async fn neither_words_nor_secrets_nor_urls_are_in_a_log() {
    const WORDS: &str = "a-very-private-word";
    let cluster = builder()
        .worker_setting("log", "debug")
        .gateway_setting("log", "debug")
        .start()
        .await;
    let receiver = Receiver::start().await;
    receiver.first([Behaviour::Answer(500)]);
    let url = format!("{}?token=a-token-in-a-url", receiver.url());
    let hook = hook(&cluster, &url, &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, WORDS).await;
    let got = receiver.wait(2).await;
    let signature = got[1].header("webhook-signature").to_owned();
    let mut about = 0;
    for file in std::fs::read_dir(cluster.logs()).expect("logs") {
        let log = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        for hidden in [WORDS, &hook.secret, &signature, "a-token-in-a-url"] {
            assert!(!log.contains(hidden), "{hidden} in:\n{log}");
        }
        about += log.matches(&hook.id).count();
    }
    assert!(about > 0, "the failure is logged");
}

/// Several of one conversation are taken at once, and sent one after the other.
#[tokio::test]
async fn what_is_recalled_while_it_waits_for_the_one_before_is_not_told() {
    let cluster = builder().worker_setting("hook-timeout-s", 60).start().await;
    let receiver = Receiver::start().await;
    let gates = [(); 2].map(|()| Arc::new(Notify::new()));
    receiver.first(gates.clone().map(Behaviour::When));
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, conversation) = customer(&cluster, &mut sam, "alice").await;
    for n in 0..20 {
        say(&mut alice, &mut sam, &n.to_string()).await;
    }
    receiver.wait(1).await;
    gates[0].notify_one();
    receiver.wait(2).await;
    wait::until("more of it is taken", async || {
        (kept(&cluster, "ZCARD", &hook, "retry").await > 1).then_some(())
    })
    .await;
    // Of the third; the first entry of the log is that sam has come.
    let recall = json!({"conversation": conversation, "seq": 4});
    alice.ask("recall", recall).await;
    alice.expect_action("recalled").await;
    sam.expect_action("recalled").await;
    gates[1].notify_one();
    let got = receiver.wait(20).await;
    let told: Vec<_> = got[1..4]
        .iter()
        .map(|got| got.json()["data"].clone())
        .collect();
    let words = |text: &str| json!({ "message": text });
    assert_eq!(told, [words("1"), json!({"recalled": true}), words("3")]);
}
