//! `direct`, and `message` into a direct conversation: who may, what is kept, and for how long.

use frontdesk_shared::{
    event::Kind,
    ids::ConversationId,
    protocol::{Lang, Role, frame::Verb},
};
use frontdesk_tests::{
    lane_driver::{Socket, on_duty, words_to, words_to_user},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{DIRECT_RENEW_MS, MAX_CONVERSATIONS_PER_USER, Outcome},
};

use crate::scene::{Scene, close};

on_both![
    the_first_words_begin_a_conversation_and_later_ones_continue_it,
    an_id_counts_once_and_only_to_the_same_user,
    words_wait_for_who_is_offline,
    who_was_never_there_and_oneself_get_nothing,
    roles_decide_who_may_write_to_whom,
    a_direct_conversation_has_no_end_but_its_expiry,
    support_goes_on_beside_direct_words,
    a_full_list_takes_no_further_conversation,
];

async fn open_as(scene: &mut Scene, uid: &str, role: Role) -> Socket {
    let socket = scene.socket(uid);
    let kind = Kind::Open {
        client: socket.client.clone(),
        lang: Lang::En,
        role,
        proof: None,
    };
    scene.change(uid, kind).await;
    socket
}

async fn the_first_words_begin_a_conversation_and_later_ones_continue_it(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    scene.open("sue").await;
    let mut sam = scene.open("sam").await;
    scene.open("sam").await;
    let first = words_to_user("hello", "sam", Some("m1"));
    scene.send(&mut sue, first).await.is(r#"
        + conv:e5.1 TTL 608400000
        + conv:e5.1 a=sam
        + conv:e5.1 b=sue
        + conv:e5.1 counts=0 1
        + conv:e5.1 last=e5.2
        + conv:e5.1 renewed=T
        + conv:e5.1 seq=1
        + conv:e5.1 state=direct
        + convs:sam TTL 608400000
        + convs:sam e5.1 T
        + convs:sue TTL 608400000
        + convs:sue e5.1 T
        + dm:sam|sue TTL 608400000
        + dm:sam|sue e5.1
        + log:e5.1 1-0 from=user uid=sue id=e5.2 time=T counts=0 1 message="hello" ref=m1
        + log:e5.1 TTL 608400000
        + sent:sue:0 #=T 0
        + sent:sue:0 TTL 90000000
        + sent:sue:0 m1=b4b58181d35c6baf7e34add8be5bfd6b e5.1 1 e5.2 T
        + u:sue n:sue.1=1
        - u:sue n:sue.1=0
        > sam.1 message/user conversation=e5.1 id=e5.2 message=hello seq=1 time=T uid=sue
        > sam.2 message/user conversation=e5.1 id=e5.2 message=hello seq=1 time=T uid=sue
        > sue.2 message/user conversation=e5.1 id=e5.2 message=hello seq=1 time=T uid=sue
    "#);
    // By uid from the other side: the same conversation.
    let back = words_to_user("hi", "sue", None);
    scene.send(&mut sam, back).await.is(r#"
        + conv:e5.1 counts=1 1
        + conv:e5.1 last=e6.1
        + conv:e5.1 seq=2
        + log:e5.1 2-0 from=user uid=sam id=e6.1 time=T counts=1 1 message="hi"
        + u:sam n:sam.1=1
        - conv:e5.1 counts=0 1
        - conv:e5.1 last=e5.2
        - conv:e5.1 seq=1
        - u:sam n:sam.1=0
        > sue.1 message/user conversation=e5.1 id=e6.1 message=hi prev=e5.2 seq=2 time=T uid=sam
        > sue.2 message/user conversation=e5.1 id=e6.1 message=hi prev=e5.2 seq=2 time=T uid=sam
        > sam.2 message/user conversation=e5.1 id=e6.1 message=hi prev=e5.2 seq=2 time=T uid=sam
    "#);
    // By its name.
    let conv = only_conversation(&mut scene, "sam").await;
    scene.send(&mut sam, words_to("?", &conv)).await.is(r#"
        + conv:e5.1 counts=2 1
        + conv:e5.1 last=e7.1
        + conv:e5.1 seq=3
        + log:e5.1 3-0 from=user uid=sam id=e7.1 time=T counts=2 1 message="?"
        + u:sam n:sam.1=2
        - conv:e5.1 counts=1 1
        - conv:e5.1 last=e6.1
        - conv:e5.1 seq=2
        - u:sam n:sam.1=1
        > sue.1 message/user conversation=e5.1 id=e7.1 message=? prev=e6.1 seq=3 time=T uid=sam
        > sue.2 message/user conversation=e5.1 id=e7.1 message=? prev=e6.1 seq=3 time=T uid=sam
        > sam.2 message/user conversation=e5.1 id=e7.1 message=? prev=e6.1 seq=3 time=T uid=sam
    "#);
    // It is none of anybody else's, and nobody closes it.
    let mut bob = scene.open("bob").await;
    let refused = scene.send(&mut bob, words_to("?", &conv)).await;
    assert_eq!(refused.told(), ["bob.1 error/no_conversation"]);
    let refused = scene.send(&mut sam, close(Some(&conv))).await;
    assert_eq!(refused.told(), ["sam.1 error/no_conversation"]);
}

async fn an_id_counts_once_and_only_to_the_same_user(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    let mut other = scene.open("sue").await;
    scene.open("sam").await;
    scene.open("bob").await;
    let words = || words_to_user("hello", "sam", Some("m1"));
    let Outcome::Acked(first) = scene.send(&mut sue, words()).await.outcome else {
        panic!("not acknowledged");
    };
    let again = scene.send(&mut other, words()).await;
    again.is(r"
        + u:sue n:sue.2=1
        - u:sue n:sue.2=0
    ");
    let Outcome::Acked(second) = again.outcome else {
        panic!("not acknowledged");
    };
    assert_eq!((first.seq, first.id), (second.seq, second.id));
    let elsewhere = words_to_user("hello", "bob", Some("m1"));
    scene.send(&mut sue, elsewhere).await.is(r"
        + u:sue n:sue.1=2
        - u:sue n:sue.1=1
        > sue.1 error/id_reused ref=m1
    ");
}

async fn words_wait_for_who_is_offline(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    let sam = scene.open("sam").await;
    scene.change("sam", sam.close()).await;
    for text in ["one", "two"] {
        let change = scene
            .send(&mut sue, words_to_user(text, "sam", Some(text)))
            .await;
        assert!(
            matches!(change.outcome, Outcome::Acked(_)),
            "{:?}",
            change.lines
        );
        assert_eq!(change.told(), Vec::<&str>::new());
    }
    let conv = only_conversation(&mut scene, "sam").await;
    let dump = scene.driver.dump().await;
    let hash = dump.hash(&scene.driver.key(&format!("conv:{conv}")));
    // Neither has read anything: two are unread for sam, who is a.
    assert_eq!(hash["counts"], "0 2");
    assert!(!hash.contains_key("ra"));
}

async fn who_was_never_there_and_oneself_get_nothing(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    let stranger = words_to_user("?", "sam", Some("m1"));
    scene.send(&mut sue, stranger).await.is(r"
        + u:sue n:sue.1=1
        - u:sue n:sue.1=0
        > sue.1 error/no_user ref=m1
    ");
    let oneself = words_to_user("?", "sue", Some("m2"));
    scene.send(&mut sue, oneself).await.is(r"
        + u:sue n:sue.1=2
        - u:sue n:sue.1=1
        > sue.1 error/bad_field field=to ref=m2
    ");
}

async fn roles_decide_who_may_write_to_whom(options: Options) {
    for customer_direct in [false, true] {
        let settings = DeskSettings {
            customer_direct,
            ..DeskSettings::default()
        };
        let mut scene = Scene::new(options.clone(), settings).await;
        let roles = [
            ("any", Some(Role::Any)),
            ("staff", Some(Role::Staff)),
            ("customer", Some(Role::Customer)),
            ("supervisor", None),
            ("service", None),
        ];
        for (from, from_role) in roles {
            for (to, to_role) in roles {
                let names = [format!("{from}-{to}-1"), format!("{from}-{to}-2")];
                let mut sockets = Vec::new();
                for (uid, (role, known)) in names.iter().zip([(from, from_role), (to, to_role)]) {
                    let socket = open_as(&mut scene, uid, known.unwrap_or(Role::Any)).await;
                    set_role(&mut scene, uid, role).await;
                    sockets.push(socket);
                }
                let is_free = |role| ["any", "staff", "supervisor"].contains(&role);
                let may = |role| is_free(role) || (role == "customer" && customer_direct);
                let allowed = may(from) && may(to);
                let words = words_to_user("?", &names[1], None);
                let change = scene.send(&mut sockets[0], words).await;
                let expected = match from {
                    "service" => "error/wrong_role",
                    _ if allowed => "message/user",
                    _ => "error/forbidden",
                };
                assert!(
                    change.told().iter().all(|told| told.contains(expected)),
                    "{from} to {to}: {:?}",
                    change.lines
                );
                assert_eq!(change.told().len(), 1, "{from} to {to}");
                if allowed {
                    may_no_longer(&mut scene, &mut sockets, &names).await;
                }
            }
        }
    }
}

/// The role counts at each message: who may not write any more may not answer either.
async fn may_no_longer(scene: &mut Scene, sockets: &mut [Socket], names: &[String; 2]) {
    let conv = only_conversation(scene, &names[0]).await;
    set_role(scene, &names[1], "service").await;
    // A service may not speak at all.
    for (socket, answer) in sockets.iter_mut().zip(["forbidden", "wrong_role"]) {
        let change = scene.send(socket, words_to("?", &conv)).await;
        assert!(change.told()[0].contains(answer), "{:?}", change.lines);
    }
}

async fn set_role(scene: &mut Scene, uid: &str, role: &str) {
    let (user, who) = (
        scene.driver.key(&format!("u:{uid}")),
        scene.driver.key(&format!("who:{uid}")),
    );
    let mut pipeline = redis::pipe();
    pipeline.hset(user, "role", role).ignore();
    pipeline.set_ex(who, role, 1000).ignore();
    let () = pipeline
        .query_async(&mut scene.driver.connection)
        .await
        .expect("written");
}

async fn a_direct_conversation_has_no_end_but_its_expiry(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    let sam = scene.open("sam").await;
    scene
        .send(&mut sue, words_to_user("one", "sam", None))
        .await;
    scene.change("sam", sam.close()).await;
    let conv = only_conversation(&mut scene, "sam").await;
    let names: Vec<String> = [
        format!("conv:{conv}"),
        format!("log:{conv}"),
        "dm:sam|sue".to_owned(),
        "convs:sam".to_owned(),
        "convs:sue".to_owned(),
        "who:sam".to_owned(),
        "who:sue".to_owned(),
    ]
    .map(|name| scene.driver.key(&name))
    .to_vec();
    // All of it is about to expire, as it would be after the retention.
    expire(&mut scene, &names).await;
    let within = words_to("two", &conv);
    scene.send(&mut sue, within).await;
    let dump = scene.driver.dump().await;
    for name in &names {
        let left = dump.0[name].ttl_ms.expect("expires");
        assert!(left <= 50_000_000, "{name} was renewed within the hour");
    }
    // An hour after the last renewal the next words renew all.
    let renewed: u64 = dump.hash(&names[0])["renewed"].parse().expect("a time");
    let mut write = redis::cmd("HSET");
    let earlier = renewed - DIRECT_RENEW_MS - 1;
    let written = write.arg(&names[0]).arg("renewed").arg(earlier);
    let () = written
        .query_async(&mut scene.driver.connection)
        .await
        .expect("written");
    scene
        .send(&mut sue, words_to_user("three", "sam", None))
        .await;
    let dump = scene.driver.dump().await;
    for name in &names {
        let left = dump.0[name].ttl_ms.expect("expires");
        assert!(left > 608_000_000, "{name} lives for {left} ms");
    }
    // What says that a message was recalled expires with it, and is renewed with it.
    scene.send(&mut sue, recall_of(&conv, 3)).await;
    let gone = scene.driver.key(&format!("gone:{conv}"));
    expire(&mut scene, std::slice::from_ref(&gone)).await;
    let written = write.arg("renewed").arg(earlier);
    let () = written
        .query_async(&mut scene.driver.connection)
        .await
        .expect("written");
    scene.send(&mut sue, words_to("again", &conv)).await;
    let left = scene.driver.dump().await.0[&gone].ttl_ms.expect("expires");
    assert!(left > 608_000_000, "it lives for {left} ms");
    // What has expired begins anew.
    let mut gone = redis::cmd("DEL");
    let gone = gone.arg(&names[..5]);
    let () = gone
        .query_async(&mut scene.driver.connection)
        .await
        .expect("deleted");
    scene
        .send(&mut sue, words_to_user("four", "sam", None))
        .await;
    assert_ne!(only_conversation(&mut scene, "sue").await, conv);
}

fn recall_of(conversation: &str, seq: u64) -> Verb {
    Verb::Recall {
        conversation: ConversationId::parse(conversation).expect("well-formed"),
        seq,
        message: None,
        id: None,
    }
}

async fn expire(scene: &mut Scene, names: &[String]) {
    let mut pipeline = redis::pipe();
    for name in names {
        pipeline.pexpire(name, 50_000_000).ignore();
    }
    let () = pipeline
        .query_async(&mut scene.driver.connection)
        .await
        .expect("set");
}

async fn support_goes_on_beside_direct_words(options: Options) {
    let settings = DeskSettings {
        customer_direct: true,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let support = scene.driver.conversation_of("alice").await.expect("open");
    scene
        .send(&mut sam, words_to_user("psst", "alice", None))
        .await;
    // Without a name words are for the customer still: only one support conversation is open.
    let change = scene
        .send(&mut sam, frontdesk_tests::lane_driver::words("hello"))
        .await;
    assert!(change.told()[0].starts_with("alice.1 message/staff"));
    let change = scene
        .send(&mut alice, words_to_user("yes?", "sam", None))
        .await;
    assert!(change.told()[0].starts_with("sam.1 message/user"));
    // The end of support is not that of the direct conversation.
    scene.send(&mut alice, Verb::CustomerLeave).await;
    assert_eq!(scene.driver.conversation_of("alice").await, None);
    let dump = scene.driver.dump().await;
    let ended = dump.hash(&scene.driver.key(&format!("conv:{support}")));
    assert_eq!(ended["state"], "ended");
    let change = scene
        .send(&mut alice, words_to_user("still here", "sam", None))
        .await;
    assert!(change.told()[0].starts_with("sam.1 message/user"));
    let change = scene.send(&mut sam, on_duty(2)).await;
    assert_eq!(change.told().len(), 1);
}

async fn a_full_list_takes_no_further_conversation(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut sue = scene.open("sue").await;
    let mut sam = scene.open("sam").await;
    let (list, mut pipeline) = (scene.driver.key("convs:sam"), redis::pipe());
    for n in 0..MAX_CONVERSATIONS_PER_USER {
        let name = format!("0.0.{n}-1.1");
        let conv = scene.driver.key(&format!("conv:{name}"));
        pipeline.hset(&conv, "state", "direct").ignore();
        pipeline.pexpire(&conv, 1_000_000).ignore();
        pipeline.zadd(&list, name, n).ignore();
    }
    pipeline.pexpire(&list, 1_000_000).ignore();
    let () = pipeline
        .query_async(&mut scene.driver.connection)
        .await
        .expect("filled");
    for (socket, to) in [(&mut sue, "sam"), (&mut sam, "sue")] {
        let change = scene.send(socket, words_to_user("?", to, None)).await;
        assert!(change.told()[0].contains("error/too_many_conversations"));
    }
}

/// The only conversation in a user's list.
async fn only_conversation(scene: &mut Scene, uid: &str) -> String {
    let dump = scene.driver.dump().await;
    let list = dump.sorted(&scene.driver.key(&format!("convs:{uid}")));
    assert_eq!(list.len(), 1, "{list:?}");
    list[0].0.clone()
}
