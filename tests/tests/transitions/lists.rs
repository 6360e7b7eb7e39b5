//! `convs:<uid>`, the list of a user's conversations, and `past`, a conversation's earlier staff: bounds.

use std::fmt::Write as _;

use frontdesk_shared::protocol::frame::Verb;
use frontdesk_tests::{lane_driver::on_duty, redis_server::Options};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave},
    library::{MAX_CONVERSATIONS_PER_USER, MAX_DROPPABLE, MAX_PAST_STAFF},
};

use crate::scene::Scene;

on_both![
    a_full_list_makes_room_by_what_is_over,
    staff_whose_list_lives_on_are_assigned_to_all_the_same,
    what_redis_has_forgotten_leaves_the_list,
    a_conversation_forgets_who_left_it_longest_ago,
];

/// Puts conversations of long ago into a user's list; they live on, as direct ones do.
async fn fill(scene: &mut Scene, uid: &str, count: usize) -> Vec<String> {
    let names: Vec<String> = (1..=count).map(|n| format!("0.0.{n}-1.1")).collect();
    let mut pipeline = redis::pipe();
    for (age, name) in names.iter().enumerate() {
        let conv = scene.driver.key(&format!("conv:{name}"));
        pipeline.hset(&conv, "state", "direct").ignore();
        pipeline.pexpire(&conv, 1_000_000).ignore();
        let list = scene.driver.key(&format!("convs:{uid}"));
        pipeline.zadd(&list, name, age).ignore();
        pipeline.pexpire(&list, 1_000_000).ignore();
    }
    let filled = pipeline.query_async(&mut scene.driver.connection);
    let () = filled.await.expect("filled");
    names
}

async fn list(scene: &mut Scene, uid: &str) -> Vec<String> {
    let dump = scene.driver.dump().await;
    let list = dump.sorted(&scene.driver.key(&format!("convs:{uid}")));
    list.into_iter().map(|(name, _)| name).collect()
}

async fn forget(scene: &mut Scene, name: &str) {
    let conv = scene.driver.key(&format!("conv:{name}"));
    let mut deletion = redis::cmd("DEL");
    let deleted = deletion.arg(conv).query_async(&mut scene.driver.connection);
    let () = deleted.await.expect("deleted");
}

async fn a_full_list_makes_room_by_what_is_over(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.open("alice").await;
    let old = fill(&mut scene, "alice", MAX_CONVERSATIONS_PER_USER).await;
    scene.send(&mut alice, Verb::CustomerConnect).await.is(r"
        + u:alice n:alice.1=1
        - u:alice n:alice.1=0
        > alice.1 error/too_many_conversations
    ");
    // What is over among those changed lately is not looked for.
    forget(&mut scene, &old[MAX_DROPPABLE]).await;
    let change = scene.send(&mut alice, Verb::CustomerConnect).await;
    assert!(change.told()[0].contains("error/too_many_conversations"));
    let last = MAX_DROPPABLE - 1;
    forget(&mut scene, &old[last]).await;
    for _ in 0..2 {
        let change = scene.send(&mut alice, Verb::CustomerConnect).await;
        assert!(change.told()[0].contains("message/connected"));
        let now = list(&mut scene, "alice").await;
        assert_eq!(now.len(), MAX_CONVERSATIONS_PER_USER);
        assert!(!now.contains(&old[last]), "the forgotten one made room");
        let open = scene.driver.conversation_of("alice").await.expect("open");
        assert_eq!(now.last(), Some(&open));
        // Then the next one pushes this one out.
        scene.send(&mut alice, Verb::CustomerLeave).await;
    }
}

async fn staff_whose_list_lives_on_are_assigned_to_all_the_same(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    fill(&mut scene, "sam", MAX_CONVERSATIONS_PER_USER).await;
    for uid in ["alice", "bob"] {
        let mut socket = scene.customer(uid).await;
        let open = scene.driver.conversation_of(uid).await;
        let now = list(&mut scene, "sam").await;
        assert_eq!(now.len(), MAX_CONVERSATIONS_PER_USER + 1);
        assert_eq!(now.last(), open.as_ref());
        scene.send(&mut socket, Verb::CustomerLeave).await;
    }
}

async fn what_redis_has_forgotten_leaves_the_list(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let old = fill(&mut scene, "alice", 3).await;
    forget(&mut scene, &old[1]).await;
    scene.customer("alice").await;
    let open = scene.driver.conversation_of("alice").await.expect("open");
    let expected = [&old[0], &old[2], &open];
    assert_eq!(
        list(&mut scene, "alice").await.iter().collect::<Vec<_>>(),
        expected
    );
}

async fn a_conversation_forgets_who_left_it_longest_ago(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut sam = scene.staff("sam", 1).await;
    scene.customer("alice").await;
    let mut sue = scene.open("sue").await;
    scene.send(&mut sue, on_duty(1)).await;
    let conv = scene.driver.conversation_of("alice").await.expect("open");
    let key = scene.driver.key(&format!("conv:{conv}"));
    let past = (1..=MAX_PAST_STAFF).fold(String::new(), |mut past, n| {
        let _ = write!(past, "s{n} ");
        past
    });
    let mut write = redis::cmd("HSET");
    let written = write.arg(&key).arg("past").arg(&past);
    let () = written
        .query_async(&mut scene.driver.connection)
        .await
        .expect("written");
    scene.send(&mut sam, Verb::StaffOffline).await;
    let dump = scene.driver.dump().await;
    let expected = past.replacen("s1 ", "", 1) + "sam ";
    assert_eq!(dump.hash(&key)["past"], expected);
}
