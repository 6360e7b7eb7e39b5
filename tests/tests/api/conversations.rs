//! Lists, logs, marks, recalls and ends by requests.

use frontdesk_tests::{client::Client, tokens::token};
use serde_json::json;

use crate::{
    asking::{is_problem, signed},
    scene::{Scene, number},
};

#[tokio::test]
async fn marks_recalls_and_ends_are_told_to_sockets_and_answered() {
    let mut scene = Scene::start(signed()).await;
    let (sam, alice) = (
        scene.asker("sam", "staff"),
        scene.asker("alice", "customer"),
    );
    let said = sam
        .post(&scene.path("messages"), &json!({"message": "hello"}))
        .await;
    let seq = number(&said.json(), "seq");
    scene.alice.expect_words("staff", "hello").await;
    scene.sam.expect_words("staff", "hello").await;
    let one = alice
        .get(&format!("conversations/{}", scene.conversation))
        .await
        .json();
    assert_eq!(
        (&one["unread"], &one["with"]),
        (&json!(1), &json!("sam")),
        "{one}"
    );
    assert_eq!(one["members"], json!(["alice", "sam"]));

    let answer = alice
        .post(&scene.path("delivered"), &json!({"up_to": seq}))
        .await;
    assert_eq!(answer.json()["unread"], 1);
    scene.sam.expect_action("receipt").await;
    scene.alice.expect_action("receipt").await;
    let answer = alice.post(&scene.path("read"), &json!({"up_to": 99})).await;
    let receipt = answer.json();
    assert_eq!(
        (number(&receipt, "read"), number(&receipt, "unread")),
        (seq, 0)
    );
    assert_eq!(scene.sam.expect_action("receipt").await["read"], seq);
    scene.alice.expect_action("receipt").await;

    let path = scene.path(&format!("messages/{seq}/recall"));
    let wrong = sam.post(&path, &json!({"message_id": "1.1.1-1.1"})).await;
    is_problem(&wrong, 404, "no_message");
    let recalled = sam.post(&path, &json!(null)).await;
    assert_eq!(
        (recalled.status, &recalled.json()["of"]),
        (200, &json!(seq))
    );
    for client in [&mut scene.sam, &mut scene.alice] {
        assert_eq!(client.expect_action("recalled").await["of"], seq);
    }
    let closed = sam.post(&scene.path("close"), &json!(null)).await;
    assert_eq!(closed.json()["reason"], "closed", "{closed:?}");
    scene.alice.expect("chat_close", "closed").await;
    scene.sam.expect("chat_close", "closed").await;
    let again = sam.post(&scene.path("close"), &json!(null)).await;
    is_problem(&again, 404, "no_conversation");

    let transcript = alice.get(&scene.path("transcript")).await.json();
    let kinds: Vec<&str> = transcript["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["assigned", "message", "recalled", "ended"]);
    assert_eq!(transcript["entries"][1]["recalled"], true);
}

/// A customer leaves, and the place is filled as ever.
#[tokio::test]
async fn a_customer_leaves_by_a_request() {
    let mut scene = Scene::start(signed()).await;
    let alice = scene.asker("alice", "customer");
    let closed = alice
        .post_once("bye", &scene.path("close"), &json!(null))
        .await;
    assert_eq!(closed.json()["reason"], "customer_left");
    scene.sam.expect("chat_close", "customer_left").await;
    scene.alice.expect("chat_close", "customer_left").await;
    let again = alice
        .post_once("bye", &scene.path("close"), &json!(null))
        .await;
    assert_eq!(
        (again.status, again.json()),
        (200, closed.json()),
        "the same answer"
    );
}

#[tokio::test]
async fn pages_lead_on_and_a_transcript_has_all_of_them() {
    let scene = Scene::start(signed()).await;
    let alice = scene.asker("alice", "customer");
    // More than one page in number, and more than one in bytes.
    let long = "x".repeat(4000);
    for n in 0..120 {
        let text = if n % 3 == 0 {
            format!("{n} {long}")
        } else {
            n.to_string()
        };
        let answer = alice
            .post(&scene.path("messages"), &json!({"message": text}))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let words = scene.words().await;
    let numbers: Vec<usize> = words
        .iter()
        .map(|text| text.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..120).collect::<Vec<_>>());
    let (mut after, mut seen) = (0, 0);
    loop {
        let path = format!("{}?after={after}&limit=30", scene.path("history"));
        let page = alice.get(&path).await.json();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 30);
        seen += entries.len();
        after = number(entries.last().expect("more was promised"), "seq");
        if page["more"] == false {
            break;
        }
    }
    assert_eq!((seen, after), (121, 121));
    for wrong in [
        "limit=0",
        "limit=101",
        "before=0",
        "before=x",
        "before=1&after=1",
        "limit=1&limit=2",
        "after=-1",
    ] {
        let path = format!("{}?{wrong}", scene.path("history"));
        is_problem(&alice.get(&path).await, 400, "bad_field");
    }
    is_problem(&alice.get("conversations?before=x").await, 400, "bad_field");
}

#[tokio::test]
async fn supervisors_and_services_see_how_the_desk_stands() {
    let scene = Scene::start(signed()).await;
    let mut bob = Client::connect_with(scene.cluster.addr(1), &token("bob", "customer")).await;
    bob.act("customerConnect").await;
    let place = bob.expect("message", "queued").await;
    for role in ["supervisor", "service"] {
        let asker = scene.asker(&format!("a-{role}"), role);
        let staff = asker.get("staff").await.json();
        let sam =
            json!({"uid": "sam", "name": "客服", "open": 1, "max": 1, "waiting": 1, "lost": false});
        assert_eq!(staff, json!({"on_duty": 1, "staff": [sam], "more": false}));
        let queues = asker.get("queues").await.json();
        assert_eq!(queues["queues"], json!([{"staff": "sam", "waiting": 1}]));
        assert_eq!(
            (number(&queues, "waiting"), number(&queues, "shared")),
            (1, 0)
        );
        let longest = &queues["longest"][0];
        assert_eq!(longest["customer"], "bob");
        assert_eq!(longest["conversation"], place["conversation"]);
        assert!(number(longest, "since") <= number(&queues, "time"));
        let later = asker.get("staff?offset=1").await.json();
        assert_eq!(later, json!({"on_duty": 1, "staff": [], "more": false}));
        is_problem(&asker.get("staff?offset=-1").await, 400, "bad_field");
    }
}
