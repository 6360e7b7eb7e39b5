//! What runs the client under test: Node, Chromium and the TypeScript compiler, as Debian has them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use frontdesk_tests::{child::Child, peer::NODE_PATH, redis_server::find_program};
use tempfile::TempDir;

/// Where the client is.
pub fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/web")
}

/// Runs a program in the client's directory to its end; its output, if it failed.
pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new(find_program(program));
    let output = command.args(args).current_dir(web()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run `make install`"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// A process of Node with people in it.
pub fn node(name: &str, control: &str, logs: &Path) -> Child {
    in_node("node.mjs", name, &[control, name], logs)
}

/// A process of Node with as many clients as `setup` has tokens.
pub fn herd(setup: &Path, logs: &Path) -> Child {
    in_node("herd.mjs", "herd", &[&setup.to_string_lossy()], logs)
}

/// A script of ours with the client as it is on disk.
fn in_node(script: &str, name: &str, args: &[&str], logs: &Path) -> Child {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web_client/page");
    let paths = [here.join(script), web().join("client.js")];
    let paths = paths.iter().map(|path| path.to_string_lossy().into_owned());
    let args: Vec<_> = paths
        .chain(args.iter().map(|&arg| arg.to_owned()))
        .collect();
    let log = logs.join(format!("{name}.log"));
    let (variable, value) = NODE_PATH;
    let env = [(variable.to_owned(), value.to_owned())];
    Child::start(name, &find_program("node"), &args, &env, &log)
}

/// A headless Chromium with a profile of its own. Dropping it ends all of its processes.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    _profile: TempDir,
}

impl Chromium {
    pub fn start(name: &str, url: &str, logs: &Path) -> Self {
        let profile = tempfile::Builder::new()
            .prefix("frontdesk-chromium-")
            .tempdir();
        let profile = profile.expect("the temporary directory is writable");
        let args = [
            "--headless=new",
            // Its own sandbox does not work for root or in containers; the page is ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-breakpad",
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--enable-logging=stderr",
        ];
        let mut args: Vec<_> = args.into_iter().map(str::to_owned).collect();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.push(url.to_owned());
        let log = logs.join(format!("{name}.log"));
        let child = Child::start(name, &find_program("chromium"), &args, &[], &log);
        Self {
            child,
            _profile: profile,
        }
    }

    /// What pages wrote on the console, a line each.
    pub fn console(&self) -> Vec<String> {
        let log = self.child.log();
        let lines = log.lines().filter(|line| line.contains(":CONSOLE"));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its renderers and helpers are in the group that `Child` has made.
        let group = format!("kill -s KILL -- -{}", self.child.pid());
        let _ = Command::new("sh").args(["-c", &group]).output();
    }
}
