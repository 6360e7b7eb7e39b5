//! deploy/run.sh, which is what `make run` runs: the lines that it prints work, and nothing is left
//! running whatever way it ends.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use frontdesk_tests::{child::Child, client::Client, process, wait};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/run.sh");
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Redis, two workers, two gateways.
const PROGRAMS: usize = 5;

/// Two scripts that look for free ports at one moment would find the same ones.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

struct Run {
    script: Child,
    children: Vec<(u32, String)>,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Run {
    /// Starts a cluster and waits until it is ready.
    async fn start() -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let mut script = launch(dir.path(), "first.log");
        wait::within("the cluster is ready", wait::DEADLINE * 2, async || {
            assert!(script.exited().is_none(), "{}", script.log());
            script.log().contains("Ctrl-C ends it.").then_some(())
        })
        .await;
        let children = script.children();
        assert_eq!(children.len(), PROGRAMS, "{children:?}");
        Self {
            script,
            children,
            dir,
            _turn: turn,
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.script.log();
        log.lines()
            .filter_map(|line| {
                line.strip_prefix("  ws://")?
                    .strip_suffix('/')?
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// The lines to paste.
    fn lines(&self) -> Vec<String> {
        let log = self.script.log();
        let lines = log.lines().filter(|line| line.starts_with('{'));
        lines.map(str::to_owned).collect()
    }

    fn running(&self) -> Vec<&str> {
        self.children
            .iter()
            .filter(|(pid, command)| {
                // Another process may have the number by now.
                std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|now| now.replace('\0', " ") == *command)
            })
            .map(|(_, command)| command.as_str())
            .collect()
    }

    /// The script ends in time with this code, and nothing is left.
    async fn ends_with(&mut self, code: i32) {
        let begin = Instant::now();
        assert_eq!(
            self.script.wait_exit().await,
            Ok(code),
            "{}",
            self.script.log()
        );
        let took = begin.elapsed();
        assert!(took < STOP_WITHIN, "took {took:?}:\n{}", self.script.log());
        assert_eq!(self.running(), Vec::<&str>::new());
    }
}

fn launch(dir: &Path, log: &str) -> Child {
    let bin = process::binary("");
    let env = [
        ("FRONTDESK_RUN_DIR", dir),
        ("FRONTDESK_BIN_DIR", bin.as_path()),
    ]
    .map(|(name, path)| (name.to_owned(), path.display().to_string()));
    Child::start("run.sh", Path::new(SCRIPT), &[], &env, &dir.join(log))
}

#[tokio::test]
async fn the_printed_lines_hold_a_conversation_and_ctrl_c_ends_all_of_it() {
    let mut run = Run::start().await;
    let [first, second] = run.addresses()[..] else {
        panic!("two addresses are printed:\n{}", run.script.log());
    };
    let lines = run.lines();
    let [on_duty, connect, hello] = &lines[..] else {
        panic!("three lines are printed: {lines:?}");
    };
    let mut staff = Client::connect(second, "").await;
    staff.send_text(on_duty).await;
    let told = staff.expect("message", "on_duty").await;
    assert_eq!(told["name"], "客服1");
    let mut customer = Client::connect(first, "").await;
    customer.send_text(connect).await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    customer.send_text(hello).await;
    staff.expect_words("customer", "你好").await;
    staff.say("您好").await;
    customer.expect_words("staff", "您好").await;

    run.script.interrupt();
    // The gateways say good-bye: come back elsewhere.
    assert_eq!(customer.expect_close().await, 1001);
    assert_eq!(staff.expect_close().await, 1001);
    run.ends_with(0).await;
}

#[tokio::test]
async fn sigterm_ends_all_of_it_too() {
    let mut run = Run::start().await;
    run.script.term();
    run.ends_with(0).await;
}

#[tokio::test]
async fn a_program_that_dies_is_named_and_ends_the_rest() {
    let mut run = Run::start().await;
    let worker = run
        .children
        .iter()
        .find(|(_, command)| command.contains("frontdesk-worker"));
    let (pid, _) = worker.expect("a worker runs");
    let killed = std::process::Command::new("sh")
        .args(["-c", &format!("kill -s KILL {pid}")])
        .status();
    assert!(killed.expect("a shell").success());
    run.ends_with(1).await;
    let log = run.script.log();
    assert!(
        log.contains("worker1 has ended") || log.contains("worker2 has ended"),
        "{log}"
    );
}

#[tokio::test]
async fn a_killed_script_leaves_nothing_running() {
    let mut run = Run::start().await;
    run.script.kill9();
    wait::until("everything has ended", async || {
        run.running().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_directory_serves_one_cluster() {
    let run = Run::start().await;
    let mut second = launch(run.dir.path(), "second.log");
    assert_eq!(second.wait_exit().await, Ok(1));
    let said = second.log();
    assert!(said.contains("FRONTDESK_RUN_DIR"), "{said}");
    assert_eq!(run.running().len(), PROGRAMS);
}
