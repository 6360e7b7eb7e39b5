//! Reads under pressure: always an answer, and nobody's messages wait for them.

use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::Cluster,
    proxy::Proxy,
    wait,
};
use serde_json::{Value, json};

use crate::scene::{Scene, ask_history, entries_of, history};

/// The next frame that is an error or a page.
async fn answer(client: &mut Client) -> Value {
    match client.next().await {
        Incoming::Frame(frame) => frame,
        other => client.fail(&format!("wanted an answer, not {other}")),
    }
}

/// A socket may have a few questions waiting; each of a flood is answered, in order, or `busy`.
#[tokio::test]
async fn a_flood_of_questions_is_answered_one_by_one() {
    const FLOOD: usize = 200;
    let mut scene = Scene::start().await;
    scene.chat(20).await;
    for number in 0..FLOOD {
        let rest = json!({"id": format!("q{number}")});
        ask_history(&mut scene.customer, &scene.conversation, rest).await;
    }
    let (mut pages, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..FLOOD {
        let frame = answer(&mut scene.customer).await;
        let number: usize = frame["payload"]["ref"].as_str().unwrap()[1..]
            .parse()
            .unwrap();
        if frame["action"] == "history" {
            assert_eq!(entries_of(&frame["payload"]).len(), 21);
            pages.push(number);
        } else {
            assert_eq!(frame["payload"]["code"], "busy");
            assert!(frame["payload"]["retry_after_ms"].as_u64().unwrap() >= 1000);
            busy.push(number);
        }
    }
    assert!(pages.len() >= 4, "{} pages", pages.len());
    assert!(pages.is_sorted() && busy.is_sorted(), "{pages:?} {busy:?}");
    // The socket and its messages are as before.
    scene.chat(2).await;
}

/// What is done to the way to Redis, and how it ends.
type Fault = (&'static str, fn(&Proxy), fn(&Proxy));

/// Whatever becomes of the way to Redis, there is an answer: the page, `busy`, or a socket that is closed
/// to come back, since pushes were missed, too. Then reads go on.
#[tokio::test]
async fn who_asks_is_never_left_hanging() {
    let cluster = Cluster::builder().workers(1).proxies().start().await;
    let mut scene = Scene::on(cluster).await;
    scene.chat(3).await;
    let faults: [Fault; 4] = [
        ("stall", Proxy::stall, Proxy::flow),
        ("freeze", Proxy::freeze, |_| {}),
        ("freeze_down", Proxy::freeze_down, |_| {}),
        ("partition", Proxy::partition, Proxy::mend),
    ];
    for (name, begin, end) in faults {
        let mut client = reads(&scene).await;
        let proxy = scene.cluster.gateways[0].proxy.as_ref().expect("asked for");
        begin(proxy);
        ask_history(&mut client, &scene.conversation, json!({"id": "q1"})).await;
        match client.next().await {
            Incoming::Frame(frame) if frame["action"] == "history" => {}
            Incoming::Frame(frame) => {
                let payload = &frame["payload"];
                assert_eq!(
                    (&payload["code"], &payload["ref"]),
                    (&json!("busy"), &json!("q1"))
                );
            }
            Incoming::Closed(4000) => {}
            other => client.fail(&format!("{name}: {other}")),
        }
        end(proxy);
    }
    reads(&scene).await;
}

/// A socket of alice that is answered: as long as the gateway finds its way back, it may be told to
/// come again.
async fn reads(scene: &Scene) -> Client {
    let what = "a socket that reads";
    wait::until(what, async || {
        let connecting = Client::try_connect(scene.cluster.addr(0), "uid=alice").await;
        let mut client = connecting.ok()?; // 503
        ask_history(&mut client, &scene.conversation, json!({})).await;
        loop {
            match client.next().await {
                Incoming::Frame(frame) if frame["action"] == "history" => return Some(client),
                Incoming::Frame(frame) if frame["action"] == "welcome" => {}
                _ => return None,
            }
        }
    })
    .await
}

/// The connection of the reads alone is cut: who asks does not notice, and nobody's socket is closed.
#[tokio::test]
async fn a_lost_connection_of_the_reads_is_made_anew() {
    let mut scene = Scene::start().await;
    scene.chat(3).await;
    for _ in 0..3 {
        let before = history(&mut scene.customer, &scene.conversation, json!({})).await;
        let mut redis = scene.cluster.redis.connect().await;
        let mut list = redis::cmd("CLIENT");
        let list: String = list.arg("LIST").query_async(&mut redis).await.unwrap();
        let readers = list.lines().filter(|line| line.contains("cmd=evalsha_ro"));
        let ids: Vec<_> = readers
            .map(|line| &line[3..line.find(' ').unwrap()])
            .collect();
        assert_eq!(ids.len(), 1, "{list}");
        let mut kill = redis::cmd("CLIENT");
        let () = kill
            .arg("KILL")
            .arg("ID")
            .arg(ids[0])
            .query_async(&mut redis)
            .await
            .unwrap();
        let after = history(&mut scene.customer, &scene.conversation, json!({})).await;
        assert_eq!(before, after);
    }
    scene.chat(2).await;
}

/// Scripts that Redis has forgotten are loaded again.
#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let mut scene = Scene::start().await;
    history(&mut scene.customer, &scene.conversation, json!({})).await;
    let mut redis = scene.cluster.redis.connect().await;
    let mut flush = redis::cmd("SCRIPT");
    let () = flush.arg("FLUSH").query_async(&mut redis).await.unwrap();
    history(&mut scene.customer, &scene.conversation, json!({})).await;
}
