//! Receivers that do not answer as they should: what they missed comes again, with the same id, and at last
//! is parked.

use std::time::Duration;

use frontdesk_shared::{
    ids::{HookId, Site},
    keys,
};
use frontdesk_tests::{process::Program, wait};
use serde_json::{Value, json};

use crate::{
    receiver::{Behaviour, Receiver},
    site::{asks, builder, customer, hook, kept, say, staff},
};

/// Each of these fails, and the next attempt succeeds.
#[tokio::test]
async fn whatever_goes_wrong_comes_again_with_the_same_id() {
    let cluster = builder().worker_setting("hook-timeout-s", 5).start().await;
    let elsewhere = Receiver::start().await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    let receiver = Receiver::start().await;
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let ways = [
        Behaviour::Answer(500),
        Behaviour::Answer(404),
        Behaviour::Redirect(elsewhere.url()),
        Behaviour::Hang,
        Behaviour::Late(Duration::from_secs(8)),
        Behaviour::Close,
        Behaviour::CloseInHead,
        Behaviour::Nonsense,
        Behaviour::AskToWait(1),
    ];
    for (n, way) in ways.iter().enumerate() {
        receiver.first([way.clone()]);
        say(&mut alice, &mut sam, &n.to_string()).await;
        let got = receiver.wait(2 * n + 2).await;
        let (first, second) = (&got[2 * n], &got[2 * n + 1]);
        assert_eq!(first.id(), second.id(), "{way:?}");
        assert_eq!(first.body, second.body, "{way:?}");
        assert_eq!(first.json()["data"]["message"], n.to_string(), "{way:?}");
        assert!(second.is_signed_with(&hook.secret), "{way:?}");
    }
    assert_eq!(elsewhere.got().len(), 0, "a redirect is followed");
    wait::until("all is noted", async || {
        let left = kept(&cluster, "ZCARD", &hook, "retry").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(receiver.got().len(), 2 * ways.len());
}

/// Of an answer only the status counts.
#[tokio::test]
async fn what_follows_a_good_status_does_not_matter() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    let before = cluster.workers.iter().map(Program::memory).max();
    let ways = [
        Behaviour::CloseInBody,
        Behaviour::Endless,
        Behaviour::HangInBody,
        Behaviour::Answer(202),
    ];
    for (n, way) in ways.iter().enumerate() {
        receiver.first([way.clone()]);
        say(&mut alice, &mut sam, &n.to_string()).await;
        let got = receiver.wait(n + 1).await;
        assert_eq!(got[n].json()["data"]["message"], n.to_string(), "{way:?}");
    }
    say(&mut alice, &mut sam, "last").await;
    let got = receiver.wait(ways.len() + 1).await;
    assert_eq!(got.len(), ways.len() + 1, "one came twice");
    let after = cluster.workers.iter().map(Program::memory).max();
    assert!(
        after < before.map(|bytes| bytes + 64 * 1024 * 1024),
        "a body is kept"
    );
}

#[tokio::test]
async fn after_the_last_attempt_it_is_parked_and_sent_again_by_hand() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Behaviour::Answer(500));
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "one").await;
    say(&mut alice, &mut sam, "two").await;
    wait::until("both are parked", async || {
        let parked = kept(&cluster, "XLEN", &hook, "parked").await;
        (parked == 2).then_some(())
    })
    .await;
    let got = receiver.got();
    assert_eq!(got.len(), 8, "four attempts each");
    let mut total = 0.0;
    for worker in &cluster.workers {
        total += worker
            .metric_where("frontdesk_hooks_attempts_total", "parked")
            .await;
    }
    assert!((total - 2.0).abs() < 0.1, "{total}");
    // One by hand, then all.
    receiver.always(Behaviour::Answer(204));
    let path = format!("webhooks/{}/redeliver", hook.id);
    let id = got[0].id();
    let answer = asks(&cluster, "POST", &path, None, &json!({"delivery": id})).await;
    assert_eq!(
        (answer.status, &answer.json()["redelivered"]),
        (200, &json!(1))
    );
    let again = receiver.wait(9).await;
    assert_eq!((again[8].id(), &again[8].body), (id, &got[0].body));
    let answer = asks(&cluster, "POST", &path, None, &Value::Null).await;
    assert_eq!(
        (answer.status, &answer.json()["redelivered"]),
        (200, &json!(1))
    );
    receiver.wait(10).await;
    wait::until("nothing is left", async || {
        let parked = kept(&cluster, "XLEN", &hook, "parked").await;
        let retry = kept(&cluster, "ZCARD", &hook, "retry").await;
        (parked + retry == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_is_deleted_is_not_called_again() {
    let cluster = builder().worker_setting("hook-timeout-s", 60).start().await;
    let receiver = Receiver::start().await;
    receiver.always(Behaviour::Hang);
    let doomed = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    for text in ["one", "two", "three"] {
        say(&mut alice, &mut sam, text).await;
    }
    receiver.wait(1).await;
    let path = format!("webhooks/{}", doomed.id);
    let answer = asks(&cluster, "DELETE", &path, None, &Value::Null).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    // Another one is served after that, and the first is not.
    let other = Receiver::start().await;
    hook(&cluster, &other.url(), &["message.created"]).await;
    say(&mut alice, &mut sam, "four").await;
    other.wait(1).await;
    assert_eq!(receiver.got().len(), 1);
    wait::until("nothing of it is left", async || {
        let mut redis = cluster.redis.connect().await;
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("*{}*", doomed.id));
        let left: Vec<String> = keys.query_async(&mut redis).await.expect("names");
        left.is_empty().then_some(())
    })
    .await;
}

/// Whoever takes a shard up looks at once, then every hour.
#[tokio::test]
async fn what_is_parked_for_long_is_forgotten_counted_and_said() {
    let mut cluster = builder().workers(1).start().await;
    let hook = hook(&cluster, "https://a.example", &["message.created"]).await;
    let site = Site::parse("default").expect("valid");
    let id = HookId::parse(&hook.id).expect("valid");
    let fields = [("d", "||{}"), ("attempts", "10"), ("why", "timeout")];
    let mut fill = redis::pipe();
    for place in ["1-1", "2-1", "*"] {
        fill.xadd(keys::hook(&site, &id) + "parked", place, &fields)
            .ignore();
    }
    let mut redis = cluster.redis.connect().await;
    fill.exec_async(&mut redis).await.expect("written");
    cluster.workers[0].child.term();
    assert_eq!(cluster.workers[0].child.wait_exit().await, Ok(0));
    cluster.launch_worker();
    wait::until("the old ones are forgotten", async || {
        let path = format!("webhooks/{}", hook.id);
        let shown = asks(&cluster, "GET", &path, None, &Value::Null).await;
        let counts = ["parked", "forgotten"].map(|name| shown.json()[name].clone());
        (counts == [1, 2]).then_some(())
    })
    .await;
    let worker = cluster.workers.last().expect("the new one");
    wait::until("it is shown", async || {
        let forgotten = worker.metric("frontdesk_hooks_forgotten").await;
        (forgotten > 1.5).then_some(())
    })
    .await;
    assert!(worker.child.log().contains("--hook-keep-s were forgotten"));
}
