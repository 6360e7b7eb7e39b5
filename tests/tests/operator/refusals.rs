//! What cannot be done is refused with one sentence and exit code 2.

use frontdesk_shared::keys;
use frontdesk_tests::{
    child, ports::Port, process, redis_server::RedisServer, redis_users::WORKER,
};

use super::{WORKER_PROGRAM, refusal, run};

const COMMANDS: [&[&str]; 4] = [
    &["status"],
    &["dead", "list"],
    &["dead", "replay", "6.1.1-0", "--yes"],
    &["dead", "drop", "--all", "--yes"],
];

#[tokio::test]
async fn without_redis_there_is_one_sentence() {
    let port = Port::lease();
    for args in COMMANDS {
        let mut command = std::process::Command::new(process::binary(WORKER_PROGRAM));
        child::without_settings(&mut command);
        command.args(args);
        command.args([
            "--redis-url",
            &format!("redis://127.0.0.1:{}/", port.number()),
        ]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(
            said.contains("--redis-url") && said.trim_end().lines().count() == 1,
            "{said}"
        );
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn a_redis_without_a_cluster_or_with_another_one_is_not_shown_as_ours() {
    let redis = RedisServer::start();
    let said = refusal(&redis, WORKER, &["status"]).await;
    assert!(said.contains("no cluster"), "{said}");
    let exists: bool = redis::cmd("EXISTS")
        .arg(keys::META)
        .query(&mut redis.connection())
        .unwrap();
    assert!(!exists, "looking writes nothing");
    let mut set = redis::cmd("HSET");
    set.arg(keys::META)
        .arg(&["schema", "99", "shards", "16", "lanes", "8"]);
    let () = set.query(&mut redis.connection()).unwrap();
    let said = refusal(&redis, WORKER, &["status"]).await;
    assert!(said.contains("schema = 99"), "{said}");
    let said = refusal(&redis, WORKER, &["watch"]).await;
    assert!(said.contains("schema = 99"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let redis = RedisServer::start();
    for (args, says) in [
        (&["dead"][..], "subcommand"),
        (&["dead", "replay"], "EVENT"),
        (&["dead", "replay", "x", "--yes"], "well-formed"),
        (&["dead", "drop", "16.0.1-0", "--yes"], "well-formed"),
        (&["dead", "drop", "6.1.1-0", "--all"], "--all"),
        (&["dead", "drop", "6.1.1-0"], "no dead letter"),
        (&["dead", "drop", "6.1.1-0", "--yes"], "no dead letter"),
        (&["dead", "replay", "6.1.1-0", "--yes"], "no dead letter"),
        (&["dead", "list", "--limit", "0"], "--limit"),
        (&["status", "--observe-ms", "1"], "--observe-ms"),
        (&["status", "--json", "--table"], "--table"),
        (&["watch", "--every-ms", "1"], "--every-ms"),
        (&["--lease-ms", "5000", "status"], "status"),
        (&["dance"], "dance"),
    ] {
        let said = refusal(&redis, WORKER, args).await;
        assert!(said.contains(says), "{args:?} does not say {says}: {said}");
    }
}

/// `--help` is complete: what each command takes, and what it needs.
#[tokio::test]
async fn help_says_what_each_command_takes_and_needs() {
    let redis = RedisServer::start();
    for (args, says) in [
        (&["--help"][..], &["status", "watch", "dead"][..]),
        (
            &["status", "--help"],
            &[
                "--json",
                "--check",
                "--observe-ms",
                "viewer",
                "FRONTDESK_REDIS_URL",
            ],
        ),
        (&["watch", "--help"], &["--every-ms", "--json", "Ctrl-C"]),
        (&["dead", "--help"], &["list", "replay", "drop"]),
        (
            &["dead", "list", "--help"],
            &["--limit", "--fields", "viewer"],
        ),
        (
            &["dead", "replay", "--help"],
            &[
                "--all",
                "--yes",
                "EVENT",
                "exit code 1",
                "worker or operator",
            ],
        ),
        (
            &["dead", "drop", "--help"],
            &["--all", "--yes", "EVENT", "worker or operator"],
        ),
    ] {
        let output = run(&redis, WORKER, args).await;
        let help = String::from_utf8(output.stdout).unwrap();
        // As wide as the page is: words may be on two lines.
        let words: Vec<&str> = help.split_whitespace().collect();
        for word in says {
            assert!(
                words.join(" ").contains(word),
                "{args:?} lacks {word}:\n{help}"
            );
        }
    }
}
