//! Workers come and go while they deliver: nothing is lost, and what comes twice has the same id.

use std::collections::BTreeSet;

use frontdesk_shared::{ids::Shard, ids::Site};
use frontdesk_tests::{
    cluster::{Builder, Cluster},
    wait,
};

use crate::{
    receiver::{Behaviour, Got, Receiver},
    site::{builder, customer, hook, kept, say, staff},
};

/// Workers that do not give a receiver up before the test is over.
fn patient() -> Builder {
    builder().worker_setting("hook-timeout-s", 60)
}

/// Which worker delivers for the default site.
async fn who_delivers(cluster: &Cluster) -> usize {
    let shard = Shard::of(&Site::parse("default").expect("valid")).number();
    wait::until("somebody has the lane", async || {
        let leases = cluster.leases().await;
        let owner = leases.get(&(shard, 0))?;
        cluster
            .workers
            .iter()
            .position(|worker| owner.starts_with(worker.child.name()))
    })
    .await
}

#[tokio::test]
async fn what_a_killed_worker_was_delivering_comes_again_with_the_same_id() {
    let mut cluster = patient().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Behaviour::Hang);
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    for n in 0..5 {
        say(&mut alice, &mut sam, &n.to_string()).await;
    }
    let under_way = receiver.wait(1).await;
    let worker = who_delivers(&cluster).await;
    cluster.workers[worker].child.kill9();
    receiver.always(Behaviour::Answer(204));
    cluster.launch_worker();
    let all = wait::until("all five have come", async || {
        let got = receiver.got();
        let ids: BTreeSet<_> = got[under_way.len()..].iter().map(Got::id).collect();
        (ids.len() == 5).then_some(got)
    })
    .await;
    // What was under way is the same delivery as before.
    let again = all[under_way.len()..]
        .iter()
        .find(|got| got.id() == under_way[0].id());
    assert_eq!(again.expect("it came again").body, under_way[0].body);
    wait::until("all is noted", async || {
        let left = kept(&cluster, "ZCARD", &hook, "retry").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(
        receiver.got().len(),
        under_way.len() + 5,
        "nothing else came twice"
    );
}

/// Nobody dies: everything comes once, whoever delivers it.
#[tokio::test]
async fn workers_that_come_and_go_deliver_everything_once() {
    const MESSAGES: usize = 200;
    let mut cluster = builder().start().await;
    let receiver = Receiver::start().await;
    hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    for n in 0..MESSAGES {
        if n % 50 == 25 {
            let worker = who_delivers(&cluster).await;
            cluster.launch_worker();
            let mut gone = cluster.workers.remove(worker);
            gone.child.term();
            assert_eq!(gone.child.wait_exit().await, Ok(0));
        }
        alice.say(&n.to_string()).await;
    }
    let got = receiver.wait(MESSAGES).await;
    let texts: BTreeSet<_> = got
        .iter()
        .map(|got| got.json()["data"]["message"].to_string())
        .collect();
    assert_eq!(texts.len(), MESSAGES);
    // Who stops waits for answers for a while, but not for ever; then it says so.
    let gave_up = std::fs::read_dir(cluster.logs())
        .expect("logs")
        .any(|file| {
            let log = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            log.contains("some receivers of webhooks have not answered yet")
        });
    assert!(
        gave_up || receiver.got().len() == MESSAGES,
        "something came twice"
    );
}

/// A worker that sleeps through its claim: somebody else delivers, and what it does when it wakes harms nobody.
#[tokio::test]
async fn a_worker_that_sleeps_keeps_no_delivery() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Behaviour::Hang);
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "hello").await;
    let first = receiver.wait(1).await;
    let worker = who_delivers(&cluster).await;
    cluster.workers[worker].child.pause();
    receiver.always(Behaviour::Answer(204));
    let got = receiver.wait(2).await;
    assert_eq!((got[1].id(), &got[1].body), (first[0].id(), &first[0].body));
    cluster.workers[worker].child.unpause();
    say(&mut alice, &mut sam, "there?").await;
    wait::until("both have come", async || {
        let left = kept(&cluster, "ZCARD", &hook, "retry").await;
        let texts: BTreeSet<_> = receiver.got().iter().map(Got::id).collect();
        (left == 0 && texts.len() == 2).then_some(())
    })
    .await;
}
