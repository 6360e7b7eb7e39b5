//! What tokens change: `open` with a proof, `revoke`, and which role may use which verb.

use frontdesk_shared::{
    event::{Kind, Proof},
    protocol::{Lang, Role, frame::Verb},
};
use frontdesk_tests::{
    lane_driver::{Socket, on_duty, words},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::scene::{Scene, close};

on_both![
    a_signed_open_keeps_role_name_and_age,
    revoke_ends_every_connection_and_is_remembered,
    a_revoked_member_of_staff_leaves_at_once,
    an_open_with_an_older_token_is_refused_after_a_revocation,
    a_newer_token_of_another_role_ends_what_the_older_one_had,
    each_verb_asks_for_the_role,
];

/// Later than any revocation in these tests.
const LATER: u64 = 9_999_999_999;

fn signed(socket: &Socket, role: Role, iat: u64) -> Kind {
    Kind::Open {
        client: socket.client.clone(),
        lang: Lang::ZhCn,
        role,
        proof: Some(Proof { iat, name: None }),
    }
}

async fn enter(scene: &mut Scene, uid: &str, role: Role, iat: u64) -> Socket {
    let socket = scene.socket(uid);
    scene.change(uid, signed(&socket, role, iat)).await;
    socket
}

async fn a_signed_open_keeps_role_name_and_age(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = scene.socket("sam");
    let open = Kind::Open {
        client: sam.client.clone(),
        lang: Lang::ZhCn,
        role: Role::Supervisor,
        proof: Some(Proof {
            iat: 50,
            name: Some("\"Sam\"".into()),
        }),
    };
    scene.change("sam", open.clone()).await.is(r#"
        + boot:g1 sam.1=default sam
        + u:sam conns=sam.1
        + u:sam display="Sam"
        + u:sam iat=50
        + u:sam lane=7
        + u:sam lang=zh-CN
        + u:sam n:sam.1=0
        + u:sam role=supervisor
        + who:sam TTL 608400000
        + who:sam supervisor
        > sam.1 welcome/welcome client_id=sam.1 time=T uid=sam
    "#);
    scene.change("sam", open).await.is("");
    // An older token of the same role is as good; the newest counts.
    let second = scene.socket("sam");
    let older = signed(&second, Role::Supervisor, 40);
    scene.change("sam", older).await.is(r"
        + boot:g2 sam.2=default sam
        + u:sam conns=sam.1 sam.2
        + u:sam n:sam.2=0
        - u:sam conns=sam.1
        > sam.2 welcome/welcome client_id=sam.2 time=T uid=sam
    ");
    let change = scene.send(&mut sam, on_duty(1)).await;
    let told = [
        "sam.1 message/on_duty max=1 name=Sam",
        "sam.2 message/on_duty max=1 name=Sam",
    ];
    assert_eq!(change.told(), told);
}

async fn revoke_ends_every_connection_and_is_remembered(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut alice = enter(&mut scene, "alice", Role::Customer, 50).await;
    let second = enter(&mut scene, "alice", Role::Customer, 50).await;
    let revoke = Kind::Revoke { keep_s: 3600 };
    scene.change("alice", revoke.clone()).await.is(r"
        + revoked:alice S
        + revoked:alice TTL 3600000
        - boot:g1 alice.1=default alice
        - boot:g2 alice.2=default alice
        - u:alice conns=alice.1 alice.2
        - u:alice iat=50
        - u:alice lane=1
        - u:alice lang=zh-CN
        - u:alice n:alice.1=0
        - u:alice n:alice.2=0
        - u:alice role=customer
        > alice.1 close/4501
        > alice.2 close/4501
    ");
    // What was on its way changes nothing.
    scene.change("alice", second.close()).await.is("");
    scene.send(&mut alice, words("a")).await.is(r"
        > alice.1 close/4004
    ");
    let again = scene.change("alice", revoke.clone()).await;
    assert!(again.told().is_empty(), "{:?}", again.lines);
    let stranger = scene.change("bob", revoke).await;
    assert!(stranger.told().is_empty(), "{:?}", stranger.lines);
}

async fn a_revoked_member_of_staff_leaves_at_once(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    scene.customer("alice").await;
    scene.customer("bob").await;
    let change = scene.change("sam", Kind::Revoke { keep_s: 60 }).await;
    let told: Vec<_> = change
        .told()
        .iter()
        .filter_map(|line| line.split(" conversation").next())
        .map(str::to_owned)
        .collect();
    assert_eq!(
        told,
        [
            "sam.1 close/4501",
            "alice.1 chat_close/staff_offline",
            "bob.1 queue_close/staff_offline",
        ]
    );
    assert!(change.lines.iter().any(|line| line == "- sites default"));
}

async fn an_open_with_an_older_token_is_refused_after_a_revocation(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.change("alice", Kind::Revoke { keep_s: 60 }).await;
    let mut get = redis::cmd("GET");
    let get = get.arg(frontdesk_shared::keys::revoked(
        &scene.driver.site,
        &frontdesk_shared::ids::Uid::parse("alice").expect("well-formed"),
    ));
    let at: u64 = get.query_async(&mut scene.second).await.expect("seconds");
    for iat in [1, at - 1, at] {
        let socket = scene.socket("alice");
        let open = signed(&socket, Role::Customer, iat);
        let change = scene.change("alice", open).await;
        assert_eq!(change.lines.len(), 1, "{:?}", change.lines);
        assert!(
            change.lines[0].ends_with(" close/4501"),
            "{:?}",
            change.lines
        );
    }
    for (uid, iat) in [("alice", at + 1), ("bob", 1)] {
        let socket = scene.socket(uid);
        let change = scene
            .change(uid, signed(&socket, Role::Customer, iat))
            .await;
        assert!(change.told()[0].contains("welcome"), "{:?}", change.lines);
    }
    // Nobody vouches for anybody in open mode, so nothing is older.
    let anybody = scene.socket("alice");
    let change = scene.change("alice", anybody.open()).await;
    assert!(change.told()[0].contains("welcome"), "{:?}", change.lines);
}

async fn a_newer_token_of_another_role_ends_what_the_older_one_had(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sam = enter(&mut scene, "sam", Role::Staff, 50).await;
    scene.send(&mut sam, on_duty(1)).await;
    let demoted = scene.socket("sam");
    let open = signed(&demoted, Role::Customer, 60);
    let change = scene.change("sam", open).await;
    let told = change.told();
    assert_eq!(told[0], "sam.1 close/4401");
    assert!(told[1].starts_with("sam.2 welcome"), "{told:?}");
    assert!(change.lines.iter().any(|line| line == "- sites default"));
    let late = scene.socket("sam");
    scene
        .change("sam", signed(&late, Role::Staff, 50))
        .await
        .is(r"
        > sam.3 close/4401
    ");
    // As old as the newest: it counts.
    let same = scene.socket("sam");
    let change = scene.change("sam", signed(&same, Role::Staff, 60)).await;
    assert_eq!(change.told()[0], "sam.2 close/4401");
}

async fn each_verb_asks_for_the_role(options: Options) {
    const WRONG: &str = "error/wrong_role";
    const NONE: &str = "error/no_conversation";
    const DUTY: &str = "message/on_duty";
    const OFF: &str = "message/off_duty";
    const ALONE: &str = "message/no_staff";
    #[rustfmt::skip]
    let rows: [(Verb, [&str; 5]); 6] = [
        // any, customer, staff, supervisor, service
        (on_duty(1),            [DUTY, WRONG, DUTY, DUTY, WRONG]),
        (Verb::StaffOffline,    [OFF, WRONG, OFF, OFF, WRONG]),
        (Verb::CustomerConnect, [ALONE, ALONE, WRONG, WRONG, WRONG]),
        (Verb::CustomerLeave,   [NONE, NONE, WRONG, WRONG, WRONG]),
        (words("a"),            [NONE, NONE, NONE, NONE, WRONG]),
        (close(None),           [NONE, NONE, NONE, NONE, WRONG]),
    ];
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    for (verb, answers) in rows {
        for (role, answer) in Role::ALL.into_iter().zip(answers) {
            let mut socket = enter(&mut scene, "alice", role, LATER).await;
            let change = scene.send(&mut socket, verb.clone()).await;
            let told = change.told();
            assert!(
                told.len() == 1 && told[0].split(' ').nth(1) == Some(answer),
                "{verb:?} as {role:?}: {told:?}"
            );
            scene.change("alice", socket.close()).await;
        }
    }
}
