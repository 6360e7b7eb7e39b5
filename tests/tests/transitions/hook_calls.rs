//! `hook_take`, `hook_body`, `hook_done`, `hooks_due`, `hooks_sweep`: how deliveries leave the outbox.

use frontdesk_shared::{keys, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{Socket, recall, words},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    hooks::{MAX_FORGOTTEN, MAX_HOOK_PARKED},
};
use redis::{FromRedisValue, Value};

use crate::{
    hooks::{HOOK, wants},
    scene::{Scene, conversation_of},
};

on_both![
    what_is_taken_is_nobody_elses_until_its_claim_ends,
    a_hook_that_is_served_stands_behind_those_that_wait,
    what_has_failed_is_due_later_and_parked_at_last,
    words_are_those_of_the_log_at_the_time_of_delivery,
    what_is_taken_and_not_sent_says_what_holds_now,
    an_attempt_that_was_not_made_does_not_count,
    a_hook_that_is_off_or_gone_is_not_delivered_to,
    parked_deliveries_are_bounded,
    due_and_stats_tell_what_there_is,
    what_nobody_tries_is_forgotten_after_a_while,
];

/// Longer than any test.
const LONG_MS: u64 = 600_000;
const CONFIG: &str = r#"{"created":1,"enabled":true,"types":[],"url":"https://example.com/"}"#;

/// A conversation of alice and sam whose hook is told everything that is said.
async fn scene(options: Options) -> (Scene, Socket, String) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    wants(&mut scene, HOOK, "m").await;
    configure(&mut scene, Some(CONFIG)).await;
    (scene, alice, conv)
}

async fn configure(scene: &mut Scene, config: Option<&str>) {
    let key = keys::hooks(&scene.driver.site);
    let mut command = redis::cmd(if config.is_some() { "HSET" } else { "HDEL" });
    command.arg(key).arg(HOOK).arg(config);
    let connection = &mut scene.driver.connection;
    command.exec_async(connection).await.expect("written");
}

async fn call(scene: &mut Scene, function: &str, args: &[String]) -> Value {
    let (site, shard) = (scene.driver.site.clone(), scene.driver.shard);
    let mut call = scene.driver.library().call(function, &[keys::hooks(&site)]);
    call.arg(keys::shard_prefix(shard))
        .arg(keys::site_prefix(&site))
        .arg(site.as_str())
        .arg(HOOK)
        .arg(args);
    let mut connection = scene.driver.connection.clone();
    let answer = scene.driver.library().run(&mut connection, &call).await;
    answer.expect("the script runs")
}

/// Member, attempts, id, conversation, body.
type Delivery = (String, u64, String, String, String);

async fn take(scene: &mut Scene, most: u64, claim_ms: u64, attempts: u64) -> Vec<Delivery> {
    let args = [most, claim_ms, attempts, 0].map(|n| n.to_string());
    let Value::Array(mut answer) = call(scene, "hook_take", &args).await else {
        panic!("no list");
    };
    if answer.is_empty() {
        return Vec::new();
    }
    let mut deliveries = Vec::new();
    for value in answer.split_off(2) {
        let taken = <(String, u64, String, String)>::from_redis_value(value);
        let (member, attempts, id, conversation) = taken.expect("a delivery");
        let said = body(scene, &member).await.expect("it is taken");
        deliveries.push((member, attempts, id, conversation, said));
    }
    deliveries
}

/// What a delivery that was taken says, if it is to be sent.
async fn body(scene: &mut Scene, member: &str) -> Option<String> {
    let answer = call(scene, "hook_body", &[member.to_owned()]).await;
    let mut answer = Vec::<String>::from_redis_value(answer).expect("texts");
    let said = answer.pop()?;
    assert_eq!(answer, [CONFIG, ""]);
    Some(said)
}

async fn done(scene: &mut Scene, member: &str, what: &str, ms: u64, why: &str) {
    let args = ["0", member, what, &ms.to_string(), why].map(str::to_owned);
    call(scene, "hook_done", &args).await;
}

/// What `hooks_sweep` returns of the shard.
async fn sweep(scene: &mut Scene, keep_ms: u64) -> Vec<i64> {
    let shard = scene.driver.shard;
    let library = scene.driver.library();
    let mut call = library.call("hooks_sweep", &[keys::wanted_hooks(shard)]);
    call.arg(keys::shard_prefix(shard)).arg(0).arg(keep_ms);
    let mut connection = scene.driver.connection.clone();
    let swept = library.run(&mut connection, &call).await;
    swept.expect("the script runs")
}

fn said(delivery: &Delivery) -> String {
    let body: serde_json::Value = serde_json::from_str(&delivery.4).expect("JSON");
    assert_eq!(body["id"], delivery.2.as_str());
    assert_eq!(body["conversation"], delivery.3.as_str());
    body["data"].to_string()
}

/// Keys of the hook that are there, and when something is due: `now`, `later` or `never`.
async fn left(scene: &mut Scene) -> (Vec<String>, &'static str) {
    let dump = scene.driver.dump().await;
    let prefix = scene.driver.key(&format!("hook:{HOOK}:"));
    let names = dump.names(&prefix).map(str::to_owned).collect();
    let hooked = dump.sorted(&keys::hooked(scene.driver.shard));
    let due = match hooked.first() {
        None => "never",
        Some((_, score)) if *score == 0.0 => "now",
        Some(_) => "later",
    };
    (names, due)
}

async fn what_is_taken_is_nobody_elses_until_its_claim_ends(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    for text in ["a", "b", "c"] {
        scene.send(&mut alice, words(text)).await;
    }
    let first = take(&mut scene, 2, LONG_MS, 3).await;
    let texts: Vec<_> = first.iter().map(said).collect();
    assert_eq!(texts, [r#"{"message":"a"}"#, r#"{"message":"b"}"#]);
    assert!(first.iter().all(|delivery| delivery.1 == 1));
    // Whoever has them takes the rest by itself.
    assert_eq!(left(&mut scene).await.1, "later");
    let rest = take(&mut scene, 2, LONG_MS, 3).await;
    assert_eq!(
        rest.iter().map(said).collect::<Vec<_>>(),
        [r#"{"message":"c"}"#]
    );
    assert_eq!(take(&mut scene, 2, LONG_MS, 3).await, []);
    assert_eq!(left(&mut scene).await.1, "later");
    // Its claim ends: the same again, and it was an attempt.
    done(&mut scene, &first[0].0, "hold", 0, "").await;
    let again = take(&mut scene, 2, LONG_MS, 3).await;
    assert_eq!((again.len(), again[0].1), (1, 2));
    assert_eq!((&again[0].2, &again[0].4), (&first[0].2, &first[0].4));
    // Whoever had it before says nothing any more.
    done(&mut scene, &first[0].0, "delivered", 0, "").await;
    done(&mut scene, &first[0].0, "hold", 0, "").await;
    assert_eq!(take(&mut scene, 2, LONG_MS, 3).await, []);
    for delivery in [&again[0], &first[1], &rest[0]] {
        done(&mut scene, &delivery.0, "delivered", 0, "").await;
    }
    // An empty stream stays.
    let (names, due) = left(&mut scene).await;
    assert_eq!(
        (names, due),
        (["counts", "queue"].map(str::to_owned).to_vec(), "never")
    );
    let counts = scene.driver.dump().await;
    let counts = counts.hash(&scene.driver.key(&format!("hook:{HOOK}:counts")));
    assert_eq!(counts["delivered"], "3");
}

async fn a_hook_that_is_served_stands_behind_those_that_wait(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    for text in ["a", "b"] {
        scene.send(&mut alice, words(text)).await;
    }
    assert_eq!(left(&mut scene).await.1, "now");
    let one = take(&mut scene, 1, LONG_MS, 3).await.remove(0);
    // Another one waits still, and another one comes.
    assert_eq!(left(&mut scene).await.1, "later");
    scene.send(&mut alice, words("c")).await;
    assert_eq!(left(&mut scene).await.1, "later");
    // Something else is held, then nothing.
    let hold = LONG_MS.to_string();
    call(&mut scene, "hook_done", &[hold]).await;
    assert_eq!(left(&mut scene).await.1, "later");
    done(&mut scene, &one.0, "delivered", 0, "").await;
    assert_eq!(left(&mut scene).await.1, "now");
    // Who has died holds nothing when the claim has ended.
    take(&mut scene, 1, LONG_MS, 3).await;
    let counts = scene.driver.key(&format!("hook:{HOOK}:counts"));
    let mut end = redis::cmd("HSET");
    end.arg(&counts).arg("held").arg(1);
    let connection = &mut scene.driver.connection;
    end.exec_async(connection).await.expect("written");
    scene.send(&mut alice, words("d")).await;
    assert_eq!(left(&mut scene).await.1, "now");
    // What comes too late brings no hook back.
    configure(&mut scene, None).await;
    let mut delete = redis::cmd("DEL");
    delete.arg(&counts);
    let connection = &mut scene.driver.connection;
    delete.exec_async(connection).await.expect("written");
    call(&mut scene, "hook_done", &[LONG_MS.to_string()]).await;
    assert!(scene.driver.dump().await.hash(&counts).is_empty());
}

async fn what_has_failed_is_due_later_and_parked_at_last(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    scene.send(&mut alice, words("a")).await;
    let one = take(&mut scene, 8, LONG_MS, 2).await.remove(0);
    done(&mut scene, &one.0, "retry", LONG_MS, "status 500").await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
    assert_eq!(left(&mut scene).await.1, "later");
    // The pause is over.
    let dump = scene.driver.dump().await;
    let retry = scene.driver.key(&format!("hook:{HOOK}:retry"));
    let waits = dump.sorted(&retry).remove(0).0;
    assert!(waits.starts_with("1|status 500|"), "{waits}");
    done(&mut scene, &waits, "hold", 0, "").await;
    let two = take(&mut scene, 8, LONG_MS, 2).await.remove(0);
    assert_eq!((two.1, &two.2), (2, &one.2));
    // Whoever makes the last attempt dies of it.
    done(&mut scene, &two.0, "hold", 0, "").await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
    let dump = scene.driver.dump().await;
    let parked = dump.stream(&scene.driver.key(&format!("hook:{HOOK}:parked")));
    let fields: Vec<_> = parked[0].1.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((parked.len(), fields), (1, vec!["d", "attempts", "why"]));
    assert_eq!(
        (&*parked[0].1[1].1, &*parked[0].1[2].1),
        ("2", "status 500")
    );
    assert_eq!(left(&mut scene).await.1, "never");
    // Or is answered badly.
    scene.send(&mut alice, words("b")).await;
    let one = take(&mut scene, 8, LONG_MS, 1).await.remove(0);
    done(&mut scene, &one.0, "park", 0, "timeout").await;
    let dump = scene.driver.dump().await;
    let counts = dump.hash(&scene.driver.key(&format!("hook:{HOOK}:counts")));
    let count = |name: &str| counts[name].clone();
    assert_eq!(
        (count("parked"), count("failed"), count("why")),
        ("2".into(), "2".into(), "timeout".into())
    );
}

async fn words_are_those_of_the_log_at_the_time_of_delivery(options: Options) {
    let (mut scene, mut alice, conv) = scene(options).await;
    for text in ["a", "b \"|\" {}", "c"] {
        scene.send(&mut alice, words(text)).await;
    }
    scene.send(&mut alice, recall(2, &conv)).await;
    let mut delete = redis::cmd("XDEL");
    delete
        .arg(scene.driver.key(&format!("log:{conv}")))
        .arg("4-0");
    let connection = &mut scene.driver.connection;
    delete.exec_async(connection).await.expect("written");
    let taken = take(&mut scene, 8, LONG_MS, 2).await;
    let told: Vec<_> = taken.iter().map(said).collect();
    let words = serde_json::json!({"message": "b \"|\" {}"}).to_string();
    assert_eq!(
        told,
        [r#"{"recalled":true}"#, &words, r#"{"expired":true}"#]
    );
}

async fn what_is_taken_and_not_sent_says_what_holds_now(options: Options) {
    let (mut scene, mut alice, conv) = scene(options).await;
    scene.send(&mut alice, words("a")).await;
    let one = take(&mut scene, 8, LONG_MS, 2).await.remove(0);
    assert_eq!(said(&one), r#"{"message":"a"}"#);
    scene.send(&mut alice, recall(2, &conv)).await;
    let now = body(&mut scene, &one.0).await.expect("it is taken");
    assert!(now.ends_with(r#""data":{"recalled":true}}"#), "{now}");
    // Off, or gone: it is not sent. Nor if somebody else has it, or it was parked.
    let off = CONFIG.replace("true", "false");
    for config in [Some(off.as_str()), None] {
        configure(&mut scene, config).await;
        assert_eq!(body(&mut scene, &one.0).await, None);
    }
    configure(&mut scene, Some(CONFIG)).await;
    assert!(body(&mut scene, &one.0).await.is_some());
    done(&mut scene, &one.0, "park", 0, "timeout").await;
    assert_eq!(body(&mut scene, &one.0).await, None);
}

async fn an_attempt_that_was_not_made_does_not_count(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    scene.send(&mut alice, words("a")).await;
    let first = take(&mut scene, 8, LONG_MS, 2).await.remove(0);
    done(&mut scene, &first.0, "back", LONG_MS, "").await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
    let retry = scene.driver.key(&format!("hook:{HOOK}:retry"));
    let waits = scene.driver.dump().await.sorted(&retry).remove(0).0;
    assert!(waits.starts_with("0||"), "{waits}");
    done(&mut scene, &waits, "hold", 0, "").await;
    let again = take(&mut scene, 8, LONG_MS, 2).await.remove(0);
    assert_eq!((again.1, &again.0), (1, &first.0));
    let counts = scene.driver.dump().await;
    let counts = counts.hash(&scene.driver.key(&format!("hook:{HOOK}:counts")));
    assert!(!counts.contains_key("failed"), "{counts:?}");
    // Of what is not there any more nothing comes back.
    done(&mut scene, &again.0, "delivered", 0, "").await;
    done(&mut scene, &again.0, "back", 0, "").await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
}

async fn a_hook_that_is_off_or_gone_is_not_delivered_to(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    scene.send(&mut alice, words("a")).await;
    let off = CONFIG.replace("true", "false");
    configure(&mut scene, Some(&off)).await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
    // What waits is kept until it is on again.
    assert_eq!(left(&mut scene).await, (vec!["queue".to_owned()], "never"));
    configure(&mut scene, None).await;
    assert_eq!(take(&mut scene, 8, LONG_MS, 2).await, []);
}

async fn parked_deliveries_are_bounded(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    let mut fill = redis::pipe();
    for n in 0..MAX_HOOK_PARKED {
        let d = format!("||{n}");
        let fields = [("d", d.as_str()), ("attempts", "1"), ("why", "x")];
        let key = scene.driver.key(&format!("hook:{HOOK}:parked"));
        fill.xadd(key, "*", &fields).ignore();
    }
    let connection = &mut scene.driver.connection;
    fill.exec_async(connection).await.expect("written");
    scene.send(&mut alice, words("a")).await;
    let one = take(&mut scene, 8, LONG_MS, 1).await.remove(0);
    done(&mut scene, &one.0, "park", 0, "timeout").await;
    let dump = scene.driver.dump().await;
    let parked = dump.stream(&scene.driver.key(&format!("hook:{HOOK}:parked")));
    assert_eq!(parked.len() as u64, MAX_HOOK_PARKED);
    assert_eq!(parked[0].1[0].1, "||1", "the oldest gives way");
    assert!(
        parked.last().expect("some").1[0]
            .1
            .contains("message.created")
    );
    let counts = dump.hash(&scene.driver.key(&format!("hook:{HOOK}:counts")));
    assert_eq!(counts["forgotten"], "1");
}

async fn due_and_stats_tell_what_there_is(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    let shard = scene.driver.shard;
    let look = async |scene: &mut Scene| -> (Vec<Value>, [i64; 4]) {
        let library = scene.driver.library();
        let names = [keys::hooked(shard), keys::wanted_hooks(shard)];
        let due = library.call("hooks_due", &names);
        let mut connection = scene.driver.connection.clone();
        let due = library.run(&mut connection, &due).await;
        let swept = sweep(scene, 0).await;
        assert_eq!((&swept[..2], &swept[6..]), (&[0; 2][..], &[0; 3][..]));
        let held = swept[2..6].try_into().expect("four");
        (due.expect("the script runs"), held)
    };
    let (due, stats) = look(&mut scene).await;
    assert_eq!((due, stats), (vec![Value::Int(1), Value::Int(-1)], [0; 4]));
    for text in ["a", "b"] {
        scene.send(&mut alice, words(text)).await;
    }
    let (due, stats) = look(&mut scene).await;
    let name = Value::BulkString(format!("default|{HOOK}").into_bytes());
    assert_eq!(
        (due, stats),
        (vec![Value::Int(1), Value::Int(-1), name], [2, 0, 0, 0])
    );
    let taken = take(&mut scene, 8, LONG_MS, 2).await;
    done(&mut scene, &taken[0].0, "park", 0, "timeout").await;
    let (due, stats) = look(&mut scene).await;
    assert_eq!((due.len(), stats), (2, [0, 1, 1, 0]));
    let Value::Int(later) = due[1] else {
        panic!("{due:?}")
    };
    assert!(later > 0 && later <= i64::try_from(LONG_MS).expect("fits"));
    scene.send(&mut alice, Verb::CustomerLeave).await;
}

async fn what_nobody_tries_is_forgotten_after_a_while(options: Options) {
    let (mut scene, mut alice, _) = scene(options).await;
    scene.send(&mut alice, words("a")).await;
    let key = |scene: &Scene, rest: &str| scene.driver.key(&format!("hook:{HOOK}:{rest}"));
    let mut fill = redis::pipe();
    let fields = [("d", "||{}"), ("attempts", "1"), ("why", "x")];
    for n in 1..=MAX_FORGOTTEN {
        fill.xadd(key(&scene, "parked"), format!("{n}-1"), &fields)
            .ignore();
    }
    fill.xadd(key(&scene, "parked"), "*", &fields).ignore();
    let now = scene.driver.time_ms().await;
    for (due, member) in [(1, "1|x|||old"), (now, "1|x|||new")] {
        fill.zadd(key(&scene, "retry"), member, due).ignore();
    }
    let connection = &mut scene.driver.connection;
    fill.exec_async(connection).await.expect("written");
    let most = i64::try_from(MAX_FORGOTTEN).expect("fits");
    // Not now; then all that is old, which is all that one call may.
    assert_eq!(
        sweep(&mut scene, 0).await,
        [0, 0, 1, 2, most + 1, 0, 0, 0, 0]
    );
    let swept = sweep(&mut scene, LONG_MS).await;
    assert_eq!(swept, [0, 1, 1, 2, 1, 0, most, most, 0]);
    let swept = sweep(&mut scene, LONG_MS).await;
    assert_eq!(swept, [0, 0, 1, 2, 1, 0, most, 0, 0]);
    // What waits is old only if the hook is off.
    let mut off = redis::pipe();
    let wanted = keys::wanted_hooks(scene.driver.shard);
    let site = scene.driver.site.clone();
    off.hset(wanted, site.as_str(), format!("{HOOK} -;"))
        .ignore();
    let queue = key(&scene, "queue");
    off.del(&queue).ignore();
    off.xadd(&queue, "1-1", &[("d", "||{}")]).ignore();
    off.xadd(&queue, "*", &[("d", "||{}")]).ignore();
    let connection = &mut scene.driver.connection;
    off.exec_async(connection).await.expect("written");
    let swept = sweep(&mut scene, LONG_MS).await;
    assert_eq!(swept, [0, 0, 1, 1, 1, 0, most + 2, 0, 2]);
    let dump = scene.driver.dump().await;
    let members = dump.sorted(&key(&scene, "retry"));
    assert!(members[0].0.ends_with("new"), "{members:?}");
    assert_ne!(dump.stream(&queue)[0].0, "1-1");
}
