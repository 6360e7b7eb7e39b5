//! The load tool against a real cluster: each scenario once, small. These tests are about its
//! correctness and look at no time.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{path::Path, process::Stdio};

use frontdesk_tests::{cluster::Cluster, process, redis_server::RedisServer, tokens::SECRET};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

const TOOL: &str = "frontdesk-loadtest";

/// Runs the tool; gives its exit code, the JSON line, and what it said.
async fn tool(args: &[String]) -> (i32, Value, String) {
    tool_with(args, &[]).await
}

async fn tool_with(args: &[String], env: &[(&str, &str)]) -> (i32, Value, String) {
    let mut command = Command::new(process::binary(TOOL));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.envs(env.iter().copied());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("FRONTDESK_") {
            command.env_remove(variable);
        }
    }
    let output = command.output().await.expect("the tool can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let result = serde_json::from_str(printed.trim()).unwrap_or(Value::Null);
    (output.status.code().expect("no signal"), result, said)
}

/// The command line of a scenario against a cluster.
fn args(cluster: &Cluster, scenario: &str, options: &[&str]) -> Vec<String> {
    let mut args = vec![scenario.to_owned()];
    for gateway in &cluster.gateways {
        args.extend(["--gateway".into(), format!("ws://{}/", gateway.listen)]);
    }
    for program in cluster.gateways.iter().chain(&cluster.workers) {
        args.extend(["--metrics".into(), program.metrics.to_string()]);
    }
    args.extend(["--redis".into(), cluster.redis.url()]);
    args.extend(options.iter().map(|option| (*option).to_owned()));
    args
}

fn count(result: &Value, name: &str) -> u64 {
    result["counts"][name].as_u64().unwrap_or(0)
}

/// Runs a scenario that must hold.
async fn held(cluster: &Cluster, scenario: &str, options: &[&str]) -> Value {
    let (code, result, said) = tool(&args(cluster, scenario, options)).await;
    assert_eq!(code, 0, "{scenario}: {said}\n{result}");
    assert_eq!(result["broken"], serde_json::json!({}), "{said}");
    result
}

/// The same load with a token for each user; the secret is in no result.
#[tokio::test]
async fn gateways_that_want_tokens_are_loaded_with_the_secret() {
    let cluster = Cluster::builder().signed().start().await;
    let options = [
        "--pairs",
        "3",
        "--duration-s",
        "1",
        "--warmup-s",
        "0",
        "--secret-env",
        "LOAD_SECRET",
    ];
    let all = args(&cluster, "relay", &options);
    let (code, _, said) = tool(&all).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("LOAD_SECRET"), "{said}");
    let (code, result, said) = tool_with(&all, &[("LOAD_SECRET", SECRET)]).await;
    assert_eq!(code, 0, "{said}\n{result}");
    assert!(count(&result, "delivered") > 0, "{result}");
    assert!(!result.to_string().contains(SECRET) && !said.contains(SECRET));
    let (code, _, said) = tool_with(&all, &[("LOAD_SECRET", "another")]).await;
    assert_eq!(code, 2, "refused: {said}");
}

#[tokio::test]
async fn relay_in_both_loops_loses_nothing() {
    let cluster = Cluster::start().await;
    let dir = TempDir::new().expect("a directory");
    let page = dir.path().join("report.html");
    let html = page.display().to_string();
    let closed = [
        "--pairs",
        "7",
        "--duration-s",
        "2",
        "--warmup-s",
        "0",
        "--html",
        &html,
    ];
    let result = held(&cluster, "relay", &closed).await;
    let sent = count(&result, "sent");
    assert!(sent > 0);
    for name in ["delivered", "acked", "completed"] {
        assert_eq!(count(&result, name), sent, "{name}: {result}");
    }
    assert_eq!(count(&result, "connected"), 14);
    let page = std::fs::read_to_string(page).expect("the report is there");
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("https://"));
    assert_eq!(
        result["watched"].as_array().map(Vec::len),
        Some(5),
        "{result}"
    );

    let open = [
        "--pairs",
        "6",
        "--sites",
        "3",
        "--rate",
        "30",
        "--duration-s",
        "3",
    ];
    let result = held(&cluster, "relay", &open).await;
    assert_eq!(count(&result, "sent"), count(&result, "completed"));
    assert!(
        result["latency_ms"]["probe"]["count"].as_u64() > Some(0),
        "{result}"
    );
}

#[tokio::test]
async fn desk_serves_everybody_and_nobody_has_too_many() {
    let cluster = Cluster::start().await;
    let options = [
        "--staff",
        "2",
        "--max",
        "1",
        "--arrivals",
        "6",
        "--messages",
        "2",
        "--think-s",
        "0.1",
        "--answer-s",
        "0.1",
        "--duration-s",
        "4",
        "--warmup-s",
        "0",
        "--processes",
        "2",
    ];
    let result = held(&cluster, "desk", &options).await;
    assert!(
        count(&result, "arrived") > 0 && count(&result, "completed") > 0,
        "{result}"
    );
    assert!(
        count(&result, "begun") >= count(&result, "completed"),
        "{result}"
    );
}

#[tokio::test]
async fn idle_connections_stay() {
    let cluster = Cluster::start().await;
    let options = [
        "--connections",
        "60",
        "--duration-s",
        "2",
        "--processes",
        "3",
    ];
    let result = held(&cluster, "idle", &options).await;
    assert_eq!(count(&result, "connected"), 60);
    assert_eq!(count(&result, "disconnected"), 0);
    assert!(
        result["servers"]["redis_bytes_per_connection"].is_number(),
        "{result}"
    );
}

#[tokio::test]
async fn a_storm_comes_back_when_a_gateway_dies() {
    let cluster = Cluster::start().await;
    let result = held(&cluster, "storm", &["--connections", "40"]).await;
    assert_eq!(count(&result, "connected"), 80);
    let pid = cluster.gateways[1].child.pid().to_string();
    let options = ["--connections", "40", "--again", "kill", "--kill", &pid];
    let result = held(&cluster, "storm", &options).await;
    assert_eq!(count(&result, "disconnected"), 20, "{result}");
    assert_eq!(result["latency_ms"]["again"]["count"], 20, "{result}");
}

#[tokio::test]
async fn a_soak_goes_on_when_a_gateway_dies() {
    let mut cluster = Cluster::start().await;
    let options = [
        "--talkers",
        "6",
        "--rate",
        "24",
        "--arrivals",
        "1",
        "--duration-s",
        "6",
        "--warmup-s",
        "0",
    ];
    let line = args(&cluster, "soak", &options);
    let running = tokio::spawn(async move { tool(&line).await });
    // Once the load is there.
    frontdesk_tests::wait::until("talkers are connected", async || {
        let connections = cluster.gateways[1]
            .metric("frontdesk_gateway_connections")
            .await;
        (connections >= 3.0).then_some(())
    })
    .await;
    cluster.gateways[1].child.kill9();
    let (code, result, said) = running.await.expect("no panic");
    assert_eq!(code, 0, "{said}\n{result}");
    assert!(count(&result, "disconnected") > 0, "{result}");
    assert!(count(&result, "completed") > 0, "{result}");
}

/// Scripts that run the tool go by its exit code.
#[tokio::test]
async fn what_is_broken_or_missed_ends_with_another_code() {
    let cluster = Cluster::start().await;
    let options = [
        "--pairs",
        "2",
        "--duration-s",
        "1",
        "--warmup-s",
        "0",
        "--no-probe",
        "--min-rate",
        "1e9",
    ];
    let (code, result, said) = tool(&args(&cluster, "relay", &options)).await;
    assert_eq!(code, 3, "{said}");
    assert_eq!(
        result["missed"].as_array().map(Vec::len),
        Some(1),
        "{result}"
    );
    let (code, _, said) = tool(&args(&cluster, "relay", &["--rate", "0.1"])).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--rate"), "{said}");
    let nobody = ["relay", "--gateway", "wss://127.0.0.1/"].map(str::to_owned);
    assert_eq!(tool(&nobody).await.0, 2);
}

#[tokio::test]
async fn a_lost_gateway_breaks_the_relay() {
    let mut cluster = Cluster::start().await;
    let options = ["--pairs", "4", "--duration-s", "20", "--no-probe"];
    let line = args(&cluster, "relay", &options);
    let running = tokio::spawn(async move { tool(&line).await });
    // Their words go the quick way, of which the first ones only tell.
    frontdesk_tests::wait::until("pairs talk", async || {
        let quick = "frontdesk_worker_quick_total";
        let [one, other] = &cluster.workers[..] else {
            panic!("two workers")
        };
        (one.metric(quick).await + other.metric(quick).await > 10.0).then_some(())
    })
    .await;
    cluster.gateways[0].child.kill9();
    let (code, result, said) = running.await.expect("no panic");
    assert_eq!(code, 1, "{said}");
    assert_eq!(result["broken"]["disconnected"], 4, "{result}");
}

#[tokio::test]
async fn results_merge_and_the_baseline_can_be_loaded() {
    let redis = RedisServer::start();
    let dir = TempDir::new().expect("a directory");
    let (mut relays, mut gateways) = (Vec::new(), Vec::new());
    for index in 0..2 {
        let port = frontdesk_tests::ports::Port::lease();
        let listen = format!("127.0.0.1:{}", port.number());
        let line = [
            "baseline",
            "--listen",
            &listen,
            "--redis-url",
            &redis.url(),
            "--index",
        ];
        let mut line = line.map(str::to_owned).to_vec();
        line.push(index.to_string());
        let log = dir.path().join(format!("{index}.log"));
        let name = format!("baseline{index}");
        let program = process::binary(TOOL);
        relays.push((
            frontdesk_tests::child::Child::start(&name, &program, &line, &[], &log),
            port,
        ));
        gateways.extend(["--gateway".to_owned(), format!("ws://{listen}/")]);
    }
    let mut files = Vec::new();
    for run in ["one", "two"] {
        let file = dir.path().join(run).display().to_string();
        let options = [
            "relay",
            "--bare",
            "--pairs",
            "4",
            "--duration-s",
            "1",
            "--warmup-s",
            "0",
            "--run",
            run,
            "--json",
            &file,
        ];
        let mut line = options.map(str::to_owned).to_vec();
        line.extend(gateways.clone());
        let (code, result, said) = tool(&line).await;
        assert_eq!(code, 0, "{said}");
        assert_eq!(count(&result, "completed"), count(&result, "sent"));
        files.push(file);
    }
    let line = ["merge".to_owned(), files[0].clone(), files[1].clone()];
    let (code, sum, said) = tool(&line).await;
    assert_eq!(code, 0, "{said}");
    let read = |file: &String| -> Value {
        let text = std::fs::read_to_string(Path::new(file)).expect("a result");
        serde_json::from_str(&text).expect("JSON")
    };
    let (one, two) = (read(&files[0]), read(&files[1]));
    for name in ["sent", "completed"] {
        assert_eq!(count(&sum, name), count(&one, name) + count(&two, name));
    }
    let delivered = |result: &Value| result["latency_ms"]["delivery"]["count"].as_u64();
    assert_eq!(
        delivered(&sum),
        delivered(&one).zip(delivered(&two)).map(|(a, b)| a + b)
    );
    drop(relays);
}
