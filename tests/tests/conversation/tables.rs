//! Every row of both tables of the protocol, used in both languages.

use std::collections::BTreeSet;

use frontdesk_tests::{
    client::Client,
    cluster::Cluster,
    table::{ROWS, Row},
};
use serde_json::json;

use crate::{customer, expect_place, go_on_duty, meet, queue_up, staff, text, turn_comes};

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
