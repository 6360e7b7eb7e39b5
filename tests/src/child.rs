//! One process that the tests started. It never outlives them: it is killed on drop (so on panic
//! too), and by the kernel when the test program itself is killed.
//!
//! The kernel's part is PR_SET_PDEATHSIG, set by util-linux's `setpriv`. It fires when the *thread*
//! that forked ends, so one thread that lives as long as the program starts all children.

use std::{
    fs::File,
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child as StdChild, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
};

use crate::wait;

/// Lines of a log that a panic shows.
const TAIL: usize = 40;

/// A running process with its log.
#[derive(Debug)]
pub struct Child {
    name: String,
    inner: StdChild,
    log: PathBuf,
}

impl Child {
    /// Starts `program`. Both its outputs go to `log`, which is replaced.
    /// Settings of Frontdesk in the tests' own environment do not reach it.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[String],
        env: &[(String, String)],
        log: &Path,
    ) -> Self {
        let out = File::create(log).expect("the log can be created");
        let err = out.try_clone().expect("a file handle can be cloned");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        // Whoever started the tests in the background may have had them ignore SIGINT, which is
        // inherited, and which a shell could not trap then.
        command.args(["env", "--default-signal=INT"]);
        command.arg(program).args(args);
        without_settings(&mut command);
        command.env("NO_COLOR", "1");
        command.envs(env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        // A group of its own: should the shell that started the tests go away, the kernel would wake
        // paused members of the tests' own group, which is orphaned then (setpgid(2), SIGCONT).
        command.process_group(0);
        let inner = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            inner,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// The processes it has started and not yet seen end, by id and command line.
    pub fn children(&self) -> Vec<(u32, String)> {
        let parent = format!("PPid:\t{}\n", self.pid());
        let processes = std::fs::read_dir("/proc").expect("Linux has /proc");
        processes
            .filter_map(|entry| {
                let dir = entry.ok()?.path();
                let pid = dir.file_name()?.to_str()?.parse().ok()?;
                let status = std::fs::read_to_string(dir.join("status")).ok()?;
                let command = std::fs::read_to_string(dir.join("cmdline")).ok()?;
                status
                    .contains(&parent)
                    .then(|| (pid, command.replace('\0', " ")))
            })
            .collect()
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.inner
            .try_wait()
            .expect("our own child can be waited for")
    }

    /// Asks it to end.
    pub fn term(&self) {
        self.signal("TERM");
    }

    /// What Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn unpause(&self) {
        self.signal("CONT");
    }

    /// Whether it is frozen.
    pub fn is_paused(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        status.is_ok_and(|status| status.contains("State:\tT"))
    }

    /// Ends it without asking, and waits until it is gone.
    pub fn kill9(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }

    /// Waits until it has ended by itself; `Err` is the signal that ended it.
    pub async fn wait_exit(&mut self) -> Result<i32, i32> {
        let what = format!("{} ends", self.name);
        let status = wait::until(&what, async || self.exited()).await;
        code_or_signal(status)
    }

    fn signal(&self, signal: &str) {
        // The shell's own kill: /bin/kill is not in every base system.
        let status = Command::new("sh")
            .args(["-c", &format!("kill -s {signal} {}", self.pid())])
            .status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "cannot send SIG{signal} to {}",
            self.name
        );
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let before = self.exited();
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            let state = before.map_or("running".to_owned(), |status| status.to_string());
            eprintln!("--- {} ({state}), end of its log:\n{tail}", self.name);
        }
    }
}

fn code_or_signal(status: ExitStatus) -> Result<i32, i32> {
    status.code().ok_or_else(|| status.signal().unwrap_or(-1))
}

type Order = (Command, Sender<io::Result<StdChild>>);

/// Keeps settings of Frontdesk in the tests' own environment from a program.
pub fn without_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("FRONTDESK_") {
            command.env_remove(variable);
        }
    }
}

/// Spawns on the one thread that never ends.
pub fn spawn(command: Command) -> io::Result<StdChild> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in orders {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        Mutex::new(sender)
    });
    let (answer, result) = channel();
    spawner
        .lock()
        .expect("nothing panics while it holds this lock")
        .send((command, answer))
        .expect("the spawner never ends");
    result.recv().expect("the spawner answers")
}
