//! `staff_online`, `staff_offline`.

use frontdesk_shared::{
    event::Kind,
    protocol::{Lang, Role, frame::Verb},
};
use frontdesk_tests::{lane_driver::on_duty, redis_server::Options};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave};

use crate::scene::Scene;

on_both![
    staff_online_offers_places_and_again_updates_them,
    staff_online_is_refused_to_customers_and_beyond_the_limit,
    staff_offline_ends_conversations_and_loses_the_queue,
    staff_offline_requeues_at_the_front_if_so_set,
    the_last_connection_of_staff_takes_them_off_duty,
];

async fn staff_online_offers_places_and_again_updates_them(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.open("sam").await;
    let online = |name: Option<&str>, max| Verb::StaffOnline {
        name: name.map(str::to_owned),
        max,
    };
    scene.send(&mut sam, online(None, None)).await.is(r#"
        + duty sam 1
        + free sam 1
        + sites default
        + turn 1
        + u:sam convs=
        + u:sam duty=1
        + u:sam max=1
        + u:sam n:sam.1=1
        + u:sam name="客服"
        + u:sam open=0
        + u:sam turn=1
        - u:sam n:sam.1=0
        > sam.1 message/on_duty max=1 name=客服
    "#);
    scene.customer("alice").await;
    scene.customer("bob").await;
    let update = online(Some("\"客服1\""), Some(2));
    scene.send(&mut sam, update).await.is(r#"
        + conv:e6.1 at=T
        + conv:e6.1 counts=0 0
        + conv:e6.1 idle=60000
        + conv:e6.1 last=e7.1
        + conv:e6.1 seq=1
        + conv:e6.1 staff=sam
        + conv:e6.1 state=open
        + convs:bob e6.1 T
        + convs:sam e6.1 T
        + due idle|default|bob|e6.1|3 60000
        + duty sam 1
        + log:e6.1 1-0 from=system uid=sam id=e7.1 time=T counts=0 0 assigned=bob
        + moved default|sam 0
        + turn 5
        + u:sam convs=e4.1 e6.1
        + u:sam max=2
        + u:sam n:sam.1=2
        + u:sam name="客服1"
        + u:sam open=2
        + u:sam turn=5
        - conv:e6.1 state=waiting
        - convs:bob e6.1 T
        - duty sam 34359738369
        - q:sam bob 4
        - turn 4
        - u:bob place=1
        - u:bob queue=sam
        - u:sam convs=e4.1
        - u:sam max=1
        - u:sam n:sam.1=1
        - u:sam name="客服"
        - u:sam open=1
        - u:sam turn=3
        - waiting bob 4
        > sam.1 message/on_duty max=2 name=客服1
        > sam.1 message/new_customer conversation=e6.1 customer=bob id=e7.1 seq=1 time=T
        > bob.1 message/your_turn conversation=e6.1
        > bob.1 message/connected conversation=e6.1 id=e7.1 name=客服1 seq=1 time=T
    "#);
    scene.send(&mut sam, online(None, Some(1))).await.is(r"
        + u:sam max=1
        + u:sam n:sam.1=3
        - u:sam max=2
        - u:sam n:sam.1=2
        > sam.1 message/on_duty max=1 name=客服1
    ");
}

async fn staff_online_is_refused_to_customers_and_beyond_the_limit(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.open("sam").await;
    scene.send(&mut sam, on_duty(6)).await.is(r"
        + u:sam n:sam.1=1
        - u:sam n:sam.1=0
        > sam.1 error/bad_max
    ");
    scene.send(&mut sam, on_duty(0)).await.is(r"
        + u:sam n:sam.1=2
        - u:sam n:sam.1=1
        > sam.1 error/bad_max
    ");
    scene.send(&mut sam, on_duty(5)).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, on_duty(1)).await.is(r"
        + u:alice n:alice.1=2
        - u:alice n:alice.1=1
        > alice.1 error/wrong_role
    ");
    let mut carl = scene.socket("carl");
    let open = Kind::Open {
        client: carl.client.clone(),
        lang: Lang::ZhCn,
        role: Role::Customer,
        proof: None,
    };
    scene.change("carl", open).await;
    scene.send(&mut carl, on_duty(1)).await.is(r"
        + u:carl n:carl.1=1
        - u:carl n:carl.1=0
        > carl.1 error/wrong_role
    ");
}

async fn staff_offline_ends_conversations_and_loses_the_queue(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.customer("bob").await;
    scene.send(&mut alice, Verb::StaffOffline).await.is(r"
        + u:alice n:alice.1=2
        - u:alice n:alice.1=1
        > alice.1 error/wrong_role
    ");
    scene.send(&mut sam, Verb::StaffOffline).await.is(r#"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e8.1
        + conv:e4.1 seq=2
        + conv:e4.1 state=ended
        + conv:e6.1 TTL 604800000
        + conv:e6.1 counts=0 0
        + conv:e6.1 ended=T
        + conv:e6.1 last=e8.2
        + conv:e6.1 seq=1
        + conv:e6.1 state=ended
        + convs:alice e4.1 T
        + convs:bob e6.1 T
        + convs:sam e4.1 T
        + log:e4.1 2-0 from=system uid=sam id=e8.1 time=T counts=0 0 ended=staff_offline
        + log:e4.1 TTL 604800000
        + log:e6.1 1-0 from=system uid=sam id=e8.2 time=T counts=0 0 ended=queue_staff_offline
        + log:e6.1 TTL 604800000
        + moved default|sam 0
        + turn 5
        + u:sam n:sam.1=2
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - conv:e4.1 state=open
        - conv:e6.1 state=waiting
        - convs:alice e4.1 T
        - convs:bob e6.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - duty sam 34359738369
        - q:sam bob 4
        - sites default
        - turn 4
        - u:alice conv=e4.1
        - u:bob conv=e6.1
        - u:bob place=1
        - u:bob queue=sam
        - u:sam convs=e4.1
        - u:sam duty=1
        - u:sam max=1
        - u:sam n:sam.1=1
        - u:sam name="客服"
        - u:sam open=1
        - u:sam turn=3
        - waiting bob 4
        > sam.1 message/off_duty
        > alice.1 chat_close/staff_offline conversation=e4.1 id=e8.1 prev=e4.2 seq=2 time=T
        > bob.1 queue_close/staff_offline conversation=e6.1 id=e8.2 seq=1 time=T
    "#);
    scene.send(&mut sam, Verb::StaffOffline).await.is(r"
        + u:sam n:sam.1=3
        - u:sam n:sam.1=2
        > sam.1 message/off_duty
    ");
}

async fn staff_offline_requeues_at_the_front_if_so_set(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut sam = scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut sue = scene.staff("sue", 1).await;
    for uid in ["bob", "carl", "dora"] {
        scene.customer(uid).await;
    }
    // alice is with sam, bob with sue; carl waits for sam, dora for sue.
    scene.send(&mut sam, Verb::StaffOffline).await.is(r#"
        + conv:e4.1 bytes=0
        + conv:e4.1 d:sam=0
        + conv:e4.1 last=e13.1
        + conv:e4.1 past=sam
        + conv:e4.1 r:sam=0 0
        + conv:e4.1 seq=2
        + conv:e4.1 state=waiting
        + conv:e4.1 words=0
        + convs:alice e4.1 T
        + convs:sam e4.1 T
        + duty sue 103079215108
        + log:e4.1 2-0 from=system uid=sam id=e13.1 time=T counts=0 0 requeued=staff_offline
        + moved default|sam 0
        + moved default|sue 0
        + q:sue alice 2
        + q:sue carl 7
        + turn 9
        + u:alice place=1
        + u:alice queue=sue
        + u:carl place=2
        + u:carl queue=sue
        + u:sam n:sam.1=2
        + waiting alice 2
        - conv:e4.1 at=T
        - conv:e4.1 idle=60000
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - conv:e4.1 staff=sam
        - conv:e4.1 state=open
        - convs:alice e4.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - duty sam 34359738369
        - duty sue 34359738372
        - q:sam carl 7
        - turn 8
        - u:carl place=1
        - u:carl queue=sam
        - u:sam convs=e4.1
        - u:sam duty=1
        - u:sam max=1
        - u:sam n:sam.1=1
        - u:sam name="客服"
        - u:sam open=1
        - u:sam turn=3
        > sam.1 message/off_duty
        > alice.1 message/queued conversation=e4.1 id=e13.1 prev=e4.2 queue=1 seq=2 time=T
        > carl.1 message/queued conversation=e10.1 queue=2
    "#);
    // Nobody else is there, so all ends.
    scene.send(&mut sue, Verb::StaffOffline).await.is(r#"
        + conv:e10.1 TTL 604800000
        + conv:e10.1 counts=0 0
        + conv:e10.1 ended=T
        + conv:e10.1 last=e14.3
        + conv:e10.1 seq=1
        + conv:e10.1 state=ended
        + conv:e12.1 TTL 604800000
        + conv:e12.1 counts=0 0
        + conv:e12.1 ended=T
        + conv:e12.1 last=e14.4
        + conv:e12.1 seq=1
        + conv:e12.1 state=ended
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e14.2
        + conv:e4.1 seq=3
        + conv:e4.1 state=ended
        + conv:e8.1 TTL 604800000
        + conv:e8.1 ended=T
        + conv:e8.1 last=e14.1
        + conv:e8.1 seq=2
        + conv:e8.1 state=ended
        + convs:alice e4.1 T
        + convs:bob e8.1 T
        + convs:carl e10.1 T
        + convs:dora e12.1 T
        + convs:sue e8.1 T
        + log:e10.1 1-0 from=system uid=sue id=e14.3 time=T counts=0 0 ended=queue_staff_offline
        + log:e10.1 TTL 604800000
        + log:e12.1 1-0 from=system uid=sue id=e14.4 time=T counts=0 0 ended=queue_staff_offline
        + log:e12.1 TTL 604800000
        + log:e4.1 3-0 from=system uid=sue id=e14.2 time=T counts=0 0 ended=queue_staff_offline
        + log:e4.1 TTL 604800000
        + log:e8.1 2-0 from=system uid=sue id=e14.1 time=T counts=0 0 ended=staff_offline
        + log:e8.1 TTL 604800000
        + turn 10
        + u:sue n:sue.1=2
        - conv:e10.1 state=waiting
        - conv:e12.1 state=waiting
        - conv:e4.1 last=e13.1
        - conv:e4.1 seq=2
        - conv:e4.1 state=waiting
        - conv:e8.1 last=e8.2
        - conv:e8.1 seq=1
        - conv:e8.1 state=open
        - convs:alice e4.1 T
        - convs:bob e8.1 T
        - convs:carl e10.1 T
        - convs:dora e12.1 T
        - convs:sue e8.1 T
        - due idle|default|bob|e8.1|3 60000
        - duty sue 103079215108
        - q:sue alice 2
        - q:sue carl 7
        - q:sue dora 8
        - sites default
        - turn 9
        - u:alice conv=e4.1
        - u:alice place=1
        - u:alice queue=sue
        - u:bob conv=e8.1
        - u:carl conv=e10.1
        - u:carl place=2
        - u:carl queue=sue
        - u:dora conv=e12.1
        - u:dora place=1
        - u:dora queue=sue
        - u:sue convs=e8.1
        - u:sue duty=4
        - u:sue max=1
        - u:sue n:sue.1=1
        - u:sue name="客服"
        - u:sue open=1
        - u:sue turn=6
        - waiting alice 2
        - waiting carl 7
        - waiting dora 8
        > sue.1 message/off_duty
        > bob.1 chat_close/staff_offline conversation=e8.1 id=e14.1 prev=e8.2 seq=2 time=T
        > alice.1 queue_close/staff_offline conversation=e4.1 id=e14.2 prev=e13.1 seq=3 time=T
        > carl.1 queue_close/staff_offline conversation=e10.1 id=e14.3 seq=1 time=T
        > dora.1 queue_close/staff_offline conversation=e12.1 id=e14.4 seq=1 time=T
    "#);
}

async fn the_last_connection_of_staff_takes_them_off_duty(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let first = scene.staff("sam", 1).await;
    let second = scene.open("sam").await;
    scene.customer("alice").await;
    scene.change("sam", first.close()).await.is(r"
        + u:sam conns=sam.2
        - boot:g1 sam.1=default sam
        - u:sam conns=sam.1 sam.2
        - u:sam n:sam.1=1
    ");
    scene.change("sam", second.close()).await.is(r#"
        + conv:e5.1 TTL 604800000
        + conv:e5.1 ended=T
        + conv:e5.1 last=e7.1
        + conv:e5.1 seq=2
        + conv:e5.1 state=ended
        + convs:alice e5.1 T
        + convs:sam e5.1 T
        + log:e5.1 2-0 from=system uid=sam id=e7.1 time=T counts=0 0 ended=staff_offline
        + log:e5.1 TTL 604800000
        + turn 4
        - boot:g2 sam.2=default sam
        - conv:e5.1 last=e5.2
        - conv:e5.1 seq=1
        - conv:e5.1 state=open
        - convs:alice e5.1 T
        - convs:sam e5.1 T
        - due idle|default|alice|e5.1|1 60000
        - duty sam 1
        - sites default
        - turn 3
        - u:alice conv=e5.1
        - u:sam conns=sam.2
        - u:sam convs=e5.1
        - u:sam duty=1
        - u:sam lane=7
        - u:sam lang=zh-CN
        - u:sam max=1
        - u:sam n:sam.2=0
        - u:sam name="客服"
        - u:sam open=1
        - u:sam role=any
        - u:sam turn=3
        > alice.1 chat_close/staff_offline conversation=e5.1 id=e7.1 prev=e5.2 seq=2 time=T
    "#);
}
