//! `request`: what the HTTP API does, once for each key, by whom it may be done, and what is answered.

use frontdesk_shared::protocol::{Role, frame::Mark};
use frontdesk_tests::{asking::Asker, lane_driver::words_with_id, redis_server::Options};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{Outcome, SENT_IDS},
};
use serde_json::Value;

use crate::scene::{Change, Scene, conversation_of};

on_both![
    words_reach_the_other_side_and_every_socket_of_the_sender,
    the_same_key_has_the_same_answer_and_another_request_under_it_is_refused,
    repeated_within_one_call_it_is_done_once,
    who_is_not_here_is_not_made_to_be,
    words_for_who_waits_are_kept,
    marks_recalls_and_ends_are_answered,
    an_id_that_a_socket_has_used_is_known,
    older_keys_are_known_for_a_generation,
    a_request_that_fails_is_a_dead_letter_and_answered,
];

/// A request of somebody, with an address that has a name.
pub fn asker(scene: &mut Scene, uid: &str) -> Asker {
    Asker::at(scene.socket(uid).client)
}

/// The answer, its ids as names.
pub fn said(scene: &Scene, change: &Change) -> String {
    let Outcome::Said(said) = &change.outcome else {
        panic!("no answer: {:?}", change.outcome);
    };
    let frame: Value = serde_json::from_str(&said.frame).expect("a frame");
    let payload = frame["payload"].as_object().expect("a payload");
    let fields = payload.iter().filter(|(name, _)| *name != "message");
    let fields = fields.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    let fields = fields.collect::<Vec<_>>().join(" ");
    let action = frame["action"].as_str().expect("an action");
    scene.short(&format!("{action} {fields}"))
}

/// A member of staff and a customer in conversation.
pub async fn talk(options: Options) -> (Scene, String) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let conversation = conversation_of(&mut scene, "alice").await;
    (scene, conversation)
}

async fn words_reach_the_other_side_and_every_socket_of_the_sender(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let alice = asker(&mut scene, "alice");
    let change = scene
        .change("alice", alice.says("k1", "hello", &conversation))
        .await;
    change.is(r#"
        + conv:e4.1 counts=1 0
        + conv:e4.1 last=e5.1
        + conv:e4.1 seq=2
        + log:e4.1 2-0 from=customer uid=alice id=e5.1 time=T counts=1 0 message="hello" ref=k1
        + req:alice:0 #=T 0
        + req:alice:0 TTL 90000000
        + req:alice:0 k1=D {"action":"ack","payload":{"conversation":"e4.1","seq":2,"id":"e5.1","time":T}}
        + sent:alice:0 #=T 0
        + sent:alice:0 TTL 90000000
        + sent:alice:0 k1=cd116d3075765ca7bd03e999e021d1ef e4.1 2 e5.1 T
        - conv:e4.1 counts=0 0
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        > sam.1 message/customer conversation=e4.1 id=e5.1 message=hello prev=e4.2 seq=2 time=T
        > alice.1 message/customer conversation=e4.1 id=e5.1 message=hello prev=e4.2 seq=2 time=T
    "#);
    let answer = said(&scene, &change);
    assert_eq!(answer, "ack conversation=e4.1 id=e5.1 seq=2 time=T");
}

async fn the_same_key_has_the_same_answer_and_another_request_under_it_is_refused(
    options: Options,
) {
    let (mut scene, conversation) = talk(options).await;
    let alice = asker(&mut scene, "alice");
    let words = |text| alice.says("k1", text, &conversation);
    let first = scene.change("alice", words("hello")).await;
    // From another address, as after a lost answer.
    let again = asker(&mut scene, "alice");
    let second = scene
        .change("alice", again.says("k1", "hello", &conversation))
        .await;
    second.is("");
    assert_eq!(said(&scene, &first), said(&scene, &second));
    let Outcome::Said(answer) = &second.outcome else {
        unreachable!("said");
    };
    assert_eq!(answer.client, again.client.as_str());
    for other in [
        words("hello!"),
        again.says("k1", "hello", "1.1.1-1.1"),
        again.writes_to("k1", "hello", "sam"),
        again.closes("k1", &conversation),
        again.revokes("k1"),
    ] {
        let change = scene.change("alice", other).await;
        change.is("");
        assert_eq!(said(&scene, &change), "error code=key_reused");
    }
    // A refusal is an answer like any other.
    let refused = scene
        .change("alice", alice.says("k2", "?", "1.1.1-1.1"))
        .await;
    assert_eq!(said(&scene, &refused), "error code=no_conversation ref=k2");
    let refused = scene
        .change("alice", alice.says("k2", "?", "1.1.1-1.1"))
        .await;
    refused.is("");
    assert_eq!(said(&scene, &refused), "error code=no_conversation ref=k2");
    // Keys are a user's own.
    let sam = asker(&mut scene, "sam");
    let change = scene
        .change("sam", sam.says("k1", "hello", &conversation))
        .await;
    assert!(said(&scene, &change).starts_with("ack "));
}

/// By several gateways at once, in the same call of the script, and replayed from the lane's beginning.
async fn repeated_within_one_call_it_is_done_once(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let lane = crate::scene::lane("alice");
    let from = scene.driver.applied(lane).await.expect("alice is here");
    for _ in 0..5 {
        let words = Asker::open().says("k1", "hello", &conversation);
        scene.driver.append("alice", words).await;
    }
    let settled = scene.driver.apply_pending(lane, 32).await;
    let frames = settled.iter().map(|entry| match &entry.outcome {
        Outcome::Said(said) => said.frame.clone(),
        other => panic!("no answer: {other:?}"),
    });
    let frames: Vec<String> = frames.collect();
    assert_eq!(frames.len(), 5);
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:?}");
    let log = scene.driver.key(&format!("log:{conversation}"));
    let before = scene.driver.dump().await;
    assert_eq!(
        before.stream(&log).len(),
        2,
        "the assignment, and the words"
    );
    let again = scene.driver.entries(lane, &format!("({from}"), 32).await;
    let again: Vec<_> = again.into_iter().map(|entry| entry.prepared).collect();
    let outcomes = scene.driver.apply(lane, &again).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == Outcome::Duplicate)
    );
    let after = scene.driver.dump().await;
    assert_eq!(after.without_ttls(), before.without_ttls());
}

async fn who_is_not_here_is_not_made_to_be(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.open("sam").await;
    let robot = asker(&mut scene, "robot");
    let robot = robot.signed(Role::Staff, 50);
    let change = scene
        .change("robot", robot.writes_to("k1", "hello", "sam"))
        .await;
    change.is(r#"
        + conv:e2.1 TTL 608400000
        + conv:e2.1 a=robot
        + conv:e2.1 b=sam
        + conv:e2.1 counts=1 0
        + conv:e2.1 last=e2.2
        + conv:e2.1 renewed=T
        + conv:e2.1 seq=1
        + conv:e2.1 state=direct
        + convs:robot TTL 608400000
        + convs:robot e2.1 T
        + convs:sam TTL 608400000
        + convs:sam e2.1 T
        + dm:robot|sam TTL 608400000
        + dm:robot|sam e2.1
        + log:e2.1 1-0 from=user uid=robot id=e2.2 time=T counts=1 0 message="hello" ref=k1
        + log:e2.1 TTL 608400000
        + req:robot:0 #=T 0
        + req:robot:0 TTL 90000000
        + req:robot:0 k1=D {"action":"ack","payload":{"conversation":"e2.1","seq":1,"id":"e2.2","time":T}}
        + sent:robot:0 #=T 0
        + sent:robot:0 TTL 90000000
        + sent:robot:0 k1=b4b58181d35c6baf7e34add8be5bfd6b e2.1 1 e2.2 T
        + who:robot TTL 608400000
        + who:robot staff
        > sam.1 message/user conversation=e2.1 id=e2.2 message=hello seq=1 time=T uid=robot
    "#);
    assert!(
        said(&scene, &change).starts_with("ack "),
        "{change:?}",
        change = change.lines
    );
    let conversation = {
        let dump = scene.driver.dump().await;
        let list = dump.sorted(&scene.driver.key("convs:robot"));
        list[0].0.clone()
    };
    for kind in [
        robot.marks("k2", Mark::Read, &conversation, 1),
        robot.closes("k3", &conversation),
        robot.says("k4", "more", &conversation),
    ] {
        scene.change("robot", kind).await;
        let dump = scene.driver.dump().await;
        assert!(!dump.0.contains_key(&scene.driver.key("u:robot")));
    }
}

async fn words_for_who_waits_are_kept(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    scene.customer("bob").await;
    let conversation = conversation_of(&mut scene, "bob").await;
    let bob = asker(&mut scene, "bob");
    let change = scene
        .change("bob", bob.says("k1", "hello?", &conversation))
        .await;
    let shown = "bob.1 message/customer conversation=e6.1 id=e7.1 message=hello? seq=1 time=T";
    assert_eq!(change.told(), [shown]);
    let answer = said(&scene, &change);
    assert_eq!(
        answer,
        "ack conversation=e6.1 id=e7.1 seq=1 time=T waiting=true"
    );
}

async fn marks_recalls_and_ends_are_answered(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let (sam, alice) = (asker(&mut scene, "sam"), asker(&mut scene, "alice"));
    let words = scene
        .change("sam", sam.says("k1", "hello", &conversation))
        .await;
    assert!(said(&scene, &words).starts_with("ack "));
    let mark = |key, mark, up_to| alice.marks(key, mark, &conversation, up_to);
    let change = scene.change("alice", mark("k1", Mark::Delivered, 2)).await;
    let answer = said(&scene, &change);
    assert_eq!(
        answer,
        "receipt conversation=e4.1 delivered=2 read=0 uid=alice unread=1"
    );
    let change = scene.change("alice", mark("k2", Mark::Read, 9)).await;
    change.is(r#"
        + conv:e4.1 ra=2 1
        + req:alice:0 k2=D {"action":"receipt","payload":{"conversation":"e4.1","uid":"alice","delivered":2,"read":2,"unread":0}}
        > sam.1 receipt/- conversation=e4.1 delivered=2 read=2 uid=alice
        > alice.1 receipt/- conversation=e4.1 delivered=2 read=2 uid=alice unread=0
    "#);
    let answer = said(&scene, &change);
    assert_eq!(
        answer,
        "receipt conversation=e4.1 delivered=2 read=2 uid=alice unread=0"
    );
    // Nothing changes, and it is said how things stand.
    let change = scene.change("alice", mark("k3", Mark::Read, 1)).await;
    assert_eq!(change.told(), Vec::<&str>::new());
    let answer = said(&scene, &change);
    assert_eq!(
        answer,
        "receipt conversation=e4.1 delivered=2 read=2 uid=alice unread=0"
    );
    let change = scene
        .change("sam", sam.recalls("k2", &conversation, 2))
        .await;
    change.is(r#"
        + conv:e4.1 last=e9.1
        + conv:e4.1 recalls=1
        + conv:e4.1 seq=3
        + gone:e4.1 2=3
        + log:e4.1 3-0 from=staff uid=sam id=e9.1 time=T counts=0 1 recalled=2
        + req:sam:0 k2=D {"action":"recalled","payload":{"conversation":"e4.1","of":2,"of_id":"e5.1","uid":"sam","seq":3,"id":"e9.1","prev":"e5.1","time":T}}
        - conv:e4.1 last=e5.1
        - conv:e4.1 seq=2
        > alice.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e5.1 prev=e5.1 seq=3 time=T uid=sam
        > sam.1 recalled/- conversation=e4.1 id=e9.1 of=2 of_id=e5.1 prev=e5.1 seq=3 time=T uid=sam
    "#);
    let answer = said(&scene, &change);
    assert_eq!(
        answer,
        "recalled conversation=e4.1 id=e9.1 of=2 of_id=e5.1 prev=e5.1 seq=3 time=T uid=sam"
    );
    let again = scene
        .change("sam", sam.recalls("k3", &conversation, 2))
        .await;
    assert_eq!(said(&scene, &again), said(&scene, &change));
    let others = scene
        .change("alice", alice.recalls("k4", &conversation, 2))
        .await;
    assert_eq!(said(&scene, &others), "error code=forbidden");
    let change = scene.change("sam", sam.closes("k4", &conversation)).await;
    assert_eq!(change.told().len(), 2, "{:?}", change.lines);
    let answer = said(&scene, &change);
    assert_eq!(answer, "ended conversation=e4.1 reason=closed");
    let change = scene.change("sam", sam.closes("k5", &conversation)).await;
    assert_eq!(said(&scene, &change), "error code=no_conversation");
}

/// A socket's message and a request's are one when they have one id.
async fn an_id_that_a_socket_has_used_is_known(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let mut socket = scene.open("alice").await;
    let sent = scene.send(&mut socket, words_with_id("hello", "m1")).await;
    let Outcome::Acked(ack) = sent.outcome else {
        panic!("not acknowledged: {:?}", sent.lines);
    };
    let alice = asker(&mut scene, "alice");
    let change = scene
        .change("alice", alice.says("m1", "hello", &conversation))
        .await;
    assert_eq!(change.told(), Vec::<&str>::new());
    assert!(said(&scene, &change).contains(&scene.short(&ack.id)));
    let change = scene
        .change("alice", alice.says("m2", "hello", &conversation))
        .await;
    assert!(said(&scene, &change).starts_with("ack "));
    let sent = scene.send(&mut socket, words_with_id("bye", "m2")).await;
    assert_eq!(sent.told(), ["alice.2 error/id_reused ref=m2"]);
}

async fn older_keys_are_known_for_a_generation(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let alice = asker(&mut scene, "alice");
    let first = scene
        .change("alice", alice.says("first", "hello", &conversation))
        .await;
    let key = scene.driver.key("req:alice:0");
    let mut fill = redis::cmd("HSET");
    fill.arg(&key);
    for n in 1..SENT_IDS {
        fill.arg(format!("other-{n}")).arg("0 {}");
    }
    let () = fill
        .query_async(&mut scene.driver.connection)
        .await
        .expect("a hash");
    let second = scene
        .change("alice", alice.says("second", "hi", &conversation))
        .await;
    assert!(said(&scene, &second).starts_with("ack "));
    let dump = scene.driver.dump().await;
    let old = dump.hash(&scene.driver.key("req:alice:1"));
    assert!(old.contains_key("first") && !dump.hash(&key).contains_key("first"));
    let again = scene
        .change("alice", alice.says("first", "hello", &conversation))
        .await;
    assert_eq!(said(&scene, &again), said(&scene, &first));
}

/// The answer comes with the pushes then, since nothing of the transition's reply can be trusted.
async fn a_request_that_fails_is_a_dead_letter_and_answered(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let log = scene.driver.key(&format!("log:{conversation}"));
    let mut spoil = redis::cmd("SET");
    let () = spoil
        .arg(log)
        .arg("no stream")
        .query_async(&mut scene.driver.connection)
        .await
        .expect("set");
    let alice = asker(&mut scene, "alice");
    scene
        .driver
        .append("alice", alice.says("k1", "hello", &conversation))
        .await;
    let settled = scene.driver.drain().await;
    assert!(
        matches!(&settled[0].outcome, Outcome::Dead(_)),
        "{settled:?}"
    );
    let pushes = scene.driver.pushes().await;
    let [answer] = &pushes[..] else {
        panic!("one answer: {pushes:?}");
    };
    assert_eq!(answer.client, alice.client.as_str());
    assert_eq!(answer.kind, frontdesk_shared::push::Kind::Answer);
    assert_eq!(answer.short(), "error/internal");
}
