//! Every route, asked by everybody about a conversation that is theirs and one that is not.

use std::collections::BTreeSet;

use frontdesk_tests::{http, tokens};
use serde_json::{Value, json};

use crate::{
    asking::{Asker, is_problem, signed},
    scene::Scene,
};

/// Who asks: uid and role. The first two are in the conversation.
const ASKERS: [(&str, &str); 6] = [
    ("alice", "customer"),
    ("sam", "staff"),
    ("bob", "customer"),
    ("kim", "staff"),
    ("sue", "supervisor"),
    ("robot", "service"),
];

/// A route, what is sent, and what each asker gets, in the order of [`ASKERS`].
type Row = (&'static str, &'static str, &'static str, [&'static str; 6]);

const NONE: &str = "no_conversation";
const ROLE: &str = "wrong_role";
const NOT: &str = "forbidden";
const HOOK: &str = "no_webhook";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("GET", "conversations", "", ["200"; 6]),
    ("GET", "conversations/{conversation}", "", ["200", "200", NOT, NOT, "200", "200"]),
    ("GET", "conversations/{conversation}/history", "", ["200", "200", NOT, NOT, "200", "200"]),
    ("GET", "conversations/{conversation}/transcript", "", ["200", "200", NOT, NOT, "200", "200"]),
    ("POST", "conversations/{conversation}/messages", r#"{"message":"hi"}"#, ["201", "201", NONE, NONE, NONE, ROLE]),
    ("POST", "conversations/{conversation}/messages/{seq}/recall", "", ["200", NOT, NONE, NONE, NONE, ROLE]),
    ("POST", "conversations/{conversation}/delivered", r#"{"up_to":1}"#, ["200", "200", NONE, NONE, NONE, ROLE]),
    ("POST", "conversations/{conversation}/read", r#"{"up_to":1}"#, ["200", "200", NONE, NONE, NONE, ROLE]),
    ("POST", "messages", r#"{"to":"sam","message":"hi"}"#, [NOT, "bad_field", NOT, "201", "201", ROLE]),
    ("GET", "queues", "", [ROLE, ROLE, ROLE, ROLE, "200", "200"]),
    ("GET", "staff", "", [ROLE, ROLE, ROLE, ROLE, "200", "200"]),
    ("POST", "users/{uid}/revoke", "", [ROLE, ROLE, ROLE, ROLE, ROLE, "200"]),
    ("GET", "webhooks", "", [ROLE, ROLE, ROLE, ROLE, ROLE, "200"]),
    ("POST", "webhooks", r#"{"url":"https://hooks.example/","types":["message.created"]}"#, [ROLE, ROLE, ROLE, ROLE, ROLE, "201"]),
    ("GET", "webhooks/{hook}", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("PUT", "webhooks/{hook}", r#"{"url":"https://hooks.example/","types":["message.created"]}"#, [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("DELETE", "webhooks/{hook}", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("POST", "webhooks/{hook}/secret", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("GET", "webhooks/{hook}/parked", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("POST", "webhooks/{hook}/redeliver", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("POST", "webhooks/{hook}/park", "", [ROLE, ROLE, ROLE, ROLE, ROLE, HOOK]),
    ("POST", "tickets", "", ["200"; 6]),
    ("POST", "visitors", "", ["bad_token"; 6]), // a token that is no visitor's
    ("POST", "conversations/{conversation}/close", "", [NONE, "200", NONE, NONE, NONE, ROLE]),
];

fn fill(path: &str, conversation: &str) -> String {
    path.replace("{conversation}", conversation)
        .replace("{seq}", "2")
        .replace("{uid}", "nobody-in-particular")
        .replace("{hook}", "1.1.1-1.1")
}

fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[tokio::test]
async fn each_role_may_do_its_part_in_its_own_conversations_only() {
    let scene = Scene::start(signed()).await;
    let alice = scene.asker("alice", "customer");
    let words = json!({"message": "first"});
    let first = alice.post(&scene.path("messages"), &words).await;
    assert_eq!(first.json()["seq"], 2);
    // The last row ends the conversation: whoever may comes last.
    let mut order = [0, 1, 2, 3, 4, 5];
    for (method, path, text, expected) in ROWS {
        if path.ends_with("close") {
            order = [2, 3, 4, 5, 1, 0];
        }
        for (wanted, (uid, role)) in order.map(|n| (expected[n], ASKERS[n])) {
            let asker = scene.asker(uid, role);
            let answer = asker
                .ask(method, &fill(path, &scene.conversation), &body(text))
                .await;
            let said = answer.json();
            let code = said["code"].as_str().map(str::to_owned);
            let is = code.unwrap_or_else(|| answer.status.to_string());
            assert_eq!(is, wanted, "{method} {path} by {uid}: {answer:?}");
            if answer.status >= 400 {
                is_problem(&answer, answer.status, &is);
            }
            if !path.contains("{conversation}") {
                continue;
            }
            // One that does not exist is the same for everybody but for whom nothing is.
            let answer = asker
                .ask(method, &fill(path, "1.1.1-1.1"), &body(text))
                .await;
            let code = if *method == "POST" && role == "service" {
                ROLE
            } else {
                NONE
            };
            is_problem(&answer, if code == ROLE { 403 } else { 404 }, code);
        }
    }
}

/// Nothing but what is meant for everybody is answered to nobody; a ticket or a visitor's token is no token here.
#[tokio::test]
async fn every_route_asks_who_it_is() {
    let scene = Scene::start(signed()).await;
    let addr = scene.cluster.addr(0);
    let described = Asker::nobody(addr).get("openapi.json").await.json();
    let mut rows = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1/").expect("the prefix");
        for method in methods.as_object().unwrap().keys() {
            rows.insert((method.to_uppercase(), path.to_owned()));
        }
    }
    let known = ROWS
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(rows, known.collect(), "each route has a row");

    let visitor = Asker::nobody(addr)
        .post("visitors", &Value::Null)
        .await
        .json();
    let alice = tokens::token("alice", "customer");
    let mut old = tokens::claims("alice", "customer");
    old["exp"] = json!(tokens::now_s() - 1);
    let nobody = [
        Asker::nobody(addr),
        Asker::with(addr, "x".to_owned()),
        Asker::with(addr, format!("{alice}x")),
        Asker::with(addr, tokens::signed(&old)),
        Asker::with(addr, visitor["token"].as_str().unwrap().to_owned()),
    ];
    for (method, path, text, _) in ROWS.iter().filter(|row| row.1 != "visitors") {
        let path = fill(path, &scene.conversation);
        for asker in &nobody {
            let answer = asker.ask(method, &path, &body(text)).await;
            is_problem(&answer, 401, "bad_token");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        let ticket = scene
            .asker("alice", "customer")
            .post("tickets", &Value::Null)
            .await
            .json();
        let ticket = ticket["ticket"].as_str().unwrap();
        let query = format!("{path}?ticket={ticket}&uid=alice&role=customer");
        is_problem(
            &nobody[0].ask(method, &query, &body(text)).await,
            401,
            "bad_token",
        );
        // The query may say what the token says, and nothing else.
        for wrong in ["uid=bob", "role=service", "site=other"] {
            let query = format!("{path}?{wrong}");
            let answer = scene
                .asker("alice", "customer")
                .ask(method, &query, &body(text))
                .await;
            let refused = [401, 403].contains(&answer.status);
            assert!(refused || path == "tickets", "{method} {query}: {answer:?}");
        }
    }
    // Methods that a route does not have are refused, whoever asks.
    for (_, path, ..) in ROWS {
        let path = format!("/api/v1/{}", fill(path, "1.1.1-1.1"));
        let answer = http::send(addr, "PATCH", &path, &[], "").await.unwrap();
        is_problem(&answer, 405, "bad_method");
    }
}
