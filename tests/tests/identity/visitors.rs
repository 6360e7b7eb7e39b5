//! Anonymous customers: an identity that survives page loads and is good for nothing else.

use frontdesk_tests::{client::Client, tokens};
use serde_json::{Value, json};

use super::{House, handshake, post};

struct Visitor {
    token: String,
    uid: String,
    ticket: String,
}

async fn visit(house: &mut House, token: Option<&str>, wishes: &Value) -> Visitor {
    let addr = house.cluster.addr(0);
    let answer = post(addr, "visitors", token, &wishes.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    assert_eq!(said["expires_in_s"], 30);
    let text = |name: &str| said[name].as_str().expect("a text").to_owned();
    Visitor {
        token: house.secret(&text("token")),
        uid: text("uid"),
        ticket: house.secret(&text("ticket")),
    }
}

#[tokio::test]
async fn a_visitor_is_the_same_customer_after_a_page_load() {
    let mut house = House::open().await;
    let first = visit(&mut house, None, &json!({"lang": "en"})).await;
    assert!(first.uid.starts_with("visitor-"), "{}", first.uid);
    // The language is that of the wish, so no `lang` in the query.
    let query = format!("ticket={}", first.ticket);
    let addr = house.cluster.addr(1);
    let mut page = Client::connect_unwelcomed(addr, &query).await;
    page.lang = frontdesk_tests::table::Lang::En;
    let welcome = page.expect("welcome", "welcome").await;
    assert_eq!(welcome["uid"], *first.uid);
    page.act("customerConnect").await;
    page.expect("message", "no_staff").await;
    page.act("staffOnline").await;
    page.expect("error", "wrong_role").await;
    page.close(None).await;

    let again = visit(&mut house, Some(&first.token), &json!({})).await;
    assert_eq!(again.uid, first.uid);
    let query = format!("lang=en&ticket={}", again.ticket);
    let page = Client::connect(addr, &query).await;
    assert_eq!(page.welcome["uid"], *first.uid);
    let other = visit(&mut house, None, &json!({})).await;
    assert_ne!(other.uid, first.uid);
    house.close();
}

#[tokio::test]
async fn a_visitors_token_is_no_token_and_a_token_is_no_visitors() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let visitor = visit(&mut house, None, &json!({"site": "acme"})).await;
    assert_eq!(
        post(addr, "tickets", Some(&visitor.token), "").await.status,
        401
    );
    let bearer = format!("Authorization: Bearer {}", visitor.token);
    assert_eq!(handshake(addr, "", &[bearer.as_bytes()]).await, 401);
    let staff = house.secret(&tokens::token("sam", "staff"));
    assert_eq!(post(addr, "visitors", Some(&staff), "").await.status, 401);
    // Nor one that only looks like it.
    let mut claims = tokens::claims("visitor-1", "customer");
    claims["aud"] = json!("frontdesk-visitor");
    let forged = tokens::signed(&claims);
    assert_eq!(post(addr, "visitors", Some(&forged), "").await.status, 401);

    let elsewhere = json!({"site": "other"}).to_string();
    let answer = post(addr, "visitors", Some(&visitor.token), &elsewhere).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    for (wishes, status) in [
        ("{", 400),
        ("[]", 400),
        (r#"{"site":7}"#, 400),
        (r#"{"site":"{s00}"}"#, 400),
        (r#"{"site":""}"#, 400),
        (r#"{"lang":"fr"}"#, 400),
        (r#"{"uid":"alice","role":"staff"}"#, 200),
    ] {
        let answer = post(addr, "visitors", None, wishes).await;
        assert_eq!(answer.status, status, "{wishes}: {answer:?}");
        if status == 200 {
            let uid = answer.json()["uid"].to_string();
            assert!(uid.contains("visitor-"), "{answer:?}");
        }
    }
    let long = format!(r#"{{"site":"{}"}}"#, "x".repeat(5000));
    assert_eq!(post(addr, "visitors", None, &long).await.status, 413);
    house.close();
}

#[tokio::test]
async fn visitors_may_be_kept_out() {
    let house = House::open_with(|builder| builder.gateway_setting("visitors", "off")).await;
    let answer = post(house.cluster.addr(0), "visitors", None, "").await;
    assert_eq!(answer.status, 403, "{answer:?}");
    house.close();
}
