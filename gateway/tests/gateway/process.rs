//! The program itself: how it starts, refuses to start, and stops.

use std::{
    net::TcpListener,
    process::{Child, Command, ExitStatus, Output},
    time::{Duration, Instant},
};

use frontdesk_shared::keys;
use frontdesk_tests::redis_server::RedisServer;
use redis::AsyncCommands as _;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::connect_async;

use crate::harness::{Client, eventually, lane_key, signal};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk-gateway"));
    command.env_clear();
    command
}

fn output(args: &[&str]) -> Output {
    program().args(args).output().expect("runs")
}

#[test]
fn version_and_help_are_answers() {
    let version = output(&["--version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("frontdesk-gateway 0."));
    let help = output(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    for flag in ["--redis-url", "--listen", "--drain-timeout-s"] {
        assert!(text.contains(flag), "{flag}");
    }
    assert!(text.contains("FRONTDESK_IDLE_TIMEOUT_S"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_one_sentence_that_says_what_to_change() {
    let redis = RedisServer::start();
    let mut connection = redis.connect().await;
    let weak = redis.url();
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "allkeys-lru"])
        .query_async(&mut connection)
        .await
        .expect("set");
    for (args, word) in [
        (&["--listen", "nowhere"][..], "--listen"),
        (&["--nonsense"], "--nonsense"),
        (&[], "FRONTDESK_SECRET"),
        (&["--open", "--listen", "0.0.0.0:1"], "--open-anyway"),
        (&["--open", "--idle-timeout-s", "5"], "--ping-interval-s"),
        (&["--open", "--redis-url", "nonsense"], "--redis-url"),
        (
            &["--open", "--redis-url", "redis://127.0.0.1:1/"],
            "--redis-url",
        ),
        (
            &["--open", "--redis-url", &weak],
            "maxmemory-policy noeviction",
        ),
    ] {
        let refused = output(args);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {text}");
        let sentence = text.lines().last().unwrap_or_default();
        assert!(sentence.contains(word), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        assert!(
            text.lines()
                .filter(|line| line.starts_with("frontdesk-gateway:"))
                .count()
                == 1
        );
    }
}

/// The program, serving.
struct Running {
    child: Child,
    listen: String,
    metrics: String,
    log: NamedTempFile,
}

impl Running {
    async fn start(redis: &RedisServer) -> (Self, Client) {
        Self::start_with(redis, &[]).await
    }

    async fn start_with(redis: &RedisServer, settings: &[&str]) -> (Self, Client) {
        let (listen, metrics) = (free_address(), free_address());
        let log = NamedTempFile::new().expect("a temp file");
        let child = program()
            .args([
                "--open",
                "--log=debug",
                "--redis-url",
                &redis.url_for("gateway"),
            ])
            .args(["--listen", &listen, "--metrics-listen", &metrics])
            .args(settings)
            .stderr(log.reopen().expect("the temp file"))
            .spawn()
            .expect("starts");
        let running = Self {
            child,
            listen,
            metrics,
            log,
        };
        let mut connected = None;
        eventually("the process serves", async || {
            let url = format!("ws://{}/ws?uid=alice", running.listen);
            connected = connect_async(url).await.ok();
            connected.is_some()
        })
        .await;
        let (socket, _) = connected.expect("connected");
        (running, Client { socket })
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        })
        .await;
        status.expect("ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a free port").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_drain_the_process() {
    for name in ["TERM", "INT"] {
        let redis = RedisServer::start();
        let (mut running, mut client) = Running::start(&redis).await;
        client.send("PING").await;
        assert_eq!(client.text().await, "PONG");
        signal(running.child.id(), name);
        assert_eq!(client.close_code().await, Some(1001), "{name}");
        assert!(running.ended().await.success(), "{name}");
        let mut connection = redis.connect().await;
        let left: Vec<String> = connection.hvals(keys::GATEWAYS).await.expect("HVALS");
        assert!(left[0].starts_with("dead "), "{name}: {left:?}");
    }
}

/// Logs and metrics outlive conversations and are read by more people.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_and_logged_without_what_is_said() {
    const WORDS: &str = "the quick brown fox";
    let redis = RedisServer::start();
    let (running, mut client) = Running::start(&redis).await;
    let frame = format!(r#"{{"action":"message","payload":{{"message":"{WORDS}"}}}}"#);
    client.send(&frame).await;
    client.send(WORDS).await;
    assert!(client.text().await.contains("bad_json"));
    let metrics = async || {
        let mut stream = TcpStream::connect(&running.metrics)
            .await
            .expect("listening");
        let request = b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    };
    let appended = r#"frontdesk_gateway_events_appended_total{kind="verb"} 1"#;
    eventually("the append is counted", async || {
        metrics().await.contains(appended)
    })
    .await;
    let counted = metrics().await;
    for line in [
        "frontdesk_gateway_connections 1",
        "frontdesk_gateway_subscriber_confirmed 1",
        r#"frontdesk_gateway_refused_total{code="bad_json"} 1"#,
        "frontdesk_gateway_append_seconds_count 2",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
    let log = std::fs::read_to_string(running.log.path()).expect("the log");
    assert!(log.contains("OPEN MODE"), "{log}");
    assert!(
        log.contains(r#""message":"appended""#),
        "an event's id can be followed: {log}"
    );
    assert!(!log.contains("quick"), "{log}");
}

/// A process that was stopped past its TTL must not go on where it was: others took over.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_continued_process_appends_nothing() {
    const TTL: Duration = Duration::from_secs(3);
    let redis = RedisServer::start();
    let settings = ["--gateway-ttl-ms=3000", "--heartbeat-ms=100"];
    let (running, mut client) = Running::start_with(&redis, &settings).await;
    let mut connection = redis.connect().await;
    let lane = lane_key("alice");
    eventually("the open is in the log", async || {
        connection.xlen::<_, u64>(&lane).await.expect("XLEN") == 1
    })
    .await;
    signal(running.child.id(), "STOP");
    let stopped = Instant::now();
    client.send(r#"{"action":"customerConnect"}"#).await;
    eventually("the TTL is over", async || stopped.elapsed() > TTL).await;
    let boots: Vec<String> = connection.hkeys(keys::GATEWAYS).await.expect("HKEYS");
    let killed: u64 = connection
        .hset(keys::GATEWAYS, &boots[0], "dead 1")
        .await
        .expect("HSET");
    assert_eq!((boots.len(), killed), (1, 0));
    signal(running.child.id(), "CONT");
    assert_eq!(client.close_code().await, Some(4000));
    eventually("it goes on under another boot id", async || {
        connection
            .hlen::<_, u64>(keys::GATEWAYS)
            .await
            .expect("HLEN")
            == 2
    })
    .await;
    let events: u64 = connection.xlen(&lane).await.expect("XLEN");
    assert_eq!(events, 1, "neither the message nor a close");
}
