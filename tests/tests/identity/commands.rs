//! `frontdesk-gateway token` and `frontdesk-gateway revoke`.

use std::process::{Command, Output};

use frontdesk_shared::{
    ids::{Lane, Shard, Site, Uid},
    keys,
};
use frontdesk_tests::{
    client::Client,
    process::{self, Program, Settings},
    redis_server::RedisServer,
    redis_users::GATEWAY,
    tokens::SECRET,
};

use super::House;

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(process::binary("frontdesk-gateway"));
    command.args(args).env_remove("FRONTDESK_SECRET");
    command.envs(env.iter().copied());
    command.output().expect("the program runs")
}

#[tokio::test]
async fn a_token_made_by_hand_lets_in() {
    let mut house = House::open().await;
    let secret = [("FRONTDESK_SECRET", SECRET)];
    let args = [
        "token", "--uid", "sam", "--role", "staff", "--name", "客服1", "--ttl-s", "600",
    ];
    let output = run(&args, &secret);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).expect("text");
    let token = house.secret(token.trim_end());
    let mut sam = Client::connect_with(house.cluster.addr(1), &token).await;
    assert_eq!(sam.welcome["uid"], "sam");
    sam.act("staffOnline").await;
    assert_eq!(sam.expect("message", "on_duty").await["name"], "客服1");
    house.close();
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_sentence() {
    let secret = [("FRONTDESK_SECRET", SECRET)];
    let token = |more: &[&'static str]| {
        let mut args = vec!["token", "--uid", "sam", "--role", "staff"];
        args.extend(more);
        args
    };
    for (args, env, says) in [
        (token(&[]), &[][..], "FRONTDESK_SECRET"),
        (token(&["--open"]), &[], "open mode"),
        (token(&["--name", ""]), &secret, "--name"),
        (token(&["--ttl-s", "0"]), &secret, "--ttl-s"),
        (token(&["--ttl-s", "99999999999"]), &secret, "--ttl-s"),
        (token(&["--site", "{s00}"]), &secret, "--site"),
        (token(&["--jwt-algorithm", "RS256"]), &secret, "private key"),
        (
            vec!["token", "--uid", "*", "--role", "staff"],
            &secret,
            "--uid",
        ),
        (
            vec!["token", "--uid", "sam", "--role", "any"],
            &secret,
            "--role",
        ),
        (vec!["token", "--role", "staff"], &secret, "--uid"),
        (
            vec!["token", "--uid", "sam", "--role", "staff"],
            &[("FRONTDESK_SECRET", "short")],
            "32",
        ),
        (vec!["revoke", "--uid", "a b"], &[], "--uid"),
        (
            vec!["revoke", "--uid", "sam", "--max-token-age-s", "59"],
            &[],
            "60..=315360000",
        ),
        (
            // Longer than an event may say, which would make it a dead letter.
            vec![
                "revoke",
                "--uid",
                "sam",
                "--max-token-age-s",
                "1099511627776",
            ],
            &[],
            "60..=315360000",
        ),
        (vec!["dance"], &[], "dance"),
    ] {
        let output = run(&args, env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?} does not say {says}: {said}");
        assert!(
            output.stdout.is_empty() && !said.contains(SECRET),
            "{output:?}"
        );
    }
}

/// Without a worker a revocation waits in the log, and the command says so.
#[tokio::test]
async fn a_revocation_that_nobody_applies_is_told() {
    let redis = RedisServer::start();
    let url = redis.url_for(GATEWAY);
    let output = run(&["revoke", "--uid", "sam", "--redis-url", &url], &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("in the log") && said.contains("no worker"),
        "{said}"
    );
}

/// A dead letter counts as applied, too; the command looks whether the revocation holds.
#[tokio::test]
async fn a_revocation_that_has_failed_is_no_success() {
    let redis = RedisServer::start();
    let url = redis.url_for(GATEWAY);
    let (site, uid) = (Site::parse("default").unwrap(), Uid::parse("sam").unwrap());
    let mut connection = redis.connection();
    // A worker that has come to everything, and done nothing.
    let far = redis::cmd("HSET")
        .arg(keys::applied(Shard::of(&site)))
        .arg(Lane::of(&uid).number())
        .arg("9999999999999-0")
        .exec(&mut connection);
    far.unwrap();
    let now = frontdesk_tests::tokens::now_s();
    for (since, holds) in [
        (None, false),
        (Some(now - 60), false),
        (Some(now + 60), true),
    ] {
        if let Some(since) = since {
            let mut set = redis::cmd("SET");
            let set = set.arg(keys::revoked(&site, &uid)).arg(since);
            set.exec(&mut connection).unwrap();
        }
        let output = run(&["revoke", "--uid", "sam", "--redis-url", &url], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), holds, "{since:?}: {output:?}");
        assert!(holds || said.contains("NOT REVOKED"), "{said}");
    }
}

/// Gateways in open mode have no secret, yet resume tokens of one must be good at the others.
#[tokio::test]
async fn gateways_in_open_mode_agree_on_a_key() {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let url = redis.url_for(GATEWAY);
    let settings = Settings::default().set("log", "debug");
    let key = || -> Option<String> {
        let mut get = redis::cmd("HGET");
        let get = get.arg("frontdesk:meta").arg("key");
        get.query(&mut redis.connection()).expect("a hash")
    };
    assert_eq!(key(), None);
    let mut first = Program::gateway("first", &url, &settings, dir.path());
    first.ready().await;
    let agreed = key().expect("written by the first");
    assert!(agreed.len() >= 43, "256 bits");
    let mut second = Program::gateway("second", &url, &settings, dir.path());
    second.ready().await;
    assert_eq!(key(), Some(agreed.clone()));
    for gateway in [first, second] {
        assert!(!gateway.child.log().contains(&agreed));
    }
}
