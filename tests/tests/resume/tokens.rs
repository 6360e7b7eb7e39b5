//! Whose connection a token takes over.

use std::time::Duration;

use frontdesk_tests::cluster::Cluster;
use serde_json::{Value, json};

use crate::{resume, talk};

#[tokio::test]
async fn a_client_that_comes_back_replaces_its_own_connection_on_another_gateway() {
    let cluster = Cluster::start().await;
    let (mut sam, mut alice, connected) = talk(&cluster).await;
    let token = alice.welcome["resume"].clone();
    let mut again = cluster.connect(1, "uid=alice&lang=en").await;
    let (snapshot, _) = resume(&mut again, Some(&token), &[&connected]).await;
    assert_eq!(snapshot["conversations"][0]["state"], "open");
    assert_eq!(alice.expect_close().await, 4502);
    sam.say("hello").await;
    again.expect_words("staff", "hello").await;
    // The token of a connection that is gone already is as good.
    let (_, _) = resume(&mut again, Some(&token), &[]).await;
    again.expect_nothing().await;
}

#[tokio::test]
async fn a_token_of_somebody_else_or_a_changed_one_does_nothing() {
    let cluster = Cluster::start().await;
    let (_sam, mut alice, connected) = talk(&cluster).await;
    let token = alice.welcome["resume"]
        .as_str()
        .expect("a token")
        .to_owned();
    let id = alice.welcome["client_id"].as_str().expect("an id");
    let mut bob = cluster.connect(1, "uid=bob&lang=en").await;
    let mut elsewhere = cluster.connect(0, "uid=alice&lang=en&site=elsewhere").await;
    let of_bob = bob.welcome["resume"].as_str().expect("a token").to_owned();
    let other_client = of_bob.replacen(&of_bob[..id.len()], id, 1);
    for forged in [
        &token,
        &other_client,
        &format!("{token}x"),
        &"..".to_owned(),
    ] {
        for client in [&mut bob, &mut elsewhere] {
            client.ask("resume", json!({ "token": forged })).await;
            client.expect("error", "bad_resume").await;
        }
    }
    // Nothing of theirs is shown to somebody who knows its name.
    let (snapshot, histories) = resume(&mut bob, None, &[&connected]).await;
    assert_eq!(snapshot["conversations"], json!([]));
    assert_eq!(
        (&histories[0]["reset"], &histories[0]["entries"]),
        (&Value::from(true), &json!([]))
    );
    // Alice has noticed nothing, and no token is in any log.
    alice.expect_nothing().await;
    tokio::time::timeout(Duration::from_secs(1), alice.ping())
        .await
        .expect("alive");
    for program in cluster.gateways.iter().chain(&cluster.workers) {
        assert!(!program.child.log().contains(&token), "a token in a log");
    }
}
