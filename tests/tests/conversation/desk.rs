//! Who gets whom, who waits where, and what each side sees.

use frontdesk_tests::{
    client::Incoming,
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log::{self, assert_chain},
};
use tokio::time::{Duration, Instant, interval};

use crate::{customer, expect_place, go_on_duty, meet, queue_up, staff, text, turn_comes};

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
