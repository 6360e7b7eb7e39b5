//! How much one user may send: each socket is held to it by its gateway, each user by the script.

use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::Cluster,
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep_until};

use crate::scene::{Scene, history};

/// Slow enough that a refusal is certain, fast enough to wait for.
const RATE: u32 = 2;
const BURST: usize = 10;

/// One of the two is slow, the other is not in the way.
async fn scene(slow: &str) -> Scene {
    let builder = Cluster::builder().workers(1);
    let builder = match slow {
        "gateway" => builder
            .gateway_setting("rate-per-user", RATE)
            .gateway_setting("rate-burst", BURST),
        _ => builder
            .worker_setting("rate-per-user", RATE)
            .worker_setting("rate-burst", BURST),
    };
    Scene::on(builder.start().await).await
}

/// Says so many things without waiting, in turn on each device.
async fn flood(devices: &mut [&mut Client], count: usize) {
    for n in 0..count {
        let device = n % devices.len();
        let text = format!("{n}");
        devices[device].say_with_id(&text, &format!("m{n}")).await;
    }
}

/// The answers to so many messages: how many acks, and the refusals.
async fn answers(client: &mut Client, count: usize) -> (usize, Vec<Value>) {
    let (mut acks, mut refusals) = (0, Vec::new());
    while acks + refusals.len() < count {
        match client.next().await {
            Incoming::Frame(frame) if frame["action"] == "ack" => acks += 1,
            Incoming::Frame(mut frame) if frame["payload"]["code"] == "rate_limited" => {
                refusals.push(frame["payload"].take());
            }
            // What the user's other device said.
            Incoming::Frame(frame) if frame["action"] == "message" => {}
            other => client.fail(&format!("{other}")),
        }
    }
    (acks, refusals)
}

/// What was refused is said again when the answer said; then it is taken.
async fn say_again(client: &mut Client, refused: &Value) {
    let after = refused["retry_after_ms"].as_u64().expect("says when");
    assert!((1..=1000 / u64::from(RATE)).contains(&after), "{refused}");
    let again = Instant::now() + Duration::from_millis(after);
    sleep_until(again).await;
    let reference = refused["ref"].as_str().expect("says which");
    client.say_with_id(&reference[1..], reference).await;
    let (acks, _) = answers(client, 1).await;
    assert_eq!(acks, 1);
}

#[tokio::test]
async fn a_socket_that_says_too_much_is_refused_by_its_gateway() {
    let mut scene = scene("gateway").await;
    let (count, log) = (5 * BURST, scene.log().await.len());
    flood(&mut [&mut scene.customer], count).await;
    let (acks, refusals) = answers(&mut scene.customer, count).await;
    // `customerConnect` was a frame, too.
    assert!(acks + 1 >= BURST && !refusals.is_empty(), "{acks} acks");
    assert_eq!(
        scene.log().await.len(),
        log + acks,
        "nothing else is stored"
    );
    // Questions are not messages, and nobody else is held back.
    history(&mut scene.customer, &scene.conversation, json!({})).await;
    scene.staff.say_with_id("在", "s1").await;
    assert_eq!(answers(&mut scene.staff, 1).await.0, 1);
    say_again(&mut scene.customer, &refusals[0]).await;
}

/// Two devices on two gateways, each within what a socket may send.
#[tokio::test]
async fn devices_of_a_user_share_what_the_user_may_send() {
    let mut scene = scene("worker").await;
    let mut second = scene.cluster.connect(1, "uid=alice").await;
    let (count, log) = (4 * BURST, scene.log().await.len());
    flood(&mut [&mut scene.customer, &mut second], count).await;
    let (one, refused) = answers(&mut scene.customer, count / 2).await;
    let (two, also) = answers(&mut second, count / 2).await;
    assert!(one + two >= BURST, "{one} and {two} acks");
    assert!(!refused.is_empty() && !also.is_empty());
    assert_eq!(scene.log().await.len(), log + one + two);
    drop(second);
    say_again(&mut scene.customer, &refused[0]).await;
}
