//! `recall`: a message is taken back.

use frontdesk_shared::{ids::MessageId, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{on_duty, recall, words},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave};

use crate::scene::{Scene, close, conversation_of, lane, round};

on_both![
    a_recalled_message_is_recalled_for_everybody,
    only_ones_own_message_is_recalled,
    the_time_for_recalling_is_redis_own,
    nothing_is_recalled_where_the_setting_says_never,
    a_message_of_an_ended_conversation_is_recalled,
    who_takes_over_is_not_shown_what_was_recalled,
];

async fn a_recalled_message_is_recalled_for_everybody(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.open("sam").await;
    let mut other = scene.open("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut alice, words("a")).await;
    scene.send(&mut alice, words("b")).await;
    scene.send(&mut alice, recall(2, &conv)).await.is(r"
        + conv:e4.1 last=e9.1
        + conv:e4.1 recalls=1
        + conv:e4.1 seq=4
        + gone:e4.1 2=4
        + log:e4.1 4-0 from=customer uid=alice id=e9.1 time=T counts=2 0 recalled=2
        + u:alice n:alice.1=4
        - conv:e4.1 last=e8.1
        - conv:e4.1 seq=3
        - u:alice n:alice.1=3
        > sam.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e7.1 prev=e8.1 seq=4 time=T uid=alice
        > sam.2 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e7.1 prev=e8.1 seq=4 time=T uid=alice
        > alice.2 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e7.1 prev=e8.1 seq=4 time=T uid=alice
        > alice.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e7.1 prev=e8.1 ref=r1 seq=4 time=T uid=alice
    ");
    // Again: the same answer, to who asks.
    scene.send(&mut other, recall(2, &conv)).await.is(r"
        + u:alice n:alice.2=1
        - u:alice n:alice.2=0
        > alice.2 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e7.1 prev=e8.1 ref=r1 seq=4 time=T uid=alice
    ");
}

async fn only_ones_own_message_is_recalled(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    let change = scene.send(&mut alice, words("a")).await;
    let id = scene.id_of("e5.1");
    assert!(change.told()[0].contains("id=e5.1"), "{:?}", change.lines);
    scene.send(&mut sam, recall(2, &conv)).await.is(r"
        + u:sam n:sam.1=2
        - u:sam n:sam.1=1
        > sam.1 error/forbidden ref=r1
    ");
    // What is no message, and what is not there.
    for seq in [1, 3] {
        let change = scene.send(&mut alice, recall(seq, &conv)).await;
        assert_eq!(change.told(), ["alice.1 error/no_message ref=r1"]);
    }
    let with_id = |id: &str| {
        let Verb::Recall {
            conversation, seq, ..
        } = recall(2, &conv)
        else {
            unreachable!("a recall")
        };
        let message = Some(MessageId::parse(id).expect("well-formed"));
        Verb::Recall {
            conversation,
            seq,
            message,
            id: None,
        }
    };
    scene.send(&mut alice, with_id(&conv)).await.is(r"
        + u:alice n:alice.1=5
        - u:alice n:alice.1=4
        > alice.1 error/no_message
    ");
    let change = scene.send(&mut alice, with_id(&id)).await;
    assert_eq!(change.told().len(), 2, "{:?}", change.lines);
}

async fn the_time_for_recalling_is_redis_own(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    let mut said = Vec::new();
    for text in ["a", "b"] {
        scene.send(&mut alice, words(text)).await;
        said.push(scene.driver.applied(lane("alice")).await.expect("applied"));
    }
    let mut ask = async |seq: u64, ms: u64| {
        let kind = alice.verb(recall(seq, &conv));
        scene.driver.append_later("alice", kind, ms).await;
        let change = scene.settle(lane("alice")).await;
        let told = change.told();
        let answer = told.last().and_then(|line| line.split(' ').nth(1));
        answer.expect("an answer").to_owned()
    };
    // The last millisecond, and the first that is too late.
    assert_eq!(ask(2, said[0].ms + 119_999).await, "recalled/-");
    assert_eq!(ask(3, said[1].ms + 120_000).await, "error/recall_expired");
    // What was recalled in time stays so.
    assert_eq!(ask(2, said[1].ms + 120_001).await, "recalled/-");
}

async fn nothing_is_recalled_where_the_setting_says_never(options: Options) {
    let settings = DeskSettings {
        recall_s: 0,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut alice, words("a")).await;
    scene.send(&mut alice, recall(2, &conv)).await.is(r"
        + u:alice n:alice.1=3
        - u:alice n:alice.1=2
        > alice.1 error/recall_expired ref=r1
    ");
}

async fn a_message_of_an_ended_conversation_is_recalled(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut sam, words("a")).await;
    scene.send(&mut sam, words("b")).await;
    scene.send(&mut sam, close(None)).await;
    scene.send(&mut sam, recall(3, &conv)).await.is(r"
        + conv:e4.1 last=e8.1
        + conv:e4.1 recalls=1
        + conv:e4.1 seq=5
        + gone:e4.1 3=5
        + gone:e4.1 TTL 604800000
        + log:e4.1 5-0 from=staff uid=sam id=e8.1 time=T counts=0 2 recalled=3
        + u:sam n:sam.1=5
        - conv:e4.1 last=e7.1
        - conv:e4.1 seq=4
        - u:sam n:sam.1=4
        > alice.1 recalled/- conversation=e4.1 id=e8.1 of=3 of_id=e6.1 prev=e7.1 seq=5 time=T uid=sam
        > sam.1 recalled/- conversation=e4.1 id=e8.1 of=3 of_id=e6.1 prev=e7.1 ref=r1 seq=5 time=T uid=sam
    ");
    scene.send(&mut sam, recall(2, &conv)).await.is(r"
        + conv:e4.1 last=e9.1
        + conv:e4.1 recalls=2
        + conv:e4.1 seq=6
        + gone:e4.1 2=6
        + log:e4.1 6-0 from=staff uid=sam id=e9.1 time=T counts=0 2 recalled=2
        + u:sam n:sam.1=6
        - conv:e4.1 last=e8.1
        - conv:e4.1 recalls=1
        - conv:e4.1 seq=5
        - u:sam n:sam.1=5
        > alice.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e5.1 prev=e8.1 seq=6 time=T uid=sam
        > sam.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e5.1 prev=e8.1 ref=r1 seq=6 time=T uid=sam
    ");
}

async fn who_takes_over_is_not_shown_what_was_recalled(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut sue = scene.open("sue").await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    for n in 0..25 {
        scene.send(&mut alice, words(&format!("w{n}"))).await;
        scene.send(&mut alice, recall(2 * n + 2, &conv)).await;
    }
    scene.send(&mut sam, words("mine")).await;
    scene.send(&mut alice, words("kept")).await;
    scene.send(&mut sue, on_duty(1)).await;
    let change = scene.send(&mut sam, Verb::StaffOffline).await;
    let told = change.told();
    let frames: Vec<_> = told
        .iter()
        .filter(|line| {
            line.starts_with("sue.1 message/customer") || line.starts_with("sue.1 message/staff")
        })
        .collect();
    assert_eq!(frames.len(), 20, "{told:?}");
    let (recalled, kept) = frames.split_at(18);
    let withheld = |line: &&&&str| line.contains("recalled=true") && !line.contains("message=");
    assert_eq!(recalled.iter().filter(withheld).count(), 18, "{recalled:?}");
    assert!(
        kept[0].contains("message=mine") && kept[1].contains("message=kept"),
        "{kept:?}"
    );
    // Earlier staff take back what they said, for who is there now, too.
    scene.send(&mut sam, recall(52, &conv)).await.is(r"
        + conv:e5.1 last=e60.1
        + conv:e5.1 recalls=26
        + conv:e5.1 seq=56
        + gone:e5.1 52=56
        + log:e5.1 56-0 from=staff uid=sam id=e60.1 time=T counts=26 1 recalled=52
        + u:sam n:sam.1=4
        - conv:e5.1 last=e59.2
        - conv:e5.1 recalls=25
        - conv:e5.1 seq=55
        - u:sam n:sam.1=3
        > sue.1 recalled/- conversation=e5.1 id=e60.1 of=52 of_id=e56.1 prev=e59.2 seq=56 time=T uid=sam
        > alice.1 recalled/- conversation=e5.1 id=e60.1 of=52 of_id=e56.1 prev=e59.2 seq=56 time=T uid=sam
        > sam.1 recalled/- conversation=e5.1 id=e60.1 of=52 of_id=e56.1 prev=e59.2 ref=r1 seq=56 time=T uid=sam
    ");
    // And a conversation that ends forgets it with the rest.
    scene.send(&mut alice, Verb::CustomerLeave).await;
    let dump = scene.driver.dump().await;
    let ttl = |kind: &str| {
        let key = scene.driver.key(&format!("{kind}:{conv}"));
        dump.0[&key].ttl_ms.map(round)
    };
    assert!(ttl("gone").is_some() && ttl("gone") == ttl("log"));
}
