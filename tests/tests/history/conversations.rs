//! The list of a user's conversations.

use frontdesk_tests::{client::Client, cluster::Cluster};
use serde_json::{Value, json};

use crate::scene::{Scene, as_entries, meet};

async fn list(client: &mut Client, payload: Value) -> Value {
    client.ask("conversations", payload).await;
    client.expect_action("conversations").await
}

fn names(page: &Value) -> Vec<&str> {
    let all = page["conversations"].as_array().expect("a list").iter();
    all.map(|one| one["conversation"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_says_where_each_conversation_stands() {
    let mut scene = Scene::start().await;
    let mut nobody = scene.cluster.connect(1, "uid=nobody").await;
    let empty = list(&mut nobody, json!({"id": "q1"})).await;
    assert_eq!(
        empty,
        json!({"conversations": [], "more": false, "ref": "q1"})
    );
    scene.chat(5).await;
    let mut last = scene.entries().await.pop().unwrap();
    last.as_object_mut().unwrap().remove("prev");
    let log = scene.log().await;
    let common = json!({
        "conversation": scene.conversation,
        "state": "open",
        "seq": 6,
        "id": log.last().unwrap().id,
        "read": 0, "delivered": 0, "peer_read": 0, "peer_delivered": 0,
        "last": last,
    });
    let with = |rest: Value| {
        let mut expected = common.clone();
        for (name, value) in rest.as_object().unwrap() {
            expected[name] = value.clone();
        }
        json!({"conversations": [expected], "more": false})
    };
    let page = list(&mut scene.customer, json!({})).await;
    let expected = with(json!({"with": "bob", "name": "客服", "unread": 2}));
    assert_eq!(page, expected);
    let page = list(&mut scene.staff, json!({})).await;
    assert_eq!(page, with(json!({"with": "alice", "unread": 3})));

    // What comes last need not be a message.
    scene.end().await;
    let page = list(&mut scene.customer, json!({})).await;
    let one = &page["conversations"][0];
    assert_eq!((&one["state"], &one["seq"]), (&json!("ended"), &json!(7)));
    assert_eq!(one["last"], last);
}

#[tokio::test]
async fn who_waits_sees_their_place() {
    let cluster = Cluster::builder().workers(1).start().await;
    let mut scene = Scene::with_places(cluster, 1).await;
    let mut queue = Vec::new();
    for (place, uid) in ["carl", "dora"].iter().enumerate() {
        let mut waiting = scene.cluster.connect(0, &format!("uid={uid}")).await;
        waiting.act("customerConnect").await;
        let queued = waiting.expect("message", "queued").await;
        waiting.say("有人吗").await;
        waiting.expect("message", "still_queued").await;
        let page = list(&mut waiting, json!({})).await;
        let one = &page["conversations"][0];
        assert_eq!(one["conversation"], queued["conversation"]);
        assert_eq!(
            (&one["state"], &one["queue"]),
            (&json!("waiting"), &json!(place + 1))
        );
        assert_eq!(
            (&one["unread"], &one["last"]["message"]),
            (&json!(0), &json!("有人吗"))
        );
        assert!(one["with"].is_null() && one["name"].is_null(), "{one}");
        queue.push(waiting);
    }
    scene.chat(2).await;
}

#[tokio::test]
async fn page_by_page_is_every_conversation_once_the_last_changed_first() {
    let mut scene = Scene::start().await;
    let mut begun = vec![scene.conversation.clone()];
    scene.end().await;
    for _ in 0..12 {
        begun.push(meet(&mut scene.customer, &mut scene.staff).await);
        scene.conversation.clone_from(begun.last().unwrap());
        scene.end().await;
    }
    begun.reverse();
    for limit in [1, 5, 13, 100] {
        let (mut all, mut payload) = (Vec::new(), json!({"limit": limit}));
        loop {
            let page = list(&mut scene.customer, payload.clone()).await;
            assert!(names(&page).len() <= limit);
            all.extend(names(&page).into_iter().map(str::to_owned));
            if page["more"] == false {
                assert!(page["before"].is_null());
                break;
            }
            payload["before"] = page["before"].clone();
        }
        assert_eq!(all, begun, "{limit}");
    }
    for bad in [json!(7), json!("x"), json!("1:{s00}")] {
        scene
            .customer
            .ask("conversations", json!({"before": bad, "id": "q"}))
            .await;
        let refused = scene.customer.expect("error", "bad_field").await;
        assert_eq!(
            (&refused["field"], &refused["ref"]),
            (&json!("before"), &json!("q"))
        );
    }
}

/// Conversations with long last messages: as many as fit into a frame.
#[tokio::test]
async fn a_page_of_long_messages_is_bounded_in_bytes() {
    let mut scene = Scene::start().await;
    for _ in 0..6 {
        scene.talk(&["x".repeat(16 * 1024)]).await;
        scene.end().await;
        scene.conversation = meet(&mut scene.customer, &mut scene.staff).await;
    }
    let (mut count, mut payload) = (0, json!({}));
    loop {
        let page = list(&mut scene.staff, payload.clone()).await;
        assert!(page.to_string().len() <= 64 * 1024);
        count += names(&page).len();
        if page["more"] == false {
            break;
        }
        payload["before"] = page["before"].clone();
    }
    assert_eq!(count, 7);
    assert_eq!(as_entries(&scene.log().await).len(), 1);
}
