//! Revocation: everything that a user has ends, on every gateway, and stays ended for old tokens.

use std::time::Instant;

use frontdesk_tests::{client::Client, process, tokens, wait};
use serde_json::json;
use tokio::process::Command;

use super::{House, handshake, post};

/// `frontdesk-gateway revoke`, as an operator of a gateway's machine runs it.
async fn revoke(house: &House, uid: &str) {
    let output = Command::new(process::binary("frontdesk-gateway"))
        .args(["revoke", "--uid", uid])
        .env(
            "FRONTDESK_REDIS_URL",
            house.cluster.redis.url_for("gateway"),
        )
        .output()
        .await
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.starts_with("revoked"),
        "{output:?}"
    );
}

/// Tokens made in the second of the revocation are refused, too.
async fn next_second() {
    let now = tokens::now_s();
    wait::until("the next second", async || {
        (tokens::now_s() > now).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_revoked_user_is_closed_on_both_gateways_and_only_newer_tokens_count() {
    let mut house = House::open().await;
    let old = house.secret(&tokens::token("mallory", "customer"));
    let (here, there) = (house.cluster.addr(0), house.cluster.addr(1));
    let mut sockets = [
        Client::connect_with(here, &old).await,
        Client::connect_with(there, &old).await,
    ];
    let ticket = house.ticket(0, &old).await;
    let mut staff = Client::connect_with(there, &tokens::token("sam", "staff")).await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    sockets[0].act("customerConnect").await;
    for socket in &mut sockets {
        socket.expect("message", "connected").await;
    }
    staff.expect("message", "new_customer").await;

    let start = Instant::now();
    revoke(&house, "mallory").await;
    for socket in &mut sockets {
        assert_eq!(socket.expect_close().await, 4501);
    }
    // The promise is two seconds; a loaded machine is not asked for it.
    println!("closed on both gateways after {:?}", start.elapsed());
    // Nothing is kept for a return.
    staff.expect("chat_close", "customer_left").await;

    for addr in [here, there] {
        let connecting = Client::try_connect_with(addr, "lang=en", Some(&old)).await;
        assert_eq!(connecting.expect("a handshake").expect_close().await, 4501);
    }
    let query = format!("lang=en&ticket={ticket}");
    let mut late = Client::connect_unwelcomed(here, &query).await;
    assert_eq!(late.expect_close().await, 4501, "a ticket from before");

    next_second().await;
    let new = house.secret(&tokens::token("mallory", "customer"));
    let mut back = Client::connect_with(there, &new).await;
    back.act("customerConnect").await;
    back.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    // Again, and for others it changes nothing.
    revoke(&house, "mallory").await;
    assert_eq!(back.expect_close().await, 4501);
    staff.expect("chat_close", "customer_left").await;
    staff.ping().await;
    assert_eq!(house.cluster.dead_letters().await, 0);
    house.close();
}

#[tokio::test]
async fn revoked_staff_leave_their_duty_at_once() {
    let house = House::open().await;
    let (here, there) = (house.cluster.addr(0), house.cluster.addr(1));
    let mut staff = Client::connect_with(here, &tokens::token("sam", "staff")).await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = Client::connect_with(there, &tokens::token("carl", "customer")).await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    revoke(&house, "sam").await;
    customer.expect("chat_close", "staff_offline").await;
    customer.act("customerConnect").await;
    customer.expect("message", "no_staff").await;
    house.close();
}

/// Else a revoked visitor would come again with a token made after the revocation.
#[tokio::test]
async fn a_revoked_visitor_gets_no_new_token() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let said = post(addr, "visitors", None, "").await.json();
    let text = |name: &str| said[name].as_str().expect("a text").to_owned();
    let query = format!("lang=en&ticket={}", text("ticket"));
    let mut page = Client::connect(addr, &query).await;
    revoke(&house, &text("uid")).await;
    assert_eq!(page.expect_close().await, 4501);
    let token = house.secret(&text("token"));
    next_second().await;
    for gateway in [0, 1] {
        let addr = house.cluster.addr(gateway);
        assert_eq!(post(addr, "visitors", Some(&token), "").await.status, 401);
    }
    assert_eq!(handshake(addr, "", &[]).await, 401);
    assert_eq!(
        post(addr, "visitors", None, "").await.status,
        200,
        "others may"
    );
    house.close();
}

/// A user has one role: the newest token's. What an older token of another role has open ends.
#[tokio::test]
async fn a_new_role_closes_the_sockets_of_the_old_one() {
    let house = House::open().await;
    let (here, there) = (house.cluster.addr(0), house.cluster.addr(1));
    let of_age = |role: &str, age: u64| {
        let mut claims = tokens::claims("kim", role);
        claims["iat"] = json!(tokens::now_s() - age);
        tokens::signed(&claims)
    };
    let mut staff = Client::connect_with(here, &of_age("staff", 60)).await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = Client::connect_with(there, &of_age("customer", 30)).await;
    assert_eq!(staff.expect_close().await, 4401);
    customer.act("customerConnect").await;
    customer.expect("message", "no_staff").await;
    let old = Client::try_connect_with(here, "lang=en", Some(&of_age("staff", 60))).await;
    assert_eq!(old.expect("a handshake").expect_close().await, 4401);
    customer.ping().await;
    let mut second = Client::connect_with(here, &of_age("customer", 45)).await;
    second.act("staffOnline").await;
    second.expect("error", "wrong_role").await;
    customer.ping().await;
    house.close();
}

/// A refresh concerns its socket alone: it makes it neither outlive a revocation nor the role.
#[tokio::test]
async fn a_refreshed_socket_ends_with_its_user_all_the_same() {
    let house = House::open().await;
    let (here, there) = (house.cluster.addr(0), house.cluster.addr(1));
    let of_age = |role: &str, age: u64| {
        let mut claims = tokens::claims("kim", role);
        claims["iat"] = json!(tokens::now_s() - age);
        tokens::signed(&claims)
    };
    let refreshed = async |old: &str, new: &str| {
        let mut socket = Client::connect_with(here, old).await;
        let payload = json!({"token": new});
        socket.ask("refresh", payload).await;
        socket.expect("refreshed", "refreshed").await;
        socket
    };
    let mut staff = refreshed(&of_age("staff", 60), &of_age("staff", 10)).await;
    let mut customer = Client::connect_with(there, &of_age("customer", 30)).await;
    assert_eq!(
        staff.expect_close().await,
        4401,
        "it was opened with an older one"
    );
    customer.ping().await;
    let mut again = refreshed(&of_age("customer", 30), &of_age("customer", 0)).await;
    revoke(&house, "kim").await;
    for socket in [&mut customer, &mut again] {
        assert_eq!(socket.expect_close().await, 4501);
    }
    house.close();
}
