//! `mark`: delivered and read, and what is unread by them.

use frontdesk_shared::protocol::frame::{Mark, Verb};
use frontdesk_tests::{
    lane_driver::{Socket, on_duty, read_to, words},
    redis_dump::Dump,
    redis_server::Options,
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave};

use crate::scene::{Scene, close, conversation_of};

on_both![
    marks_move_forward_and_tell_the_other_side_and_other_devices,
    a_mark_is_one_write_and_stays_within_the_log,
    marks_move_on_after_the_end,
    who_takes_over_has_read_nothing_and_who_returns_has_not_forgotten,
];

fn delivered_to(up_to: u64, conversation: &str) -> Verb {
    match read_to(up_to, conversation) {
        Verb::Mark { conversation, .. } => Verb::Mark {
            conversation,
            up_to,
            mark: Mark::Delivered,
        },
        _ => unreachable!("a mark"),
    }
}

async fn marks_move_forward_and_tell_the_other_side_and_other_devices(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.open("alice").await;
    let mut sam2 = scene.open("sam").await;
    let conv = conversation_of(&mut scene, "alice").await;
    for text in ["a", "b", "c"] {
        scene.send(&mut alice, words(text)).await;
    }
    scene.send(&mut sam, words("d")).await;
    scene.send(&mut sam, delivered_to(4, &conv)).await.is(r"
        + conv:e4.1 db=4
        + u:sam n:sam.1=3
        - u:sam n:sam.1=2
        > alice.1 receipt/- conversation=e4.1 delivered=4 read=0 uid=sam
        > alice.2 receipt/- conversation=e4.1 delivered=4 read=0 uid=sam
        > sam.2 receipt/- conversation=e4.1 delivered=4 read=0 uid=sam unread=3
    ");
    scene.send(&mut sam, read_to(3, &conv)).await.is(r"
        + conv:e4.1 rb=3 2
        + u:sam n:sam.1=4
        - u:sam n:sam.1=3
        > alice.1 receipt/- conversation=e4.1 delivered=4 read=3 uid=sam
        > alice.2 receipt/- conversation=e4.1 delivered=4 read=3 uid=sam
        > sam.2 receipt/- conversation=e4.1 delivered=4 read=3 uid=sam unread=1
    ");
    // No step back, and nobody is told of none.
    scene.send(&mut sam2, read_to(2, &conv)).await.is(r"
        + u:sam n:sam.2=1
        - u:sam n:sam.2=0
    ");
    scene.send(&mut sam2, delivered_to(4, &conv)).await.is(r"
        + u:sam n:sam.2=2
        - u:sam n:sam.2=1
    ");
    // Read is delivered, too.
    scene.send(&mut alice, read_to(5, &conv)).await.is(r"
        + conv:e4.1 da=5
        + conv:e4.1 ra=5 1
        + u:alice n:alice.1=5
        - u:alice n:alice.1=4
        > sam.1 receipt/- conversation=e4.1 delivered=5 read=5 uid=alice
        > sam.2 receipt/- conversation=e4.1 delivered=5 read=5 uid=alice
        > alice.2 receipt/- conversation=e4.1 delivered=5 read=5 uid=alice unread=0
    ");
}

async fn a_mark_is_one_write_and_stays_within_the_log(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut bob = scene.customer("bob").await;
    // Nothing is written yet while somebody waits.
    let waiting = conversation_of(&mut scene, "bob").await;
    scene.send(&mut bob, read_to(7, &waiting)).await.is(r"
        + u:bob n:bob.1=2
        - u:bob n:bob.1=1
    ");
    let conv = conversation_of(&mut scene, "alice").await;
    for n in 0..30 {
        scene.send(&mut alice, words(&format!("w{n}"))).await;
    }
    scene.send(&mut sam, read_to(1 << 52, &conv)).await.is(r"
        + conv:e4.1 db=31
        + conv:e4.1 rb=31 30
        + u:sam n:sam.1=2
        - u:sam n:sam.1=1
        > alice.1 receipt/- conversation=e4.1 delivered=31 read=31 uid=sam
    ");
    scene.send(&mut alice, words("one more")).await;
    scene.send(&mut sam, delivered_to(32, &conv)).await.is(r"
        + conv:e4.1 db=32
        + u:sam n:sam.1=3
        - conv:e4.1 db=31
        - u:sam n:sam.1=2
        > alice.1 receipt/- conversation=e4.1 delivered=32 read=31 uid=sam
    ");
}

async fn marks_move_on_after_the_end(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut sam, words("bye")).await;
    scene.send(&mut sam, close(None)).await;
    scene.send(&mut alice, read_to(3, &conv)).await.is(r"
        + conv:e4.1 da=3
        + conv:e4.1 ra=3 1
        + u:alice n:alice.1=2
        - u:alice n:alice.1=1
        > sam.1 receipt/- conversation=e4.1 delivered=3 read=3 uid=alice
    ");
    scene.send(&mut sam, read_to(3, &conv)).await.is(r"
        + conv:e4.1 db=3
        + conv:e4.1 rb=3 0
        + u:sam n:sam.1=4
        - u:sam n:sam.1=3
        > alice.1 receipt/- conversation=e4.1 delivered=3 read=3 uid=sam
    ");
}

async fn requeue(scene: &mut Scene, from: &mut Socket, to: &mut Socket) {
    scene.send(to, on_duty(1)).await;
    scene.send(from, Verb::StaffOffline).await;
}

async fn who_takes_over_has_read_nothing_and_who_returns_has_not_forgotten(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut sue = scene.open("sue").await;
    let mut alice = scene.customer("alice").await;
    let conv = conversation_of(&mut scene, "alice").await;
    scene.send(&mut alice, words("a")).await;
    scene.send(&mut sam, read_to(2, &conv)).await;
    requeue(&mut scene, &mut sam, &mut sue).await;
    scene.send(&mut alice, words("b")).await;
    let key = scene.driver.key(&format!("conv:{conv}"));
    let marks = |dump: Dump| {
        let hash = dump.hash(&key);
        ["db", "rb", "d:sam", "r:sam", "d:sue", "r:sue"]
            .map(|name| hash.get(name).cloned().unwrap_or_default())
    };
    let dump = scene.driver.dump().await;
    assert_eq!(marks(dump), ["", "", "2", "2 1", "", ""]);
    // What was kept for sue is delivered when she says so.
    scene.send(&mut sue, delivered_to(5, &conv)).await.is(r"
        + conv:e5.1 db=5
        + u:sue n:sue.1=2
        - u:sue n:sue.1=1
        > alice.1 receipt/- conversation=e5.1 delivered=5 read=0 uid=sue
    ");
    // Earlier staff may look at it, not mark it.
    scene.send(&mut sam, read_to(5, &conv)).await.is(r"
        + u:sam n:sam.1=4
        - u:sam n:sam.1=3
        > sam.1 error/forbidden
    ");
    requeue(&mut scene, &mut sue, &mut sam).await;
    let dump = scene.driver.dump().await;
    assert_eq!(marks(dump), ["2", "2 1", "", "", "5", "0 0"]);
}
