//! One-time tickets: once, soon, for whom they were made, over all gateways.

use frontdesk_tests::{client::Client, http, tokens, wait};
use serde_json::json;

use super::{House, handshake, post};

#[tokio::test]
async fn a_ticket_lets_in_once_over_all_gateways() {
    let mut house = House::open().await;
    for (made, used) in [(0, 0), (0, 1), (1, 0)] {
        let ticket = house.ticket(made, &tokens::token("alice", "staff")).await;
        let query = format!("lang=en&ticket={ticket}");
        let mut alice = Client::connect(house.cluster.addr(used), &query).await;
        assert_eq!(alice.welcome["uid"], "alice");
        for again in [used, 0, 1] {
            let addr = house.cluster.addr(again);
            assert_eq!(handshake(addr, &query, &[]).await, 401, "used before");
        }
        alice.ping().await;
        alice.close(None).await;
    }
    house.close();
}

/// Whoever is first is in; all others are out, wherever they knock.
#[tokio::test]
async fn of_many_with_one_ticket_exactly_one_comes_in() {
    let mut house = House::open().await;
    for _ in 0..5 {
        let ticket = house.ticket(0, &tokens::token("alice", "customer")).await;
        let query = format!("ticket={ticket}");
        let knocks = (0..8).map(|n| handshake(house.cluster.addr(n % 2), &query, &[]));
        let answers = futures_util::future::join_all(knocks).await;
        let inside = answers.iter().filter(|status| **status == 101).count();
        let outside = answers.iter().filter(|status| **status == 401).count();
        assert_eq!((inside, outside), (1, 7), "{answers:?}");
    }
    house.close();
}

#[tokio::test]
async fn a_ticket_is_for_whom_it_was_made_and_nothing_in_redis_opens() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    for wrong in ["site=other", "uid=bob", "role=supervisor"] {
        let ticket = house.ticket(0, &tokens::token("alice", "staff")).await;
        let query = format!("ticket={ticket}&{wrong}");
        assert_eq!(handshake(addr, &query, &[]).await, 403, "{wrong}");
        let query = format!("ticket={ticket}");
        assert_eq!(handshake(addr, &query, &[]).await, 401, "it was shown");
    }
    let ticket = house.ticket(0, &tokens::token("alice", "staff")).await;
    let same = format!("ticket={ticket}&site=default&uid=alice&role=staff&lang=en");
    drop(Client::connect(addr, &same).await);

    // What Redis holds is a hash and who it is for, and it fades by itself.
    let token = tokens::token("alice", "staff");
    let ticket = house.ticket(1, &token).await;
    let mut redis = house.cluster.redis.connect().await;
    let mut keys = redis::cmd("KEYS");
    let keys: Vec<String> = keys
        .arg("frontdesk:ticket:*")
        .query_async(&mut redis)
        .await
        .unwrap();
    let [key] = &keys[..] else {
        panic!("one ticket waits: {keys:?}");
    };
    let (held, ttl): (String, i64) = redis::pipe()
        .get(key)
        .cmd("TTL")
        .arg(key)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((1..=30).contains(&ttl), "{ttl}");
    let parts = token.split('.').chain([&*ticket]);
    for part in parts {
        assert!(!key.contains(part) && !held.contains(part), "{key} {held}");
    }
    let hash = key.rsplit(':').next().expect("a hash");
    for query in [format!("ticket={hash}"), format!("ticket={key}")] {
        assert_eq!(handshake(addr, &query, &[]).await, 401, "{query}");
    }
    // As if its time were up.
    let () = redis::cmd("PEXPIRE")
        .arg(key)
        .arg(1)
        .query_async(&mut redis)
        .await
        .unwrap();
    wait::until("Redis forgets it", async || {
        let mut exists = redis::cmd("EXISTS");
        let exists: bool = exists.arg(key).query_async(&mut redis).await.unwrap();
        (!exists).then_some(())
    })
    .await;
    let query = format!("ticket={ticket}");
    assert_eq!(handshake(addr, &query, &[]).await, 401, "too late");
    house.close();
}

#[tokio::test]
async fn what_is_no_ticket_lets_nobody_in() {
    let mut house = House::open().await;
    let addr = house.cluster.addr(0);
    let ticket = house.ticket(0, &tokens::token("alice", "staff")).await;
    let token = tokens::token("alice", "staff");
    for (query, status) in [
        ("uid=alice&role=staff".to_owned(), 401),
        ("ticket=".to_owned(), 401),
        ("ticket=x".to_owned(), 401),
        ("ticket=*".to_owned(), 401),
        (format!("ticket={}", "A".repeat(43)), 401),
        (format!("ticket={}", "A".repeat(9000)), 401),
        (format!("ticket={token}"), 401),
        (format!("token={token}"), 401),
        (format!("ticket={ticket}x"), 401),
        (format!("ticket={ticket}%00"), 401),
        (format!("ticket={ticket}&ticket={ticket}"), 400),
        (format!("ticket={ticket}&lang=fr"), 400),
    ] {
        assert_eq!(handshake(addr, &query, &[]).await, status, "{query:.90}");
    }
    // Two ways at once are none.
    let ticket = house.ticket(0, &token).await;
    let bearer = format!("Authorization: Bearer {token}");
    let query = format!("ticket={ticket}");
    let both = handshake(addr, &query, &[bearer.as_bytes()]).await;
    assert_eq!(both, 400);
    let twice = handshake(addr, "", &[bearer.as_bytes(), bearer.as_bytes()]).await;
    assert_eq!(twice, 401);
    assert_eq!(
        handshake(addr, "", &[b"Authorization: Basic YTpi"]).await,
        401
    );
    house.close();
}

/// A page of another origin asks first, and may read the answer only where it may open a socket.
#[tokio::test]
async fn pages_may_fetch_tickets_where_they_may_open_sockets() {
    let mut house =
        House::open_with(|builder| builder.gateway_setting("allow-origin", "https://shop.example"))
            .await;
    let addr = house.cluster.addr(0);
    let token = house.secret(&tokens::token("alice", "customer"));
    let bearer = format!("Authorization: Bearer {token}");
    for (origin, allowed) in [
        (&b"Origin: https://shop.example"[..], true),
        (b"Origin: https://evil.example", false),
        (b"Origin: null", false),
    ] {
        for path in ["/api/v1/tickets", "/api/v1/visitors"] {
            let asked = http::send(addr, "OPTIONS", path, &[origin], "")
                .await
                .unwrap();
            let answer = if path.ends_with("tickets") {
                http::send(addr, "POST", path, &[origin, bearer.as_bytes()], "").await
            } else {
                http::send(addr, "POST", path, &[origin], "").await
            };
            let answer = answer.unwrap();
            let readable = answer.header("access-control-allow-origin");
            if allowed {
                assert_eq!((asked.status, answer.status), (204, 200), "{path}");
                assert_eq!(readable, Some("https://shop.example"));
                let headers = asked.header("access-control-allow-headers");
                assert_eq!(
                    headers,
                    Some("authorization, content-type, idempotency-key")
                );
            } else {
                assert_eq!((asked.status, answer.status), (403, 403), "{path}");
                assert_eq!(
                    (readable, asked.header("access-control-allow-origin")),
                    (None, None)
                );
            }
        }
    }
    for (method, path) in [("GET", "/api/v1/tickets"), ("PUT", "/api/v1/visitors")] {
        let answer = http::send(addr, method, path, &[], "").await.unwrap();
        assert_eq!(answer.status, 405, "{method} {path}");
    }
    let no_token = post(addr, "tickets", None, &json!({}).to_string()).await;
    assert_eq!(no_token.status, 401);
    assert_eq!(no_token.header("www-authenticate"), Some("Bearer"));
    house.close();
}

/// Whoever asks too often is turned away before anything is looked at.
#[tokio::test]
async fn an_address_may_ask_so_many_times() {
    const ASKED: usize = 200;
    let house = House::open_with(|builder| builder.gateway_setting("request-rate-per-ip", 5)).await;
    let addr = house.cluster.addr(0);
    let asked = (0..ASKED).map(|_| post(addr, "visitors", None, ""));
    let answers = futures_util::future::join_all(asked).await;
    let count = |wanted| {
        answers
            .iter()
            .filter(|answer| answer.status == wanted)
            .count()
    };
    let (served, refused) = (count(200), count(429));
    assert_eq!(served + refused, ASKED, "{answers:?}");
    assert!(served >= 5 && refused >= 5, "{served} {refused}");
    house.close();
}
