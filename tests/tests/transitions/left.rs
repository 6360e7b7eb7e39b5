//! Messages that customers leave while nobody is on duty, by the setting `leave_message`.

use frontdesk_shared::protocol::frame::Verb;
use frontdesk_tests::{
    lane_driver::{Pushed, Socket, on_duty, words},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave, Policy};

use crate::{
    requests::asker,
    scene::{Scene, close},
};

on_both![
    words_wait_without_their_customer_for_whoever_comes_on_duty,
    the_idle_time_begins_with_the_customers_next_words,
    who_answers_without_a_connection_is_away_and_timed_out,
    who_has_answered_without_a_connection_waits_again_for_a_time,
    who_comes_back_finds_their_conversation,
    what_nobody_answers_ends_and_leaves_nothing_behind,
    what_was_left_survives_staff_who_leave,
    as_many_may_leave_messages_as_may_wait,
];

const WEEK_S: u64 = 7 * 24 * 60 * 60;

fn settings() -> DeskSettings {
    DeskSettings {
        leave_message: true,
        ..DeskSettings::default()
    }
}

/// A customer who has left these words, and left.
async fn left(scene: &mut Scene, uid: &str, said: &[&str]) -> String {
    let mut socket = scene.customer(uid).await;
    for text in said {
        let change = scene.send(&mut socket, words(text)).await;
        assert!(
            change.told()[0].contains("still_queued"),
            "{:?}",
            change.lines
        );
    }
    let conv = scene.driver.conversation_of(uid).await.expect("waits");
    scene.change(uid, socket.close()).await;
    conv
}

/// One field of a user or a conversation.
async fn field(scene: &mut Scene, key: &str, name: &str) -> Option<String> {
    let dump = scene.driver.dump().await;
    dump.hash(&scene.driver.key(key)).remove(name)
}

/// The shard's clock moves on, and what is due is applied.
async fn pass(scene: &mut Scene, seconds: u64) -> Vec<String> {
    scene.driver.tick_after(seconds * 1000).await;
    scene.driver.drain().await;
    let pushes = scene.driver.pushes().await;
    pushes.iter().map(Pushed::short).collect()
}

async fn words_wait_without_their_customer_for_whoever_comes_on_duty(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let mut alice = scene.open("alice").await;
    let second = scene.open("alice").await;
    scene.send(&mut alice, Verb::CustomerConnect).await.is(r"
        + conv:e3.1 bytes=0
        + conv:e3.1 customer=alice
        + conv:e3.1 idle=604800000
        + conv:e3.1 state=waiting
        + conv:e3.1 ticket=1
        + conv:e3.1 words=0
        + convs:alice TTL 608400000
        + convs:alice e3.1 T
        + due idle|default|alice|e3.1|1 604800000
        + q:+ alice 1
        + sites default
        + turn 1
        + u:alice conv=e3.1
        + u:alice left=1
        + u:alice n:alice.1=1
        + u:alice place=1
        + u:alice queue=+
        + waiting alice 1
        - u:alice n:alice.1=0
        > alice.1 message/no_staff conversation=e3.1
        > alice.2 message/no_staff conversation=e3.1
    ");
    scene.send(&mut alice, Verb::CustomerConnect).await.is(r"
        + u:alice n:alice.1=2
        - u:alice n:alice.1=1
        > alice.1 message/no_staff conversation=e3.1
    ");
    scene.driver.tick_after(5000).await;
    scene.send(&mut alice, words("help")).await.is(r#"
        + conv:e3.1 bytes=6
        + conv:e3.1 counts=1 0
        + conv:e3.1 idle=604805000
        + conv:e3.1 last=e5.1
        + conv:e3.1 seq=1
        + conv:e3.1 words=1
        + log:e3.1 1-0 from=customer uid=alice id=e5.1 time=T counts=1 0 message="help"
        + u:alice n:alice.1=3
        - conv:e3.1 bytes=0
        - conv:e3.1 idle=604800000
        - conv:e3.1 words=0
        - u:alice n:alice.1=2
        > alice.1 message/still_queued conversation=e3.1
        > alice.2 message/customer conversation=e3.1 id=e5.1 message=help seq=1 time=T
    "#);
    // Both sockets close: nothing ends.
    scene.change("alice", second.close()).await;
    scene.change("alice", alice.close()).await.is(r"
        + u:alice conns=
        - boot:g1 alice.1=default alice
        - u:alice conns=alice.1
        - u:alice n:alice.1=3
    ");
    let mut sam = scene.open("sam").await;
    let change = scene.send(&mut sam, on_duty(1)).await;
    assert_eq!(
        change.told(),
        [
            "sam.1 message/on_duty max=1 name=客服",
            "sam.1 message/new_customer conversation=e3.1 customer=alice id=e9.1 prev=e5.1 seq=2 time=T",
            "sam.1 message/customer conversation=e3.1 id=e5.1 message=help seq=1 time=T",
        ]
    );
    let lines: Vec<_> = change.lines.iter().map(String::as_str).collect();
    for line in [
        "+ conv:e3.1 state=open",
        "- waiting alice 1",
        "- q:+ alice 1",
        "- u:alice queue=+",
    ] {
        assert!(lines.contains(&line), "{line} is not in {lines:?}");
    }
    // The timer is as it was.
    assert!(
        !lines
            .iter()
            .any(|line| line.contains(" due ") || line.contains("idle"))
    );
}

async fn the_idle_time_begins_with_the_customers_next_words(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let conv = left(&mut scene, "alice", &["help"]).await;
    let mut sam = scene.staff("sam", 1).await;
    // Nobody answers for a long time; staff's words change nothing.
    assert_eq!(pass(&mut scene, 3600).await, Vec::<String>::new());
    scene.send(&mut sam, words("hello?")).await;
    assert_eq!(pass(&mut scene, 3600).await, Vec::<String>::new());
    let mut alice = scene.open("alice").await;
    let standing = scene.send(&mut alice, Verb::CustomerConnect).await;
    assert!(standing.told()[0].contains("message/connected"));
    // Who looks in and goes without a word has not left it either.
    scene.change("alice", alice.close()).await;
    let state = field(&mut scene, &format!("conv:{conv}"), "state").await;
    assert_eq!(state.as_deref(), Some("open"));
    let mut alice = scene.open("alice").await;
    let change = scene.send(&mut alice, words("here I am")).await;
    assert!(change.told()[0].starts_with("sam.1 message/customer"));
    assert_eq!(field(&mut scene, "u:alice", "left").await, None);
    let told = pass(&mut scene, 61).await;
    assert_eq!(told, ["chat_close/timeout", "chat_close/customer_timeout"]);
    // From the first words to staff on it is as any other: closing is leaving.
    scene.change("alice", alice.close()).await;
    let again = left_and_taken(&mut scene, &mut sam).await;
    let state = field(&mut scene, &format!("conv:{again}"), "state").await;
    assert_eq!(state.as_deref(), Some("ended"));
    assert_eq!(field(&mut scene, "u:bob", "conns").await, None);
}

/// Another one is left, taken, continued and left with the last socket.
async fn left_and_taken(scene: &mut Scene, sam: &mut Socket) -> String {
    scene.send(sam, Verb::StaffOffline).await;
    let conv = left(scene, "bob", &["me too"]).await;
    scene.send(sam, on_duty(1)).await;
    let mut bob = scene.open("bob").await;
    scene.send(&mut bob, words("hello")).await;
    scene.change("bob", bob.close()).await;
    conv
}

/// By the HTTP API. Coming and going without a word does not make them be here either; words do.
async fn who_answers_without_a_connection_is_away_and_timed_out(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let conv = left(&mut scene, "alice", &["help"]).await;
    scene.staff("sam", 1).await;
    let alice = asker(&mut scene, "alice");
    let says = alice.says("k1", "by a program", &conv);
    scene.change("alice", says).await.is(r#"
        + conv:e2.1 counts=2 0
        + conv:e2.1 idle=60000
        + conv:e2.1 last=e7.1
        + conv:e2.1 seq=3
        + due idle|default|alice|e2.1|1 60000
        + log:e2.1 3-0 from=customer uid=alice id=e7.1 time=T counts=2 0 message="by a program" ref=k1
        + req:alice:0 #=T 0
        + req:alice:0 TTL 90000000
        + req:alice:0 k1=D {"action":"ack","payload":{"conversation":"e2.1","seq":3,"id":"e7.1","time":T}}
        + sent:alice:0 #=T 0
        + sent:alice:0 TTL 90000000
        + sent:alice:0 k1=c5d293bc5fd8d2d1cca196f90b7e25ec e2.1 3 e7.1 T
        + u:alice left=2
        - conv:e2.1 counts=1 0
        - conv:e2.1 idle=604800000
        - conv:e2.1 last=e6.1
        - conv:e2.1 seq=2
        - due idle|default|alice|e2.1|1 604800000
        - u:alice left=1
        > sam.1 message/customer conversation=e2.1 id=e7.1 message=by a program prev=e6.1 seq=3 time=T
    "#);
    let looks_in = scene.open("alice").await;
    scene.change("alice", looks_in.close()).await;
    assert_eq!(
        field(&mut scene, "u:alice", "left").await.as_deref(),
        Some("2")
    );
    assert_eq!(pass(&mut scene, 61).await, ["chat_close/customer_timeout"]);
    assert_eq!(
        field(&mut scene, "u:alice", "conns").await,
        None,
        "forgotten"
    );
    // Who is here and writes by a program is here: closing is leaving.
    let mut sam = scene.open("sam").await;
    scene.send(&mut sam, Verb::StaffOffline).await;
    let conv = left(&mut scene, "bob", &["me too"]).await;
    scene.send(&mut sam, on_duty(1)).await;
    let bob = asker(&mut scene, "bob");
    scene.change("bob", bob.says("k1", "away", &conv)).await;
    let socket = scene.open("bob").await;
    scene.change("bob", bob.says("k2", "here", &conv)).await;
    assert_eq!(field(&mut scene, "u:bob", "left").await, None);
    scene.change("bob", socket.close()).await;
    let state = field(&mut scene, &format!("conv:{conv}"), "state").await;
    assert_eq!(state.as_deref(), Some("ended"));
}

/// Staff hand the conversation back: its customer is as far away as before, so it does not wait for ever.
async fn who_has_answered_without_a_connection_waits_again_for_a_time(options: Options) {
    for policy in [Policy::Shortest, Policy::Shared] {
        let settings = DeskSettings {
            policy,
            on_staff_leave: OnStaffLeave::Requeue,
            ..settings()
        };
        let mut scene = Scene::new(options.clone(), settings).await;
        let conv = left(&mut scene, "alice", &["help"]).await;
        let mut sam = scene.staff("sam", 1).await;
        scene.staff("sue", 1).await;
        scene.customer("carol").await; // sue has no place free
        let alice = asker(&mut scene, "alice");
        scene
            .change("alice", alice.says("k1", "hello", &conv))
            .await;
        scene.send(&mut sam, Verb::StaffOffline).await;
        assert_eq!(
            field(&mut scene, "u:alice", "queue").await.as_deref(),
            Some("+")
        );
        assert_eq!(
            field(&mut scene, "u:alice", "left").await.as_deref(),
            Some("1")
        );
        let says = alice.says("k2", "still there?", &conv);
        scene.change("alice", says).await;
        // The timer of the conversation with sam finds a later time; carol's own is due.
        pass(&mut scene, 61).await;
        let mut sam = scene.open("sam").await;
        let taken = field(&mut scene, &format!("conv:{conv}"), "staff").await;
        assert_eq!(taken.as_deref(), Some("sue"), "who has a place now");
        let change = scene.send(&mut sam, on_duty(1)).await;
        let nobody_new = change.told().iter().all(|line| line.contains("on_duty"));
        assert!(nobody_new, "{:?}", change.lines);
        assert_eq!(
            pass(&mut scene, WEEK_S).await,
            ["chat_close/customer_timeout"]
        );
        assert_eq!(
            field(&mut scene, "u:alice", "conns").await,
            None,
            "forgotten"
        );
    }
}

async fn who_comes_back_finds_their_conversation(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let conv = left(&mut scene, "alice", &["one"]).await;
    let mut alice = scene.open("alice").await;
    let standing = scene.send(&mut alice, Verb::CustomerConnect).await;
    assert_eq!(standing.told().len(), 1);
    assert!(standing.told()[0].contains("message/no_staff conversation="));
    scene.send(&mut alice, words("two")).await;
    let words_kept = field(&mut scene, &format!("conv:{conv}"), "words").await;
    assert_eq!(words_kept.as_deref(), Some("2"));
    // Once somebody is there who has no time, there is a place in the queue.
    scene.change("alice", alice.close()).await;
    left(&mut scene, "bob", &["three"]).await;
    scene.staff("sam", 1).await;
    let mut bob = scene.open("bob").await;
    let standing = scene.send(&mut bob, Verb::CustomerConnect).await;
    assert!(standing.told()[0].contains("message/queued"));
    assert!(standing.told()[0].ends_with("queue=1"));
    // An explicit end is one.
    let change = scene.send(&mut bob, close(None)).await;
    assert!(change.told()[0].contains("chat_close/customer_left"));
    assert_eq!(scene.driver.conversation_of("bob").await, None);
}

async fn what_nobody_answers_ends_and_leaves_nothing_behind(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let conv = left(&mut scene, "alice", &["one"]).await;
    pass(&mut scene, WEEK_S - 10).await;
    // Words renew the time: the timer finds a later one and is set again.
    let mut alice = scene.open("alice").await;
    scene.send(&mut alice, words("two")).await;
    assert_eq!(pass(&mut scene, WEEK_S - 10).await, Vec::<String>::new());
    let told = pass(&mut scene, 11).await;
    assert_eq!(told, ["queue_close/staff_offline"]);
    scene.change("alice", alice.close()).await;
    // Who is not there is told nothing.
    left(&mut scene, "bob", &["three"]).await;
    assert_eq!(pass(&mut scene, WEEK_S + 1).await, Vec::<String>::new());
    pass(&mut scene, 1).await;
    let dump = scene.driver.dump().await;
    let ended = dump.hash(&scene.driver.key(&format!("conv:{conv}")));
    assert_eq!(ended["state"], "ended");
    let prefix = frontdesk_shared::keys::site_prefix(&scene.driver.site);
    let site = frontdesk_tests::desk_state::SiteDump::new(&dump, &prefix);
    site.check_empty().expect("nothing is left behind");
    let shard = frontdesk_shared::keys::shard_prefix(scene.driver.shard);
    for name in ["due", "moved", "sites"] {
        assert!(!dump.0.contains_key(&format!("{shard}{name}")), "{name}");
    }
}

async fn what_was_left_survives_staff_who_leave(options: Options) {
    for policy in [Policy::Shortest, Policy::Shared] {
        let settings = DeskSettings {
            policy,
            on_staff_leave: OnStaffLeave::Requeue,
            ..settings()
        };
        let mut scene = Scene::new(options.clone(), settings).await;
        left(&mut scene, "alice", &["one"]).await;
        let conv = left(&mut scene, "bob", &["two"]).await;
        let mut sam = scene.staff("sam", 1).await;
        // The last one goes, and with them the conversation they took; what nobody took waits on.
        scene.send(&mut sam, Verb::StaffOffline).await;
        assert_eq!(
            field(&mut scene, "u:bob", "queue").await.as_deref(),
            Some("+")
        );
        // Who takes it goes too: it goes on to somebody else, and still counts as left.
        scene.staff("sue", 1).await;
        let state = field(&mut scene, &format!("conv:{conv}"), "state").await;
        assert_eq!(state.as_deref(), Some("open"));
        let mut sam = scene.open("sam").await;
        scene.send(&mut sam, on_duty(1)).await;
        let mut sue = scene.open("sue").await;
        let change = scene.send(&mut sue, Verb::StaffOffline).await;
        let told = change.told();
        let new_customer = |line: &&str| line.starts_with("sam.2 message/new_customer");
        assert!(told.iter().any(new_customer), "{:?}", change.lines);
        let said = change
            .told()
            .into_iter()
            .filter(|line| line.contains("message=two"));
        assert!(said.count() >= 1, "{:?}", change.lines);
        assert_eq!(
            field(&mut scene, "u:bob", "left").await.as_deref(),
            Some("1")
        );
    }
}

async fn as_many_may_leave_messages_as_may_wait(options: Options) {
    let settings = DeskSettings {
        queue_limit: 1,
        ..settings()
    };
    let mut scene = Scene::new(options, settings).await;
    left(&mut scene, "alice", &[]).await;
    let mut bob = scene.open("bob").await;
    scene.send(&mut bob, Verb::CustomerConnect).await.is(r"
        + u:bob n:bob.1=1
        - u:bob n:bob.1=0
        > bob.1 message/queue_full
    ");
}
