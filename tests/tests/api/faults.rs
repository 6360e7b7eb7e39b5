//! Workers that stand still or die, answers that are lost, pushes that are missing: what is not known is said to be
//! so, and the same key again has the one answer.

use frontdesk_tests::{http::Response, wait};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    asking::{Asker, is_problem, signed},
    scene::Scene,
};

/// Asks until it is answered, always under the same key.
async fn until_done(asker: &Asker, key: &str, path: &str, body: &Value) -> Response {
    wait::until("the request is done", async || {
        let answer = asker.post_once(key, path, body).await;
        match answer.status {
            201 => Some(answer),
            503 => None,
            504 => {
                is_problem(&answer, 504, "timeout");
                assert_eq!(answer.json()["idempotency_key"], key, "{answer:?}");
                None
            }
            _ => panic!("{answer:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn while_no_worker_works_it_is_not_known_and_the_same_key_has_the_one_answer() {
    let scene = Scene::start(signed()).await;
    let (alice, path) = (scene.asker("alice", "customer"), scene.path("messages"));
    let words = json!({"message": "hello"});
    for worker in &scene.cluster.workers {
        worker.child.pause();
    }
    let answer = alice.post_once("k1", &path, &words).await;
    is_problem(&answer, 504, "timeout");
    let said = answer.json();
    assert_eq!(said["idempotency_key"], "k1", "{said}");
    assert!(
        said["detail"].as_str().unwrap().contains("幂等键"),
        "{said}"
    );
    // It is in the log; reads go past that and are answered.
    assert_eq!(scene.words().await, Vec::<String>::new());
    for worker in &scene.cluster.workers {
        worker.child.unpause();
    }
    let first = until_done(&alice, "k1", &path, &words).await;
    let again = alice
        .at(scene.cluster.addr(1))
        .post_once("k1", &path, &words)
        .await;
    assert_eq!((again.status, again.json()), (201, first.json()));
    let other = alice
        .post_once("k1", &path, &json!({"message": "bye"}))
        .await;
    is_problem(&other, 422, "key_reused");
    assert_eq!(scene.words().await, ["hello"]);
}

#[tokio::test]
async fn when_a_worker_dies_every_request_is_done_once() {
    const REQUESTS: usize = 40;
    let mut scene = Scene::start(signed()).await;
    let (alice, path) = (scene.asker("alice", "customer"), scene.path("messages"));
    let gateways = [scene.cluster.addr(0), scene.cluster.addr(1)];
    let asked = (0..REQUESTS).map(|n| {
        let (asker, path) = (alice.at(gateways[n % 2]), path.clone());
        async move {
            let body = json!({"message": format!("m{n}")});
            until_done(&asker, &format!("k{n}"), &path, &body)
                .await
                .json()
        }
    });
    let killing = async {
        for worker in 0..2 {
            scene.cluster.workers[worker].child.kill9();
            scene.cluster.launch_worker();
            scene.cluster.settled().await;
        }
    };
    let (answers, ()) = tokio::join!(join_all(asked), killing);
    let mut words = scene.words().await;
    words.sort();
    let mut expected: Vec<String> = (0..REQUESTS).map(|n| format!("m{n}")).collect();
    expected.sort();
    assert_eq!(words, expected);
    for (n, answer) in answers.into_iter().enumerate() {
        let body = json!({"message": format!("m{n}")});
        let again = alice.post_once(&format!("k{n}"), &path, &body).await;
        assert_eq!((again.status, again.json()), (201, answer));
    }
}

/// What Redis has answered does not arrive: neither whether it is in the log nor what became of it.
#[tokio::test]
async fn a_lost_answer_is_had_by_asking_again() {
    let builder = signed().gateways(1).proxies();
    let scene = Scene::start(builder).await;
    let kim = scene.asker("kim", "staff");
    let words = |text: &str| json!({"to": "sam", "message": text});
    let proxy = scene.cluster.gateways[0].proxy.as_ref();
    let proxy = proxy.expect("behind a proxy");
    proxy.freeze_down();
    let answer = kim.post_once("k1", "messages", &words("hello")).await;
    is_problem(&answer, 504, "timeout");
    proxy.mend();
    let first = until_done(&kim, "k1", "messages", &words("hello")).await;
    let second = until_done(&kim, "k2", "messages", &words("bye")).await;
    assert_eq!(
        (&first.json()["seq"], &second.json()["seq"]),
        (&json!(1), &json!(2))
    );
}

/// Sockets come back then; who asks by a request has the answer, since that is outside the numbering.
#[tokio::test]
async fn a_hole_in_the_pushes_holds_no_answer_up() {
    let scene = Scene::start(signed()).await;
    let kim = scene.asker("kim", "staff");
    let mut redis = scene.cluster.redis.connect().await;
    let channels: Vec<String> = redis::cmd("PUBSUB")
        .arg("CHANNELS")
        .arg("frontdesk:gateway:*")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(channels.len(), 2, "{channels:?}");
    let shard = scene.conversation.split('.').next().unwrap();
    for n in 1..=20 {
        for channel in &channels {
            let payload = format!("1 {shard} {}\n", 1000 + 10 * n);
            let () = redis::cmd("PUBLISH")
                .arg(channel)
                .arg(payload)
                .query_async(&mut redis)
                .await
                .unwrap();
        }
        let words = json!({"to": "sam", "message": n.to_string()});
        let answer = kim.post("messages", &words).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["seq"], n);
    }
    let gateway = &scene.cluster.gateways[0];
    let holes = gateway.metric("frontdesk_gateway_holes_total").await;
    assert!(holes >= 20.0, "{holes}");
}

/// A gateway that stops answers what is under way, and takes nothing new.
#[tokio::test]
async fn a_gateway_that_drains_answers_what_is_under_way() {
    let mut scene = Scene::start(signed()).await;
    let (alice, path) = (scene.asker("alice", "customer"), scene.path("messages"));
    for worker in &scene.cluster.workers {
        worker.child.pause();
    }
    let words = json!({"message": "hello"});
    let asked = tokio::spawn(async move { alice.post_once("k1", &path, &words).await });
    let appended = "frontdesk_gateway_events_appended_total";
    wait::until("the request is in the log", async || {
        let gateway = &scene.cluster.gateways[0];
        let count = gateway.metric_where(appended, r#"kind="request""#).await;
        (count > 0.0).then_some(())
    })
    .await;
    scene.cluster.gateways[0].child.term();
    for worker in &scene.cluster.workers {
        worker.child.unpause();
    }
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(scene.cluster.gateways[0].child.wait_exit().await, Ok(0));
}
