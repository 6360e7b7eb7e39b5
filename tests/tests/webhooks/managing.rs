//! Webhooks by the HTTP API: made, shown, changed, removed; by whom; and what is parked.

use std::time::{SystemTime, UNIX_EPOCH};

use frontdesk_tests::{
    cluster::Cluster,
    http::{self, Response},
    tokens,
};
use serde_json::{Value, json};

use crate::site::{asks, builder, hook};

/// A request with a token, or without one.
async fn with_token(
    cluster: &Cluster,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Response {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut headers: Vec<&[u8]> = vec![b"Content-Type: application/json"];
    headers.extend(bearer.as_ref().map(String::as_bytes));
    let path = format!("/api/v1/{path}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = http::send(cluster.addr(0), method, &path, &headers, &body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn spec() -> Value {
    json!({"url": "https://receiver.example/x", "types": ["message.created", "conversation.ended"]})
}

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_removed() {
    let cluster = builder().start().await;
    let none = asks(&cluster, "GET", "webhooks", None, &Value::Null).await;
    assert_eq!((none.status, none.json()), (200, json!({"webhooks": []})));
    let first = asks(&cluster, "POST", "webhooks", Some("k1"), &spec()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let made = first.json();
    assert!(made["secret"].as_str().expect("text").starts_with("whsec_"));
    // Whoever lost the answer asks again, and has the same.
    let again = asks(&cluster, "POST", "webhooks", Some("k1"), &spec()).await;
    assert_eq!((again.status, again.json()), (201, made.clone()));
    let path = format!("webhooks/{}", made["id"].as_str().expect("text"));
    let shown = asks(&cluster, "GET", &path, None, &Value::Null).await;
    let types = json!(["conversation.ended", "message.created"]);
    let expected = json!({
        "id": made["id"], "url": "https://receiver.example/x", "types": types, "enabled": true,
        "created": made["created"], "changed": made["changed"], "waiting": 0, "retrying": 0,
        "parked": 0, "delivered": 0, "failed": 0, "dropped": 0, "forgotten": 0,
    });
    assert_eq!((shown.status, shown.json()), (200, expected.clone()));
    let all = asks(&cluster, "GET", "webhooks", None, &Value::Null).await;
    assert_eq!(all.json(), json!({"webhooks": [expected]}));

    let other =
        json!({"url": "http://other.example", "types": ["message.recalled"], "enabled": false});
    let changed = asks(&cluster, "PUT", &path, None, &other).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let shown = asks(&cluster, "GET", &path, None, &Value::Null)
        .await
        .json();
    let now = (
        &shown["url"],
        &shown["types"],
        &shown["enabled"],
        &shown["created"],
    );
    let types = json!(["message.recalled"]);
    assert_eq!(
        now,
        (
            &json!("http://other.example/"),
            &types,
            &json!(false),
            &made["created"]
        )
    );
    let rotated = asks(
        &cluster,
        "POST",
        &format!("{path}/secret"),
        None,
        &Value::Null,
    )
    .await;
    assert_eq!((rotated.status, &rotated.json()["id"]), (200, &made["id"]));
    assert_ne!(rotated.json()["secret"], made["secret"]);

    let deleted = asks(&cluster, "DELETE", &path, Some("k2"), &Value::Null).await;
    assert_eq!((deleted.status, &*deleted.body), (204, ""));
    let again = asks(&cluster, "DELETE", &path, Some("k2"), &Value::Null).await;
    assert_eq!(again.status, 204);
    for (method, path, body) in [
        ("GET", path.clone(), Value::Null),
        ("PUT", path.clone(), spec()),
        ("DELETE", path.clone(), Value::Null),
        ("POST", format!("{path}/secret"), Value::Null),
        ("POST", format!("{path}/redeliver"), Value::Null),
        ("POST", format!("{path}/park"), Value::Null),
        ("GET", format!("{path}/parked"), Value::Null),
    ] {
        let answer = asks(&cluster, method, &path, None, &body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("no_webhook")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused() {
    let cluster = builder().start().await;
    let types = json!(["message.created"]);
    for (body, field) in [
        (json!({"types": types}), "url"),
        (json!({"url": "ftp://a.example", "types": types}), "url"),
        (
            json!({"url": "https://u:p@a.example", "types": types}),
            "url",
        ),
        (json!({"url": 7, "types": types}), "url"),
        (json!({"url": "https://a.example"}), "types"),
        (json!({"url": "https://a.example", "types": []}), "types"),
        (
            json!({"url": "https://a.example", "types": ["message"]}),
            "types",
        ),
        (
            json!({"url": "https://a.example", "types": "message.created"}),
            "types",
        ),
        (
            json!({"url": "https://a.example", "types": types, "enabled": "yes"}),
            "enabled",
        ),
    ] {
        let answer = asks(&cluster, "POST", "webhooks", None, &body).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!(field)),
            "{body}"
        );
    }
    let hook = hook(&cluster, "https://a.example", &["message.created"]).await;
    let path = format!("webhooks/{}/redeliver", hook.id);
    let answer = asks(&cluster, "POST", &path, None, &json!({"delivery": "*"})).await;
    assert_eq!(
        (answer.status, &answer.json()["field"]),
        (400, &json!("delivery"))
    );
    let answer = asks(
        &cluster,
        "POST",
        &path,
        None,
        &json!({"delivery": "6.1.1-0.1"}),
    )
    .await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (404, &json!("no_delivery"))
    );
    let answer = asks(&cluster, "GET", "webhooks/*", None, &Value::Null).await;
    assert_eq!(
        (answer.status, &answer.json()["field"]),
        (400, &json!("hook"))
    );
}

#[tokio::test]
async fn only_a_sites_own_programs_see_and_manage_its_webhooks() {
    let cluster = builder().signed().start().await;
    let service = tokens::token("robot", "service");
    let made = with_token(&cluster, "POST", "webhooks", Some(&service), &spec()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("webhooks/{}", made.json()["id"].as_str().expect("text"));
    let requests = [
        ("GET", "webhooks".to_owned(), Value::Null),
        ("POST", "webhooks".to_owned(), spec()),
        ("GET", path.clone(), Value::Null),
        ("PUT", path.clone(), spec()),
        ("DELETE", path.clone(), Value::Null),
        ("POST", format!("{path}/secret"), Value::Null),
        ("GET", format!("{path}/parked"), Value::Null),
        ("POST", format!("{path}/redeliver"), Value::Null),
        ("POST", format!("{path}/park"), Value::Null),
    ];
    for (method, path, body) in &requests {
        for role in ["customer", "staff", "supervisor"] {
            let token = tokens::token(&format!("a-{role}"), role);
            let answer = with_token(&cluster, method, path, Some(&token), body).await;
            let code = &answer.json()["code"];
            assert_eq!(
                (answer.status, code),
                (403, &json!("wrong_role")),
                "{role} {method} {path}"
            );
        }
        let answer = with_token(&cluster, method, path, None, body).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        // Another site's program sees its own.
        let mut claims = tokens::claims("robot", "service");
        claims["site"] = json!("elsewhere");
        let token = tokens::signed(&claims);
        let answer = with_token(&cluster, method, path, Some(&token), body).await;
        assert!(
            matches!(answer.status, 200 | 201 | 404),
            "{method} {path}: {answer:?}"
        );
    }
    let shown = with_token(&cluster, "GET", &path, Some(&service), &Value::Null).await;
    assert_eq!((shown.status, &shown.json()["url"]), (200, &spec()["url"]));
}

#[tokio::test]
async fn parked_deliveries_are_shown_page_by_page() {
    let cluster = builder().start().await;
    let made = hook(&cluster, "https://a.example", &["message.created"]).await;
    let site = frontdesk_shared::ids::Site::parse("default").expect("valid");
    let id = frontdesk_shared::ids::HookId::parse(&made.id).expect("valid");
    let key = frontdesk_shared::keys::hook(&site, &id) + "parked";
    // What is parked for long is forgotten.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let lately = now.expect("after 1970").as_secs() * 1000;
    let mut fill = redis::pipe();
    for n in 1..=5 {
        let json = format!(
            r#"6.1.1-0.1|{n}|{{"id":"6.1.{n}-0.1","type":"message.created","site":"default","time":{n},"conversation":"6.1.1-0.1","seq":{n},"from":"customer","uid":"alice","data":{{}}}}"#
        );
        let fields = [("d", json.as_str()), ("attempts", "10"), ("why", "timeout")];
        fill.xadd(&key, format!("{}-1", lately + n), &fields)
            .ignore();
    }
    let mut redis = cluster.redis.connect().await;
    fill.exec_async(&mut redis).await.expect("written");
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!(
            "/api/v1/webhooks/{}/parked?uid=robot&role=service&limit=2{before}",
            made.id
        );
        let page = http::get(cluster.addr(1), &path).await.expect("an answer");
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        let deliveries = page["deliveries"].as_array().expect("a list");
        for delivery in deliveries {
            let n = delivery["seq"].as_u64().expect("a place");
            let expected = json!({
                "delivery": format!("6.1.{n}-0.1"), "type": "message.created", "time": n, "seq": n,
                "conversation": "6.1.1-0.1", "attempts": 10, "why": "timeout", "parked_at": lately + n,
            });
            assert_eq!(*delivery, expected);
            seen.push(n);
        }
        if page["more"] == false {
            break;
        }
        before = format!("&before={}", page["before"].as_str().expect("a place"));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}
