//! How docker-compose.yml starts Redis, run with this machine's redis-server: its start command,
//! its health check, and the recipe for .env.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{fs, path::Path, process::Command};

use frontdesk_tests::{child::Child, ports::Port, redis_server::find_program, wait};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const USERS: [&str; 3] = ["operator", "gateway", "worker"];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).expect("the file is there")
}

/// The start command, as the container's shell gets it, and the script of the health check.
fn scripts() -> (String, String) {
    let compose = read("docker-compose.yml");
    let start: String = compose
        .lines()
        .skip_while(|line| line.trim() != "redis:")
        .skip_while(|line| line.trim() != "- |")
        .skip(1)
        .take_while(|line| line.starts_with("        "))
        .map(|line| line[8..].replace("$$", "$") + "\n")
        .collect();
    let health = compose
        .lines()
        .find(|line| line.contains("redis-cli") && line.contains("CMD-SHELL"));
    let health = health.and_then(|line| line.split('\'').nth(1));
    (start, health.expect("a check").replace("$$", "$"))
}

/// The variables of .env, made as .env.example says.
fn env() -> Vec<(String, String)> {
    let example = read(".env.example");
    let recipe = example
        .lines()
        .find_map(|line| line.strip_prefix("#   awk"))
        .expect("a recipe");
    let recipe = recipe.strip_suffix(" > .env").expect("it makes .env");
    let output = Command::new("sh")
        .args(["-ec", &format!("awk{recipe}")])
        .current_dir(ROOT)
        .output()
        .expect("a shell");
    let made = String::from_utf8(output.stdout).expect("text");
    made.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one container's life")]
fn redis_starts_with_its_users_and_their_passwords() {
    let env = env();
    let password = |user: &str| {
        let name = format!("FRONTDESK_REDIS_{}_PASSWORD", user.to_uppercase());
        let found = env.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    for user in USERS {
        assert_eq!(password(user).len(), 64, "{user}: {env:?}");
        let same = env.iter().filter(|(_, one)| *one == password(user));
        assert_eq!(same.count(), 1, "each its own");
    }
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let port = Port::lease();
    let number = port.number().to_string();
    let (start, health) = scripts();
    // The same files at other places, on loopback.
    let start = start
        .replace("/etc/frontdesk/", &format!("{ROOT}/deploy/"))
        .replace("/data", &dir.path().display().to_string())
        .replace("--bind '*'", &format!("--bind 127.0.0.1 --port {number}"));
    let log = dir.path().join("redis.log");
    let args = ["-ec".to_owned(), start];
    let start = || Child::start("redis", &find_program("sh"), &args, &env, &log);
    let mut redis = start();
    let health = health.replace("redis-cli", &format!("redis-cli -p {number}"));
    let healthy = || {
        let mut check = Command::new("sh");
        check.args(["-c", &health]).envs(env.iter().cloned());
        check.status().expect("a shell").success()
    };
    wait::until_blocking("the container is healthy", || {
        assert!(redis.exited().is_none(), "{}", redis.log());
        healthy().then_some(())
    });
    // exec: the container's first process is Redis itself, which gets the signal to stop.
    let command = fs::read_to_string(format!("/proc/{}/cmdline", redis.pid())).unwrap();
    assert!(command.starts_with("redis-server"), "{command}");
    let environment = fs::read_dir(dir.path()).unwrap().flatten();
    for user in USERS {
        assert!(!command.contains(&password(user)), "{command}");
        assert!(!redis.log().contains(&password(user)), "{}", redis.log());
    }
    for file in environment.filter(|file| file.path().is_file()) {
        let text = String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned();
        assert!(USERS.iter().all(|user| !text.contains(&password(user))));
    }
    let log_in = |who: &str| {
        let client = redis::Client::open(format!("redis://{who}127.0.0.1:{number}/")).unwrap();
        let mut connection = client.get_connection()?;
        redis::cmd("INFO").query::<String>(&mut connection)
    };
    for user in USERS {
        assert!(log_in(&format!("{user}:{}@", password(user))).is_ok());
        assert!(log_in(&format!("{user}:{}@", &password(user)[1..])).is_err());
    }
    assert!(log_in("").is_err(), "who does not log in is let in");
    // Power is lost in the middle of a transaction. What is written after that outlives the next loss.
    let operate = |pipe: &redis::Pipeline| {
        let operator = format!("operator:{}@", password("operator"));
        let client = redis::Client::open(format!("redis://{operator}127.0.0.1:{number}/")).unwrap();
        let mut connection = client.get_connection().expect("logged in");
        let answer = pipe.query::<Vec<String>>(&mut connection);
        answer.expect("done").join("")
    };
    operate(redis::pipe().atomic().set("torn", 1).set("torn", 2));
    redis.kill9();
    assert!(!healthy());
    let files = fs::read_dir(dir.path().join("appendonlydir"))
        .unwrap()
        .flatten();
    let newest = files
        .map(|file| file.path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"));
    let newest = fs::OpenOptions::new()
        .write(true)
        .open(newest.expect("a log"))
        .unwrap();
    newest
        .set_len(newest.metadata().unwrap().len() - 5)
        .unwrap();
    for command in [redis::pipe().set("kept", 1), redis::pipe().get("kept")] {
        redis = start();
        wait::until_blocking("the container is healthy again", || {
            assert!(redis.exited().is_none(), "{}", redis.log());
            healthy().then_some(())
        });
        let answer = operate(command);
        assert!(["OK", "1"].contains(&answer.as_str()), "{answer}");
        redis.kill9();
    }
}
