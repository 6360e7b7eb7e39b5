//! `resume`, `close` of a socket that is lost, `lost_timer`, and `open` of who comes back.

use frontdesk_shared::{event::Kind, ids::BootId, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{Socket, resume, words},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave};

use crate::scene::{Change, Scene, close, lane};

on_both![
    resume_takes_over_from_a_connection_that_is_not_known_to_be_dead,
    only_who_resumes_and_is_lost_with_a_place_is_awaited,
    a_lost_customer_in_a_queue_is_passed_over_and_comes_back_to_the_place,
    whose_place_in_a_queue_is_kept_counts_in_its_limit,
    lost_staff_stay_on_duty_and_get_nobody_new,
    who_does_not_come_back_in_time_leaves,
    a_timer_of_an_earlier_loss_does_nothing,
    words_to_somebody_lost_are_kept_and_their_end_is_too,
    the_queue_of_staff_who_do_not_come_back_is_lost_with_its_lost_customers,
    a_dead_gateway_loses_its_sockets,
];

const GRACE_MS: u64 = 30_000;

/// A connection that resumes.
async fn resuming(scene: &mut Scene, uid: &str) -> Socket {
    let mut socket = scene.open(uid).await;
    scene.send(&mut socket, resume(None)).await;
    socket
}

async fn resuming_customer(scene: &mut Scene, uid: &str) -> Socket {
    let mut socket = scene.customer(uid).await;
    scene.send(&mut socket, resume(None)).await;
    socket
}

async fn resuming_staff(scene: &mut Scene, uid: &str, max: u32) -> Socket {
    let mut socket = scene.staff(uid, max).await;
    scene.send(&mut socket, resume(None)).await;
    socket
}

/// The shard's clock moves on; the timers' events are applied.
async fn wait(scene: &mut Scene, ms: u64) {
    scene.driver.tick_after(ms).await;
    scene.driver.drain().await;
    scene.driver.pushes().await;
}

fn told(change: &Change) -> Vec<String> {
    let two_words = |line: &&str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut told: Vec<_> = change.told().iter().map(two_words).collect();
    told.sort(); // each gateway is told in order, one gateway after the other
    told
}

async fn members(scene: &mut Scene, key: &str) -> Vec<String> {
    let key = scene.driver.key(key);
    let members = scene.driver.dump().await.sorted(&key);
    members.into_iter().map(|(member, _)| member).collect()
}

async fn resume_takes_over_from_a_connection_that_is_not_known_to_be_dead(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut first = resuming(&mut scene, "alice").await;
    let mut second = scene.open("alice").await;
    scene.send(&mut second, resume(Some(&first))).await.is(r"
        + u:alice conns=alice.2
        + u:alice n:alice.2=1
        + u:alice r:alice.2=1
        - boot:g1 alice.1=default alice
        - u:alice conns=alice.1 alice.2
        - u:alice n:alice.1=1
        - u:alice n:alice.2=0
        - u:alice r:alice.1=1
        > alice.1 close/4502
        > alice.2 snapshot/- conversations=[] more=false time=T uid=alice
    ");
    // Its gateway says later that it is gone, and it may have said something before.
    scene.change("alice", first.lost()).await.is("");
    scene.send(&mut first, words("late")).await.is(r"
        > alice.1 close/4004
    ");
    // Nobody replaces themselves, or somebody who is gone.
    let itself = second.clone();
    for replaced in [&itself, &first] {
        let change = scene.send(&mut second, resume(Some(replaced))).await;
        let told = "alice.2 snapshot/- conversations=[] more=false time=T uid=alice";
        assert_eq!(change.told(), [told]);
    }
}

async fn only_who_resumes_and_is_lost_with_a_place_is_awaited(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    // Nothing to come back to.
    let nobody = resuming(&mut scene, "nora").await;
    scene.change("nora", nobody.lost()).await.is(r"
        - boot:g1 nora.1=default nora
        - u:nora conns=nora.1
        - u:nora lane=4
        - u:nora lang=zh-CN
        - u:nora n:nora.1=1
        - u:nora r:nora.1=1
        - u:nora role=any
    ");
    scene.staff("sam", 5).await;
    let closed = resuming_customer(&mut scene, "alice").await;
    let change = scene.change("alice", closed.close()).await;
    assert_eq!(told(&change), ["sam.1 chat_close/customer_left"]);
    let by_hand = scene.customer("bob").await;
    let change = scene.change("bob", by_hand.lost()).await;
    assert_eq!(told(&change), ["sam.1 chat_close/customer_left"]);
    // It is the last connection that counts.
    let phone = resuming_customer(&mut scene, "carl").await;
    let page = scene.open("carl").await;
    assert_eq!(told(&scene.change("carl", phone.lost()).await), [""; 0]);
    let change = scene.change("carl", page.lost()).await;
    assert_eq!(told(&change), ["sam.1 chat_close/customer_left"]);
}

async fn a_lost_customer_in_a_queue_is_passed_over_and_comes_back_to_the_place(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let bob = resuming_customer(&mut scene, "bob").await;
    scene.customer("carl").await;
    let dora = resuming_customer(&mut scene, "dora").await;
    scene.change("bob", bob.lost()).await.is(r"
        + away bob 30000
        + due lost|default|bob|30000|3 30000
        + u:bob conns=
        + u:bob lost=30000
        - boot:g3 bob.1=default bob
        - u:bob conns=bob.1
        - u:bob n:bob.1=2
        - u:bob r:bob.1=1
        - waiting bob 4
    ");
    assert_eq!(members(&mut scene, "q:sam").await, ["bob", "carl", "dora"]);
    let change = scene.send(&mut sam, close(None)).await;
    let your_turn = |change: &Change| {
        let told = told(change);
        let served = told.iter().find(|told| told.contains("your_turn"));
        served.cloned().expect("somebody is served")
    };
    assert_eq!(your_turn(&change), "carl.1 message/your_turn");
    // Back: without a free place at the old one, and the first to be served.
    let again = scene.socket("bob");
    scene.change("bob", again.open()).await.is(r"
        + boot:g6 bob.2=default bob
        + u:bob conns=bob.2
        + u:bob n:bob.2=0
        + waiting bob 4
        - away bob 30000
        - due lost|default|bob|30000|3 30000
        - u:bob conns=
        - u:bob lost=30000
        > bob.2 welcome/welcome client_id=bob.2 time=T uid=bob
    ");
    let change = scene.send(&mut sam, close(None)).await;
    assert_eq!(your_turn(&change), "bob.2 message/your_turn");
    // A place that is free when they come back is theirs at once.
    scene.change("dora", dora.lost()).await;
    scene.send(&mut sam, close(None)).await;
    assert_eq!(members(&mut scene, "free").await, ["sam"]);
    let again = scene.socket("dora");
    let change = scene.change("dora", again.open()).await;
    assert_eq!(
        told(&change),
        [
            "dora.2 message/connected",
            "dora.2 message/your_turn",
            "dora.2 welcome/welcome",
            "sam.1 message/new_customer"
        ]
    );
    assert!(change.told()[0].starts_with("dora.2 welcome"));
}

async fn whose_place_in_a_queue_is_kept_counts_in_its_limit(options: Options) {
    let settings = DeskSettings {
        queue_limit: 1,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let bob = resuming_customer(&mut scene, "bob").await;
    scene.change("bob", bob.lost()).await;
    let mut carl = scene.open("carl").await;
    let change = scene.send(&mut carl, Verb::CustomerConnect).await;
    assert_eq!(told(&change), ["carl.1 message/queue_full"]);
    assert_eq!(scene.stats().await, [1, 1, 0, 2], "bob waits");
    // Back, the place is bob's; and when it is given up there is room.
    let again = scene.socket("bob");
    scene.change("bob", again.open()).await;
    let change = scene.send(&mut carl, Verb::CustomerConnect).await;
    assert_eq!(told(&change), ["carl.1 message/queue_full"]);
    scene.change("bob", again.close()).await;
    let change = scene.send(&mut carl, Verb::CustomerConnect).await;
    assert_eq!(told(&change), ["carl.1 message/queued"]);
    assert_eq!(members(&mut scene, "away").await, [""; 0]);
}

async fn lost_staff_stay_on_duty_and_get_nobody_new(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let sam = resuming_staff(&mut scene, "sam", 2).await;
    let mut alice = scene.customer("alice").await;
    scene.change("sam", sam.lost()).await.is(r"
        + due lost|default|sam|30000|7 30000
        + u:sam conns=
        + u:sam lost=30000
        - boot:g1 sam.1=default sam
        - free sam 1099511627779
        - u:sam conns=sam.1
        - u:sam n:sam.1=2
        - u:sam r:sam.1=1
    ");
    let mut bob = scene.open("bob").await;
    let change = scene.send(&mut bob, Verb::CustomerConnect).await;
    assert_eq!(told(&change), ["bob.1 message/queued"]);
    // A conversation that ends does not make a place of theirs free.
    scene.send(&mut alice, Verb::CustomerLeave).await;
    assert_eq!(members(&mut scene, "free").await, [""; 0]);
    assert_eq!(members(&mut scene, "duty").await, ["sam"]);
    let again = scene.socket("sam");
    let change = scene.change("sam", again.open()).await;
    assert_eq!(
        told(&change),
        [
            "bob.1 message/connected",
            "bob.1 message/your_turn",
            "sam.2 message/new_customer",
            "sam.2 welcome/welcome"
        ]
    );
    assert_eq!(members(&mut scene, "free").await, ["sam"]);
}

async fn who_does_not_come_back_in_time_leaves(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let sam = resuming_staff(&mut scene, "sam", 1).await;
    let alice = resuming_customer(&mut scene, "alice").await;
    scene.customer("bob").await;
    scene.change("alice", alice.lost()).await;
    scene.driver.tick_after(GRACE_MS - 1).await;
    assert!(
        scene.driver.pending(lane("alice"), 1).await.is_empty(),
        "not before the time is over"
    );
    scene.driver.tick_after(1).await;
    // As if they had closed it.
    let change = scene.settle(lane("alice")).await;
    for line in [
        "- u:alice conv=e5.1",
        "- u:alice lost=30000",
        "+ conv:e5.1 state=ended",
    ] {
        assert!(change.lines.iter().any(|l| l == line), "{:?}", change.lines);
    }
    assert_eq!(
        told(&change),
        [
            "bob.1 message/connected",
            "bob.1 message/your_turn",
            "sam.1 chat_close/customer_left",
            "sam.1 message/new_customer"
        ]
    );
    scene.change("sam", sam.lost()).await;
    scene.driver.tick_after(GRACE_MS).await;
    let change = scene.settle(lane("sam")).await;
    assert_eq!(told(&change), ["bob.1 chat_close/staff_offline"]);
    let gone = scene.driver.key("u:sam");
    assert!(!scene.driver.dump().await.0.contains_key(&gone));
}

async fn a_timer_of_an_earlier_loss_does_nothing(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = resuming_customer(&mut scene, "alice").await;
    scene.change("alice", alice.lost()).await;
    // The timer's event is on its way when they come back, and when they are lost once more.
    scene.driver.tick_after(GRACE_MS).await;
    let late = scene.driver.pending(lane("alice"), 1).await.remove(0).event;
    assert_eq!(
        late.expect("well-formed").kind,
        Kind::LostTimer { lost: GRACE_MS }
    );
    scene.settle(lane("alice")).await;
    assert_eq!(members(&mut scene, "free").await, ["sam"], "alice has left");
    alice = resuming_customer(&mut scene, "alice").await;
    let timer = |lost| Kind::LostTimer { lost };
    scene.change("alice", timer(GRACE_MS)).await.is("");
    scene.change("alice", alice.lost()).await;
    scene.change("alice", timer(GRACE_MS)).await.is("");
    let change = scene.change("alice", timer(2 * GRACE_MS)).await;
    assert_eq!(told(&change), ["sam.1 chat_close/customer_left"]);
}

async fn words_to_somebody_lost_are_kept_and_their_end_is_too(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let alice = resuming_customer(&mut scene, "alice").await;
    scene.change("alice", alice.lost()).await;
    let change = scene.send(&mut sam, words("still there?")).await;
    assert_eq!(change.told(), [""; 0]);
    let change = scene.send(&mut sam, close(None)).await;
    assert_eq!(told(&change), ["sam.1 chat_close/closed"]);
    // There is no place any more, but they are awaited until their time is over.
    let key = scene.driver.key("u:alice");
    assert!(scene.driver.dump().await.0.contains_key(&key));
    scene.driver.tick_after(GRACE_MS).await;
    scene.settle(lane("alice")).await.is(r"
        - u:alice conns=
        - u:alice lane=1
        - u:alice lang=zh-CN
        - u:alice lost=30000
        - u:alice role=any
    ");
}

async fn the_queue_of_staff_who_do_not_come_back_is_lost_with_its_lost_customers(options: Options) {
    for on_staff_leave in [OnStaffLeave::Close, OnStaffLeave::Requeue] {
        let settings = DeskSettings {
            on_staff_leave,
            ..DeskSettings::default()
        };
        let mut scene = Scene::new(options.clone(), settings).await;
        let sam = resuming_staff(&mut scene, "sam", 1).await;
        let alice = resuming_customer(&mut scene, "alice").await;
        let bob = resuming_customer(&mut scene, "bob").await;
        scene.change("sam", sam.lost()).await;
        scene.driver.tick_after(GRACE_MS / 2).await;
        scene.change("alice", alice.lost()).await;
        scene.change("bob", bob.lost()).await;
        scene.staff("sue", 1).await;
        wait(&mut scene, GRACE_MS / 2).await;
        let (queue, waiting) = (
            members(&mut scene, "q:sue").await,
            members(&mut scene, "waiting").await,
        );
        assert_eq!(waiting, [""; 0], "who is lost does not wait for a place");
        if on_staff_leave == OnStaffLeave::Close {
            assert_eq!(queue, [""; 0]);
            wait(&mut scene, GRACE_MS / 2).await;
        } else {
            assert_eq!(queue, ["alice", "bob"], "by their old tickets");
            let again = scene.socket("bob");
            let change = scene.change("bob", again.open()).await;
            assert_eq!(told(&change)[1], "bob.2 message/your_turn");
            wait(&mut scene, GRACE_MS / 2).await;
            assert_eq!(members(&mut scene, "q:sue").await, [""; 0]);
        }
        let key = scene.driver.key("u:alice");
        assert!(!scene.driver.dump().await.0.contains_key(&key));
    }
}

async fn a_dead_gateway_loses_its_sockets(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let sam = resuming_staff(&mut scene, "sam", 1).await;
    let bob = scene.customer("bob").await;
    for socket in [&sam, &bob] {
        let boot = socket.client.boot();
        let boot = BootId::parse(boot).expect("well-formed");
        scene.change("reaper", Kind::GatewayDead { boot }).await;
        let change = scene.settle(lane(socket.uid.as_str())).await;
        assert_eq!(told(&change), [""; 0]);
    }
    assert_eq!(members(&mut scene, "duty").await, ["sam"], "awaited");
    let key = scene.driver.key("u:bob");
    assert!(
        !scene.driver.dump().await.0.contains_key(&key),
        "who does not resume has left"
    );
    wait(&mut scene, GRACE_MS).await;
    assert_eq!(members(&mut scene, "duty").await, [""; 0]);
}
