//! `message`: routing, deduplication, what is kept for the staff.

use frontdesk_shared::protocol::frame::Verb;
use frontdesk_tests::{
    lane_driver::{Pushed, on_duty, unhurried, words, words_with_id},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave},
    library::{Outcome, SENT_IDS, SENT_MS},
};

use crate::scene::{Scene, close, lane, round};

on_both![
    words_reach_the_other_side_and_restart_the_idle_time,
    words_of_a_waiting_customer_are_kept_for_the_staff,
    an_id_is_taken_once_and_gets_the_same_ack_again,
    an_id_with_another_body_is_refused,
    remembered_ids_are_bounded_and_forgotten_after_a_day,
    twenty_messages_wait_and_no_more,
    sixteen_kib_of_messages_wait_and_no_more,
    words_from_before_an_assignment_need_a_name,
    who_takes_over_sees_the_last_words_with_an_unbroken_chain,
];

async fn words_reach_the_other_side_and_restart_the_idle_time(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    scene.open("sam").await;
    let mut alice = scene.customer("alice").await;
    scene.open("alice").await;
    scene.driver.tick_after(5000).await;
    scene
        .send(&mut alice, words_with_id("你好", "m1"))
        .await
        .is(r#"
        + conv:e5.1 counts=1 0
        + conv:e5.1 idle=65000
        + conv:e5.1 last=e7.1
        + conv:e5.1 seq=2
        + log:e5.1 2-0 from=customer uid=alice id=e7.1 time=T counts=1 0 message="你好" ref=m1
        + sent:alice:0 #=T 0
        + sent:alice:0 TTL 90000000
        + sent:alice:0 m1=16a60ac2c7057f0c9629b64bd695a78e e5.1 2 e7.1 T
        + u:alice n:alice.1=2
        - conv:e5.1 counts=0 0
        - conv:e5.1 idle=60000
        - conv:e5.1 last=e5.2
        - conv:e5.1 seq=1
        - u:alice n:alice.1=1
        > sam.1 message/customer conversation=e5.1 id=e7.1 message=你好 prev=e5.2 seq=2 time=T
        > sam.2 message/customer conversation=e5.1 id=e7.1 message=你好 prev=e5.2 seq=2 time=T
        > alice.2 message/customer conversation=e5.1 id=e7.1 message=你好 prev=e5.2 seq=2 time=T
    "#);
    scene.driver.tick_after(5000).await;
    scene.send(&mut sam, words("\"您好\"")).await.is(r#"
        + conv:e5.1 counts=1 1
        + conv:e5.1 last=e8.1
        + conv:e5.1 seq=3
        + log:e5.1 3-0 from=staff uid=sam id=e8.1 time=T counts=1 1 message="\"您好\""
        + u:sam n:sam.1=2
        - conv:e5.1 counts=1 0
        - conv:e5.1 last=e7.1
        - conv:e5.1 seq=2
        - u:sam n:sam.1=1
        > alice.1 message/staff conversation=e5.1 id=e8.1 message="您好" prev=e7.1 seq=3 time=T
        > alice.2 message/staff conversation=e5.1 id=e8.1 message="您好" prev=e7.1 seq=3 time=T
        > sam.2 message/staff conversation=e5.1 id=e8.1 message="您好" prev=e7.1 seq=3 time=T
    "#);
    let mut bob = scene.open("bob").await;
    scene.send(&mut bob, words_with_id("?", "m2")).await.is(r"
        + u:bob n:bob.1=1
        - u:bob n:bob.1=0
        > bob.1 error/no_conversation ref=m2
    ");
}

async fn words_of_a_waiting_customer_are_kept_for_the_staff(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    scene.send(&mut bob, words("a")).await.is(r#"
        + conv:e6.1 bytes=3
        + conv:e6.1 counts=1 0
        + conv:e6.1 last=e7.1
        + conv:e6.1 seq=1
        + conv:e6.1 words=1
        + log:e6.1 1-0 from=customer uid=bob id=e7.1 time=T counts=1 0 message="a"
        + u:bob n:bob.1=2
        - conv:e6.1 bytes=0
        - conv:e6.1 words=0
        - u:bob n:bob.1=1
        > bob.1 message/still_queued conversation=e6.1
    "#);
    scene.send(&mut bob, words("b")).await.is(r#"
        + conv:e6.1 bytes=6
        + conv:e6.1 counts=2 0
        + conv:e6.1 last=e8.1
        + conv:e6.1 seq=2
        + conv:e6.1 words=2
        + log:e6.1 2-0 from=customer uid=bob id=e8.1 time=T counts=2 0 message="b"
        + u:bob n:bob.1=3
        - conv:e6.1 bytes=3
        - conv:e6.1 counts=1 0
        - conv:e6.1 last=e7.1
        - conv:e6.1 seq=1
        - conv:e6.1 words=1
        - u:bob n:bob.1=2
        > bob.1 message/still_queued conversation=e6.1
    "#);
    scene.send(&mut alice, Verb::CustomerLeave).await.is(r"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e9.1
        + conv:e4.1 seq=2
        + conv:e4.1 state=ended
        + conv:e6.1 at=T
        + conv:e6.1 idle=60000
        + conv:e6.1 last=e9.2
        + conv:e6.1 seq=3
        + conv:e6.1 staff=sam
        + conv:e6.1 state=open
        + convs:alice e4.1 T
        + convs:bob e6.1 T
        + convs:sam e4.1 T
        + convs:sam e6.1 T
        + due idle|default|bob|e6.1|3 60000
        + duty sam 1
        + log:e4.1 2-0 from=system uid=alice id=e9.1 time=T counts=0 0 ended=customer_left
        + log:e4.1 TTL 604800000
        + log:e6.1 3-0 from=system uid=sam id=e9.2 time=T counts=2 0 assigned=bob
        + moved default|sam 0
        + turn 5
        + u:alice n:alice.1=2
        + u:sam convs=e6.1
        + u:sam turn=5
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - conv:e4.1 state=open
        - conv:e6.1 last=e8.1
        - conv:e6.1 seq=2
        - conv:e6.1 state=waiting
        - convs:alice e4.1 T
        - convs:bob e6.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - duty sam 34359738369
        - q:sam bob 4
        - turn 4
        - u:alice conv=e4.1
        - u:alice n:alice.1=1
        - u:bob place=1
        - u:bob queue=sam
        - u:sam convs=e4.1
        - u:sam turn=3
        - waiting bob 4
        > alice.1 chat_close/customer_left conversation=e4.1 id=e9.1 prev=e4.2 seq=2 time=T
        > sam.1 chat_close/customer_left conversation=e4.1 id=e9.1 prev=e4.2 seq=2 time=T
        > sam.1 message/new_customer conversation=e6.1 customer=bob id=e9.2 prev=e8.1 seq=3 time=T
        > sam.1 message/customer conversation=e6.1 id=e7.1 message=a seq=1 time=T
        > sam.1 message/customer conversation=e6.1 id=e8.1 message=b prev=e7.1 seq=2 time=T
        > bob.1 message/your_turn conversation=e6.1
        > bob.1 message/connected conversation=e6.1 id=e9.2 name=客服 prev=e8.1 seq=3 time=T
    ");
}

async fn an_id_is_taken_once_and_gets_the_same_ack_again(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut other = scene.open("alice").await;
    let Outcome::Acked(first) = scene
        .send(&mut alice, words_with_id("a", "m1"))
        .await
        .outcome
    else {
        panic!("not acknowledged");
    };
    let change = scene.send(&mut other, words_with_id("a", "m1")).await;
    change.is(r"
        + u:alice n:alice.2=1
        - u:alice n:alice.2=0
    ");
    let Outcome::Acked(again) = change.outcome else {
        panic!("not acknowledged");
    };
    assert_eq!(again.client, other.client.as_str());
    assert_eq!(
        (again.seq, again.id, again.time),
        (first.seq, first.id, first.time)
    );
    assert_eq!(again.conversation, first.conversation);
    // Also when the conversation is over: where it went was decided the first time.
    scene.send(&mut alice, Verb::CustomerLeave).await;
    let change = scene.send(&mut other, words_with_id("a", "m1")).await;
    assert!(
        matches!(change.outcome, Outcome::Acked(ref ack) if ack.conversation == first.conversation)
    );
    assert_eq!(change.told(), Vec::<&str>::new());
}

async fn an_id_with_another_body_is_refused(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, words_with_id("a", "m1")).await;
    scene.send(&mut alice, words_with_id("b", "m1")).await.is(r"
        + u:alice n:alice.1=3
        - u:alice n:alice.1=2
        > alice.1 error/id_reused ref=m1
    ");
    // Another sender's ids are their own.
    let change = scene.send(&mut sam, words_with_id("b", "m1")).await;
    assert!(matches!(change.outcome, Outcome::Acked(_)));
}

async fn remembered_ids_are_bounded_and_forgotten_after_a_day(options: Options) {
    let mut scene = Scene::new(options, unhurried()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let count = 2 * SENT_IDS + 10;
    for n in 0..count {
        let kind = alice.verb(words_with_id("a", &format!("m{n}")));
        scene.driver.append("alice", kind).await;
    }
    scene.driver.drain().await;
    scene.driver.pushes().await;
    let dump = scene.driver.dump().await;
    let mut remembered = 0;
    for generation in 0..2 {
        let name = scene.driver.key(&format!("sent:alice:{generation}"));
        remembered += dump.hash(&name).len();
        let ttl = dump.0[&name].ttl_ms.expect("forgotten some day");
        assert_eq!(u64::try_from(round(ttl)).expect("positive"), SENT_MS);
    }
    assert!(
        (SENT_IDS..=2 * SENT_IDS).contains(&remembered),
        "{remembered}"
    );
    for n in [count - SENT_IDS, count - 1] {
        let again = scene
            .send(&mut alice, words_with_id("a", &format!("m{n}")))
            .await;
        assert_eq!(again.told(), Vec::<&str>::new(), "m{n} is taken again");
    }
    // So long ago that it is new.
    let again = scene.send(&mut alice, words_with_id("a", "m0")).await;
    assert_eq!(again.told().len(), 1);
}

async fn twenty_messages_wait_and_no_more(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    for n in 0..20 {
        let change = scene.send(&mut bob, words(&format!("w{n}"))).await;
        assert!(
            change.told()[0].contains("still_queued"),
            "{:?}",
            change.lines
        );
    }
    scene
        .send(&mut bob, words_with_id("one too many", "m1"))
        .await
        .is(r"
        + u:bob n:bob.1=22
        - u:bob n:bob.1=21
        > bob.1 error/queue_words_full ref=m1
    ");
    let change = scene.send(&mut alice, Verb::CustomerLeave).await;
    let kept: Vec<_> = change
        .told()
        .into_iter()
        .filter(|line| line.starts_with("sam.1 message/customer"))
        .map(|line| line.split("message=w").nth(1).expect("words"))
        .map(|rest| rest.split(' ').next().expect("words").to_owned())
        .collect();
    let all: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(kept, all);
}

async fn sixteen_kib_of_messages_wait_and_no_more(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    // As JSON strings, so with two quotes.
    for (length, fits) in [(8190, true), (8191, false), (8190, true), (1, false)] {
        let change = scene.send(&mut bob, words(&"x".repeat(length))).await;
        let answer = if fits {
            "still_queued"
        } else {
            "queue_words_full"
        };
        assert!(
            change.told()[0].contains(answer),
            "{length}: {:?}",
            change.told()
        );
    }
}

async fn words_from_before_an_assignment_need_a_name(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.open("alice").await;
    assert_ne!(lane("sam"), lane("alice"));
    // Appended before the assignment, so not meant for it; applied after it.
    for verb in [words_with_id("a", "m1"), close(None)] {
        let kind = sam.verb(verb);
        scene.driver.append("sam", kind).await;
    }
    let connect = alice.verb(Verb::CustomerConnect);
    let id = scene.driver.append("alice", connect).await;
    scene.driver.pass(id).await;
    scene.settle(lane("alice")).await;
    let settled = scene.driver.apply_pending(lane("sam"), 10).await;
    assert!(
        settled
            .iter()
            .all(|entry| entry.outcome == Outcome::Applied)
    );
    let told = scene.driver.pushes_to(&sam).await;
    assert_eq!(
        told,
        ["error/which_conversation", "error/which_conversation"]
    );
    // Appended after it, the same words count.
    let change = scene.send(&mut sam, words_with_id("a", "m1")).await;
    assert!(
        matches!(change.outcome, Outcome::Acked(_)),
        "{:?}",
        change.lines
    );
    let change = scene.send(&mut sam, close(None)).await;
    assert!(
        change.told()[0].contains("chat_close/closed"),
        "{:?}",
        change.lines
    );
}

async fn who_takes_over_sees_the_last_words_with_an_unbroken_chain(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut staff = [scene.staff("sam", 1).await, scene.open("sue").await];
    let mut alice = scene.customer("alice").await;
    for n in 0..22 {
        scene.send(&mut alice, words(&format!("w{n}"))).await;
    }
    // In the last round the entries that are looked at begin with the first of these words.
    for round in 0..10 {
        let (from, to) = (round % 2, (round + 1) % 2);
        scene.send(&mut staff[to], on_duty(1)).await;
        let leave = staff[from].verb(Verb::StaffOffline);
        let uid = staff[from].uid.to_string();
        scene.driver.append(&uid, leave).await;
        scene.driver.drain().await;
        let (client, pushes) = (staff[to].client.to_string(), scene.driver.pushes().await);
        let seen: Vec<_> = pushes
            .iter()
            .filter(|pushed| pushed.client == client && pushed.short() == "message/customer")
            .map(Pushed::frame)
            .collect();
        let said: Vec<_> = seen
            .iter()
            .map(|frame| frame["payload"]["message"].clone())
            .collect();
        let expected: Vec<_> = (2..22).map(|n| format!("w{n}")).collect();
        assert_eq!(said, expected, "round {round}");
        let conv = scene.driver.conversation_of("alice").await.expect("open");
        let dump = scene.driver.dump().await;
        let log = dump.stream(&scene.driver.key(&format!("log:{conv}")));
        for frame in &seen {
            let seq = frame["payload"]["seq"].as_u64().expect("a number");
            let before = &log[usize::try_from(seq).expect("small") - 2].1;
            let id = &before
                .iter()
                .find(|(name, _)| name == "id")
                .expect("an id")
                .1;
            assert_eq!(frame["payload"]["prev"], **id, "round {round}: {frame}");
        }
    }
}
