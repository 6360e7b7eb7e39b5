//! `frontdesk-gateway send`: words in a user's name.

use std::{
    io::{Seek as _, Write as _},
    process::{Output, Stdio},
};

use frontdesk_tests::{
    child, client::Client, cluster::Cluster, process, redis_server::RedisServer,
    redis_users::GATEWAY,
};
use serde_json::Value;
use tokio::process::Command;

async fn send(redis: &RedisServer, args: &[&str]) -> Output {
    send_with(redis, args, Stdio::null()).await
}

async fn send_with(redis: &RedisServer, args: &[&str], input: Stdio) -> Output {
    let mut command = std::process::Command::new(process::binary("frontdesk-gateway"));
    child::without_settings(&mut command);
    let mut command = Command::from(command);
    command
        .arg("send")
        .args(args)
        .stdin(input)
        .kill_on_drop(true);
    command.env("FRONTDESK_REDIS_URL", redis.url_for(GATEWAY));
    command.output().await.expect("the program runs")
}

async fn sent(redis: &RedisServer, args: &[&str]) -> Value {
    let output = send(redis, args).await;
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn refused(redis: &RedisServer, args: &[&str]) -> String {
    let output = send(redis, args).await;
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn meet(cluster: &Cluster) -> (Client, Client, String) {
    let mut staff = cluster.connect(0, "uid=sam").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = cluster.connect(0, "uid=alice").await;
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let conversation = connected["conversation"].as_str().unwrap().to_owned();
    (staff, customer, conversation)
}

#[tokio::test]
async fn words_are_said_once_for_a_key_and_reach_everybody() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let (mut staff, mut customer, conversation) = meet(&cluster).await;
    let words = "\u{4f60}\u{597d} \"friend\"\n2";
    let args = [
        "--uid",
        "sam",
        "--role",
        "staff",
        "--conversation",
        &conversation,
        "--key",
        "k1",
        words,
    ];
    let first = sent(&cluster.redis, &args).await;
    assert_eq!(
        (&first["conversation"], &first["seq"]),
        (&Value::from(&*conversation), &Value::from(2))
    );
    assert_eq!(first["key"], "k1");
    assert_eq!(
        sent(&cluster.redis, &args).await,
        first,
        "the same answer again"
    );
    for client in [&mut customer, &mut staff] {
        client.expect_words("staff", words).await;
        client.expect_nothing().await;
    }
    // Without a key each is another message; directly, to somebody else.
    let direct = ["--uid", "sam", "--role", "staff", "--to", "alice", "hello"];
    let first = sent(&cluster.redis, &direct).await;
    let second = sent(&cluster.redis, &direct).await;
    assert_ne!(first["key"], second["key"]);
    assert_eq!(
        (&first["seq"], &second["seq"]),
        (&Value::from(1), &Value::from(2))
    );
    for _ in 0..2 {
        customer.expect_words("user", "hello").await;
    }
    // Words that no list of processes shows.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"two\nlines\n").unwrap();
    file.rewind().unwrap();
    let args = ["--uid", "sam", "--role", "staff", "--to", "alice", "-"];
    let output = send_with(&cluster.redis, &args, file.into()).await;
    assert!(output.status.success(), "{output:?}");
    customer.expect_words("user", "two\nlines").await;
    assert_eq!(cluster.dead_letters().await, 0);
}

#[tokio::test]
async fn what_may_not_or_cannot_be_said_is_refused_with_a_sentence() {
    let mut cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let (_staff, mut customer, conversation) = meet(&cluster).await;
    let conversation = conversation.as_str();
    let here = |uid: &'static str, role: &'static str| vec!["--uid", uid, "--role", role];
    for (args, more, says) in [
        // By the rules that hold for everybody.
        (
            here("bob", "customer"),
            vec!["--conversation", conversation, "?"],
            "no_conversation",
        ),
        (
            here("bob", "customer"),
            vec!["--to", "alice", "?"],
            "forbidden",
        ),
        (here("sam", "staff"), vec!["--to", "nobody", "?"], "no_user"),
        // And what cannot be meant.
        (here("sam", "service"), vec!["--to", "alice", "?"], "--role"),
        (here("sam", "any"), vec!["--to", "alice", "?"], "--role"),
        (here("s m", "staff"), vec!["--to", "alice", "?"], "--uid"),
        (here("sam", "staff"), vec!["--to", "{x}", "?"], "--to"),
        (
            here("sam", "staff"),
            vec!["--conversation", "*", "?"],
            "--conversation",
        ),
        (
            here("sam", "staff"),
            vec!["--to", "alice", "--key", "a b", "?"],
            "--key",
        ),
        (here("sam", "staff"), vec!["--to", "alice", ""], "16 KiB"),
        (here("sam", "staff"), vec!["?"], "--conversation"),
        (
            here("sam", "staff"),
            vec!["--to", "alice", "--conversation", conversation, "?"],
            "--conversation",
        ),
    ] {
        let said = refused(&cluster.redis, &[args.clone(), more.clone()].concat()).await;
        assert!(
            said.contains(says),
            "{args:?} {more:?} does not say {says}: {said}"
        );
    }
    customer.expect_nothing().await;
    // Without a worker it waits, and may be said again.
    cluster.workers[0].child.term();
    assert_eq!(cluster.workers[0].child.wait_exit().await, Ok(0));
    let args = [
        "--uid",
        "sam",
        "--role",
        "staff",
        "--conversation",
        conversation,
        "--key",
        "k1",
        "late",
    ];
    let said = refused(&cluster.redis, &args).await;
    assert!(
        said.contains("no worker") && said.contains("--key k1"),
        "{said}"
    );
    let worker = cluster.launch_worker();
    cluster.settled().await;
    assert_eq!(sent(&cluster.redis, &args).await["seq"], 2, "{worker}");
    customer.expect_words("staff", "late").await;
    customer.expect_nothing().await;
}
