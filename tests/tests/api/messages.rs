//! Words by a request: where they arrive, and once.

use serde_json::json;

use crate::{
    asking::{Asker, is_problem, signed},
    scene::{Scene, number},
};

#[tokio::test]
async fn words_reach_both_sides_and_are_stored_once() {
    let mut scene = Scene::start(signed()).await;
    let there = scene.cluster.addr(1);
    let (path, asker) = (scene.path("messages"), scene.asker("alice", "customer"));
    let words = json!({"message": "hello"});
    let first = asker.post_once("k1", &path, &words).await;
    assert_eq!(first.status, 201, "{first:?}");
    let said = first.json();
    assert_eq!(said["conversation"], scene.conversation);
    for client in [&mut scene.sam, &mut scene.alice] {
        let payload = client.expect_words("customer", "hello").await;
        assert_eq!(payload["id"], said["id"]);
    }
    let again = asker.at(there).post_once("k1", &path, &words).await;
    assert_eq!((again.status, again.json()), (201, said.clone()));
    // The header's own form, and JSON that is written in another way.
    let body = r#"{ "other": 1, "message" : "\u0068ello" }"#;
    let headers = ["Idempotency-Key: \"k1\"", "Content-Type: application/json"];
    let again = asker.send("POST", &path, &headers, body).await;
    assert_eq!((again.status, again.json()), (201, said.clone()));
    // A socket that sends it once more repeats it, too.
    scene.alice.say_with_id("hello", "k1").await;
    assert_eq!(scene.alice.expect_ack("k1").await["id"], said["id"]);
    for (path, body) in [
        (path.clone(), json!({"message": "bye"})),
        ("conversations/1.1.1-1.1/messages".to_owned(), words.clone()),
        (
            "messages".to_owned(),
            json!({"message": "hello", "to": "sam"}),
        ),
    ] {
        is_problem(
            &asker.post_once("k1", &path, &body).await,
            422,
            "key_reused",
        );
    }
    // Without a key repeating says it again.
    for text in ["one", "one"] {
        let answer = asker.post(&path, &json!({"message": text})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        scene.sam.expect_words("customer", "one").await;
        scene.alice.expect_words("customer", "one").await;
    }
    assert_eq!(scene.words().await, ["hello", "one", "one"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let mut scene = Scene::start(signed()).await;
    let (path, asker) = (scene.path("messages"), scene.asker("alice", "customer"));
    let words = json!({"message": "hello"});
    for (path, body, status, code, field) in [
        (&*path, json!({}), 400, "bad_field", "message"),
        (&*path, json!({"message": ""}), 400, "bad_field", "message"),
        (&*path, json!({"message": 7}), 400, "bad_field", "message"),
        (&*path, json!([]), 400, "bad_json", ""),
        (
            &*path,
            json!({"message": "x".repeat(16 * 1024 + 1)}),
            413,
            "too_large",
            "message",
        ),
        (
            &*path,
            json!({"message": "x".repeat(64 * 1024)}),
            413,
            "too_large",
            "",
        ),
        (
            "conversations/*/messages",
            words.clone(),
            400,
            "bad_field",
            "conversation",
        ),
        (
            "conversations/%00/messages",
            words.clone(),
            400,
            "bad_field",
            "conversation",
        ),
        ("messages", words.clone(), 400, "bad_field", "to"),
        (
            "messages",
            json!({"message": "x", "to": "a b"}),
            400,
            "bad_field",
            "to",
        ),
        (
            "messages",
            json!({"message": "x", "to": "alice"}),
            400,
            "bad_field",
            "to",
        ),
        ("nowhere", words.clone(), 404, "not_found", ""),
        ("conversations", words.clone(), 405, "bad_method", ""),
    ] {
        let answer = asker.post(path, &body).await;
        is_problem(&answer, status, code);
        let said = answer.json();
        assert_eq!(said["field"].as_str().unwrap_or_default(), field, "{said}");
    }
    let answer = asker
        .send("POST", &path, &["Content-Type: text/plain"], "{}")
        .await;
    is_problem(&answer, 415, "not_json");
    for key in ["", "a b", "*", "\"", &"k".repeat(65)] {
        let answer = asker.post_once(key, &path, &words).await;
        is_problem(&answer, 400, "bad_field");
        assert_eq!(answer.json()["field"], "Idempotency-Key");
    }
    // In the asker's language.
    for (tag, detail) in [
        ("zh", "字段缺失或不合法"),
        ("en", "A field is missing or not valid"),
    ] {
        let headers = [
            &*format!("Accept-Language: {tag}"),
            "Content-Type: application/json",
        ];
        let answer = asker.send("POST", &path, &headers, "{}").await;
        assert_eq!(answer.json()["detail"], detail);
        let by_query = format!("{path}?lang={tag}");
        let answer = asker.post(&by_query, &json!({})).await;
        assert_eq!(answer.json()["detail"], detail);
    }
    scene.sam.ping().await;
    assert_eq!(scene.words().await, Vec::<String>::new());
}

#[tokio::test]
async fn direct_words_reach_who_is_there_and_wait_for_who_is_not() {
    let mut scene = Scene::start(signed()).await;
    let robot = scene.asker("kim", "staff");
    let words = json!({"message": "psst", "to": "sam"});
    let answer = robot.post("messages", &words).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let payload = scene.sam.expect_words("user", "psst").await;
    assert_eq!(payload["uid"], "kim");
    let answer = robot
        .post("messages", &json!({"message": "?", "to": "lea"}))
        .await;
    is_problem(&answer, 404, "no_user");
    let path = format!(
        "conversations/{}/messages",
        payload["conversation"].as_str().unwrap()
    );
    let answer = scene
        .asker("sam", "staff")
        .post(&path, &json!({"message": "yes?"}))
        .await;
    assert_eq!(number(&answer.json(), "seq"), 2);
    let list = robot.get("conversations").await.json();
    assert_eq!(list["conversations"][0]["unread"], 1, "{list}");
    let nobody = Asker::nobody(scene.cluster.addr(0));
    is_problem(&nobody.post("messages", &words).await, 401, "bad_token");
}
