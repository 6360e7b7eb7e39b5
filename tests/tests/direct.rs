//! Direct messages through the whole cluster: two users of a site on a gateway each, their lanes with a
//! worker each, several devices, and what waits for who is away.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use frontdesk_tests::{
    client::Client,
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log,
};
use serde_json::{Value, json};

async fn write(client: &mut Client, to: &str, text: &str, id: &str) {
    let payload = json!({"to": to, "message": text, "id": id});
    client.ask("direct", payload).await;
}

fn text(payload: &Value, field: &str) -> String {
    let text = payload[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {payload}"))
        .to_owned()
}

/// Two uids whose lanes are read by different workers.
async fn uids(cluster: &Cluster) -> (String, String) {
    (
        cluster.uid_at("ann", 0).await,
        cluster.uid_at("ben", 1).await,
    )
}

#[tokio::test]
async fn words_reach_every_device_of_both_and_count_once() {
    let cluster = Cluster::start().await;
    let (ann, ben) = uids(&cluster).await;
    let mut ann1 = cluster.connect(0, &format!("uid={ann}&role=staff")).await;
    let mut ann2 = cluster.connect(1, &format!("uid={ann}&role=staff")).await;
    let mut ben1 = cluster.connect(1, &format!("uid={ben}")).await;
    let mut ben2 = cluster.connect(0, &format!("uid={ben}")).await;

    write(&mut ann1, &ben, "hello", "m1").await;
    let ack = ann1.expect_ack("m1").await;
    assert_eq!(ack["seq"], 1);
    let conversation = text(&ack, "conversation");
    for device in [&mut ann2, &mut ben1, &mut ben2] {
        let words = device.expect_words("user", "hello").await;
        assert_eq!(words["uid"], *ann);
        assert_eq!(words["conversation"], *conversation);
        assert_eq!(words["id"], ack["id"]);
    }
    // The other side, from another device, by uid; and the first one by the conversation's name.
    write(&mut ben2, &ann, "hi", "m1").await;
    let second = ben2.expect_ack("m1").await;
    assert_eq!(
        (&second["conversation"], &second["seq"]),
        (&ack["conversation"], &json!(2))
    );
    for device in [&mut ann1, &mut ann2, &mut ben1] {
        let words = device.expect_words("user", "hi").await;
        assert_eq!((&words["uid"], &words["prev"]), (&json!(ben), &ack["id"]));
    }
    let payload = json!({"conversation": conversation, "message": "how are you?", "id": "m2"});
    ann2.ask("message", payload).await;
    ann2.expect_ack("m2").await;
    for device in [&mut ann1, &mut ben1, &mut ben2] {
        device.expect_words("user", "how are you?").await;
    }

    // A lost socket: sent again from another one, with the same id, it is the same message.
    ann1.lose();
    let mut ann3 = cluster.connect(1, &format!("uid={ann}&role=staff")).await;
    write(&mut ann3, &ben, "hello", "m1").await;
    assert_eq!(ann3.expect_ack("m1").await, ack);
    write(&mut ann3, &ben, "goodbye", "m1").await;
    assert_eq!(ann3.expect("error", "id_reused").await["ref"], "m1");
    for device in [&mut ann2, &mut ann3, &mut ben1, &mut ben2] {
        device.expect_nothing().await;
    }
    // Nobody ends it, and for support it is not there.
    let payload = json!({"conversation": conversation});
    ben1.ask("close", payload).await;
    ben1.expect("error", "no_conversation").await;
    ben1.act("customerLeave").await;
    ben1.expect("error", "no_conversation").await;

    let mut redis = cluster.redis.connect().await;
    let log = conversation_log::read(&mut redis, DEFAULT_SITE, &conversation).await;
    assert_eq!(
        log.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let said: Vec<_> = log
        .iter()
        .map(|entry| (&*entry.uid, &*entry.body))
        .collect();
    assert_eq!(
        said,
        [(&*ann, "hello"), (&*ben, "hi"), (&*ann, "how are you?")]
    );
    assert!(log.iter().all(|entry| entry.from == "user"));
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn words_wait_for_who_is_away() {
    let cluster = Cluster::start().await;
    let (ann, ben) = uids(&cluster).await;
    let mut ann1 = cluster.connect(0, &format!("uid={ann}")).await;
    write(&mut ann1, &ben, "who are you?", "m0").await;
    assert_eq!(ann1.expect("error", "no_user").await["ref"], "m0");
    write(&mut ann1, &ann, "me?", "m0").await;
    let oneself = ann1.expect("error", "bad_field").await;
    assert_eq!(
        (&oneself["field"], &oneself["ref"]),
        (&json!("to"), &json!("m0"))
    );

    // Somebody who was there once, and left.
    let ben1 = cluster.connect(1, &format!("uid={ben}")).await;
    ben1.close(Some(1000)).await;
    for (id, words) in [("m1", "one"), ("m2", "two")] {
        write(&mut ann1, &ben, words, id).await;
        ann1.expect_ack(id).await;
    }
    let mut ben2 = cluster.connect(0, &format!("uid={ben}")).await;
    ben2.ask("conversations", json!({"id": "q1"})).await;
    let list = ben2.expect_action("conversations").await;
    let conversation = &list["conversations"][0];
    assert_eq!(conversation["state"], "direct", "{list}");
    assert_eq!(conversation["with"], *ann);
    assert_eq!(conversation["unread"], 2);
    assert_eq!(conversation["last"]["message"], "two");
    assert_eq!(conversation["last"]["from"], "user");
    let payload = json!({"conversation": conversation["conversation"], "id": "q2"});
    ben2.ask("history", payload).await;
    let history = ben2.expect_action("history").await;
    let entries = history["entries"].as_array().expect("a list");
    let words: Vec<_> = entries.iter().map(|entry| &entry["message"]).collect();
    assert_eq!(words, ["two", "one"]);
    // Who has no part in it reads nothing of it.
    let mut eve = cluster.connect(1, "uid=eve").await;
    let payload = json!({"conversation": conversation["conversation"], "message": "?", "id": "m1"});
    eve.ask("message", payload).await;
    eve.expect("error", "no_conversation").await;
    let payload = json!({"conversation": conversation["conversation"], "id": "q3"});
    eve.ask("history", payload).await;
    eve.expect("error", "forbidden").await;
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn customers_write_to_nobody_unless_they_may() {
    matrix(false).await;
}

#[tokio::test]
async fn customers_write_to_everybody_if_they_may() {
    matrix(true).await;
}

/// Every role to every role, online.
async fn matrix(customer_direct: bool) {
    let cluster = Cluster::builder()
        .worker_setting("customer-direct", customer_direct)
        .start()
        .await;
    let roles = ["any", "staff", "customer"];
    for (n, from) in roles.into_iter().enumerate() {
        for (m, to) in roles.into_iter().enumerate() {
            let (sender, receiver) = (format!("a{n}{m}"), format!("b{n}{m}"));
            let query = format!("uid={sender}&role={from}");
            let mut sender = cluster.connect(0, &query).await;
            let query = format!("uid={receiver}&role={to}");
            let mut told = cluster.connect(1, &query).await;
            write(&mut sender, &receiver, "psst", "m1").await;
            if customer_direct || ![from, to].contains(&"customer") {
                sender.expect_ack("m1").await;
                told.expect_words("user", "psst").await;
            } else {
                let refused = sender.expect("error", "forbidden").await;
                assert_eq!(refused["ref"], "m1", "{from} to {to}");
                told.expect_nothing().await;
            }
        }
    }
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn marks_and_recalls_are_as_in_any_conversation() {
    let cluster = Cluster::start().await;
    let (ann, ben) = uids(&cluster).await;
    let mut ann1 = cluster.connect(0, &format!("uid={ann}&role=staff")).await;
    let mut ben1 = cluster.connect(1, &format!("uid={ben}")).await;
    let mut ben2 = cluster.connect(0, &format!("uid={ben}")).await;
    write(&mut ann1, &ben, "one", "m1").await;
    let ack = ann1.expect_ack("m1").await;
    write(&mut ann1, &ben, "two", "m2").await;
    ann1.expect_ack("m2").await;
    for device in [&mut ben1, &mut ben2] {
        device.expect_words("user", "one").await;
        device.expect_words("user", "two").await;
    }
    let conversation = &ack["conversation"];

    let payload = json!({"conversation": conversation, "up_to": 1});
    ben1.ask("read", payload).await;
    let seen = ann1.expect_action("receipt").await;
    assert_eq!(seen["uid"], *ben);
    assert_eq!((&seen["delivered"], &seen["read"]), (&json!(1), &json!(1)));
    let own = ben2.expect_action("receipt").await;
    assert_eq!(own["unread"], 1);

    let payload = json!({"conversation": conversation, "seq": 2, "id": "r1"});
    ben2.ask("recall", payload).await;
    let refused = ben2.expect("error", "forbidden").await;
    assert_eq!(refused["ref"], "r1", "it is not theirs");
    let payload = json!({"conversation": conversation, "seq": 2, "id": "r2"});
    ann1.ask("recall", payload).await;
    assert_eq!(ann1.expect_action("recalled").await["ref"], "r2");
    for device in [&mut ben1, &mut ben2] {
        let recalled = device.expect_action("recalled").await;
        let place = (&recalled["of"], &recalled["seq"], &recalled["uid"]);
        assert_eq!(place, (&json!(2), &json!(3), &json!(ann)));
    }
    ben1.ask("history", json!({"conversation": conversation}))
        .await;
    let history = ben1.expect_action("history").await;
    assert_eq!(history["entries"][0]["kind"], "recalled");
    assert_eq!(history["entries"][1]["recalled"], true);
    assert!(history["entries"][1]["message"].is_null(), "{history}");
    assert_eq!(history["entries"][2]["message"], "one");

    // Strangers mark and take back nothing.
    let mut eve = cluster.connect(1, "uid=eve").await;
    let payload = json!({"conversation": conversation, "up_to": 2});
    eve.ask("read", payload).await;
    eve.expect("error", "no_conversation").await;
    let payload = json!({"conversation": conversation, "seq": 1});
    eve.ask("recall", payload).await;
    eve.expect("error", "no_conversation").await;
    assert_eq!(cluster.dead_letters().await, 0);
}
