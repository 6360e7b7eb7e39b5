//! What webhooks are told: deliveries in the queues of hooks, by the call that writes what they tell of.

use frontdesk_shared::{keys, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{on_duty, recall, words, words_to_user},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave},
    hooks::{MAX_HOOK_QUEUE, MAX_HOOKS_PER_SITE, MAX_SITE_QUEUE},
};
use serde_json::Value;

use crate::scene::{Scene, close, conversation_of, lane};

on_both![
    each_event_of_a_conversation_is_told_as_what_it_is,
    a_hook_is_told_what_it_wants_and_nothing_else,
    who_joins_a_queue_is_told_of_before_there_is_an_entry,
    left_messages_and_direct_ones_are_told,
    a_hook_that_is_full_drops_and_counts,
    the_webhooks_of_a_site_share_what_it_may_have,
    a_broken_key_of_webhooks_keeps_no_message_out,
    without_hooks_a_call_reads_one_hash_at_most,
];

/// The form of a hook's id.
pub const HOOK: &str = "6.1.1-0.1";

/// Puts down that a hook of the site wants what these letters stand for.
pub async fn wants(scene: &mut Scene, hook: &str, letters: &str) {
    let site = scene.driver.site.clone();
    let mut get = redis::cmd("HGET");
    get.arg(keys::wanted_hooks(scene.driver.shard))
        .arg(site.as_str());
    let connection = &mut scene.driver.connection;
    let others: Option<String> = get.query_async(connection).await.expect("a hash");
    let all = format!("{}{hook} {letters};", others.unwrap_or_default());
    let mut set = redis::cmd("HSET");
    set.arg(keys::wanted_hooks(scene.driver.shard));
    set.arg(site.as_str()).arg(all);
    set.exec_async(connection).await.expect("written");
}

/// What waits in a hook's queue, in short: type, place, from, uid and data.
pub async fn queued(scene: &mut Scene, hook: &str) -> Vec<String> {
    let dump = scene.driver.dump().await;
    let entries = dump.stream(&scene.driver.key(&format!("hook:{hook}:queue")));
    let shard = scene.driver.shard;
    let hooked = dump.sorted(&keys::hooked(shard));
    let name = format!("{}|{hook}", scene.driver.site);
    let score = hooked.iter().find(|(member, _)| *member == name);
    assert_eq!(
        score.map(|(_, score)| *score == 0.0),
        (!entries.is_empty()).then_some(true)
    );
    let told = entries.iter().map(|(_, fields)| {
        let (name, text) = &fields[0];
        assert_eq!((name.as_str(), fields.len()), ("d", 1));
        let parts: Vec<&str> = text.splitn(3, '|').collect();
        let json: Value = serde_json::from_str(parts[2]).expect("a delivery has a JSON body");
        assert_eq!(json["site"], "default");
        assert!(json["time"].as_u64() > Some(1_500_000_000_000), "{json}");
        let word = |name: &str| json[name].as_str().expect("text").to_owned();
        if json["type"] == "message.created" {
            assert_eq!(parts[0], json["conversation"]);
            assert_eq!(parts[1], json["seq"].to_string());
        } else {
            assert_eq!(&parts[..2], ["", ""]);
        }
        let short = format!(
            "{} {} {} {} {} {} {}",
            word("type"),
            word("id"),
            word("conversation"),
            json["seq"],
            word("from"),
            word("uid"),
            json["data"].to_string().replace('"', "")
        );
        scene.short(&short)
    });
    told.collect()
}

fn requeueing() -> DeskSettings {
    DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    }
}

async fn each_event_of_a_conversation_is_told_as_what_it_is(options: Options) {
    let mut scene = Scene::new(options, requeueing()).await;
    wants(&mut scene, HOOK, "qstemr").await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut alice, words("hello")).await;
    scene.send(&mut alice, recall(2, &conv)).await;
    let mut sue = scene.open("sue").await;
    scene.send(&mut sue, on_duty(1)).await;
    scene.send(&mut sam, Verb::StaffOffline).await;
    scene.send(&mut sue, words("hi")).await;
    scene.send(&mut sue, close(None)).await;
    assert_eq!(
        queued(&mut scene, HOOK).await,
        [
            "conversation.started e4.2 e4.1 1 system sam {customer:alice,staff:sam}",
            "message.created e5.1 e4.1 2 customer alice {}",
            "message.recalled e6.1 e4.1 3 customer alice {of:2,of_id:e5.1}",
            "conversation.queued e9.1 e4.1 4 system sam {customer:alice,reason:staff_offline}",
            "conversation.transferred e9.2 e4.1 5 system sue {customer:alice,previous:sam,staff:sue}",
            "message.created e10.1 e4.1 6 staff sue {}",
            "conversation.ended e11.1 e4.1 7 system sue {customer:alice,reason:closed,staff:sue}",
        ]
    );
}

async fn a_hook_is_told_what_it_wants_and_nothing_else(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    // One that is off, two that are not.
    for (hook, letters) in [("6.1.1-0.2", "-"), (HOOK, "e"), ("6.1.1-0.3", "mt")] {
        wants(&mut scene, hook, letters).await;
    }
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, words("hello")).await;
    scene.send(&mut alice, Verb::CustomerLeave).await;
    let ended = "conversation.ended e6.1 e4.1 3 system alice {customer:alice,reason:customer_left,staff:sam}";
    assert_eq!(queued(&mut scene, HOOK).await, [ended]);
    let said = "message.created e5.1 e4.1 2 customer alice {}";
    assert_eq!(queued(&mut scene, "6.1.1-0.3").await, [said]);
    assert_eq!(queued(&mut scene, "6.1.1-0.2").await, [""; 0]);
}

async fn who_joins_a_queue_is_told_of_before_there_is_an_entry(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    wants(&mut scene, HOOK, "qse").await;
    let mut sam = scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    // Asked again nothing is new.
    scene.send(&mut bob, Verb::CustomerConnect).await;
    scene.send(&mut sam, close(None)).await;
    scene.customer("carl").await;
    scene.send(&mut sam, Verb::StaffOffline).await;
    assert_eq!(
        queued(&mut scene, HOOK).await,
        [
            "conversation.started e4.2 e4.1 1 system sam {customer:alice,staff:sam}",
            "conversation.queued e6.1 e6.1 null system bob {customer:bob,reason:new}",
            "conversation.ended e8.1 e4.1 2 system sam {customer:alice,reason:closed,staff:sam}",
            "conversation.started e8.2 e6.1 1 system sam {customer:bob,staff:sam}",
            "conversation.queued e10.1 e10.1 null system carl {customer:carl,reason:new}",
            "conversation.ended e11.1 e6.1 2 system sam {customer:bob,reason:staff_offline,staff:sam}",
            "conversation.ended e11.2 e10.1 1 system sam {customer:carl,reason:queue_staff_offline}",
        ]
    );
}

async fn left_messages_and_direct_ones_are_told(options: Options) {
    let settings = DeskSettings {
        leave_message: true,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    wants(&mut scene, HOOK, "qm").await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, words("anybody?")).await;
    let mut sam = scene.open("sam").await;
    scene.open("sue").await;
    scene.send(&mut sam, words_to_user("hi", "sue", None)).await;
    assert_eq!(
        queued(&mut scene, HOOK).await,
        [
            "conversation.queued e2.1 e2.1 null system alice {customer:alice,reason:left}",
            "message.created e3.1 e2.1 1 customer alice {}",
            "message.created e6.2 e6.1 1 user sam {}",
        ]
    );
}

async fn a_hook_that_is_full_drops_and_counts(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    wants(&mut scene, HOOK, "m").await;
    let key = |scene: &Scene, rest: &str| scene.driver.key(&format!("hook:{HOOK}:{rest}"));
    let mut fill = redis::pipe();
    // Both what waits and what is tried again count.
    fill.zadd(key(&scene, "retry"), "1||||{}", 1).ignore();
    for _ in 2..MAX_HOOK_QUEUE {
        let fields = [("d", "||{}")];
        fill.xadd(key(&scene, "queue"), "*", &fields).ignore();
    }
    let connection = &mut scene.driver.connection;
    fill.exec_async(connection).await.expect("written");
    for n in 0..3 {
        // Their sender notices nothing.
        let change = scene.send(&mut alice, words(&n.to_string())).await;
        assert!(change.told()[0].starts_with("sam.1 message/customer"));
    }
    let dump = scene.driver.dump().await;
    let waiting = dump.stream(&key(&scene, "queue"));
    assert_eq!(waiting.len() as u64, MAX_HOOK_QUEUE - 1);
    assert!(
        waiting.last().expect("some").1[0]
            .1
            .contains("message.created")
    );
    let counts = dump.hash(&key(&scene, "counts"));
    assert_eq!((&*counts["dropped"], &*counts["unlogged"]), ("2", "2"));
}

async fn the_webhooks_of_a_site_share_what_it_may_have(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    wants(&mut scene, HOOK, "m").await;
    let share = MAX_SITE_QUEUE / MAX_HOOKS_PER_SITE;
    assert!(share < MAX_HOOK_QUEUE);
    let queue = scene.driver.key(&format!("hook:{HOOK}:queue"));
    let mut fill = redis::pipe();
    for n in 0..MAX_HOOKS_PER_SITE {
        let key = scene.driver.key("hooks");
        fill.hset(key, n, "{}").ignore();
    }
    for _ in 1..share {
        fill.xadd(&queue, "*", &[("d", "||{}")]).ignore();
    }
    let connection = &mut scene.driver.connection;
    fill.exec_async(connection).await.expect("written");
    for n in 0..3 {
        scene.send(&mut alice, words(&n.to_string())).await;
    }
    let dump = scene.driver.dump().await;
    assert_eq!(dump.stream(&queue).len() as u64, share);
    let counts = dump.hash(&scene.driver.key(&format!("hook:{HOOK}:counts")));
    assert_eq!(counts["dropped"], "2");
}

async fn a_broken_key_of_webhooks_keeps_no_message_out(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let queue = scene.driver.key(&format!("hook:{HOOK}:queue"));
    let wanted = keys::wanted_hooks(scene.driver.shard);
    wants(&mut scene, HOOK, "m").await;
    for broken in [queue, wanted] {
        let mut set = redis::cmd("SET");
        set.arg(broken).arg("no such type");
        let connection = &mut scene.driver.connection;
        set.exec_async(connection).await.expect("written");
        let change = scene.send(&mut alice, words("hello")).await;
        assert!(change.told()[0].starts_with("sam.1 message/customer"));
    }
    let dump = scene.driver.dump().await;
    assert!(dump.stream(&keys::dead(scene.driver.shard)).is_empty());
}

async fn without_hooks_a_call_reads_one_hash_at_most(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    let read = frontdesk_tests::lane_driver::read_to(1, &conv);
    for (verbs, reads) in [
        (
            vec![words("a"), words("b"), recall(2, &conv), words("c")],
            1,
        ),
        // Nothing that a webhook could be told.
        (vec![read.clone(), Verb::CustomerConnect, read], 0),
    ] {
        for verb in verbs {
            let kind = alice.verb(verb);
            scene.driver.append("alice", kind).await;
        }
        let lane = lane("alice");
        let pending = scene.driver.pending(lane, 10).await;
        let entries: Vec<_> = pending.into_iter().map(|it| it.prepared).collect();
        let before = scene.driver.dump().await;
        let client = redis::Client::open(scene.url()).expect("the URL is well-formed");
        let monitor = client.get_async_monitor().await.expect("Redis accepts");
        scene.driver.apply(lane, &entries).await;
        let end = format!("end of {}", entries.len());
        let mut echo = redis::cmd("ECHO");
        echo.arg(&end);
        let connection = &mut scene.driver.connection;
        echo.exec_async(connection).await.expect("it answers");
        let mut seen = Vec::new();
        let mut commands = Box::pin(monitor.into_on_message::<String>());
        while let Some(line) = futures_util::StreamExt::next(&mut commands).await {
            if line.contains(&end) {
                break;
            }
            seen.push(line);
        }
        let own: Vec<_> = seen.iter().filter(|line| line.contains("lua]")).collect();
        assert!(own.len() > entries.len(), "{seen:#?}");
        let about_hooks = own.iter().filter(|line| line.contains("hook"));
        assert_eq!(about_hooks.count(), reads, "{own:#?}");
        let after = scene.driver.dump().await;
        let names = after.0.keys().filter(|name| !before.0.contains_key(*name));
        assert_eq!(names.filter(|name| name.contains("hook")).count(), 0);
    }
}
