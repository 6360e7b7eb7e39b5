//! Who is typing: told across gateways, kept nowhere, in nobody's way.

use frontdesk_shared::{
    ids::{Shard, Site},
    keys,
};
use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::DEFAULT_SITE,
    redis_dump::Dump,
};
use serde_json::{Value, json};

use crate::scene::{Scene, meet};

async fn types(client: &mut Client, on: bool) {
    client.ask("typing", json!({"on": on})).await;
}

/// The next frame says that somebody types, or not.
async fn expect_typing(client: &mut Client, conversation: &str, uid: &str, on: bool) {
    let told = client.expect_action("typing").await;
    let expected = json!({"conversation": conversation, "uid": uid, "on": on});
    assert_eq!(told, expected);
}

/// Everything that the cluster knows of the site, and all that was ever appended to its shard.
async fn everything(scene: &Scene) -> (Dump, Vec<Value>) {
    let shard = Shard::of(&Site::parse(DEFAULT_SITE).unwrap());
    let mut redis = scene.cluster.redis.connect().await;
    let prefix = keys::shard_prefix(shard);
    let site = Dump::try_read(&mut redis, &format!("{prefix}site:*")).await;
    let applied = Dump::try_read(&mut redis, &keys::applied(shard)).await;
    let pushes = Dump::try_read(&mut redis, &keys::pushes(shard)).await;
    let rest = [applied, pushes].map(|dump| json!(format!("{:?}", dump.unwrap())));
    (site.unwrap().without_ttls(), rest.to_vec())
}

#[tokio::test]
async fn typing_reaches_every_device_of_the_other_side_and_is_kept_nowhere() {
    let mut scene = Scene::start().await;
    let conversation = scene.conversation.clone();
    let mut second = scene.cluster.connect(1, "uid=alice").await;
    let mut stranger = scene.cluster.connect(0, "uid=mallory").await;
    scene.chat(2).await;
    for (from, text) in [("customer", "第0句 \"<b>\""), ("staff", "第1句 \"<b>\"")] {
        second.expect_words(from, text).await;
    }
    let before = everything(&scene).await;

    scene.staff.act("typing").await;
    for device in [&mut scene.customer, &mut second] {
        expect_typing(device, &conversation, "bob", true).await;
    }
    types(&mut scene.customer, true).await;
    expect_typing(&mut scene.staff, &conversation, "alice", true).await;
    // Off comes after the interval of the on before it, and is not lost.
    types(&mut scene.customer, false).await;
    expect_typing(&mut scene.staff, &conversation, "alice", false).await;
    let named = json!({"conversation": conversation});
    scene.staff.ask("typing", named).await;
    for device in [&mut scene.customer, &mut second] {
        expect_typing(device, &conversation, "bob", true).await;
    }
    assert_eq!(everything(&scene).await, before);
    for client in [
        &mut scene.customer,
        &mut second,
        &mut scene.staff,
        &mut stranger,
    ] {
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn typing_in_the_wrong_place_is_refused_or_told_to_nobody() {
    let mut scene = Scene::start().await;
    let conversation = scene.conversation.clone();
    let mut carl = scene.cluster.connect(0, "uid=carl").await;
    types(&mut carl, true).await;
    carl.expect("error", "no_conversation").await;
    let theirs = json!({"conversation": conversation});
    carl.ask("typing", theirs.clone()).await;
    // As of one that does not exist.
    carl.expect("error", "no_conversation").await;
    carl.ask("typing", json!({"conversation": "7.3.1-0.1"}))
        .await;
    carl.expect("error", "no_conversation").await;
    for bad in [json!({"on": 1}), json!({"conversation": "*"})] {
        carl.ask("typing", bad).await;
        carl.expect("error", "bad_field").await;
    }
    // Another site has no such conversation.
    let mut twin = scene.cluster.connect(0, "uid=alice&site=other").await;
    twin.ask("typing", theirs.clone()).await;
    twin.expect("error", "no_conversation").await;

    let second = meet(&mut carl, &mut scene.staff).await;
    types(&mut scene.staff, true).await;
    scene.staff.expect("error", "which_conversation").await;
    scene
        .staff
        .ask("typing", json!({"conversation": second}))
        .await;
    expect_typing(&mut carl, &second, "bob", true).await;

    // Who left types to nobody, and nobody is told.
    scene.end().await;
    scene.staff.ask("typing", theirs.clone()).await;
    scene.customer.ask("typing", theirs).await;
    scene.customer.expect_nothing().await;
    scene.staff.expect_nothing().await;
}

/// Nobody waits for typing, and the other side hears of it once a second at most.
#[tokio::test]
async fn a_flood_of_typing_harms_nobody() {
    const FRAMES: usize = 5000;
    let mut scene = Scene::start().await;
    let conversation = scene.conversation.clone();
    for n in 0..FRAMES {
        types(&mut scene.customer, n % 2 == 0).await;
        if n % 1000 == 0 {
            let id = format!("m{n}");
            scene.customer.say_with_id("还在吗", &id).await;
        }
    }
    types(&mut scene.customer, true).await;
    types(&mut scene.customer, false).await;
    let mut acks = 0;
    while acks < 5 {
        acks += usize::from(scene.customer.expect_action("ack").await["seq"].is_u64());
    }
    // The last word is that nobody types, and then there is silence.
    scene.customer.expect_nothing().await;
    let (mut words, mut told) = (0, Vec::new());
    while words < 5 || told.last() != Some(&false) || told.len() < 2 {
        match scene.staff.next().await {
            Incoming::Frame(frame) if frame["action"] == "typing" => {
                assert_eq!(frame["payload"]["conversation"], conversation);
                told.push(frame["payload"]["on"] == true);
            }
            Incoming::Frame(frame) if frame["action"] == "message" => words += 1,
            other => scene.staff.fail(&format!("{other}")),
        }
    }
    assert!(told.len() < 100, "{} of {FRAMES}", told.len());
}
