//! `deploy/users.acl`: each role may do what its program does, and nothing else. That the programs
//! get along with it is shown by every system test: they run as these users, and a refusal fails
//! the test (`src/redis_users.rs`). Here the file is held against the code.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod commands;

use std::{collections::BTreeSet, fs, path::Path};

use frontdesk_tests::{
    cluster::Cluster,
    load::Load,
    redis_server::{Options, RedisServer},
    redis_users::{self, GATEWAY, OPERATOR, VIEWER, WORKER},
    wait,
};
use redis::Connection;

use commands::{
    GATEWAY_DOES, NO_GATEWAY_DOES, NO_VIEWER_DOES, NO_WORKER_DOES, NOBODY_DOES, VIEWER_DOES,
    WORKER_DOES,
};

/// Whether a user may: what Redis itself says.
fn may(redis: &mut Connection, user: &str, command: &str) -> bool {
    let mut dryrun = redis::cmd("ACL");
    dryrun.arg("DRYRUN").arg(user);
    for word in command.split(' ') {
        dryrun.arg(word);
    }
    let answer: String = dryrun
        .query(redis)
        .unwrap_or_else(|error| panic!("{command} is no command of this Redis: {error}"));
    answer == "OK"
}

#[test]
fn each_role_may_do_what_it_does_and_nothing_else() {
    let server = RedisServer::start();
    let mut redis = server.connection();
    for (user, does, does_not) in [
        (GATEWAY, GATEWAY_DOES, NO_GATEWAY_DOES),
        (WORKER, WORKER_DOES, NO_WORKER_DOES),
        (VIEWER, VIEWER_DOES, NO_VIEWER_DOES),
    ] {
        for command in does {
            assert!(may(&mut redis, user, command), "{user} needs {command}");
        }
        for command in does_not.iter().chain(NOBODY_DOES) {
            assert!(!may(&mut redis, user, command), "{user} may {command}");
            assert!(may(&mut redis, OPERATOR, command), "operators: {command}");
        }
    }
}

#[test]
fn who_does_not_log_in_may_do_nothing() {
    let server = RedisServer::start();
    let client = redis::Client::open(format!("redis://{}/", server.addr())).unwrap();
    let mut nobody = client.get_connection().unwrap();
    for command in ["INFO", "GET", "SUBSCRIBE", "KEYS"] {
        let refused: redis::RedisResult<()> = redis::cmd(command).arg("x").query(&mut nobody);
        let error = refused.expect_err(command);
        assert_eq!(error.code(), Some("NOAUTH"), "{command}: {error}");
    }
    for password in ["", "nopass", "default"] {
        let mut auth = redis::cmd("AUTH");
        auth.arg("default").arg(password);
        let refused: redis::RedisResult<()> = auth.query(&mut nobody);
        assert_eq!(refused.unwrap_err().code(), Some("WRONGPASS"));
    }
    let mut reset = redis::cmd("ACL");
    let () = reset
        .arg("LOG")
        .arg("RESET")
        .query(&mut server.connection())
        .unwrap();
}

/// Redis reads its file as the user `default`, and drops what that one may not.
#[test]
fn a_restart_keeps_what_scripts_have_written() {
    let mut server = RedisServer::start();
    let write = "redis.call('SET', 'a', 1) redis.call('SET', 'b', 2)";
    let mut eval = redis::cmd("EVAL");
    let () = eval
        .arg(write)
        .arg(0)
        .query(&mut server.connection())
        .unwrap();
    server.restart();
    let mut get = redis::cmd("MGET");
    let both: Vec<Option<u8>> = get
        .arg("a")
        .arg("b")
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(both, [Some(1), Some(2)]);
}

/// All commands that Redis grants a user, subcommands as `client|id`. Redis shortens most of a category to the category
/// without the others.
fn granted(redis: &mut Connection, user: &str) -> BTreeSet<String> {
    let rules: Vec<String> = redis::cmd("ACL").arg("LIST").query(redis).unwrap();
    let rule = rules
        .iter()
        .find(|rule| rule.starts_with(&format!("user {user} ")))
        .expect("the user is there");
    let mut all = BTreeSet::new();
    for selector in rule.split(['(', ')']) {
        let mut granted = BTreeSet::new();
        for word in selector.split(' ') {
            if word == "-@all" {
                granted.clear();
            } else if let Some(category) = word.strip_prefix("+@") {
                let mut list = redis::cmd("ACL");
                let commands: Vec<String> = list.arg("CAT").arg(category).query(redis).unwrap();
                granted.extend(commands);
            } else if let Some(command) = word.strip_prefix('+') {
                granted.insert(command.to_owned());
            } else if let Some(command) = word.strip_prefix('-') {
                assert!(granted.remove(command), "{word}: {selector}");
            }
        }
        all.extend(granted);
    }
    all
}

/// Names of commands in quotes after `call` in the files of a directory, and below.
fn in_code(dir: &str, calls: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
    let mut dirs = vec![root];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the sources are there") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for call in calls {
                for rest in code.split(call).skip(1) {
                    let name: String = rest
                        .chars()
                        .take_while(|letter| letter.is_ascii_alphabetic() || *letter == '_')
                        .collect();
                    // A method's name goes on after its command's: `xrange_count`.
                    let is_command = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                    let command = match name.split_once('_') {
                        Some((command, _)) if !is_command => command,
                        _ => &name,
                    };
                    found.insert(command.to_lowercase());
                }
            }
        }
    }
    found
}

/// A new command in the code fails here before it is refused somewhere, and a grant that nothing
/// uses any more fails too.
#[test]
fn grants_are_the_commands_in_the_code() {
    const LUA: &[&str] = &["redis.call(\"", "redis.call('"];
    // `pipeline.cmd("…")`, `redis::cmd("…")`, a command made with room for its arguments, and the
    // methods that pipelines have.
    const RUST: &[&str] = &["cmd(\"", "command.arg(\""];
    let server = RedisServer::start();
    let mut redis = server.connection();
    for (user, dirs, by_the_crate) in [
        (
            GATEWAY,
            ["gateway/lua", "gateway/src"],
            // `redis::Script`; the subscriber; the pool looks at a connection before it is used again.
            &["evalsha", "script", "subscribe", "ping", "unwatch"][..],
        ),
        (WORKER, ["worker/lua", "worker/src"], &["subscribe"]),
    ] {
        let mut used = in_code(dirs[0], LUA);
        assert!(used.len() > 2, "no Lua in {}", dirs[0]);
        used.extend(in_code(dirs[1], RUST));
        for first in ["h", "x"] {
            let methods = in_code(dirs[1], &[&format!("pipeline.{first}")]);
            used.extend(methods.into_iter().map(|rest| format!("{first}{rest}")));
        }
        // The checks at start, shared by both; CONFIG is asked only without a named user.
        used.extend(in_code("shared/src", RUST));
        used.remove("config");
        used.remove("sentinel"); // asked of Sentinels
        used.extend(by_the_crate.iter().map(|name| (*name).to_owned()));
        let granted: BTreeSet<String> = granted(&mut redis, user)
            .iter()
            .map(|name| name.split('|').next().unwrap().to_owned())
            .collect();
        assert_eq!(
            granted, used,
            "{user}: left what is granted, right what is used"
        );
    }
}

/// One life with everything that a cluster does in it, beside what the whole suite shows.
#[tokio::test]
async fn a_cluster_lives_and_dies_without_a_refusal() {
    const TTL: u32 = 3000;
    let mut cluster = Cluster::builder()
        .gateway_setting("gateway-ttl-ms", TTL)
        .gateway_setting("heartbeat-ms", 300)
        .gateway_setting("roll-call-s", 5)
        .worker_setting("gateway-ttl-ms", TTL)
        .worker_setting("heartbeat-ms", 300)
        .worker_setting("lease-ms", 3000)
        .worker_setting("idle-s", 15) // longer than a takeover with its resends
        .start()
        .await;
    // Words both ways, while a worker dies, another one comes, and the library is lost.
    let load = Load::start(&cluster, 2).await;
    load.progress(50).await;
    cluster.workers[0].child.kill9();
    cluster.settled().await;
    cluster.launch_worker();
    cluster.settled().await;
    let () = redis::cmd("FUNCTION")
        .arg("FLUSH")
        .query(&mut cluster.redis.connection())
        .unwrap();
    load.progress(50).await;
    load.finish(&cluster).await;
    // A queue, a timer, a place that comes free, and a gateway that is found dead with a customer.
    let mut staff = cluster.connect(1, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut silent = cluster.connect(0, "uid=silent").await;
    silent.act("customerConnect").await;
    silent.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let mut next = cluster.connect(0, "uid=next").await;
    next.act("customerConnect").await;
    next.expect("message", "queued").await;
    silent.expect("chat_close", "timeout").await;
    staff.expect("chat_close", "customer_timeout").await;
    staff.expect("message", "new_customer").await;
    cluster.gateways[0].child.kill9();
    wait::until("nothing of the dead gateway is left", async || {
        let mut redis = cluster.redis.connect().await;
        let mut keys = redis::cmd("KEYS");
        let left: Vec<String> = keys.arg("*:boot:*").query_async(&mut redis).await.unwrap();
        (left.len() == 1).then_some(())
    })
    .await;
    // A clean end, too.
    cluster.gateways[1].child.term();
    assert_eq!(cluster.gateways[1].child.wait_exit().await, Ok(0));
    for worker in 1..3 {
        cluster.workers[worker].child.term();
        assert_eq!(cluster.workers[worker].child.wait_exit().await, Ok(0));
    }
    redis_users::assert_nothing_refused(&cluster.redis.client());
}

/// The check above sees something.
#[test]
fn a_refusal_is_seen() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url_for(GATEWAY)).unwrap();
    let mut gateway = client.get_connection().unwrap();
    let refused: redis::RedisResult<()> = redis::cmd("FLUSHALL").query(&mut gateway);
    assert_eq!(refused.unwrap_err().code(), Some("NOPERM"));
    let entries = redis_users::refused(&server.client()).unwrap();
    assert!(
        entries.len() == 1 && entries[0].contains("flushall"),
        "{entries:?}"
    );
    let () = redis::cmd("ACL")
        .arg("LOG")
        .arg("RESET")
        .query(&mut server.connection())
        .unwrap();
}

/// A role cannot see all settings and says so; who names no user asks CONFIG and sees them.
#[tokio::test]
async fn what_a_start_says_of_the_settings_is_what_its_user_can_see() {
    let weak = || Options::default().set("appendfsync", "everysec");
    for (options, says, silent_on) in [
        (weak(), "cannot see", "WEAKER"),
        (weak().without_users(), "WEAKER", "cannot see"),
    ] {
        let mut cluster = Cluster::builder().redis(options).start().await;
        for program in cluster.gateways.iter_mut().chain(&mut cluster.workers) {
            let said = program.child.log();
            let line = said.lines().find(|line| line.contains("appendfsync"));
            let line = line.unwrap_or_else(|| panic!("nothing on appendfsync:\n{said}"));
            assert!(line.contains(says) && !said.contains(silent_on), "{said}");
        }
    }
}
