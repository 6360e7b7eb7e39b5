//! What is lost, and what is not: gateways that die, and a log whose end was not on disk.

use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::Cluster,
    wait,
};

use crate::{resume, talk, texts};

/// After the death of its gateway a client resumes on another one at once.
#[tokio::test]
async fn a_killed_gateway_costs_its_clients_nothing() {
    let mut cluster = Cluster::builder()
        .worker_setting("gateway-ttl-ms", 3000)
        .gateway_setting("gateway-ttl-ms", 3000)
        .gateway_setting("heartbeat-ms", 300)
        .start()
        .await;
    let (mut sam, mut alice, connected) = talk(&cluster).await;
    alice.say_with_id("before", "m1").await;
    let before = alice.expect_ack("m1").await;
    sam.expect_words("customer", "before").await;
    let token = alice.welcome["resume"].clone();
    cluster.replace_gateway(0);
    sam.say_with_id("during", "s1").await;
    sam.expect_ack("s1").await;
    let mut alice = cluster.connect(1, "uid=alice&lang=en").await;
    let (snapshot, histories) = resume(&mut alice, Some(&token), &[&connected]).await;
    assert_eq!(texts(&histories[0]), ["before", "during"]);
    assert_eq!(histories[0]["entries"][0]["id"], before["id"]);
    let item = &snapshot["conversations"][0];
    assert_eq!(
        (&item["state"], &item["unread"]),
        (&"open".into(), &1.into())
    );
    // What may not have been acknowledged is sent again, and stored once.
    alice.say_with_id("before", "m1").await;
    assert_eq!(alice.expect_ack("m1").await, before);
    cluster.gateways[0].ready().await;
    cluster.settled().await;
    alice.say_with_id("after", "m2").await;
    alice.expect_ack("m2").await;
    sam.expect_words("customer", "after").await;
}

/// Redis comes back without the end of its log: a client that is ahead of it is told so.
#[tokio::test]
async fn a_client_that_is_ahead_of_the_log_is_told_to_begin_anew() {
    let mut cluster = Cluster::start().await;
    let (mut sam, mut alice, _) = talk(&cluster).await;
    alice.say_with_id("kept", "m1").await;
    let kept = alice.expect_ack("m1").await;
    let first = sam.expect_words("customer", "kept").await;
    let length = cluster.redis.log_length();
    alice.say_with_id("lost", "m2").await;
    alice.expect_ack("m2").await;
    let lost = sam.expect_words("customer", "lost").await;
    cluster.redis.kill9();
    cluster.redis.cut_log(length);
    cluster.redis.restart();
    let mut alice = after_the_loss(&cluster, alice).await;
    let (snapshot, histories) = resume(&mut alice, None, &[&lost]).await;
    assert_eq!(histories[0]["reset"], true);
    assert_eq!(texts(&histories[0]), ["kept"]);
    assert_eq!(histories[0]["entries"][1]["id"], kept["id"]);
    assert_eq!(snapshot["conversations"][0]["seq"], kept["seq"]);
    let (_, histories) = resume(&mut alice, None, &[&first]).await;
    assert_eq!(histories[0].get("reset"), None, "who was not ahead goes on");
    assert_eq!(texts(&histories[0]), [""; 0]);
}

/// The client is told that something is missing, or closed, and comes back. Its old socket would be closed
/// with 4004 at its next frame, since the one before is lost.
async fn after_the_loss(cluster: &Cluster, mut client: Client) -> Client {
    loop {
        match client.next().await {
            Incoming::Frame(frame) if frame["action"] == "resync" => break,
            Incoming::Closed(_) | Incoming::Lost(_) => break,
            _ => {}
        }
    }
    let mut client = wait::until("alice is let in again", async || {
        let coming = Client::try_connect(cluster.addr(0), "uid=alice&lang=en").await;
        coming.ok()
    })
    .await;
    client.expect("welcome", "welcome").await;
    client
}
