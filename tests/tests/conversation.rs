//! Conversations through the whole cluster: customers on one gateway, staff on the other, both
//! workers at work. Every notice is compared with `frontdesk_tests::table` by the client itself.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{collections::BTreeSet, convert::Infallible};

use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log::{self, assert_chain},
    table::{ROWS, Row},
    wait,
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, interval};

/// Rows that need a fault, an overload, a token or people of another kind, and have tests of their own elsewhere.
const NOT_IN_A_DAY: [&str; 9] = [
    "busy",
    "internal",
    "too_many_conversations",
    "no_user",
    "rate_limited",
    "bad_resume",
    "resync",
    "refreshed",
    "bad_token",
];

fn text(payload: &Value, field: &str) -> String {
    let text = payload[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {payload}"))
        .to_owned()
}

async fn customer(cluster: &Cluster, uid: &str) -> Client {
    cluster.connect(0, &format!("uid={uid}")).await
}

/// A member of staff on the other gateway, on duty for `max` customers.
async fn staff(cluster: &Cluster, uid: &str, max: u32) -> Client {
    let mut staff = cluster.connect(1, &format!("uid={uid}")).await;
    go_on_duty(&mut staff, max).await;
    staff
}

async fn go_on_duty(staff: &mut Client, max: u32) {
    let payload = json!({"name": "客服1", "max": max});
    staff
        .send(json!({"action": "staffOnline", "payload": payload}))
        .await;
    staff.expect("message", "on_duty").await;
}

/// The customer is connected to this member of staff. Returns both payloads.
async fn meet(customer: &mut Client, staff: &mut Client) -> (Value, Value) {
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    let new_customer = staff.expect("message", "new_customer").await;
    assert_eq!(connected["conversation"], new_customer["conversation"]);
    (connected, new_customer)
}

async fn expect_place(customer: &mut Client, code: &str, place: u64) {
    let told = customer.expect("message", code).await;
    assert_eq!(told["queue"], place, "{}: {told}", customer.name);
}

async fn queue_up(customer: &mut Client, place: u64) {
    customer.act("customerConnect").await;
    expect_place(customer, "queued", place).await;
}

/// The member of staff is sent this customer, who waited.
async fn turn_comes(customer: &mut Client, staff: &mut Client) -> String {
    customer.expect_after_moves("message", "your_turn").await;
    let connected = customer.expect("message", "connected").await;
    let new_customer = staff.expect("message", "new_customer").await;
    assert_eq!(connected["conversation"], new_customer["conversation"]);
    text(&connected, "conversation")
}

#[tokio::test]
async fn every_row_of_both_tables_in_chinese() {
    every_row("zh-CN").await;
}

#[tokio::test]
async fn every_row_of_both_tables_in_english() {
    every_row("en").await;
}

async fn every_row(lang: &str) {
    let mut told = BTreeSet::<&Row>::new();
    told.extend(a_day_at_the_desk(lang).await);
    told.extend(a_silent_customer(lang).await);
    let wanted = ROWS.iter().filter(|row| !NOT_IN_A_DAY.contains(&row.code));
    let missing: Vec<_> = wanted.filter(|row| !told.contains(row)).collect();
    assert!(missing.is_empty(), "never told: {missing:?}");
}

/// Uses every verb, and every row but those of the idle timer.
async fn a_day_at_the_desk(lang: &str) -> BTreeSet<&'static Row> {
    let cluster = Cluster::builder()
        .worker_setting("queue-limit", 2)
        .start()
        .await;
    let person = async |gateway: usize, uid: &str| {
        let query = format!("uid={uid}&lang={lang}");
        cluster.connect(gateway, &query).await
    };
    let (uid1, uid2) = (
        cluster.uid_at("c1-", 0).await,
        cluster.uid_at("s1-", 1).await,
    );
    let mut c1 = person(0, &uid1).await;
    assert_eq!(c1.welcome["uid"], uid1);
    assert_eq!(text(&c1.welcome, "client_id").len(), 44);
    assert!(!c1.welcome["time"].is_null(), "{}", c1.welcome);

    // Nobody online: told, and not queued.
    c1.act("customerConnect").await;
    c1.expect("message", "no_staff").await;
    let mut s1 = person(1, &uid2).await;
    s1.send(json!({"action": "staffOnline", "payload": {"name": "客服1"}}))
        .await;
    s1.expect("message", "on_duty").await;
    s1.expect_nothing().await;
    c1.expect_nothing().await;

    // Asking twice is asking once.
    let (connected, _) = meet(&mut c1, &mut s1).await;
    c1.act("customerConnect").await;
    let again = c1.expect("message", "connected").await;
    assert_eq!(again["conversation"], connected["conversation"]);
    c1.say("你好").await;
    s1.expect_words("customer", "你好").await;
    s1.say("您好,请讲 \"<b>\"").await;
    c1.expect_words("staff", "您好,请讲 \"<b>\"").await;

    // An id makes a message count once, and gets the same ack again.
    c1.say_with_id("有问题", "m1").await;
    let ack = c1.expect_ack("m1").await;
    s1.expect_words("customer", "有问题").await;
    c1.say_with_id("有问题", "m1").await;
    assert_eq!(c1.expect_ack("m1").await, ack);
    c1.say_with_id("另一个问题", "m1").await;
    assert_eq!(c1.expect("error", "id_reused").await["ref"], "m1");
    s1.expect_nothing().await;

    // Only what is there and one's own is recalled.
    let conversation = text(&connected, "conversation");
    for (seq, code) in [(2, "forbidden"), (99, "no_message")] {
        let payload = json!({ "conversation": conversation, "seq": seq });
        s1.ask("recall", payload).await;
        s1.expect("error", code).await;
    }

    // All places are taken: queued, words are kept up to a limit, the queue has a limit too.
    let (mut c2, mut c3, mut c4) = (
        person(0, "c2").await,
        person(1, "c3").await,
        person(0, "c4").await,
    );
    queue_up(&mut c2, 1).await;
    queue_up(&mut c2, 1).await;
    queue_up(&mut c3, 2).await;
    c4.act("customerConnect").await;
    c4.expect("message", "queue_full").await;
    c4.say("有人吗").await;
    c4.expect("error", "no_conversation").await;
    for n in 1..=20 {
        c2.say(&format!("第{n}句")).await;
        c2.expect("message", "still_queued").await;
    }
    c2.say("第21句").await;
    c2.expect("error", "queue_words_full").await;

    // The customer leaves, the next one is served, those behind move up.
    c1.act("customerLeave").await;
    c1.expect("chat_close", "customer_left").await;
    s1.expect("chat_close", "customer_left").await;
    turn_comes(&mut c2, &mut s1).await;
    for n in 1..=20 {
        s1.expect_words("customer", &format!("第{n}句")).await;
    }
    expect_place(&mut c3, "queue_moved", 1).await;

    // Staff end a conversation.
    s1.act("close").await;
    s1.expect("chat_close", "closed").await;
    c2.expect("chat_close", "closed").await;
    turn_comes(&mut c3, &mut s1).await;

    // Staff leave: their customer is told, and those who wait for them.
    queue_up(&mut c2, 1).await;
    s1.act("staffOffline").await;
    s1.expect("message", "off_duty").await;
    c3.expect("chat_close", "staff_offline").await;
    c2.expect("queue_close", "staff_offline").await;
    c2.act("customerConnect").await;
    c2.expect("message", "no_staff").await;

    two_at_once(&mut s1, &mut c2, &mut c3).await;
    mistakes(&mut c4, &mut s1).await;
    [c1, c2, c3, c4, s1]
        .into_iter()
        .flat_map(|client| client.told.clone())
        .collect()
}

/// Several conversations at once must be named.
async fn two_at_once(s1: &mut Client, c2: &mut Client, c3: &mut Client) {
    s1.send(json!({"action": "staffOnline", "payload": {"max": 2}}))
        .await;
    s1.expect("message", "on_duty").await;
    let (first, _) = meet(c2, s1).await;
    let (second, _) = meet(c3, s1).await;
    s1.say("给谁?").await;
    s1.expect("error", "which_conversation").await;
    s1.act("close").await;
    s1.expect("error", "which_conversation").await;
    s1.say_in(&text(&first, "conversation"), "给 c2").await;
    c2.expect_words("staff", "给 c2").await;
    let payload = json!({"conversation": text(&second, "conversation")});
    s1.send(json!({"action": "close", "payload": payload}))
        .await;
    s1.expect("chat_close", "closed").await;
    c3.expect("chat_close", "closed").await;
    c2.expect_nothing().await;
}

/// Each mistake is answered by its code, and disturbs nobody. `s1` is on duty.
async fn mistakes(anyone: &mut Client, s1: &mut Client) {
    for (frame, code, field) in [
        ("你好", "bad_json", None),
        (r#"{"action":"dance"}"#, "unknown_action", None),
        (r#"{"action":"message"}"#, "bad_field", Some("message")),
    ] {
        anyone.send_text(frame).await;
        let refused = anyone.expect("error", code).await;
        assert_eq!(refused["field"].as_str(), field, "{frame}");
    }
    anyone.say(&"长".repeat(16 * 1024 / 3 + 1)).await;
    anyone.expect("error", "too_large").await;
    for max in [0, 6, 1_000_000] {
        s1.send(json!({"action": "staffOnline", "payload": {"max": max}}))
            .await;
        s1.expect("error", "bad_max").await;
    }
    s1.act("customerConnect").await;
    s1.expect("error", "wrong_role").await;
}

/// The rows of the idle timer; the next customer is served.
async fn a_silent_customer(lang: &str) -> BTreeSet<&'static Row> {
    let cluster = Cluster::builder()
        .worker_setting("idle-s", 1)
        .worker_setting("recall-s", 0)
        .start()
        .await;
    let query = |uid: &str| format!("uid={uid}&lang={lang}");
    let mut s1 = cluster.connect(1, &query("s1")).await;
    go_on_duty(&mut s1, 1).await;
    let mut c1 = cluster.connect(0, &query("c1")).await;
    let (connected, _) = meet(&mut c1, &mut s1).await;
    // The member of staff talks, too late for taking it back.
    s1.say_with_id("在吗?", "m1").await;
    let ack = s1.expect_ack("m1").await;
    c1.expect_words("staff", "在吗?").await;
    let payload = json!({ "conversation": connected["conversation"], "seq": ack["seq"] });
    s1.ask("recall", payload).await;
    s1.expect("error", "recall_expired").await;
    c1.expect("chat_close", "timeout").await;
    s1.expect("chat_close", "customer_timeout").await;
    c1.expect_nothing().await;
    s1.expect_nothing().await;
    [c1, s1]
        .into_iter()
        .flat_map(|client| client.told.clone())
        .collect()
}

#[tokio::test]
async fn a_silent_customer_makes_room_for_the_next() {
    let cluster = Cluster::builder().worker_setting("idle-s", 4).start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let (mut c1, mut c2) = (
        customer(&cluster, "c1").await,
        customer(&cluster, "c2").await,
    );
    meet(&mut c1, &mut s1).await;
    queue_up(&mut c2, 1).await;
    c1.expect("chat_close", "timeout").await;
    s1.expect("chat_close", "customer_timeout").await;
    turn_comes(&mut c2, &mut s1).await;
}

#[tokio::test]
async fn only_the_customers_own_words_restart_the_idle_timer() {
    const IDLE: Duration = Duration::from_secs(5);
    let cluster = Cluster::builder()
        .worker_setting("idle-s", IDLE.as_secs())
        .start()
        .await;
    let mut s1 = staff(&cluster, "s1", 2).await;
    let (mut talker, mut silent) = (
        customer(&cluster, "c1").await,
        customer(&cluster, "c2").await,
    );
    let (talking, _) = meet(&mut talker, &mut s1).await;
    let (silence, _) = meet(&mut silent, &mut s1).await;
    let (talking, silence) = (
        text(&talking, "conversation"),
        text(&silence, "conversation"),
    );
    let begin = Instant::now();
    let mut typing = interval(Duration::from_millis(200));
    let mut closed = false;
    let mut n = 0;
    while begin.elapsed() < 2 * IDLE {
        typing.tick().await;
        n += 1;
        talker.say(&format!("{n}")).await;
        if !closed {
            s1.say_in(&silence, "还在吗?").await;
            silent.send_text("PING").await;
        }
        // Staff hear the talker's words; once, that the silent one is gone.
        loop {
            let Incoming::Frame(frame) = s1.next().await else {
                s1.fail("wanted a frame");
            };
            let payload = &frame["payload"];
            if payload["message"] == format!("{n}") {
                assert_eq!(payload["conversation"], talking);
                break;
            }
            if payload["code"] == "customer_timeout" {
                assert_eq!(
                    payload["conversation"], silence,
                    "the talker was not silent"
                );
                closed = true;
            } else {
                assert_eq!(payload["code"], "no_conversation", "{frame}");
            }
        }
    }
    assert!(
        closed,
        "PING and the words of staff must not restart the timer"
    );
    talker.expect_nothing().await;
}

#[tokio::test]
async fn what_both_sides_see_is_what_is_written() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let (mut first, mut c1) = (
        customer(&cluster, "c0").await,
        customer(&cluster, "c1").await,
    );
    meet(&mut first, &mut s1).await;
    queue_up(&mut c1, 1).await;
    let mut seen_by_customer = Vec::new();
    for word in ["甲", "乙"] {
        c1.say_with_id(word, word_id(word)).await;
        let frames = [c1.next().await, c1.next().await];
        for frame in frames {
            let Incoming::Frame(frame) = frame else {
                c1.fail("wanted still_queued and an ack");
            };
            if frame["action"] == "ack" {
                seen_by_customer.push(frame["payload"].clone());
            } else {
                assert_eq!(frame["payload"]["code"], "still_queued");
            }
        }
    }
    first.act("customerLeave").await;
    s1.expect("chat_close", "customer_left").await;
    c1.expect("message", "your_turn").await;
    seen_by_customer.push(c1.expect("message", "connected").await);
    let mut seen_by_staff = vec![s1.expect("message", "new_customer").await];
    seen_by_staff.push(s1.expect_words("customer", "甲").await);
    seen_by_staff.push(s1.expect_words("customer", "乙").await);
    c1.say_with_id("丙", "c").await;
    seen_by_customer.push(c1.expect_ack("c").await);
    seen_by_staff.push(s1.expect_words("customer", "丙").await);
    s1.say_with_id("丁", "d").await;
    seen_by_staff.push(s1.expect_ack("d").await);
    seen_by_customer.push(c1.expect_words("staff", "丁").await);
    c1.act("customerLeave").await;
    seen_by_customer.push(c1.expect("chat_close", "customer_left").await);
    seen_by_staff.push(s1.expect("chat_close", "customer_left").await);

    assert_chain(&seen_by_customer);
    assert_chain(&seen_by_staff);
    let conversation = text(&seen_by_staff[0], "conversation");
    let mut redis = cluster.redis.connect().await;
    let log = conversation_log::read(&mut redis, DEFAULT_SITE, &conversation).await;
    for payload in seen_by_customer.iter().chain(&seen_by_staff) {
        let seq = payload["seq"].as_u64().expect("a place");
        let entry = log.iter().find(|entry| entry.seq == seq);
        let entry = entry.unwrap_or_else(|| panic!("{payload} is not in {log:?}"));
        assert_eq!(payload["id"], entry.id, "{payload}");
        if payload["from"].is_string() {
            assert_eq!(payload["message"], entry.body, "{payload}");
            assert_eq!(payload["from"], entry.from, "{payload}");
        }
    }
    assert_eq!(log.len(), seen_by_staff.len(), "{log:?}");
}

fn word_id(word: &str) -> &'static str {
    if word == "甲" { "a" } else { "b" }
}

#[tokio::test]
async fn a_second_device_sees_the_same_and_keeps_the_place() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let mut phone = customer(&cluster, "c1").await;
    let mut laptop = cluster.connect(1, "uid=c1").await;
    phone.act("customerConnect").await;
    phone.expect("message", "connected").await;
    laptop.expect("message", "connected").await;
    s1.expect("message", "new_customer").await;
    phone.say_with_id("手机", "m1").await;
    phone.expect_ack("m1").await;
    s1.expect_words("customer", "手机").await;
    laptop.expect_words("customer", "手机").await;
    phone.expect_nothing().await;
    s1.say("您好").await;
    phone.expect_words("staff", "您好").await;
    laptop.expect_words("staff", "您好").await;
    // The last one that closes has left.
    phone.close(Some(1000)).await;
    laptop.say_with_id("还在", "m2").await;
    laptop.expect_ack("m2").await;
    s1.expect_words("customer", "还在").await;
    s1.expect_nothing().await;
    laptop.close(None).await;
    s1.expect("chat_close", "customer_left").await;
}

#[tokio::test]
async fn a_lost_socket_typed_by_hand_is_leaving() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let (mut c1, mut c2, mut c3) = (
        customer(&cluster, "c1").await,
        customer(&cluster, "c2").await,
        customer(&cluster, "c3").await,
    );
    meet(&mut c1, &mut s1).await;
    queue_up(&mut c2, 1).await;
    queue_up(&mut c3, 2).await;
    // From the queue, and from the conversation.
    c2.lose();
    expect_place(&mut c3, "queue_moved", 1).await;
    c1.lose();
    s1.expect("chat_close", "customer_left").await;
    turn_comes(&mut c3, &mut s1).await;
    // Staff.
    let mut c4 = customer(&cluster, "c4").await;
    queue_up(&mut c4, 1).await;
    s1.lose();
    c3.expect("chat_close", "staff_offline").await;
    c4.expect("queue_close", "staff_offline").await;
    c4.act("customerConnect").await;
    c4.expect("message", "no_staff").await;
}

#[tokio::test]
async fn who_leaves_the_queue_is_told_and_may_come_back() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let (mut c1, mut c2, mut c3) = (
        customer(&cluster, "c1").await,
        customer(&cluster, "c2").await,
        customer(&cluster, "c3").await,
    );
    meet(&mut c1, &mut s1).await;
    queue_up(&mut c2, 1).await;
    queue_up(&mut c3, 2).await;
    c2.act("customerLeave").await;
    c2.expect("chat_close", "customer_left").await;
    expect_place(&mut c3, "queue_moved", 1).await;
    queue_up(&mut c2, 2).await;
    s1.act("close").await;
    s1.expect("chat_close", "closed").await;
    c1.expect("chat_close", "closed").await;
    turn_comes(&mut c3, &mut s1).await;
    expect_place(&mut c2, "queue_moved", 1).await;
    c1.act("customerLeave").await;
    c1.expect("error", "no_conversation").await;
}

#[tokio::test]
async fn the_least_busy_member_of_staff_is_next() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 3).await;
    let mut s2 = staff(&cluster, "s2", 2).await;
    let mut customers = Vec::new();
    // Equal: the one who has been on duty longer without a new one; then the one with fewer.
    for (n, on) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)] {
        let mut c = customer(&cluster, &format!("c{n}")).await;
        let s = if on == 1 { &mut s1 } else { &mut s2 };
        meet(&mut c, s).await;
        customers.push(c);
    }
    // 3 + 2 places are taken.
    let mut c6 = customer(&cluster, "c6").await;
    queue_up(&mut c6, 1).await;
    s1.expect_nothing().await;
    s2.expect_nothing().await;
}

#[tokio::test]
async fn more_places_take_those_who_wait() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let (mut c1, mut c2) = (
        customer(&cluster, "c1").await,
        customer(&cluster, "c2").await,
    );
    meet(&mut c1, &mut s1).await;
    queue_up(&mut c2, 1).await;
    go_on_duty(&mut s1, 2).await;
    turn_comes(&mut c2, &mut s1).await;
    // Fewer places end nothing.
    go_on_duty(&mut s1, 1).await;
    c1.say("还在").await;
    s1.expect_words("customer", "还在").await;
    let mut c3 = customer(&cluster, "c3").await;
    queue_up(&mut c3, 1).await;
    c2.act("customerLeave").await;
    c2.expect("chat_close", "customer_left").await;
    s1.expect("chat_close", "customer_left").await;
    s1.expect_nothing().await;
    c3.expect_nothing().await;
}

#[tokio::test]
async fn the_shortest_queue_is_joined_and_the_longest_waiting_is_served() {
    let cluster = Cluster::start().await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let mut s2 = staff(&cluster, "s2", 1).await;
    let mut c = Vec::new();
    for n in 0..6 {
        c.push(customer(&cluster, &format!("c{n}")).await);
    }
    meet(&mut c[0], &mut s1).await;
    meet(&mut c[1], &mut s2).await;
    for (n, place) in [(2, 1), (3, 1), (4, 2), (5, 2)] {
        queue_up(&mut c[n], place).await;
    }
    // Whoever is free first takes them in the order they came, whatever queue they are in.
    for waiting in &mut c[2..] {
        s2.act("close").await;
        s2.expect("chat_close", "closed").await;
        turn_comes(waiting, &mut s2).await;
    }
    s1.expect_nothing().await;
}

#[tokio::test]
async fn the_shared_policy_has_one_queue() {
    let cluster = Cluster::builder()
        .worker_setting("policy", "shared")
        .start()
        .await;
    let mut s1 = staff(&cluster, "s1", 1).await;
    let mut s2 = staff(&cluster, "s2", 1).await;
    let mut c = Vec::new();
    for n in 0..5 {
        c.push(customer(&cluster, &format!("c{n}")).await);
    }
    meet(&mut c[0], &mut s1).await;
    meet(&mut c[1], &mut s2).await;
    for (n, place) in [(2, 1), (3, 2), (4, 3)] {
        queue_up(&mut c[n], place).await;
    }
    s2.act("close").await;
    s2.expect("chat_close", "closed").await;
    turn_comes(&mut c[2], &mut s2).await;
    expect_place(&mut c[3], "queue_moved", 1).await;
    expect_place(&mut c[4], "queue_moved", 2).await;
}

#[tokio::test]
async fn roles_of_the_handshake_are_kept() {
    let cluster = Cluster::start().await;
    let mut c1 = cluster.connect(0, "uid=c1&role=customer").await;
    let mut s1 = cluster.connect(1, "uid=s1&role=staff").await;
    for verb in ["staffOnline", "staffOffline"] {
        c1.act(verb).await;
        c1.expect("error", "wrong_role").await;
    }
    for verb in ["customerConnect", "customerLeave"] {
        s1.act(verb).await;
        s1.expect("error", "wrong_role").await;
    }
    go_on_duty(&mut s1, 1).await;
    meet(&mut c1, &mut s1).await;
    // Either side may close; what a customer closes, the customer has left.
    c1.act("close").await;
    c1.expect("chat_close", "customer_left").await;
    s1.expect("chat_close", "customer_left").await;
    for client in [&mut c1, &mut s1] {
        client.act("close").await;
        client.expect("error", "no_conversation").await;
    }
}

#[tokio::test]
async fn everybody_is_told_in_their_own_language_and_site() {
    let cluster = Cluster::start().await;
    let mut english = cluster.connect(1, "uid=s1&lang=en").await;
    let mut chinese = customer(&cluster, "c1").await;
    go_on_duty(&mut english, 1).await;
    meet(&mut chinese, &mut english).await;
    // The same people on another site are others.
    let mut elsewhere = cluster.connect(0, "uid=c1&site=other").await;
    elsewhere.act("customerConnect").await;
    elsewhere.expect("message", "no_staff").await;
    chinese.expect_nothing().await;
    // /ws is the same door, and PING is answered by the gateway.
    let door = "uid=c9&lang=en&site=other";
    let mut other = cluster.connect(0, door).await;
    other.ping().await;
}

/// Many at once, through both gateways: nobody is lost, no place is used twice, and everybody is
/// served.
#[tokio::test]
async fn a_rush_is_served_within_the_limits() {
    const CUSTOMERS: usize = 40;
    let cluster = Cluster::start().await;
    let mut staff = Vec::new();
    for (n, max) in [(1, 1), (2, 2), (3, 3)] {
        let mut client = cluster.connect(n % 2, &format!("uid=s{n}")).await;
        go_on_duty(&mut client, max).await;
        staff.push(tokio::spawn(serve(client, max as usize)));
    }
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|n| {
            let addr = cluster.addr(n % 2);
            tokio::spawn(async move {
                let mut client = Client::connect(addr, &format!("uid=c{n}")).await;
                be_served(&mut client).await;
                client
            })
        })
        .collect();
    for customer in customers {
        customer
            .await
            .expect("this customer was served")
            .expect_nothing()
            .await;
    }
    for staff in staff {
        staff.abort();
        let error = staff.await.expect_err("never ends by itself");
        assert!(error.is_cancelled(), "{error}");
    }
}

/// Ends every conversation as soon as the customer has said something.
async fn serve(mut client: Client, max: usize) -> Infallible {
    let mut open = BTreeSet::new();
    loop {
        let Some(Incoming::Frame(frame)) = client.next_within(wait::DEADLINE * 4).await else {
            client.fail("nothing more came");
        };
        let payload = &frame["payload"];
        let conversation = text(payload, "conversation");
        match (payload["from"].as_str(), payload["code"].as_str()) {
            (None, Some("new_customer")) => {
                assert!(open.insert(conversation), "{frame} twice");
                assert!(
                    open.len() <= max,
                    "{} has more than {max}: {open:?}",
                    client.name
                );
            }
            (Some("customer"), _) => {
                assert!(open.contains(&conversation), "{frame} of a stranger");
                let payload = json!({"conversation": conversation});
                client
                    .send(json!({"action": "close", "payload": payload}))
                    .await;
            }
            (None, Some("closed")) => assert!(open.remove(&conversation), "{frame}: not open"),
            _ => client.fail(&format!("unexpected: {frame}")),
        }
    }
}

async fn be_served(client: &mut Client) {
    client.act("customerConnect").await;
    let mut waiting = false;
    loop {
        let Some(Incoming::Frame(frame)) = client.next_within(wait::DEADLINE * 4).await else {
            client.fail("was forgotten");
        };
        match (frame["payload"]["code"].as_str(), waiting) {
            (Some("queued"), false) => waiting = true,
            (Some("queue_moved" | "your_turn"), true) => {}
            (Some("connected"), _) => client.say("好了").await,
            (Some("closed"), _) => return,
            _ => client.fail(&format!("unexpected: {frame}")),
        }
    }
}
