//! A message that a customer leaves while nobody is on duty, through the whole cluster.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use frontdesk_tests::cluster::Cluster;
use serde_json::json;

#[tokio::test]
async fn staff_find_what_was_left_and_the_customer_finds_their_answer() {
    let mut cluster = Cluster::builder()
        .worker_setting("leave-message", true)
        .start()
        .await;
    let (alice, sam) = (
        cluster.uid_at("alice", 0).await,
        cluster.uid_at("sam", 1).await,
    );
    let mut customer = cluster.connect(0, &format!("uid={alice}")).await;
    customer.act("customerConnect").await;
    let told = customer.expect("message", "no_staff").await;
    let conversation = told["conversation"].as_str().expect("a conversation");
    customer.say_with_id("is anybody there?", "m1").await;
    customer.expect("message", "still_queued").await;
    customer.expect_ack("m1").await;
    customer.say_with_id("call me back", "m2").await;
    customer.expect("message", "still_queued").await;
    customer.expect_ack("m2").await;
    customer.close(Some(1000)).await;
    // What was acknowledged is there whoever reads the lanes.
    cluster.workers[0].child.kill9();
    cluster.replace_worker(0);

    let mut staff = cluster.connect(1, &format!("uid={sam}")).await;
    staff.ask("staffOnline", json!({"max": 1})).await;
    staff.expect("message", "on_duty").await;
    let new_customer = staff.expect("message", "new_customer").await;
    assert_eq!(new_customer["customer"], *alice);
    assert_eq!(new_customer["conversation"], *conversation);
    staff.expect_words("customer", "is anybody there?").await;
    staff.expect_words("customer", "call me back").await;
    let payload = json!({"message": "now we are", "id": "a1"});
    staff.ask("message", payload).await;
    staff.expect_ack("a1").await;

    let mut customer = cluster.connect(1, &format!("uid={alice}")).await;
    customer.act("customerConnect").await;
    let standing = customer.expect("message", "connected").await;
    assert_eq!(standing["conversation"], *conversation);
    customer.ask("conversations", json!({})).await;
    let list = customer.expect_action("conversations").await;
    assert_eq!(list["conversations"][0]["unread"], 1);
    assert_eq!(list["conversations"][0]["last"]["message"], "now we are");
    customer.say("thank you").await;
    staff.expect_words("customer", "thank you").await;
    // From here on it is a conversation like any other.
    customer.close(Some(1000)).await;
    staff.expect("chat_close", "customer_left").await;
    assert_eq!(cluster.dead_letters().await, 0);
}
