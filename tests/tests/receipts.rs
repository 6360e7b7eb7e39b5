//! Receipts and recalls through the whole cluster: two gateways, two workers, two devices on each side.
#![allow(
    clippy::expect_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use frontdesk_tests::{client::Client, cluster::Cluster, redis_server::Options};
use serde_json::{Value, json};

/// A member of staff and a customer in a conversation, each with a device on both gateways.
struct Pair {
    _cluster: Cluster,
    staff: [Client; 2],
    customer: [Client; 2],
    conversation: String,
}

impl Pair {
    async fn start() -> Self {
        // Nothing here is about disks, and one that hangs for seconds has all sockets closed with 4000.
        let redis = Options::default().set("appendfsync", "no");
        let cluster = Cluster::builder().redis(redis).start().await;
        let both = async |query: &str| {
            [
                cluster.connect(0, query).await,
                cluster.connect(1, query).await,
            ]
        };
        let (mut staff, mut customer) = (both("uid=s1").await, both("uid=c1").await);
        staff[0].act("staffOnline").await;
        for device in &mut staff {
            device.expect("message", "on_duty").await;
        }
        customer[0].act("customerConnect").await;
        let mut conversation = String::new();
        for device in &mut customer {
            let connected = device.expect("message", "connected").await;
            let named = connected["conversation"].as_str();
            named.expect("named").clone_into(&mut conversation);
        }
        for device in &mut staff {
            device.expect("message", "new_customer").await;
        }
        Self {
            _cluster: cluster,
            staff,
            customer,
            conversation,
        }
    }

    /// The customer says something on their first device. Returns its place and id.
    async fn say(&mut self, text: &str) -> (u64, Value) {
        self.customer[0].say_with_id(text, text).await;
        let ack = self.customer[0].expect_ack(text).await;
        self.customer[1].expect_words("customer", text).await;
        for device in &mut self.staff {
            device.expect_words("customer", text).await;
        }
        (ack["seq"].as_u64().expect("a place"), ack["id"].clone())
    }
}

#[tokio::test]
async fn one_receipt_for_many_messages_reaches_the_other_side_and_other_devices() {
    let mut pair = Pair::start().await;
    for text in ["a", "b", "c"] {
        pair.say(text).await;
    }
    let conversation = pair.conversation.clone();
    for (action, up_to, delivered, read, unread) in [
        ("delivered", 4, 4, 0, 3),
        ("read", 3, 4, 3, 1),
        ("read", 9, 4, 4, 0),
    ] {
        pair.staff[0]
            .ask(
                action,
                json!({ "conversation": conversation, "up_to": up_to }),
            )
            .await;
        let mut receipt = json!({"conversation": conversation, "uid": "s1",
            "delivered": delivered, "read": read});
        for device in &mut pair.customer {
            assert_eq!(device.expect_action("receipt").await, receipt);
        }
        receipt["unread"] = json!(unread);
        assert_eq!(pair.staff[1].expect_action("receipt").await, receipt);
    }
    // What is known already is told to nobody.
    pair.staff[1]
        .ask("read", json!({ "conversation": conversation, "up_to": 2 }))
        .await;
    pair.staff[1].expect_nothing().await;
    for device in [&mut pair.staff[0], &mut pair.customer[0]] {
        device.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_recalled_message_is_recalled_on_every_device() {
    let mut pair = Pair::start().await;
    let (seq, id) = pair.say("wrong").await;
    let (conversation, payload) = (
        pair.conversation.clone(),
        json!({"conversation": pair.conversation, "seq": seq, "message_id": id, "id": "r1"}),
    );
    let recall = json!({"action": "recall", "payload": payload});
    pair.customer[1].send(recall.clone()).await;
    let mut answer = pair.customer[1].expect_action("recalled").await;
    assert_eq!(answer["ref"], "r1");
    // Again, by another device: the same answer, and nobody else is told.
    pair.customer[0].expect_action("recalled").await;
    pair.customer[0].send(recall).await;
    assert_eq!(pair.customer[0].expect_action("recalled").await, answer);
    answer.as_object_mut().expect("a payload").remove("ref");
    assert_eq!(answer["of"], seq);
    assert_eq!(answer["of_id"], id);
    assert_eq!(answer["seq"], seq + 1);
    assert_eq!(answer["prev"], id);
    assert_eq!(answer["conversation"], conversation);
    for device in &mut pair.staff {
        assert_eq!(device.expect_action("recalled").await, answer);
        device.expect_nothing().await;
    }
    pair.customer[1].expect_nothing().await;
    // It stays a message that was not read.
    pair.staff[0]
        .ask("read", json!({ "conversation": conversation, "up_to": 1 }))
        .await;
    let receipt = pair.staff[1].expect_action("receipt").await;
    assert_eq!(receipt["unread"], 1);
}
