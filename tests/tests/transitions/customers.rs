//! `customer_connect`, `customer_leave`, `close_conversation`, `queue_moved`.

use frontdesk_shared::{ids::Lane, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{words, words_to},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::scene::{Change, Scene, close};

on_both![
    customer_connect_is_told_when_nobody_is_there,
    customer_connect_goes_to_a_free_place,
    customer_connect_queues_when_no_place_is_free,
    a_full_queue_takes_nobody_unless_a_place_is_free,
    customer_leave_ends_and_the_next_is_served,
    close_conversation_needs_a_name_when_there_are_two,
    whoever_ends_a_conversation_the_longest_waiting_is_served,
    queue_moved_tells_each_changed_place_once,
];

async fn customer_connect_is_told_when_nobody_is_there(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut alice = scene.open("alice").await;
    scene.send(&mut alice, Verb::CustomerConnect).await.is(r"
        + u:alice n:alice.1=1
        - u:alice n:alice.1=0
        > alice.1 message/no_staff
    ");
}

async fn customer_connect_goes_to_a_free_place(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 2).await;
    scene.staff("sue", 2).await;
    let mut alice = scene.open("alice").await;
    let mut other = scene.open("alice").await;
    scene.send(&mut alice, Verb::CustomerConnect).await.is(r"
        + conv:e7.1 at=T
        + conv:e7.1 counts=0 0
        + conv:e7.1 customer=alice
        + conv:e7.1 idle=60000
        + conv:e7.1 last=e7.2
        + conv:e7.1 seq=1
        + conv:e7.1 staff=sam
        + conv:e7.1 state=open
        + conv:e7.1 ticket=3
        + convs:alice TTL 608400000
        + convs:alice e7.1 T
        + convs:sam TTL 608400000
        + convs:sam e7.1 T
        + due idle|default|alice|e7.1|1 60000
        + free sam 1099511627780
        + log:e7.1 1-0 from=system uid=sam id=e7.2 time=T counts=0 0 assigned=alice
        + turn 4
        + u:alice conv=e7.1
        + u:alice n:alice.1=1
        + u:sam convs=e7.1
        + u:sam open=1
        + u:sam turn=4
        - free sam 1
        - turn 2
        - u:alice n:alice.1=0
        - u:sam convs=
        - u:sam open=0
        - u:sam turn=1
        > alice.1 message/connected conversation=e7.1 id=e7.2 name=客服 seq=1 time=T
        > alice.2 message/connected conversation=e7.1 id=e7.2 name=客服 seq=1 time=T
        > sam.1 message/new_customer conversation=e7.1 customer=alice id=e7.2 seq=1 time=T
    ");
    // Again: the same answer, to the connection that asks.
    scene.send(&mut other, Verb::CustomerConnect).await.is(r"
        + u:alice n:alice.2=1
        - u:alice n:alice.2=0
        > alice.2 message/connected conversation=e7.1 name=客服
    ");
    // The fewest open; then who has been longest without a new one.
    let mut whose = Vec::new();
    for uid in ["bob", "carl", "dora"] {
        let mut socket = scene.open(uid).await;
        let change = scene.send(&mut socket, Verb::CustomerConnect).await;
        let told = change.told();
        let staff = told
            .iter()
            .find(|line| line.contains("new_customer"))
            .expect("assigned");
        whose.push(staff.split('.').next().expect("a name").to_owned());
    }
    assert_eq!(whose, ["sue", "sam", "sue"]);
    // Staff are no customers.
    let mut sam = scene.open("sam").await;
    scene.send(&mut sam, Verb::CustomerConnect).await.is(r"
        + u:sam n:sam.2=1
        - u:sam n:sam.2=0
        > sam.2 error/wrong_role
    ");
}

async fn customer_connect_queues_when_no_place_is_free(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut bob = scene.open("bob").await;
    scene.send(&mut bob, Verb::CustomerConnect).await.is(r"
        + conv:e6.1 bytes=0
        + conv:e6.1 customer=bob
        + conv:e6.1 state=waiting
        + conv:e6.1 ticket=4
        + conv:e6.1 words=0
        + convs:bob TTL 608400000
        + convs:bob e6.1 T
        + duty sam 34359738369
        + q:sam bob 4
        + turn 4
        + u:bob conv=e6.1
        + u:bob n:bob.1=1
        + u:bob place=1
        + u:bob queue=sam
        + waiting bob 4
        - duty sam 1
        - turn 3
        - u:bob n:bob.1=0
        > bob.1 message/queued conversation=e6.1 queue=1
    ");
    scene.send(&mut bob, Verb::CustomerConnect).await.is(r"
        + u:bob n:bob.1=2
        - u:bob n:bob.1=1
        > bob.1 message/queued conversation=e6.1 queue=1
    ");
    // The shortest queue is that of sue, who takes bob at once; then both have none waiting, and
    // sam has been on duty longest.
    scene.staff("sue", 1).await;
    let mut carl = scene.open("carl").await;
    let told = scene.send(&mut carl, Verb::CustomerConnect).await;
    assert!(
        told.lines.iter().any(|l| l == "+ q:sam carl 7"),
        "{:?}",
        told.lines
    );
    let mut dora = scene.open("dora").await;
    let told = scene.send(&mut dora, Verb::CustomerConnect).await;
    assert!(
        told.lines.iter().any(|l| l == "+ q:sue dora 8"),
        "{:?}",
        told.lines
    );
}

async fn a_full_queue_takes_nobody_unless_a_place_is_free(options: Options) {
    let settings = DeskSettings {
        queue_limit: 1,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    scene.customer("bob").await;
    let mut carl = scene.open("carl").await;
    scene.send(&mut carl, Verb::CustomerConnect).await.is(r"
        + u:carl n:carl.1=1
        - u:carl n:carl.1=0
        > carl.1 message/queue_full
    ");
}

async fn customer_leave_ends_and_the_next_is_served(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    let mut carl = scene.customer("carl").await;
    scene.send(&mut bob, Verb::CustomerLeave).await.is(r"
        + conv:e6.1 TTL 604800000
        + conv:e6.1 counts=0 0
        + conv:e6.1 ended=T
        + conv:e6.1 last=e9.1
        + conv:e6.1 seq=1
        + conv:e6.1 state=ended
        + convs:bob e6.1 T
        + duty sam 34359738369
        + log:e6.1 1-0 from=system uid=bob id=e9.1 time=T counts=0 0 ended=customer_left
        + log:e6.1 TTL 604800000
        + moved default|sam 0
        + u:bob n:bob.1=2
        - conv:e6.1 state=waiting
        - convs:bob e6.1 T
        - duty sam 68719476737
        - q:sam bob 4
        - u:bob conv=e6.1
        - u:bob n:bob.1=1
        - u:bob place=1
        - u:bob queue=sam
        - waiting bob 4
        > bob.1 chat_close/customer_left conversation=e6.1 id=e9.1 seq=1 time=T
    ");
    scene.send(&mut bob, Verb::CustomerLeave).await.is(r"
        + u:bob n:bob.1=3
        - u:bob n:bob.1=2
        > bob.1 error/no_conversation
    ");
    scene.send(&mut alice, Verb::CustomerLeave).await.is(r"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e11.1
        + conv:e4.1 seq=2
        + conv:e4.1 state=ended
        + conv:e8.1 at=T
        + conv:e8.1 counts=0 0
        + conv:e8.1 idle=60000
        + conv:e8.1 last=e11.2
        + conv:e8.1 seq=1
        + conv:e8.1 staff=sam
        + conv:e8.1 state=open
        + convs:alice e4.1 T
        + convs:carl e8.1 T
        + convs:sam e4.1 T
        + convs:sam e8.1 T
        + due idle|default|carl|e8.1|5 60000
        + duty sam 1
        + log:e4.1 2-0 from=system uid=alice id=e11.1 time=T counts=0 0 ended=customer_left
        + log:e4.1 TTL 604800000
        + log:e8.1 1-0 from=system uid=sam id=e11.2 time=T counts=0 0 assigned=carl
        + turn 6
        + u:alice n:alice.1=2
        + u:sam convs=e8.1
        + u:sam turn=6
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - conv:e4.1 state=open
        - conv:e8.1 state=waiting
        - convs:alice e4.1 T
        - convs:carl e8.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - duty sam 34359738369
        - q:sam carl 5
        - turn 5
        - u:alice conv=e4.1
        - u:alice n:alice.1=1
        - u:carl place=2
        - u:carl queue=sam
        - u:sam convs=e4.1
        - u:sam turn=3
        - waiting carl 5
        > alice.1 chat_close/customer_left conversation=e4.1 id=e11.1 prev=e4.2 seq=2 time=T
        > sam.1 chat_close/customer_left conversation=e4.1 id=e11.1 prev=e4.2 seq=2 time=T
        > sam.1 message/new_customer conversation=e8.1 customer=carl id=e11.2 seq=1 time=T
        > carl.1 message/your_turn conversation=e8.1
        > carl.1 message/connected conversation=e8.1 id=e11.2 name=客服 seq=1 time=T
    ");
    scene.send(&mut carl, close(None)).await.is(r"
        + conv:e8.1 TTL 604800000
        + conv:e8.1 ended=T
        + conv:e8.1 last=e12.1
        + conv:e8.1 seq=2
        + conv:e8.1 state=ended
        + convs:carl e8.1 T
        + convs:sam e8.1 T
        + free sam 6
        + log:e8.1 2-0 from=system uid=carl id=e12.1 time=T counts=0 0 ended=customer_left
        + log:e8.1 TTL 604800000
        + u:carl n:carl.1=2
        + u:sam convs=
        + u:sam open=0
        - conv:e8.1 last=e11.2
        - conv:e8.1 seq=1
        - conv:e8.1 state=open
        - convs:carl e8.1 T
        - convs:sam e8.1 T
        - due idle|default|carl|e8.1|5 60000
        - u:carl conv=e8.1
        - u:carl n:carl.1=1
        - u:sam convs=e8.1
        - u:sam open=1
        > carl.1 chat_close/customer_left conversation=e8.1 id=e12.1 prev=e11.2 seq=2 time=T
        > sam.1 chat_close/customer_left conversation=e8.1 id=e12.1 prev=e11.2 seq=2 time=T
    ");
    scene.send(&mut sam, Verb::CustomerLeave).await.is(r"
        + u:sam n:sam.1=2
        - u:sam n:sam.1=1
        > sam.1 error/wrong_role
    ");
}

async fn close_conversation_needs_a_name_when_there_are_two(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 2).await;
    scene.customer("alice").await;
    scene.customer("bob").await;
    scene.send(&mut sam, close(None)).await.is(r"
        + u:sam n:sam.1=2
        - u:sam n:sam.1=1
        > sam.1 error/which_conversation
    ");
    scene.send(&mut sam, words("a")).await.is(r"
        + u:sam n:sam.1=3
        - u:sam n:sam.1=2
        > sam.1 error/which_conversation
    ");
    let of_alice = scene.driver.conversation_of("alice").await.expect("open");
    scene.send(&mut sam, words_to("b", &of_alice)).await.is(r#"
        + conv:e4.1 counts=0 1
        + conv:e4.1 last=e9.1
        + conv:e4.1 seq=2
        + log:e4.1 2-0 from=staff uid=sam id=e9.1 time=T counts=0 1 message="b"
        + u:sam n:sam.1=4
        - conv:e4.1 counts=0 0
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - u:sam n:sam.1=3
        > alice.1 message/staff conversation=e4.1 id=e9.1 message=b prev=e4.2 seq=2 time=T
    "#);
    scene.send(&mut sam, close(Some(&of_alice))).await.is(r"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e10.1
        + conv:e4.1 seq=3
        + conv:e4.1 state=ended
        + convs:alice e4.1 T
        + convs:sam e4.1 T
        + free sam 1099511627781
        + log:e4.1 3-0 from=system uid=sam id=e10.1 time=T counts=0 1 ended=closed
        + log:e4.1 TTL 604800000
        + u:sam convs=e6.1
        + u:sam n:sam.1=5
        + u:sam open=1
        - conv:e4.1 last=e9.1
        - conv:e4.1 seq=2
        - conv:e4.1 state=open
        - convs:alice e4.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - u:alice conv=e4.1
        - u:sam convs=e4.1 e6.1
        - u:sam n:sam.1=4
        - u:sam open=2
        > alice.1 chat_close/closed conversation=e4.1 id=e10.1 prev=e9.1 seq=3 time=T
        > sam.1 chat_close/closed conversation=e4.1 id=e10.1 prev=e9.1 seq=3 time=T
    ");
    scene.send(&mut sam, close(Some(&of_alice))).await.is(r"
        + u:sam n:sam.1=6
        - u:sam n:sam.1=5
        > sam.1 error/no_conversation
    ");
    scene.send(&mut sam, close(None)).await.is(r"
        + conv:e6.1 TTL 604800000
        + conv:e6.1 ended=T
        + conv:e6.1 last=e12.1
        + conv:e6.1 seq=2
        + conv:e6.1 state=ended
        + convs:bob e6.1 T
        + convs:sam e6.1 T
        + free sam 5
        + log:e6.1 2-0 from=system uid=sam id=e12.1 time=T counts=0 0 ended=closed
        + log:e6.1 TTL 604800000
        + u:sam convs=
        + u:sam n:sam.1=7
        + u:sam open=0
        - conv:e6.1 last=e6.2
        - conv:e6.1 seq=1
        - conv:e6.1 state=open
        - convs:bob e6.1 T
        - convs:sam e6.1 T
        - due idle|default|bob|e6.1|3 60000
        - free sam 1099511627781
        - u:bob conv=e6.1
        - u:sam convs=e6.1
        - u:sam n:sam.1=6
        - u:sam open=1
        > bob.1 chat_close/closed conversation=e6.1 id=e12.1 prev=e6.2 seq=2 time=T
        > sam.1 chat_close/closed conversation=e6.1 id=e12.1 prev=e6.2 seq=2 time=T
    ");
    scene.send(&mut sam, close(None)).await.is(r"
        + u:sam n:sam.1=8
        - u:sam n:sam.1=7
        > sam.1 error/no_conversation
    ");
}

async fn queue_moved_tells_each_changed_place_once(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    scene.customer("carl").await;
    scene.send(&mut bob, Verb::CustomerLeave).await;
    scene.driver.tick_after(0).await;
    let first_lane = Lane::all().next().expect("there are lanes");
    scene.settle(first_lane).await.is(r"
        + u:carl place=1
        - moved default|sam 0
        - moving 1
        - moving TTL 60000
        - u:carl place=2
        > carl.1 message/queue_moved queue=1
    ");
    scene.driver.tick_after(0).await;
    assert_eq!(scene.driver.pending(first_lane, 1).await.len(), 0);
}

async fn whoever_ends_a_conversation_the_longest_waiting_is_served(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut sockets = Vec::new();
    for uid in ["alice", "bob", "carl", "dora", "eve"] {
        sockets.push(scene.customer(uid).await);
    }
    let served = |change: &Change| -> Vec<String> {
        let told = change.told().into_iter();
        let served = told.filter(|line| line.contains("message/your_turn"));
        served
            .filter_map(|line| Some(line.split_once(".1 ")?.0.to_owned()))
            .collect()
    };
    let change = scene.send(&mut sam, close(None)).await;
    assert_eq!(served(&change), ["bob"]);
    let change = scene.send(&mut sockets[1], close(None)).await;
    assert_eq!(served(&change), ["carl"]);
    let change = scene.send(&mut sockets[2], Verb::CustomerLeave).await;
    assert_eq!(served(&change), ["dora"]);
    let change = scene.change("dora", sockets[3].close()).await;
    assert_eq!(served(&change), ["eve"]);
}
