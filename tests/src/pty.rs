//! A program on a terminal of its own: what it writes there, keys that are pressed, and the modes in which it
//! leaves the terminal. It never outlives the tests, as in [`crate::child`].

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcgetattr, tcsetwinsize},
};

use crate::{child, wait};

/// What Ctrl-C is.
pub const CTRL_C: &str = "\u{3}";

/// A terminal with a program on it.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    tty: OwnedFd,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program on a new terminal of 100 columns and 40 rows.
    pub fn start(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&pty).expect("ours");
        unlockpt(&pty).expect("ours");
        let name = ptsname(&pty, Vec::new()).expect("it has a name");
        let tty = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let tty = tty.expect("it opens");
        let size = Winsize {
            ws_col: 100,
            ws_row: 40,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&tty, size).expect("terminals have a size");
        let end = || Stdio::from(tty.try_clone().expect("a file handle can be cloned"));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.args(["env", "--default-signal=INT", "setsid", "--ctty"]);
        command.arg(program).args(args);
        child::without_settings(&mut command);
        command.envs(env.iter().copied());
        command.stdin(end()).stdout(end()).stderr(end());
        let child = child::spawn(command).expect("util-linux is there");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown) = (File::from(pty), screen.clone());
        let keyboard = output.try_clone().expect("a file handle can be cloned");
        // Ends with the last program on the terminal, and with this.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                let mut shown = shown.lock().expect("nothing panics while it holds this");
                shown.extend_from_slice(&piece[..length]);
            }
        });
        Self {
            keyboard,
            tty,
            child,
            screen,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that was written to the terminal so far.
    pub fn written(&self) -> String {
        let screen = self.screen.lock();
        let screen = screen.expect("nothing panics while it holds this");
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until something is on the terminal so many times.
    pub async fn shows(&self, text: &str, times: usize) {
        let what = format!("{text:?} is on the terminal {times} times");
        let seen = wait::within(&what, wait::DEADLINE, async || {
            (self.written().matches(text).count() >= times).then_some(())
        });
        seen.await;
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let pressed = self.keyboard.write_all(keys.as_bytes());
        pressed.expect("the terminal is there");
    }

    /// The modes that the terminal is in.
    pub fn modes(&self) -> String {
        let modes = tcgetattr(&self.tty).expect("it is a terminal");
        format!(
            "{:?} {:?} {:?} {:?}",
            modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes
        )
    }

    /// Waits until the program has ended by itself.
    pub async fn ended(&mut self) -> Option<i32> {
        let what = "the program on the terminal ends";
        let child = &mut self.child;
        let status = wait::until(what, async || {
            child.try_wait().expect("our own child can be waited for")
        });
        status.await.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- on the terminal:\n{:?}", self.written());
        }
    }
}
