//! `watch`, on a terminal and off.

use std::{io::BufRead as _, process::Stdio};

use frontdesk_tests::{
    child,
    cluster::Cluster,
    process,
    pty::{CTRL_C, Terminal},
    redis_server::RedisServer,
    redis_users::{self, VIEWER, WORKER},
    wait,
};
use serde_json::Value;

use super::{PATIENT, WORKER_PROGRAM};

/// To the first place of the screen: once a page.
const HOME: &str = "\x1b[H";
const OTHER_SCREEN: &str = "\x1b[?1049h";
const SCREEN_BACK: &str = "\x1b[?1049l";
const NO_CURSOR: &str = "\x1b[?25l";
const CURSOR: &str = "\x1b[?25h";

fn watch(redis: &RedisServer, user: &str, args: &[&str]) -> Terminal {
    let args = [&["watch"], args, &PATIENT[..]].concat();
    let url = redis.url_for(user);
    let env = [("FRONTDESK_REDIS_URL", url.as_str())];
    Terminal::start(&process::binary(WORKER_PROGRAM), &args, &env)
}

/// The terminal is as it was: its modes, its cursor, its own screen, and on that the last page.
async fn assert_sane(terminal: &Terminal, modes: &str) {
    assert_eq!(terminal.modes(), modes);
    let written = wait::until("the last page is there", async || {
        let written = terminal.written();
        let (_, after) = written.rsplit_once(SCREEN_BACK)?;
        let whole = after.matches("alive").count() == 2 && after.ends_with('\n');
        whole.then_some(written)
    })
    .await;
    for (there, back) in [(OTHER_SCREEN, SCREEN_BACK), (NO_CURSOR, CURSOR)] {
        assert_eq!(written.matches(there).count(), 1, "{written:?}");
        assert_eq!(written.matches(back).count(), 1, "{written:?}");
    }
    let (_, after) = written.rsplit_once(SCREEN_BACK).unwrap();
    assert!(
        after.starts_with("Redis ") && after.contains("GATEWAY"),
        "{after:?}"
    );
    assert!(!after.contains('\x1b'), "{after:?}");
}

#[tokio::test]
async fn it_goes_on_in_place_until_it_is_ended_and_leaves_the_terminal_as_it_was() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    redis_users::let_in(&cluster.redis.client()).unwrap();
    let worker = cluster.workers[0].child.name();
    for signal in ["Ctrl-C", "INT", "TERM", "HUP"] {
        let mut terminal = watch(&cluster.redis, VIEWER, &["--every-ms", "200"]);
        let modes = terminal.modes();
        terminal.shows(HOME, 3).await;
        assert!(
            terminal.written().contains(worker),
            "{}",
            terminal.written()
        );
        if signal == "Ctrl-C" {
            terminal.press(CTRL_C);
        } else {
            let kill = format!("kill -s {signal} {}", terminal.pid());
            let status = std::process::Command::new("sh")
                .args(["-c", &kill])
                .status();
            assert!(status.unwrap().success());
        }
        assert_eq!(terminal.ended().await, Some(0), "{signal}");
        assert_sane(&terminal, &modes).await;
    }
}

#[tokio::test]
async fn an_outage_of_redis_is_shown_and_outlived() {
    let mut cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let mut terminal = watch(&cluster.redis, WORKER, &["--every-ms", "200"]);
    let modes = terminal.modes();
    terminal.shows(HOME, 1).await;
    cluster.redis.kill9();
    terminal.shows("! Redis does not answer", 1).await;
    cluster.redis.restart();
    // Pages without that line again.
    wait::until("the cluster is shown again", async || {
        let written = terminal.written();
        let (_, last) = written.rsplit_once(HOME)?;
        (last.contains("GATEWAY") && !last.contains("does not answer")).then_some(())
    })
    .await;
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().await, Some(0));
    terminal.shows(SCREEN_BACK, 1).await;
    assert_eq!(terminal.modes(), modes);
}

/// Off a terminal it is a line of JSON each time, and it ends with whoever reads them.
#[tokio::test]
async fn where_there_is_no_terminal_it_prints_lines_of_json() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let mut command = std::process::Command::new(process::binary(WORKER_PROGRAM));
    child::without_settings(&mut command);
    command.args(["watch", "--every-ms", "200"]).args(PATIENT);
    command.env("FRONTDESK_REDIS_URL", cluster.redis.url_for(WORKER));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watch = child::spawn(command).unwrap();
    let lines = std::io::BufReader::new(watch.stdout.take().unwrap());
    let reading = tokio::task::spawn_blocking(move || {
        let mut times: Vec<u64> = Vec::new();
        for line in lines.lines().take(3) {
            let status: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(status["workers"][0]["state"], "alive");
            times.push(status["time"].as_u64().unwrap());
        }
        times
    });
    let times = reading.await.unwrap();
    assert!(times.len() == 3 && times.is_sorted(), "{times:?}");
    let status = wait::until("it ends with its reader", async || {
        watch.try_wait().unwrap()
    })
    .await;
    assert_eq!(status.code(), Some(0));
}

/// On a terminal `status` is a table, and `--json` is JSON there, too.
#[tokio::test]
async fn a_terminal_gets_tables_unless_json_is_asked_for() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let url = cluster.redis.url_for(WORKER);
    let env = [("FRONTDESK_REDIS_URL", url.as_str())];
    let program = process::binary(WORKER_PROGRAM);
    let table = [&["status"], &PATIENT[..]].concat();
    let mut terminal = Terminal::start(&program, &table, &env);
    assert_eq!(terminal.ended().await, Some(0));
    terminal.shows("WORKER", 1).await;
    terminal.shows("GATEWAY", 1).await;
    let mut terminal = Terminal::start(&program, &[&table[..], &["--json"]].concat(), &env);
    assert_eq!(terminal.ended().await, Some(0));
    let written = wait::until("all is written", async || {
        let written = terminal.written();
        written.ends_with('\n').then_some(written)
    })
    .await;
    let status: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(status["problems"], serde_json::json!([]));
}
