//! Receivers that hang or are dead slow nothing else: not the conversations, not the other receivers.

use frontdesk_shared::{ids::HookId, keys};
use frontdesk_tests::wait;
use frontdesk_worker::hooks::MAX_HOOK_QUEUE;

use crate::{
    receiver::{Behaviour, Receiver},
    site::{builder, customer, hook, kept, say, staff},
};

/// Longer than any of these tests: whoever waited for a receiver that hangs would not be done.
const FOR_EVER_S: u64 = 60;

#[tokio::test]
async fn receivers_that_hang_keep_nobody_waiting() {
    let cluster = builder()
        .worker_setting("hook-timeout-s", FOR_EVER_S)
        .worker_setting("hook-at-once", 4)
        .start()
        .await;
    // More than there may be requests at once.
    let mut hanging = Vec::new();
    for _ in 0..8 {
        let receiver = Receiver::start().await;
        receiver.always(Behaviour::Hang);
        hanging.push((
            hook(&cluster, &receiver.url(), &["message.created"]).await,
            receiver,
        ));
    }
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    let begun = std::time::Instant::now();
    for n in 0..50 {
        say(&mut alice, &mut sam, &n.to_string()).await;
    }
    assert!(
        begun.elapsed().as_secs() < FOR_EVER_S,
        "somebody waits for a receiver"
    );
    let mut waiting = 0;
    for (hook, _) in &hanging {
        waiting += kept(&cluster, "XLEN", hook, "queue").await;
        waiting += kept(&cluster, "ZCARD", hook, "retry").await;
    }
    assert_eq!(waiting, 8 * 50, "all of it waits");
}

/// Four dead ones have had a failure, so all of them together have one request of four.
#[tokio::test]
async fn a_good_receiver_is_served_beside_dead_ones() {
    let cluster = builder()
        .worker_setting("hook-timeout-s", 5)
        .worker_setting("hook-at-once", 4)
        .start()
        .await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    let mut dead = Vec::new();
    for _ in 0..6 {
        let receiver = Receiver::start().await;
        receiver.always(Behaviour::Hang);
        dead.push((
            hook(&cluster, &receiver.url(), &["message.created"]).await,
            receiver,
        ));
    }
    say(&mut alice, &mut sam, "first").await;
    wait::until("all of them have failed", async || {
        for (hook, _) in &dead {
            let mut redis = cluster.redis.connect().await;
            let id = HookId::parse(&hook.id).expect("valid");
            let site = frontdesk_shared::ids::Site::parse("default").expect("valid");
            let mut get = redis::cmd("HGET");
            get.arg(keys::hook(&site, &id) + "counts").arg("failed");
            let failed: Option<u64> = get.query_async(&mut redis).await.expect("a number");
            failed?;
        }
        Some(())
    })
    .await;
    let good = Receiver::start().await;
    let hook = hook(&cluster, &good.url(), &["message.created"]).await;
    for n in 0..100 {
        say(&mut alice, &mut sam, &n.to_string()).await;
    }
    let got = good.wait(100).await;
    for (n, got) in got.iter().enumerate() {
        assert_eq!(got.json()["data"]["message"], n.to_string());
        assert!(got.is_signed_with(&hook.secret));
    }
    assert_eq!(got.len(), 100);
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_counted_and_said_and_the_rest_comes() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Behaviour::Hang);
    let crowded = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "under way").await;
    receiver.wait(1).await;
    let site = frontdesk_shared::ids::Site::parse("default").expect("valid");
    let key = keys::hook(&site, &HookId::parse(&crowded.id).expect("valid"));
    let mut fill = redis::pipe();
    for n in 1..MAX_HOOK_QUEUE {
        let json = format!(r#"||{{"id":"6.1.{n}-0.1","conversation":"6.1.1-0.1","data":{{}}}}"#);
        fill.xadd(key.clone() + "queue", "*", &[("d", json)])
            .ignore();
    }
    let mut redis = cluster.redis.connect().await;
    fill.exec_async(&mut redis).await.expect("written");
    for text in ["one", "two"] {
        say(&mut alice, &mut sam, text).await;
    }
    let mut get = redis::cmd("HGET");
    get.arg(key + "counts");
    get.arg("dropped");
    let dropped: u64 = get.query_async(&mut redis).await.expect("a number");
    assert_eq!(dropped, 2);
    // Whoever delivers says so, and shows it.
    receiver.always(Behaviour::Answer(204));
    wait::until("it is said", async || {
        for worker in &cluster.workers {
            if worker.child.log().contains("webhooks were dropped") {
                return Some(());
            }
        }
        None
    })
    .await;
    wait::until("it is shown", async || {
        let mut sum = 0.0;
        for worker in &cluster.workers {
            sum += worker.metric("frontdesk_hooks_dropped").await;
        }
        (sum > 1.5).then_some(())
    })
    .await;
}
