//! Who may ask by a request: what tokens, roles and the user's bucket change.

use frontdesk_shared::{
    config::RateArgs,
    event::{Kind, Proof},
    protocol::{Lang, Role},
};
use frontdesk_tests::{asking::Asker, lane_driver::words, redis_server::Options};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::{
    requests::{asker, said, talk},
    scene::Scene,
};

on_both![
    a_revoked_token_does_nothing_and_takes_no_key,
    a_token_of_another_role_does_nothing_and_takes_no_key,
    only_a_service_revokes_and_it_is_the_askers_key,
    each_act_asks_for_the_role,
    requests_and_frames_share_one_bucket,
    who_is_not_here_has_a_bucket_too,
];

/// Later than any revocation in these tests.
const LATER: u64 = 9_999_999_999;

async fn a_revoked_token_does_nothing_and_takes_no_key(options: Options) {
    let (mut scene, _) = talk(options).await;
    scene.change("robot", Kind::Revoke { keep_s: 60 }).await;
    let robot = asker(&mut scene, "robot");
    let old = robot.clone().signed(Role::Staff, 50);
    let change = scene
        .change("robot", old.writes_to("k1", "hello", "sam"))
        .await;
    change.is("");
    assert_eq!(said(&scene, &change), "error code=bad_token ref=k1");
    let new = robot.signed(Role::Staff, LATER);
    let change = scene
        .change("robot", new.writes_to("k1", "hello", "sam"))
        .await;
    assert!(said(&scene, &change).starts_with("ack "));
    // What was answered before is not for a revoked token either.
    let change = scene
        .change("robot", old.writes_to("k1", "hello", "sam"))
        .await;
    assert_eq!(said(&scene, &change), "error code=bad_token ref=k1");
}

async fn a_token_of_another_role_does_nothing_and_takes_no_key(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.open("sam").await;
    let socket = scene.socket("kim");
    let open = Kind::Open {
        client: socket.client.clone(),
        lang: Lang::En,
        role: Role::Staff,
        proof: Some(Proof {
            iat: 50,
            name: None,
        }),
    };
    scene.change("kim", open).await;
    let kim = asker(&mut scene, "kim");
    for iat in [40, 60] {
        let other = kim.clone().signed(Role::Supervisor, iat);
        let change = scene
            .change("kim", other.writes_to("k1", "hello", "sam"))
            .await;
        change.is("");
        assert_eq!(said(&scene, &change), "error code=wrong_role ref=k1");
    }
    let same = kim.signed(Role::Staff, 40);
    let change = scene
        .change("kim", same.writes_to("k1", "hello", "sam"))
        .await;
    assert!(said(&scene, &change).starts_with("ack "));
}

async fn only_a_service_revokes_and_it_is_the_askers_key(options: Options) {
    let (mut scene, _) = talk(options).await;
    let robot = asker(&mut scene, "robot");
    let robot = robot.signed(Role::Service, 50).by("robot");
    let change = scene.change("alice", robot.revokes("k1")).await;
    change.is(r#"
        + conv:e4.1 TTL 604800000
        + conv:e4.1 ended=T
        + conv:e4.1 last=e5.1
        + conv:e4.1 seq=2
        + conv:e4.1 state=ended
        + convs:alice e4.1 T
        + convs:sam e4.1 T
        + free sam 3
        + log:e4.1 2-0 from=system uid=alice id=e5.1 time=T counts=0 0 ended=customer_left
        + log:e4.1 TTL 604800000
        + req:robot:0 #=T 0
        + req:robot:0 TTL 90000000
        + req:robot:0 k1=D {"action":"revoked","payload":{"uid":"alice","before":S}}
        + revoked:alice S
        + revoked:alice TTL 3600000
        + u:sam convs=
        + u:sam open=0
        - boot:g2 alice.1=default alice
        - conv:e4.1 last=e4.2
        - conv:e4.1 seq=1
        - conv:e4.1 state=open
        - convs:alice e4.1 T
        - convs:sam e4.1 T
        - due idle|default|alice|e4.1|1 60000
        - u:alice conns=alice.1
        - u:alice conv=e4.1
        - u:alice lane=1
        - u:alice lang=zh-CN
        - u:alice n:alice.1=1
        - u:alice role=any
        - u:sam convs=e4.1
        - u:sam open=1
        > alice.1 close/4501
        > sam.1 chat_close/customer_left conversation=e4.1 id=e5.1 prev=e4.2 seq=2 time=T
    "#);
    let answer = said(&scene, &change);
    assert!(answer.starts_with("revoked before="), "{answer}");
    // In whose lane it is makes it another request.
    let change = scene.change("sam", robot.revokes("k1")).await;
    assert_eq!(said(&scene, &change), "error code=key_reused");
    // A service that was revoked itself revokes nobody.
    scene.change("robot", Kind::Revoke { keep_s: 60 }).await;
    let change = scene.change("sam", robot.revokes("k2")).await;
    assert_eq!(said(&scene, &change), "error code=bad_token");
    for role in [Role::Any, Role::Customer, Role::Staff, Role::Supervisor] {
        let kim = asker(&mut scene, "kim").signed(role, 50).by("kim");
        let key = format!("{}-1", role.as_str());
        let change = scene.change("sam", kim.revokes(&key)).await;
        assert_eq!(said(&scene, &change), "error code=wrong_role");
        assert_eq!(change.told(), Vec::<&str>::new());
    }
}

async fn each_act_asks_for_the_role(options: Options) {
    let (mut scene, conversation) = talk(options).await;
    let service = asker(&mut scene, "robot").signed(Role::Service, 50);
    for kind in [
        service.says("k1", "?", &conversation),
        service.recalls("k3", &conversation, 1),
        service.closes("k4", &conversation),
    ] {
        let change = scene.change("robot", kind).await;
        let said = said(&scene, &change);
        assert!(said.starts_with("error code=wrong_role"), "{said}");
    }
    let change = scene
        .change("robot", service.writes_to("k2", "?", "sam"))
        .await;
    assert_eq!(said(&scene, &change), "error code=wrong_role ref=k2");
}

fn slow() -> DeskSettings {
    DeskSettings {
        rate: RateArgs {
            rate_per_user: 1,
            rate_burst: 2,
        },
        ..DeskSettings::default()
    }
}

/// The time stands still: each event has the same one, or the next.
async fn ask_at(scene: &mut Scene, uid: &str, kind: Kind, ms: u64) -> String {
    let lane = crate::scene::lane(uid);
    scene.driver.append_later(uid, kind, ms).await;
    let change = scene.settle(lane).await;
    said(scene, &change)
}

async fn requests_and_frames_share_one_bucket(options: Options) {
    let mut scene = Scene::new(options, slow()).await;
    scene.open("sam").await;
    let mut alice = scene.open("alice").await;
    let robot = asker(&mut scene, "alice");
    let at = scene.driver.time_ms().await + 3_600_000;
    let words_then = alice.verb(words("?"));
    scene.driver.append_later("alice", words_then, at).await;
    scene.settle(crate::scene::lane("alice")).await;
    let write = |key: &str| robot.writes_to(key, "hello", "sam");
    let first = ask_at(&mut scene, "alice", write("k1"), at + 1).await;
    assert!(first.starts_with("ack "), "{first}");
    let limited = ask_at(&mut scene, "alice", write("k2"), at + 2).await;
    assert!(limited.starts_with("error code=rate_limited"), "{limited}");
    assert!(limited.contains("retry_after_ms=998"), "{limited}");
    // What is known is answered whatever the rate.
    let again = ask_at(&mut scene, "alice", write("k1"), at + 3).await;
    assert_eq!(again, first);
    let words_then = alice.verb(words("?"));
    scene.driver.append_later("alice", words_then, at + 4).await;
    let change = scene.settle(crate::scene::lane("alice")).await;
    assert!(
        change.told()[0].contains("rate_limited"),
        "{change:?}",
        change = change.lines
    );
    let later = ask_at(&mut scene, "alice", write("k2"), at + 1000).await;
    assert!(later.starts_with("ack "), "{later}");
}

async fn who_is_not_here_has_a_bucket_too(options: Options) {
    let mut scene = Scene::new(options, slow()).await;
    scene.open("sam").await;
    let robot = Asker::open().signed(Role::Staff, 50);
    let at = scene.driver.time_ms().await + 3_600_000;
    let write = |key: &str| robot.writes_to(key, "hello", "sam");
    for (key, ms) in [("k1", 0), ("k2", 1)] {
        let said = ask_at(&mut scene, "robot", write(key), at + ms).await;
        assert!(said.starts_with("ack "), "{said}");
    }
    let limited = ask_at(&mut scene, "robot", write("k3"), at + 2).await;
    assert!(limited.contains("retry_after_ms=998"), "{limited}");
    let later = ask_at(&mut scene, "robot", write("k3"), at + 1000).await;
    assert!(later.starts_with("ack "), "{later}");
    let dump = scene.driver.dump().await;
    let bucket = &dump.0[&scene.driver.key("b:robot")];
    assert!(bucket.ttl_ms.is_some_and(|ms| ms <= 62_000), "{bucket:?}");
    assert!(!dump.0.contains_key(&scene.driver.key("u:robot")));
}
