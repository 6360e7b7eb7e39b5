//! Deliveries of webhooks that a site's programs, or operators, have tried now or not any more.

use frontdesk_shared::{
    event::HookAct,
    ids::{HookId, Lane, MessageId, Uid},
    keys,
};
use frontdesk_tests::redis_server::Options;
use frontdesk_worker::hooks::{CLAIM_MS, MAX_HOOK_PARKED, MAX_HOOK_QUEUE};

use crate::{
    hook_acts::{does, program, with_hook},
    hooks::queued,
    requests::said,
    scene::Scene,
};

on_both![
    parked_deliveries_are_tried_again_by_hand,
    a_full_queue_takes_no_parked_deliveries,
    a_call_looks_through_one_full_queue,
    what_waits_for_another_attempt_is_hastened_by_hand,
    what_waits_is_parked_by_hand,
    nothing_that_is_parked_gives_way_to_what_is_parked_by_hand,
];

/// A delivery as it is kept.
fn delivery(n: u64) -> String {
    format!(
        r#"||{{"id":"6.1.1-0.{n}","type":"conversation.ended","site":"default","time":1763832985123,"conversation":"6.1.1-0.9","seq":{n},"from":"system","uid":"sam","data":{{}}}}"#
    )
}

async fn fill(scene: &mut Scene, pipe: redis::Pipeline) {
    let connection = &mut scene.driver.connection;
    pipe.exec_async(connection).await.expect("written");
}

fn park(pipe: &mut redis::Pipeline, parked: &str, n: u64) {
    let json = delivery(n);
    let fields = [("d", json.as_str()), ("attempts", "3"), ("why", "timeout")];
    pipe.xadd(parked, "*", &fields).ignore();
}

fn one(delivery: Option<&str>) -> Option<MessageId> {
    delivery.map(|id| MessageId::parse(id).expect("well-formed"))
}

/// The ids of what waits in the queue.
async fn waiting(scene: &mut Scene, hook: &HookId) -> Vec<String> {
    let waiting = queued(scene, hook.as_str()).await;
    let id = |line: &String| line.split(' ').nth(1).expect("an id").to_owned();
    waiting.iter().map(id).collect()
}

/// What is in `retry`: attempts, why, the delivery's number; and whether it is due.
async fn retried(scene: &mut Scene, hook: &HookId) -> Vec<(String, bool)> {
    let now = scene.driver.time_ms().await as f64;
    let dump = scene.driver.dump().await;
    let members = dump.sorted(&(keys::hook(&scene.driver.site, hook) + "retry"));
    let short = |member: &str| {
        let mut parts = member.splitn(3, '|');
        let (attempts, why) = (parts.next().expect("some"), parts.next().expect("some"));
        let id = member.split('"').nth(3).expect("an id");
        format!("{attempts} {why} {id}")
    };
    let members = members.iter();
    members
        .map(|(member, score)| (short(member), *score <= now))
        .collect()
}

async fn parked_deliveries_are_tried_again_by_hand(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let parked = keys::hook(&scene.driver.site, &hook) + "parked";
    let mut pipe = redis::pipe();
    for n in 1..=3 {
        park(&mut pipe, &parked, n);
    }
    fill(&mut scene, pipe).await;
    let again = |delivery| HookAct::Redeliver {
        hook: hook.clone(),
        delivery: one(delivery),
    };
    let told = |moved| format!("webhook_redelivered hastened=0 id=e1.1 redelivered={moved}");
    let change = does(&mut scene, "k1", again(Some("6.1.1-0.2"))).await;
    assert_eq!(said(&scene, &change), told(1));
    assert_eq!(waiting(&mut scene, &hook).await, ["6.1.1-0.2"]);
    for unknown in ["6.1.1-0.2", "6.1.1-0"] {
        let change = does(&mut scene, unknown, again(Some(unknown))).await;
        assert_eq!(said(&scene, &change), "error code=no_delivery");
    }
    let change = does(&mut scene, "k3", again(None)).await;
    assert_eq!(said(&scene, &change), told(2));
    assert_eq!(
        waiting(&mut scene, &hook).await,
        ["6.1.1-0.2", "6.1.1-0.1", "6.1.1-0.3"]
    );
    let change = does(&mut scene, "k4", again(None)).await;
    assert_eq!(said(&scene, &change), told(0));
}

async fn a_full_queue_takes_no_parked_deliveries(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let key = keys::hook(&scene.driver.site, &hook);
    let mut pipe = redis::pipe();
    for n in 1..MAX_HOOK_QUEUE {
        let waits = format!("||{n}");
        pipe.xadd(key.clone() + "queue", "*", &[("d", waits)])
            .ignore();
    }
    for n in 1..=2 {
        park(&mut pipe, &(key.clone() + "parked"), n);
    }
    fill(&mut scene, pipe).await;
    let again = |delivery| HookAct::Redeliver {
        hook: hook.clone(),
        delivery: one(delivery),
    };
    let change = does(&mut scene, "k1", again(None)).await;
    let told = "webhook_redelivered hastened=0 id=e1.1 redelivered=1";
    assert_eq!(said(&scene, &change), told);
    for (key, delivery) in [("k2", None), ("k3", Some("6.1.1-0.2"))] {
        let change = does(&mut scene, key, again(delivery)).await;
        assert_eq!(said(&scene, &change), "error code=webhook_full");
    }
    let change = does(&mut scene, "k4", again(Some("6.1.1-0.1"))).await;
    assert_eq!(said(&scene, &change), "error code=no_delivery");
}

/// Also for what is not there: otherwise a burst of such requests would hold up all of Redis.
async fn a_call_looks_through_one_full_queue(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let queue = keys::hook(&scene.driver.site, &hook) + "queue";
    let mut pipe = redis::pipe();
    for n in 0..MAX_HOOK_QUEUE {
        pipe.xadd(queue.clone(), "*", &[("d", format!("||{n}"))])
            .ignore();
    }
    fill(&mut scene, pipe).await;
    for key in ["k1", "k2"] {
        let unknown = HookAct::Park {
            hook: hook.clone(),
            delivery: one(Some("6.1.1-0.9")),
        };
        let kind = program(&mut scene).hooks(key, unknown);
        scene.driver.append("robot", kind).await;
    }
    let robot = Uid::parse("robot").expect("well-formed");
    let lane = Lane::of(&robot);
    for _ in 0..2 {
        assert_eq!(scene.driver.apply_pending(lane, 32).await.len(), 1);
    }
    assert!(scene.driver.apply_pending(lane, 32).await.is_empty());
}

/// What a worker may have taken: whose claim has not ended, or is due so soon that it may be a claim.
async fn with_retries(options: Options) -> (Scene, HookId) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let key = keys::hook(&scene.driver.site, &hook);
    let now = scene.driver.time_ms().await;
    let mut pipe = redis::pipe();
    for (n, due) in [
        (1, now - 1),
        (2, now + CLAIM_MS / 2),
        (3, now + 10 * CLAIM_MS),
        (4, now + 100 * CLAIM_MS),
        (5, now + 200 * CLAIM_MS),
    ] {
        let member = format!("{n}|timeout|{}", delivery(n));
        pipe.zadd(key.clone() + "retry", member, due).ignore();
    }
    pipe.hset(key + "counts", "held", now + 20 * CLAIM_MS)
        .ignore();
    fill(&mut scene, pipe).await;
    (scene, hook)
}

async fn what_waits_for_another_attempt_is_hastened_by_hand(options: Options) {
    let (mut scene, hook) = with_retries(options).await;
    let again = |delivery| HookAct::Redeliver {
        hook: hook.clone(),
        delivery: one(delivery),
    };
    for (n, taken) in ["6.1.1-0.2", "6.1.1-0.3"].into_iter().enumerate() {
        let change = does(&mut scene, &format!("t{n}"), again(Some(taken))).await;
        assert_eq!(said(&scene, &change), "error code=no_delivery");
    }
    let change = does(&mut scene, "k1", again(Some("6.1.1-0.5"))).await;
    let told = "webhook_redelivered hastened=1 id=e1.1 redelivered=0";
    assert_eq!(said(&scene, &change), told);
    let change = does(&mut scene, "k2", again(None)).await;
    assert_eq!(said(&scene, &change), told);
    let mut all = retried(&mut scene, &hook).await;
    all.sort();
    let due = [true, false, false, true, true];
    let expected = (1..=5).zip(due);
    let expected: Vec<_> = expected
        .map(|(n, due)| (format!("{n} timeout 6.1.1-0.{n}"), due))
        .collect();
    assert_eq!(all, expected);
}

async fn what_waits_is_parked_by_hand(options: Options) {
    let (mut scene, hook) = with_retries(options).await;
    let key = keys::hook(&scene.driver.site, &hook);
    let mut pipe = redis::pipe();
    for n in 6..=7 {
        let fields = [("d", delivery(n))];
        pipe.xadd(key.clone() + "queue", "*", &fields).ignore();
    }
    fill(&mut scene, pipe).await;
    let park_it = |delivery| HookAct::Park {
        hook: hook.clone(),
        delivery: one(delivery),
    };
    for (n, taken) in ["6.1.1-0.2", "6.1.1-0.3"].into_iter().enumerate() {
        let change = does(&mut scene, &format!("t{n}"), park_it(Some(taken))).await;
        assert_eq!(said(&scene, &change), "error code=no_delivery");
    }
    for (n, waits) in ["6.1.1-0.5", "6.1.1-0.7"].into_iter().enumerate() {
        let change = does(&mut scene, &format!("p{n}"), park_it(Some(waits))).await;
        assert_eq!(said(&scene, &change), "webhook_parked id=e1.1 parked=1");
    }
    let change = does(&mut scene, "k1", park_it(None)).await;
    assert_eq!(said(&scene, &change), "webhook_parked id=e1.1 parked=3");
    let change = does(&mut scene, "k2", park_it(None)).await;
    assert_eq!(said(&scene, &change), "webhook_parked id=e1.1 parked=0");
    let dump = scene.driver.dump().await;
    let parked = dump.stream(&(key.clone() + "parked"));
    let parked = parked.iter().map(|(_, fields)| {
        let value = |at: usize| fields[at].1.as_str();
        let id = value(0).split('"').nth(3).expect("an id");
        format!("{} {} {id}", value(1), value(2))
    });
    let expected = [
        "5 timeout 6.1.1-0.5",
        "0 by hand 6.1.1-0.7",
        "1 timeout 6.1.1-0.1",
        "4 timeout 6.1.1-0.4",
        "0 by hand 6.1.1-0.6",
    ];
    assert_eq!(parked.collect::<Vec<_>>(), expected);
    assert_eq!(retried(&mut scene, &hook).await.len(), 2);
    assert!(dump.stream(&(key.clone() + "queue")).is_empty());
    assert_eq!(dump.hash(&(key + "counts"))["parked"], "5");
}

async fn nothing_that_is_parked_gives_way_to_what_is_parked_by_hand(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let key = keys::hook(&scene.driver.site, &hook);
    let mut pipe = redis::pipe();
    for n in 1..=MAX_HOOK_PARKED {
        if n > 1 {
            park(&mut pipe, &(key.clone() + "parked"), n);
        }
        let fields = [("d", delivery(10_000 + n))];
        pipe.xadd(key.clone() + "queue", "*", &fields).ignore();
    }
    fill(&mut scene, pipe).await;
    let park_it = |delivery| HookAct::Park {
        hook: hook.clone(),
        delivery: one(delivery),
    };
    let change = does(&mut scene, "k1", park_it(None)).await;
    assert_eq!(said(&scene, &change), "webhook_parked id=e1.1 parked=1");
    for (key, delivery) in [("k2", None), ("k3", Some("6.1.1-0.10002"))] {
        let change = does(&mut scene, key, park_it(delivery)).await;
        assert_eq!(said(&scene, &change), "error code=webhook_full");
    }
    let change = does(&mut scene, "k4", park_it(Some("6.1.1-0.10001"))).await;
    assert_eq!(said(&scene, &change), "error code=no_delivery");
    let dump = scene.driver.dump().await;
    let parked = dump.stream(&(key + "parked"));
    assert_eq!(parked.len() as u64, MAX_HOOK_PARKED);
}
