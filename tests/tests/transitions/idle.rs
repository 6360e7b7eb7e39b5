//! `idle_timer`.

use frontdesk_shared::{event::Kind, ids::ConversationId};
use frontdesk_tests::{lane_driver::words, redis_server::Options};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::scene::{Scene, lane};

on_both![an_idle_timer_ends_only_who_was_silent];

async fn an_idle_timer_ends_only_who_was_silent(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.customer("bob").await;
    assert_eq!(scene.driver.tick_after(59_999).await, 0);
    scene.send(&mut alice, words("a")).await;
    assert_eq!(scene.driver.tick_after(1).await, 1);
    // The timer looks again when the words are a minute old.
    scene.settle(lane("alice")).await.is(r"
        + due idle|default|alice|e4.1|1 119999
    ");
    assert_eq!(scene.driver.tick_after(59_998).await, 0);
    assert_eq!(scene.driver.tick_after(1).await, 1);
    scene.settle(lane("alice")).await.is(r"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e9.1
        + conv:e4.1 seq=3
        + conv:e4.1 state=ended
        + conv:e6.1 at=T
        + conv:e6.1 counts=0 0
        + conv:e6.1 idle=179999
        + conv:e6.1 last=e9.2
        + conv:e6.1 seq=1
        + conv:e6.1 staff=sam
        + conv:e6.1 state=open
        + convs:alice e4.1 T
        + convs:bob e6.1 T
        + convs:sam e4.1 T
        + convs:sam e6.1 T
        + due idle|default|bob|e6.1|3 179999
        + duty sam 1
        + log:e4.1 3-0 from=system uid=alice id=e9.1 time=T counts=1 0 ended=timeout
        + log:e4.1 TTL 604800000
        + log:e6.1 1-0 from=system uid=sam id=e9.2 time=T counts=0 0 assigned=bob
        + moved default|sam 0
        + turn 5
        + u:sam convs=e6.1
        + u:sam turn=5
        - conv:e4.1 last=e7.1
        - conv:e4.1 seq=2
        - conv:e4.1 state=open
        - conv:e6.1 state=waiting
        - convs:alice e4.1 T
        - convs:bob e6.1 T
        - convs:sam e4.1 T
        - duty sam 34359738369
        - q:sam bob 4
        - turn 4
        - u:alice conv=e4.1
        - u:bob place=1
        - u:bob queue=sam
        - u:sam convs=e4.1
        - u:sam turn=3
        - waiting bob 4
        > alice.1 chat_close/timeout conversation=e4.1 id=e9.1 prev=e7.1 seq=3 time=T
        > sam.1 chat_close/customer_timeout conversation=e4.1 id=e9.1 prev=e7.1 seq=3 time=T
        > sam.1 message/new_customer conversation=e6.1 customer=bob id=e9.2 seq=1 time=T
        > bob.1 message/your_turn conversation=e6.1
        > bob.1 message/connected conversation=e6.1 id=e9.2 name=客服 seq=1 time=T
    ");
    // A timer of something that is over changes nothing.
    let ended = scene.driver.dump().await;
    let name = ended
        .names(&scene.driver.key("conv:"))
        .next()
        .expect("one")
        .to_owned();
    let conversation = ConversationId::parse(&name).expect("well-formed");
    scene
        .change("alice", Kind::IdleTimer { conversation })
        .await
        .is("");
}
