//! Direct conversations: the same questions, and typing.

use frontdesk_tests::cluster::Cluster;
use serde_json::json;

use crate::scene::{as_entries, ask_history, entries_of, history};

#[tokio::test]
async fn direct_conversations_are_read_listed_and_typed_in() {
    let cluster = Cluster::builder().workers(1).start().await;
    let mut ann = cluster.connect(0, "uid=ann&role=staff").await;
    let mut ben = cluster.connect(1, "uid=ben&role=staff").await;
    let payload = json!({"to": "ben", "message": "在吗", "id": "d1"});
    ann.ask("direct", payload).await;
    let ack = ann.expect_ack("d1").await;
    let conversation = ack["conversation"].as_str().unwrap().to_owned();
    ben.expect_words("user", "在吗").await;
    ben.say_in(&conversation, "在").await;
    ann.expect_words("user", "在").await;

    let mut redis = cluster.redis.connect().await;
    let site = frontdesk_tests::cluster::DEFAULT_SITE;
    let log = frontdesk_tests::conversation_log::read(&mut redis, site, &conversation).await;
    let mut log = as_entries(&log);
    assert_eq!(
        (&log[0]["from"], &log[0]["uid"]),
        (&json!("user"), &json!("ann"))
    );
    for client in [&mut ann, &mut ben] {
        let page = history(client, &conversation, json!({"after": 0})).await;
        assert_eq!(entries_of(&page), log);
    }
    let mut last = log.pop().unwrap();
    last.as_object_mut().unwrap().remove("prev");
    for (client, with, unread) in [(&mut ann, "ben", 1), (&mut ben, "ann", 1)] {
        client.ask("conversations", json!({})).await;
        let page = client.expect_action("conversations").await;
        let one = &page["conversations"][0];
        assert_eq!(
            (&one["state"], &one["with"]),
            (&json!("direct"), &json!(with))
        );
        assert_eq!(
            (&one["unread"], &one["last"]),
            (&json!(unread), &last),
            "{one}"
        );
    }
    ann.ask("typing", json!({"conversation": conversation}))
        .await;
    let told = ben.expect_action("typing").await;
    let expected = json!({"conversation": conversation, "uid": "ann", "on": true});
    assert_eq!(told, expected);
    let mut carl = cluster.connect(0, "uid=carl&role=staff").await;
    ask_history(&mut carl, &conversation, json!({})).await;
    carl.expect("error", "forbidden").await;
    carl.ask("typing", json!({"conversation": conversation}))
        .await;
    carl.expect("error", "no_conversation").await;
}
