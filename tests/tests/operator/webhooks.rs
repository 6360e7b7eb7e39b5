//! `frontdesk-gateway webhooks`: what there is, what is parked, sent again and parked by hand.

use std::{
    process::{Output, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use frontdesk_shared::{
    ids::{HookId, Site},
    keys,
};
use frontdesk_tests::{
    child, cluster::Cluster, http, process, pty::Terminal, redis_server::RedisServer,
    redis_users::GATEWAY, wait,
};
use serde_json::{Value, json};
use tokio::process::Command;

const PROGRAM: &str = "frontdesk-gateway";
/// No receiver: its address is refused, so every attempt fails.
const URL: &str = "http://127.0.0.1:9/";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

async fn webhooks(redis: &RedisServer, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(process::binary(PROGRAM));
    child::without_settings(&mut command);
    let mut command = Command::from(command);
    command.arg("webhooks").args(args);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.env("FRONTDESK_REDIS_URL", redis.url_for(GATEWAY));
    command.output().await.expect("the program runs")
}

async fn told(redis: &RedisServer, args: &[&str]) -> Value {
    let output = webhooks(redis, args).await;
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn refused(redis: &RedisServer, args: &[&str]) -> String {
    let output = webhooks(redis, args).await;
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// Makes a webhook of the default site. Returns its id.
async fn hook(cluster: &Cluster, enabled: bool) -> String {
    let body = json!({"url": URL, "types": ["message.created"], "enabled": enabled});
    let path = "/api/v1/webhooks?uid=robot&role=service";
    let json: [&[u8]; 1] = [b"Content-Type: application/json"];
    let made = http::send(cluster.addr(0), "POST", path, &json, &body.to_string()).await;
    let made = made.expect("an answer");
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_str().expect("an id").to_owned()
}

fn key(hook: &str, rest: &str) -> String {
    let site = Site::parse("default").expect("valid");
    keys::hook(&site, &HookId::parse(hook).expect("valid")) + rest
}

fn delivery(n: usize) -> String {
    format!(
        r#"||{{"id":"6.1.{n}-0.1","type":"conversation.ended","site":"default","time":{n},"conversation":"6.1.1-0.9","seq":{n},"from":"system","uid":"sam","data":{{}}}}"#
    )
}

async fn fill(cluster: &Cluster, pipe: redis::Pipeline) {
    let mut redis = cluster.redis.connect().await;
    pipe.exec_async(&mut redis).await.expect("written");
}

#[tokio::test]
async fn deliveries_are_parked_and_sent_again_by_hand() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let redis = &cluster.redis;
    assert_eq!(told(redis, &["list"]).await, json!({"webhooks": []}));
    // Off, so that nobody takes what waits.
    let hook = hook(&cluster, false).await;
    let mut pipe = redis::pipe();
    for n in 1..=2 {
        let fields = [("d", delivery(n))];
        pipe.xadd(key(&hook, "queue"), "*", &fields).ignore();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let later = now.expect("after 1970").as_secs() * 1000 + DAY_MS;
    let member = format!("3|status 500|{}", delivery(3));
    pipe.zadd(key(&hook, "retry"), member, later).ignore();
    fill(&cluster, pipe).await;
    let counts = async || {
        let list = told(redis, &["list"]).await;
        let one = &list["webhooks"][0];
        assert_eq!((&one["id"], &one["enabled"]), (&json!(hook), &json!(false)));
        ["waiting", "retrying", "parked"].map(|name| one[name].as_u64().expect("a number"))
    };
    assert_eq!(counts().await, [2, 1, 0]);
    let hastened = told(redis, &["redeliver", &hook, "6.1.3-0.1"]).await;
    assert_eq!(
        (&hastened["redelivered"], &hastened["hastened"]),
        (&json!(0), &json!(1))
    );
    let parked = told(redis, &["park", &hook, "6.1.2-0.1", "--key", "k1"]).await;
    assert_eq!(parked, json!({"id": hook, "parked": 1, "key": "k1"}));
    let again = told(redis, &["park", &hook, "6.1.2-0.1", "--key", "k1"]).await;
    assert_eq!(again, parked, "the same answer again");
    assert_eq!(told(redis, &["park", &hook, "--all"]).await["parked"], 2);
    assert_eq!(counts().await, [0, 0, 3]);
    let first = told(redis, &["parked", &hook, "--limit", "2"]).await;
    let before = first["before"].as_str().expect("there is more");
    let rest = told(redis, &["parked", &hook, "--before", before]).await;
    let all = [&first, &rest].map(|page| page["deliveries"].as_array().expect("a list").clone());
    let all = all.concat();
    let short = all.iter().map(|it| {
        let text = |name: &str| it[name].as_str().expect("text");
        format!("{} {} {}", text("delivery"), it["attempts"], text("why"))
    });
    assert_eq!(
        short.collect::<Vec<_>>(),
        [
            "6.1.1-0.1 0 by hand",
            "6.1.3-0.1 3 status 500",
            "6.1.2-0.1 0 by hand",
        ]
    );
    let moved = told(redis, &["redeliver", &hook, "6.1.3-0.1"]).await;
    assert_eq!(moved["redelivered"], 1);
    let moved = told(redis, &["redeliver", &hook, "--all"]).await;
    assert_eq!(moved["redelivered"], 2);
    assert_eq!(counts().await, [3, 0, 0]);
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn what_is_sent_again_by_hand_is_delivered() {
    let cluster = Cluster::builder()
        .gateways(1)
        .workers(1)
        .worker_setting("hook-retry-s", "86400")
        .start()
        .await;
    let redis = &cluster.redis;
    let hook = hook(&cluster, true).await;
    let mut pipe = redis::pipe();
    let fields = [
        ("d", delivery(1)),
        ("attempts", "9".into()),
        ("why", "x".into()),
    ];
    pipe.xadd(key(&hook, "parked"), "*", &fields).ignore();
    fill(&cluster, pipe).await;
    let failed = async |times: u64| {
        wait::until("an attempt has failed", async || {
            let list = told(redis, &["list"]).await;
            (list["webhooks"][0]["failed"] == times).then_some(())
        })
        .await;
    };
    told(redis, &["redeliver", &hook, "6.1.1-0.1"]).await;
    failed(1).await;
    // Now it waits for a day.
    let hastened = told(redis, &["redeliver", &hook, "--all"]).await;
    assert_eq!(hastened["hastened"], 1);
    failed(2).await;
    wait::until("its last attempt has failed", async || {
        let parked = told(redis, &["parked", &hook]).await;
        (parked["deliveries"][0]["attempts"] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn on_a_terminal_they_are_tables() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let hook = hook(&cluster, false).await;
    let mut pipe = redis::pipe();
    let fields = [
        ("d", delivery(1)),
        ("attempts", "9".into()),
        ("why", "timeout".into()),
    ];
    pipe.xadd(key(&hook, "parked"), "*", &fields).ignore();
    fill(&cluster, pipe).await;
    let url = cluster.redis.url_for(GATEWAY);
    for (args, says) in [
        (vec!["list"], vec!["WEBHOOK", &hook, "off"]),
        (vec!["parked", &hook], vec!["6.1.1-0.1", "timeout"]),
        (vec!["redeliver", &hook, "--all"], vec!["sent again: 1"]),
        (vec!["parked", &hook], vec!["nothing is parked"]),
        (vec!["park", &hook, "6.1.1-0.1"], vec!["parked: 1"]),
    ] {
        let args = [vec!["webhooks"], args, vec!["--redis-url", &url]].concat();
        let mut terminal = Terminal::start(&process::binary(PROGRAM), &args, &[]);
        for text in says {
            terminal.shows(text, 1).await;
        }
        assert_eq!(terminal.ended().await, Some(0));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_sentence() {
    let mut cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let hook = hook(&cluster, false).await;
    for (args, says) in [
        (vec!["parked", "6.1.1-0.7"], "no_webhook"),
        (vec!["redeliver", "6.1.1-0.7", "--all"], "no_webhook"),
        (vec!["park", &hook, "6.1.1-0.1"], "no_delivery"),
        (vec!["redeliver", &hook, "6.1.1-0.1"], "no_delivery"),
        (
            vec!["park", &hook, "--all", "--site", "other"],
            "no_webhook",
        ),
        (vec!["park", &hook], "<delivery>"),
        (vec!["park", &hook, "6.1.1-0.1", "--all"], "--all"),
        (vec!["park", "*", "--all"], "webhook"),
        (vec!["park", &hook, "*"], "delivery"),
        (vec!["list", "--site", "{x}"], "--site"),
        (vec!["park", &hook, "--all", "--key", "a b"], "--key"),
        (vec!["parked", &hook, "--limit", "0"], "--limit"),
        (vec![], "list"),
    ] {
        let said = refused(&cluster.redis, &args).await;
        let said = said.to_lowercase();
        assert!(said.contains(says), "{args:?} does not say {says}: {said}");
    }
    cluster.workers[0].child.term();
    assert_eq!(cluster.workers[0].child.wait_exit().await, Ok(0));
    let args = ["park", &hook, "--all", "--key", "k1"];
    let said = refused(&cluster.redis, &args).await;
    assert!(
        said.contains("no worker") && said.contains("--key k1"),
        "{said}"
    );
}
