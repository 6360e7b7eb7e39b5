//! Tokens that end, and open mode, where there are none.

use frontdesk_tests::{client::Client, tokens};
use serde_json::{Value, json};

use crate::{
    asking::{Asker, is_problem, open, signed},
    scene::Scene,
};

/// From the answer on: no write, no read, no socket, on any gateway, until there is a newer token.
#[tokio::test]
async fn a_revoked_token_reads_and_writes_nothing() {
    let mut scene = Scene::start(signed()).await;
    let alice = scene.asker("alice", "customer");
    let robot = scene.asker("robot", "service");
    let revoked = robot.post("users/alice/revoke", &Value::Null).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(revoked.json()["uid"], "alice");
    assert_eq!(scene.alice.expect_close().await, 4501);
    scene.sam.expect("chat_close", "customer_left").await;
    for gateway in [0, 1] {
        let alice = alice.at(scene.cluster.addr(gateway));
        for path in [
            "conversations".to_owned(),
            format!("conversations/{}", scene.conversation),
            scene.path("history"),
            scene.path("transcript"),
        ] {
            is_problem(&alice.get(&path).await, 401, "bad_token");
        }
        let words = json!({"message": "hello"});
        let answer = alice.post(&scene.path("messages"), &words).await;
        is_problem(&answer, 401, "bad_token");
    }
    // Also a service, and what it had asked before.
    let again = robot
        .post_once("k1", "users/bob/revoke", &Value::Null)
        .await;
    assert_eq!(again.status, 200);
    let other = scene.asker("other", "service");
    let done = other.post("users/robot/revoke", &Value::Null).await;
    assert_eq!(done.status, 200, "{done:?}");
    for path in ["users/bob/revoke", "users/sam/revoke"] {
        let answer = robot.post_once("k1", path, &Value::Null).await;
        is_problem(&answer, 401, "bad_token");
    }
    for path in ["staff", "queues", &scene.path("transcript")] {
        is_problem(&robot.get(path).await, 401, "bad_token");
    }
    // A newer token: the next second's.
    let mut claims = tokens::claims("alice", "customer");
    claims["iat"] = json!(tokens::now_s() + 2);
    let newer = Asker::with(alice.addr, tokens::signed(&claims));
    let transcript = newer.get(&scene.path("transcript")).await;
    assert_eq!(transcript.status, 200, "{transcript:?}");
    scene.sam.ping().await;
}

/// A user has one role: what their sockets' token says.
#[tokio::test]
async fn a_token_of_another_role_than_the_sockets_is_refused() {
    let scene = Scene::start(signed()).await;
    let other = scene.asker("sam", "supervisor");
    for path in ["staff", &scene.path("history"), "conversations"] {
        is_problem(&other.get(path).await, 403, "wrong_role");
    }
    let words = json!({"message": "hello"});
    let answer = other.post(&scene.path("messages"), &words).await;
    is_problem(&answer, 403, "wrong_role");
}

#[tokio::test]
async fn open_mode_believes_the_query() {
    let cluster = open().start().await;
    let mut sam = cluster.connect(0, "uid=sam").await;
    let asker = Asker::nobody(cluster.addr(1));
    let words = json!({"to": "sam", "message": "hello"});
    let answer = asker.post("messages?uid=alice", &words).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let payload = sam.expect_words("user", "hello").await;
    assert_eq!(payload["uid"], "alice");
    let list = asker.get("conversations?uid=alice&limit=1").await.json();
    assert_eq!(list["conversations"][0]["with"], "sam");
    let path = format!(
        "conversations/{}/history",
        payload["conversation"].as_str().unwrap()
    );
    is_problem(&asker.get(&path).await, 403, "forbidden");
    let seen = asker.get(&format!("{path}?role=supervisor")).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    is_problem(&asker.get("staff").await, 403, "wrong_role");
    assert_eq!(asker.get("staff?role=service").await.status, 200);
    is_problem(&asker.get("conversations?uid=*").await, 400, "bad_field");
    is_problem(&asker.post("tickets", &Value::Null).await, 404, "not_found");
    // Nobody has made that token, so nobody reads it.
    let odd = Asker::with(cluster.addr(0), "x".to_owned());
    assert_eq!(odd.get("conversations?uid=alice").await.status, 200);
    let revoked = asker
        .post("users/sam/revoke?role=service", &Value::Null)
        .await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(sam.expect_close().await, 4501);
    drop(Client::connect(cluster.addr(0), "uid=sam").await);
}
