//! The quick way of messages: it is taken, by both sides, and never where things are not as the worker remembers them.
//! The random lives of `desk_properties` and the traces here go it, too, and end as they do without.

use frontdesk_shared::{ids::MessageRef, protocol::frame::Verb};
use frontdesk_tests::lane_driver::{
    LaneDriver, Socket, on_duty, read_to, words, words_to, words_with_id,
};
use frontdesk_worker::library::Outcome;

use crate::{lane, spoil, start};

/// sam, with a place for two, and alice in a conversation, who have both said something.
async fn talk(driver: &mut LaneDriver) -> (Socket, Socket) {
    let mut sam = driver.open("sam").await;
    driver.send(&mut sam, on_duty(2)).await;
    let mut alice = driver.open("alice").await;
    driver.send(&mut alice, Verb::CustomerConnect).await;
    driver.send(&mut alice, words_with_id("hello", "a0")).await;
    driver.send(&mut sam, words_with_id("hi", "s0")).await;
    driver.pushes().await;
    assert_eq!(driver.quick, 0, "nothing is known before the first words");
    (sam, alice)
}

/// Says something, which must go the quick way or must not. Returns who is told what.
async fn say(driver: &mut LaneDriver, socket: &mut Socket, verb: Verb, quick: bool) -> Vec<String> {
    let before = driver.quick;
    driver.send(socket, verb).await;
    assert_eq!(driver.quick - before, usize::from(quick));
    whats_told(driver).await
}

/// Who was told what since the last look.
async fn whats_told(driver: &mut LaneDriver) -> Vec<String> {
    let pushes = driver.pushes().await.into_iter();
    let mut heard: Vec<String> = pushes
        .map(|push| format!("{} {}", push.client, push.short()))
        .collect();
    heard.sort();
    heard
}

/// Words with an id to a named conversation.
fn to(conversation: &str, own_id: &str) -> Verb {
    let mut verb = words_to("...", conversation);
    if let Verb::Message { id, .. } = &mut verb {
        *id = Some(MessageRef::parse(own_id).expect("well-formed"));
    }
    verb
}

fn told(whom: &[&Socket], what: &str) -> Vec<String> {
    let mut told: Vec<String> = whom
        .iter()
        .map(|socket| format!("{} {what}", socket.client))
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn both_sides_go_it_by_turns_and_marks_do_not_end_it() {
    let (_server, mut driver) = start().await;
    let (mut sam, mut alice) = talk(&mut driver).await;
    let conversation = driver
        .conversation_of("alice")
        .await
        .expect("she is in one");
    for n in 1..4 {
        let words = |who: char| words_with_id("...", &format!("{who}{n}"));
        let heard = say(&mut driver, &mut alice, words('a'), true).await;
        assert_eq!(heard, told(&[&sam], "message/customer"));
        say(&mut driver, &mut sam, read_to(n, &conversation), false).await;
        let heard = say(&mut driver, &mut sam, words('s'), true).await;
        assert_eq!(heard, told(&[&alice], "message/staff"));
    }
    // A frame without an id is not remembered, and what was is found where it belongs.
    let heard = say(&mut driver, &mut alice, words("?"), false).await;
    assert_eq!(heard, told(&[&sam], "message/customer"));
    let dump = driver.dump().await;
    assert_eq!(
        dump.hash(&driver.key(&format!("conv:{conversation}")))["seq"],
        "10"
    );
}

#[tokio::test]
async fn a_device_that_came_since_is_told_and_one_that_left_is_not() {
    let (_server, mut driver) = start().await;
    let (sam, mut alice) = talk(&mut driver).await;
    say(&mut driver, &mut alice, words_with_id("1", "a1"), true).await;
    let second = driver.open("sam").await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut alice, words_with_id("2", "a2"), false).await;
    assert_eq!(heard, told(&[&sam, &second], "message/customer"));
    let heard = say(&mut driver, &mut alice, words_with_id("3", "a3"), true).await;
    assert_eq!(heard, told(&[&sam, &second], "message/customer"));
    let mut sam = sam;
    say(&mut driver, &mut sam, words_with_id("?", "s1"), false).await;
    say(&mut driver, &mut sam, words_with_id("?", "s2"), true).await;
    let phone = driver.open("alice").await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut sam, words_with_id("!", "s3"), false).await;
    assert_eq!(heard, told(&[&alice, &phone, &second], "message/staff"));
    driver.act("alice", phone.close()).await;
    driver.act("sam", second.close()).await;
    let heard = say(&mut driver, &mut alice, words_with_id("4", "a4"), false).await;
    assert_eq!(heard, told(&[&sam], "message/customer"));
}

#[tokio::test]
async fn words_of_staff_that_name_nothing_go_nowhere_once_there_are_two() {
    let (_server, mut driver) = start().await;
    let (mut sam, alice) = talk(&mut driver).await;
    say(&mut driver, &mut sam, words_with_id("1", "s1"), true).await;
    let mut bob = driver.open("bob").await;
    driver.send(&mut bob, Verb::CustomerConnect).await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut sam, words_with_id("2", "s2"), false).await;
    assert_eq!(heard, told(&[&sam], "error/which_conversation"));
    let conversation = driver
        .conversation_of("alice")
        .await
        .expect("she is in one");
    let to_alice = |id: &str| to(&conversation, id);
    say(&mut driver, &mut sam, to_alice("s3"), false).await;
    let heard = say(&mut driver, &mut sam, to_alice("s4"), true).await;
    assert_eq!(heard, told(&[&alice], "message/staff"));
    let heard = say(&mut driver, &mut sam, words_with_id("5", "s5"), false).await;
    assert_eq!(heard, told(&[&sam], "error/which_conversation"));
}

#[tokio::test]
async fn an_id_counts_once_and_gets_the_same_ack_again() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice) = talk(&mut driver).await;
    let first = driver.send(&mut alice, words_with_id("1", "a1")).await;
    assert!(matches!(first, Outcome::Acked(_)) && driver.quick == 1);
    let again = driver.send(&mut alice, words_with_id("1", "a1")).await;
    assert_eq!((&again, driver.quick), (&first, 1));
    let before = driver.pushes().await.len();
    assert_eq!(before, 1, "heard once");
    let heard = say(&mut driver, &mut alice, words_with_id("other", "a1"), false).await;
    assert_eq!(heard, told(&[&alice], "error/id_reused"));
}

/// What was given for the quick way does not count on the other one.
#[tokio::test]
async fn a_known_id_from_one_of_two_devices_spoils_nothing() {
    let (_server, mut driver) = start().await;
    let (sam, mut alice) = talk(&mut driver).await;
    let mut phone = driver.open("alice").await;
    driver.send(&mut alice, words_with_id("1", "a1")).await;
    driver.send(&mut phone, words_with_id("2", "a2")).await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut alice, words_with_id("3", "a3"), true).await;
    assert_eq!(heard, told(&[&sam, &phone], "message/customer"));
    driver.send(&mut phone, words_with_id("3", "a3")).await;
    let heard = say(&mut driver, &mut alice, words_with_id("4", "a4"), false).await;
    assert_eq!(heard, told(&[&sam, &phone], "message/customer"));
    let heard = say(&mut driver, &mut phone, words_with_id("5", "a5"), false).await;
    assert_eq!(heard, told(&[&sam, &alice], "message/customer"));
    let dump = driver.dump().await;
    let bucket = &dump.hash(&driver.key("u:alice"))["b"];
    assert!(bucket.parse::<u64>().is_ok(), "{bucket}");
}

/// A batch is prepared before anything of it is settled: what is not learned from it may not be counted on.
#[tokio::test]
async fn frames_of_two_devices_in_one_batch_stay_in_order() {
    let (_server, mut driver) = start().await;
    let (mut sam, alice) = talk(&mut driver).await;
    let mut bob = driver.open("bob").await;
    driver.send(&mut bob, Verb::CustomerConnect).await;
    let mut tablet = driver.open("sam").await;
    let with_alice = driver.conversation_of("alice").await.expect("in one");
    let with_bob = driver.conversation_of("bob").await.expect("in one");
    driver.send(&mut sam, to(&with_alice, "s1")).await;
    driver.send(&mut tablet, to(&with_alice, "t1")).await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut sam, to(&with_alice, "s2"), true).await;
    assert_eq!(heard, told(&[&alice, &tablet], "message/staff"));
    // No way to bob is known, and before this one is settled the other device has done something.
    for kind in [
        sam.verb(to(&with_bob, "s3")),
        tablet.verb(read_to(1, &with_alice)),
    ] {
        driver.append("sam", kind).await;
    }
    driver.apply_pending(lane("sam"), 9).await;
    driver.pushes().await;
    for n in 4..8 {
        let words = to(&with_alice, &format!("t{n}"));
        driver.send(&mut tablet, words).await;
        driver.pushes().await;
        let words = to(&with_bob, &format!("s{n}"));
        driver.send(&mut sam, words).await;
        let heard = whats_told(&mut driver).await;
        assert_eq!(heard, told(&[&bob, &tablet], "message/staff"));
    }
    assert!(driver.quick > 4, "only {}", driver.quick);
}

#[tokio::test]
async fn who_is_in_no_conversation_any_more_is_told_so() {
    let (_server, mut driver) = start().await;
    let (mut sam, mut alice) = talk(&mut driver).await;
    say(&mut driver, &mut alice, words_with_id("1", "a1"), true).await;
    driver
        .send(&mut sam, Verb::Close { conversation: None })
        .await;
    driver.pushes().await;
    let heard = say(&mut driver, &mut alice, words_with_id("2", "a2"), false).await;
    assert_eq!(heard, told(&[&alice], "error/no_conversation"));
}

#[tokio::test]
async fn a_frame_that_is_not_the_next_is_refused_behind_quick_ones() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice) = talk(&mut driver).await;
    say(&mut driver, &mut alice, words_with_id("1", "a1"), true).await;
    alice.sent += 1;
    let heard = say(&mut driver, &mut alice, words_with_id("3", "a3"), false).await;
    assert_eq!(heard, told(&[&alice], "close/4004"));
    let again = alice.sent;
    alice.sent -= 3;
    let heard = say(&mut driver, &mut alice, words_with_id("1", "b1"), false).await;
    assert_eq!(heard, told(&[&alice], "close/4004"), "{again}");
}

/// Whatever the worker had counted on; and nothing is acknowledged that was not stored.
#[tokio::test]
async fn after_a_failure_nothing_goes_the_quick_way() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice) = talk(&mut driver).await;
    let conversation = driver
        .conversation_of("alice")
        .await
        .expect("she is in one");
    let log = driver.key(&format!("log:{conversation}"));
    say(&mut driver, &mut alice, words_with_id("1", "a1"), true).await;
    spoil(&mut driver, &log).await;
    for n in 2..5 {
        let kind = alice.verb(words_with_id("...", &format!("a{n}")));
        driver.append("alice", kind).await;
    }
    let quick = driver.quick;
    let settled = driver.apply_pending(lane("alice"), 9).await;
    let dead = |n: usize| matches!(settled[n].outcome, Outcome::Dead(_));
    assert!((0..3).all(dead) && driver.quick == quick, "{settled:?}");
    let () = redis::cmd("DEL")
        .arg(&log)
        .query_async(&mut driver.connection)
        .await
        .expect("deleted");
    for n in 2..5 {
        let again = words_with_id("...", &format!("a{n}"));
        let outcome = driver.send(&mut alice, again).await;
        let Outcome::Acked(ack) = &outcome else {
            panic!("not stored: {outcome:?}")
        };
        assert_eq!(ack.seq, (n + 3).to_string());
    }
}

/// The first words move what messages change of a conversation; should they fail, it is not lost.
#[tokio::test]
async fn a_conversation_whose_first_words_fail_keeps_its_place() {
    let (_server, mut driver) = start().await;
    let mut sam = driver.open("sam").await;
    driver.send(&mut sam, on_duty(1)).await;
    let mut alice = driver.open("alice").await;
    driver.send(&mut alice, Verb::CustomerConnect).await;
    let conversation = driver.conversation_of("alice").await.expect("in one");
    let log = driver.key(&format!("log:{conversation}"));
    spoil(&mut driver, &log).await;
    let failed = driver.send(&mut alice, words_with_id("1", "a1")).await;
    assert!(matches!(failed, Outcome::Dead(_)), "{failed:?}");
    let () = redis::cmd("DEL")
        .arg(&log)
        .query_async(&mut driver.connection)
        .await
        .expect("deleted");
    let stored = driver.send(&mut alice, words_with_id("1", "a1")).await;
    let Outcome::Acked(ack) = &stored else {
        panic!("not stored: {stored:?}")
    };
    assert_eq!(ack.seq, "2");
}
