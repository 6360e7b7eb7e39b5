//! `open`, `close`, and how every frame of a connection begins.

use frontdesk_shared::{
    event::Kind,
    protocol::{Lang, MAX_CONNECTIONS_PER_USER, Role, frame::Verb},
};
use frontdesk_tests::{
    lane_driver::{on_duty, resume, words},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::scene::{Scene, close};

on_both![
    open_enters_a_connection_and_welcomes_it,
    close_forgets_a_connection_and_with_the_last_one_the_user,
    a_user_holds_sixteen_connections_and_no_more,
    a_frame_that_is_not_the_next_closes_the_connection,
];

async fn open_enters_a_connection_and_welcomes_it(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let first = scene.socket("alice");
    scene.change("alice", first.open()).await.is(r"
        + boot:g1 alice.1=default alice
        + u:alice conns=alice.1
        + u:alice lane=1
        + u:alice lang=zh-CN
        + u:alice n:alice.1=0
        + u:alice role=any
        + who:alice TTL 608400000
        + who:alice any
        > alice.1 welcome/welcome client_id=alice.1 time=T uid=alice
    ");
    let second = scene.socket("alice");
    let open = Kind::Open {
        client: second.client.clone(),
        lang: Lang::En,
        role: Role::Customer,
        proof: None,
    };
    scene.change("alice", open.clone()).await.is(r"
        + boot:g2 alice.2=default alice
        + u:alice conns=alice.1 alice.2
        + u:alice lang=en
        + u:alice n:alice.2=0
        + u:alice role=customer
        + who:alice customer
        - u:alice conns=alice.1
        - u:alice lang=zh-CN
        - u:alice role=any
        - who:alice any
        > alice.2 welcome/welcome client_id=alice.2 time=T uid=alice
    ");
    scene.change("alice", open).await.is("");
}

async fn close_forgets_a_connection_and_with_the_last_one_the_user(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let first = scene.open("alice").await;
    let second = scene.open("alice").await;
    scene.change("alice", first.close()).await.is(r"
        + u:alice conns=alice.2
        - boot:g1 alice.1=default alice
        - u:alice conns=alice.1 alice.2
        - u:alice n:alice.1=0
    ");
    scene.change("alice", first.close()).await.is("");
    scene.change("alice", second.close()).await.is(r"
        - boot:g2 alice.2=default alice
        - u:alice conns=alice.2
        - u:alice lane=1
        - u:alice lang=zh-CN
        - u:alice n:alice.2=0
        - u:alice role=any
    ");
    scene.change("alice", second.close()).await.is("");
}

async fn a_user_holds_sixteen_connections_and_no_more(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_USER {
        sockets.push(scene.open("alice").await);
    }
    let one_too_many = scene.socket("alice");
    scene.change("alice", one_too_many.open()).await.is(r"
        > alice.17 close/4500
    ");
    scene.change("alice", one_too_many.close()).await.is("");
    let gone = sockets.remove(0);
    scene.change("alice", gone.close()).await;
    let another = scene.socket("alice");
    let change = scene.change("alice", another.open()).await;
    assert_eq!(change.told().len(), 1);
    assert!(change.told()[0].contains("welcome"), "{:?}", change.lines);
}

async fn a_frame_that_is_not_the_next_closes_the_connection(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.open("alice").await;
    let verbs = [
        Verb::CustomerConnect,
        Verb::CustomerLeave,
        on_duty(1),
        Verb::StaffOffline,
        words("a"),
        close(None),
        resume(None),
    ];
    for verb in verbs.clone() {
        alice.sent = 1;
        scene.send(&mut alice, verb).await.is(r"
        > alice.1 close/4004
    ");
    }
    let mut stranger = scene.socket("alice");
    for verb in verbs {
        stranger.sent = 0;
        scene.send(&mut stranger, verb).await.is(r"
        > alice.2 close/4004
    ");
    }
}
