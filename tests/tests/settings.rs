//! The programs' settings: documented by `--help`, and refused with one sentence and exit code 2
//! where they are wrong.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use frontdesk_tests::{
    child::Child,
    http,
    ports::Port,
    process,
    redis_server::{Options, RedisServer},
    wait,
};

const SECRET: &str = "--secret=6b1f0c2e9d8a47537a5c3d2e1f00b9a8c7d6e5f4";
const GATEWAY: &str = "frontdesk-gateway";
const WORKER: &str = "frontdesk-worker";
/// Both programs'.
const COMMON: &[&str] = &[
    "redis-url",
    "redis-ca",
    "redis-sentinel-password",
    "allow-weak-redis",
    "log",
    "log-format",
    "rate-per-user",
    "rate-burst",
    "metrics-listen",
    "threads",
    "heartbeat-ms",
    "gateway-ttl-ms",
    "drain-timeout-s",
];
const OF_GATEWAY: &[&str] = &[
    "open",
    "secret",
    "secret-file",
    "jwt-algorithm",
    "jwt-public-key-file",
    "jwt-issuer",
    "jwt-audience",
    "max-token-age-s",
    "visitors",
    "listen",
    "open-anyway",
    "default-lang",
    "ping-interval-s",
    "idle-timeout-s",
    "max-connections",
    "max-connections-per-ip",
    "connection-rate-per-ip",
    "max-requests",
    "request-rate-per-ip",
    "allow-origin",
    "trusted-proxies",
    "backlog-limit-ms",
    "memory-limit-percent",
    "roll-call-s",
    "supervisor-sees-recalled",
    "handshake-timeout-s",
    "answer-stall-s",
];
const OF_WORKER: &[&str] = &[
    "idle-s",
    "max-per-staff",
    "queue-limit",
    "policy",
    "on-staff-leave",
    "grace-s",
    "customer-direct",
    "leave-message",
    "retention-s",
    "recall-s",
    "default-staff-name",
    "hook-allow",
    "hook-deny",
    "hook-timeout-s",
    "hook-retry-s",
    "hook-keep-s",
    "hook-at-once",
    "worker-id",
    "lease-ms",
    "tick-ms",
];

fn output(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(process::binary(program));
    command.args(args);
    command.output().expect("the program can be started")
}

/// The help names these settings and no other, each with its variable.
#[test]
fn help_documents_every_setting() {
    for (program, own) in [(GATEWAY, OF_GATEWAY), (WORKER, OF_WORKER)] {
        let output = output(program, &["--help"]);
        assert!(output.status.success());
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let named: BTreeSet<_> = help
            .lines()
            .filter_map(|line| line.trim_start().split_once("--"))
            .filter(|(before, _)| before.is_empty() || before.starts_with('-'))
            .filter_map(|(_, rest)| rest.split([' ', '=', ',', ']']).next())
            .filter(|name| !["help", "version"].contains(name))
            .collect();
        let expected: BTreeSet<_> = COMMON.iter().chain(own).copied().collect();
        assert_eq!(named, expected, "{program}");
        for name in named {
            let variable = format!("FRONTDESK_{}", name.replace('-', "_").to_uppercase());
            assert!(
                help.contains(&variable),
                "{program} --{name} has no {variable}"
            );
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    for program in [GATEWAY, WORKER] {
        let output = output(program, &["--version"]);
        let expected = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

/// docker-compose.yml sets everything by environment, and nothing that does not exist.
#[test]
fn every_variable_of_the_compose_file_is_a_setting() {
    let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    let compose = std::fs::read_to_string(compose).expect("readable");
    let help: String = [GATEWAY, WORKER]
        .map(|program| String::from_utf8_lossy(&output(program, &["--help"]).stdout).into_owned())
        .concat();
    let mut count = 0;
    for line in compose.lines() {
        let Some((variable, _)) = line.trim().split_once(": ") else {
            continue;
        };
        // The passwords' own variables are parts of URLs, and of Redis's start command; the proxy's are deploy/haproxy.cfg's.
        let is_setting =
            !variable.ends_with("_PASSWORD") && !variable.starts_with("FRONTDESK_PROXY_");
        if variable.starts_with("FRONTDESK_") && is_setting {
            assert!(help.contains(variable), "no program knows {variable}");
            count += 1;
        }
    }
    assert!(count >= 6, "{count}");
}

#[tokio::test]
async fn the_environment_alone_is_enough() {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let ports = [Port::lease(), Port::lease(), Port::lease()];
    let [listen, gateway_metrics, worker_metrics] = ports
        .each_ref()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port.number())));
    let common = [("FRONTDESK_REDIS_URL", redis.url())];
    let of_gateway = [
        ("FRONTDESK_OPEN", "true".into()),
        ("FRONTDESK_LISTEN", format!("0.0.0.0:{}", listen.port())),
        ("FRONTDESK_OPEN_ANYWAY", "true".into()),
        ("FRONTDESK_METRICS_LISTEN", gateway_metrics.to_string()),
    ];
    let of_worker = [("FRONTDESK_METRICS_LISTEN", worker_metrics.to_string())];
    for (program, own, ready) in [
        (GATEWAY, &of_gateway[..], listen),
        (WORKER, &of_worker[..], worker_metrics),
    ] {
        let env: Vec<_> = common
            .iter()
            .chain(own)
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let log = dir.path().join(program);
        let mut child = Child::start(program, &process::binary(program), &[], &env, &log);
        wait::until(&format!("{program} is ready"), async || {
            assert!(child.exited().is_none(), "{}", child.log());
            let response = http::get(ready, "/readyz").await.ok()?;
            (response.status == 200).then_some(())
        })
        .await;
    }
}

/// Runs a program that must refuse to start. Returns its one sentence.
async fn refusal(program: &str, redis: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let metrics = Port::lease();
    let listen = Port::lease();
    let mut all: Vec<String> = vec!["--redis-url".into(), redis.into()];
    if !args.iter().any(|arg| arg.starts_with("--metrics-listen")) {
        all.push(format!("--metrics-listen=127.0.0.1:{}", metrics.number()));
    }
    if program == GATEWAY && !args.iter().any(|arg| arg.starts_with("--listen")) {
        all.push(format!("--listen=127.0.0.1:{}", listen.number()));
    }
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    run_to_refusal(program, &all, dir.path()).await
}

/// What a program needs to start without a secret.
fn open(program: &str) -> &'static [&'static str] {
    if program == GATEWAY { &["--open"] } else { &[] }
}

async fn run_to_refusal(program: &str, args: &[String], dir: &Path) -> String {
    let log = dir.join("refusal.log");
    let mut child = Child::start(program, &process::binary(program), args, &[], &log);
    let code = child.wait_exit().await;
    let said = child.log();
    assert_eq!(code, Ok(2), "{program} {args:?}:\n{said}");
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    assert!(!said.contains("panicked"), "{said}");
    assert!(last.is_some(), "{program} {args:?} said nothing");
    said
}

#[tokio::test]
async fn wrong_settings_are_refused_with_what_to_change() {
    let redis = RedisServer::start();
    let url = redis.url();
    for (program, args, hint) in [
        // No identities and not open, or both; a secret that is none.
        (GATEWAY, &[][..], "FRONTDESK_SECRET"),
        (GATEWAY, &["--secret=short"], "32"),
        (
            GATEWAY,
            &["--secret=change-me-change-me-change-me-change-me"],
            "guessed",
        ),
        (GATEWAY, &["--open", SECRET], "--secret"),
        (
            GATEWAY,
            &["--open", "--secret-file=/dev/null"],
            "--secret-file",
        ),
        (GATEWAY, &["--secret-file=/nowhere/at/all"], "--secret-file"),
        (GATEWAY, &["--secret-file=/dev/null"], "32"),
        (GATEWAY, &[SECRET, "--jwt-algorithm=none"], "HS256"),
        (
            GATEWAY,
            &[SECRET, "--jwt-algorithm=RS256"],
            "--jwt-public-key-file",
        ),
        (
            GATEWAY,
            &[SECRET, "--jwt-public-key-file=/dev/null"],
            "HS256",
        ),
        (
            GATEWAY,
            &[
                SECRET,
                "--jwt-algorithm=ES256",
                "--jwt-public-key-file=/dev/null",
            ],
            "P-256",
        ),
        (
            GATEWAY,
            &[SECRET, "--jwt-audience=frontdesk-visitor"],
            "--jwt-audience",
        ),
        (GATEWAY, &[SECRET, "--jwt-issuer="], "--jwt-issuer"),
        (
            GATEWAY,
            &[SECRET, "--max-token-age-s=0"],
            "--max-token-age-s",
        ),
        (GATEWAY, &[SECRET, "--visitors=perhaps"], "off"),
        // A worker needs no secret, so it takes none.
        (WORKER, &[SECRET], "--secret"),
        // Open to the world by accident.
        (
            GATEWAY,
            &["--open", "--listen=0.0.0.0:29502"],
            "--open-anyway",
        ),
        // Not even values.
        (GATEWAY, &["--open", "--listen=nowhere"], "--listen"),
        (GATEWAY, &["--open", "--metrics-listen=nowhere"], "off"),
        (GATEWAY, &["--open", "--default-lang=xx"], "zh-CN"),
        (
            GATEWAY,
            &["--open", "--no-such-setting"],
            "--no-such-setting",
        ),
        (WORKER, &["--policy=longest"], "shortest"),
        (WORKER, &["--on-staff-leave=shrug"], "requeue"),
        (WORKER, &["--log=a=b=c"], "--log"),
        // Contradictions.
        (
            GATEWAY,
            &["--open", "--ping-interval-s=60", "--idle-timeout-s=60"],
            "--idle-timeout-s",
        ),
        (
            WORKER,
            &["--heartbeat-ms=5000", "--lease-ms=5000"],
            "--lease-ms",
        ),
        (
            WORKER,
            &["--hook-allow=10.1.0.0/16", "--hook-deny=10.0.0.0/8"],
            "--hook-deny",
        ),
        (WORKER, &["--max-per-staff=0"], "--max-per-staff"),
        (WORKER, &["--idle-s=0"], "--idle-s"),
    ] {
        let said = refusal(program, &url, args).await;
        assert!(
            said.contains(hint),
            "{program} {args:?} does not mention {hint}:\n{said}"
        );
    }
}

#[tokio::test]
async fn a_redis_that_forgets_is_refused() {
    for (directive, value, wanted) in [
        ("appendonly", "no", "appendonly"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ] {
        let redis = Options::default().set(directive, value).start();
        for program in [GATEWAY, WORKER] {
            let said = refusal(program, &redis.url(), open(program)).await;
            assert!(said.contains(wanted), "{program}: {said}");
            assert!(said.contains("--allow-weak-redis"), "{program}: {said}");
        }
    }
}

#[tokio::test]
async fn a_cluster_of_another_shape_is_refused() {
    for (fact, value) in [("shards", "4"), ("lanes", "2"), ("schema", "99")] {
        let redis = RedisServer::start();
        let () = redis::cmd("HSET")
            .arg("frontdesk:meta")
            .arg(fact)
            .arg(value)
            .query(&mut redis.connection())
            .expect("written");
        for program in [GATEWAY, WORKER] {
            let said = refusal(program, &redis.url(), open(program)).await;
            assert!(
                said.contains(fact) && said.contains(value),
                "{program}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_named_without_its_password() {
    let nobody = Port::lease();
    let url = format!("redis://:hunter2secret@127.0.0.1:{}/", nobody.number());
    for program in [GATEWAY, WORKER] {
        let said = refusal(program, &url, open(program)).await;
        assert!(said.contains("FRONTDESK_REDIS_URL"), "{program}: {said}");
        assert!(
            !said.contains("hunter2secret"),
            "{program} prints the password: {said}"
        );
    }
}
