//! A token runs out while its socket is open, unless it is refreshed for the same user.

use frontdesk_tests::{client::Client, tokens};
use serde_json::{Value, json};

use super::{House, post};

/// Seconds for which a token counts that is to run out: enough to connect with it on a slow machine.
const SOON_S: u64 = 12;

fn token_for(uid: &str, role: &str, seconds: u64) -> String {
    let mut claims = tokens::claims(uid, role);
    claims["exp"] = json!(tokens::now_s() + seconds);
    tokens::signed(&claims)
}

async fn refresh(client: &mut Client, token: &str, id: &str) {
    let payload = json!({"token": token, "id": id});
    client
        .send(json!({"action": "refresh", "payload": payload}))
        .await;
}

#[tokio::test]
async fn a_socket_closes_when_its_token_runs_out() {
    let mut house = House::open().await;
    let token = house.secret(&token_for("alice", "customer", SOON_S));
    let addr = house.cluster.addr(0);
    let mut alice = Client::connect_with(addr, &token).await;
    let mut other = Client::connect_with(addr, &tokens::token("bob", "customer")).await;
    let ticket = house.ticket(1, &token).await;
    let query = format!("lang=en&ticket={ticket}");
    let mut by_ticket = Client::connect(house.cluster.addr(1), &query).await;
    assert_eq!(alice.expect_close().await, 4401);
    assert_eq!(
        by_ticket.expect_close().await,
        4401,
        "a ticket adds no time"
    );
    other.ping().await;
    assert_eq!(post(addr, "tickets", Some(&token), "").await.status, 401);
    house.close();
}

/// The age that tokens may reach ends a socket, too, whatever its token's `exp`.
#[tokio::test]
async fn a_socket_closes_when_its_token_is_too_old() {
    let house = House::open_with(|builder| builder.gateway_setting("max-token-age-s", 60)).await;
    let mut claims = tokens::claims("alice", "customer");
    claims["iat"] = json!(tokens::now_s() - (60 - SOON_S));
    let token = tokens::signed(&claims);
    let mut alice = Client::connect_with(house.cluster.addr(0), &token).await;
    assert_eq!(alice.expect_close().await, 4401);
    house.close();
}

#[tokio::test]
async fn a_refreshed_socket_stays_and_the_new_end_counts() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let short = house.secret(&token_for("alice", "staff", SOON_S));
    let mut alice = Client::connect_with(addr, &short).await;
    let mut control = Client::connect_with(addr, &token_for("control", "staff", SOON_S)).await;
    let longer = house.secret(&token_for("alice", "staff", 2 * SOON_S));
    refresh(&mut alice, &longer, "r1").await;
    let told = alice.expect("refreshed", "refreshed").await;
    assert_eq!(told["ref"], "r1");
    let left = told["expires_in_s"].as_u64().expect("seconds");
    assert!((1..=2 * SOON_S).contains(&left), "{told}");
    assert_eq!(control.expect_close().await, 4401, "the old end has come");
    alice.act("staffOnline").await;
    alice.expect("message", "on_duty").await;
    assert_eq!(alice.expect_close().await, 4401, "and now the new one");
    house.close();
}

/// The new one may also be the shorter.
#[tokio::test]
async fn a_shorter_token_ends_the_socket_sooner() {
    let house = House::open().await;
    let addr = house.cluster.addr(0);
    let mut bob = Client::connect_with(addr, &tokens::token("bob", "staff")).await;
    refresh(&mut bob, &token_for("bob", "staff", SOON_S), "r2").await;
    bob.expect("refreshed", "refreshed").await;
    assert_eq!(bob.expect_close().await, 4401);
    house.close();
}

#[tokio::test]
async fn only_a_token_of_the_same_user_refreshes() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let token = house.secret(&tokens::token("alice", "staff"));
    let mut alice = Client::connect_with(addr, &token).await;
    let changed = |claim: &str, value: Value| {
        let mut claims = tokens::claims("alice", "staff");
        claims[claim] = value;
        tokens::signed(&claims)
    };
    let visitor = post(addr, "visitors", None, "").await.json();
    let visitor = house.secret(visitor["token"].as_str().expect("a token"));
    for bad in [
        changed("sub", json!("bob")),
        changed("site", json!("other")),
        changed("role", json!("supervisor")),
        changed("role", json!("customer")),
        changed("exp", json!(tokens::now_s() - 1)),
        changed("iss", json!("other")),
        changed("iat", json!(tokens::now_s() - 600)), // older than the one it would replace
        visitor,
        token[..token.len() - 4].to_owned(),
        "x".to_owned(),
        "x".repeat(60_000),
    ] {
        house.secret(&bad);
        refresh(&mut alice, &bad, "r2").await;
        let refused = alice.expect("error", "bad_token").await;
        assert_eq!(
            (&refused["ref"], &refused["field"]),
            (&json!("r2"), &json!("token"))
        );
    }
    for odd in [
        json!({}),
        json!({"token": null}),
        json!({"token": 7}),
        json!({"token": ""}),
    ] {
        alice
            .send(json!({"action": "refresh", "payload": odd}))
            .await;
        alice.expect("error", "bad_field").await;
    }
    alice.act("staffOnline").await;
    alice.expect("message", "on_duty").await;
    house.close();
}

#[tokio::test]
async fn visitors_refresh_with_their_own_kind_of_token() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let first = post(addr, "visitors", None, "").await.json();
    let text = |said: &Value, name: &str| said[name].as_str().expect("a text").to_owned();
    let query = format!("lang=en&ticket={}", text(&first, "ticket"));
    let mut page = Client::connect(addr, &query).await;
    let token = house.secret(&text(&first, "token"));
    let again = post(addr, "visitors", Some(&token), "").await.json();
    let newer = house.secret(&text(&again, "token"));
    refresh(&mut page, &newer, "r1").await;
    page.expect("refreshed", "refreshed").await;
    let full = tokens::token(&text(&first, "uid"), "customer");
    refresh(&mut page, &full, "r2").await;
    page.expect("error", "bad_token").await;
    house.close();
}
