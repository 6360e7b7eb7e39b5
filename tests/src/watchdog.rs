//! The end of a test that is stuck. Every wait of the tests has a deadline; should one be without, the
//! whole run would hang until somebody looks, and end without a name. Who lets a test take longer on purpose says
//! so in `FRONTDESK_TEST_LIMIT_S`.

use std::{
    io::Write as _,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// No test holds a server for so long, on a slow machine either.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Held for as long as something of a test runs.
#[derive(Debug)]
pub struct Watchdog {
    _held: Sender<()>,
}

impl Watchdog {
    /// Ends the test program, and so all that it has started, if this is held for longer than [`LIMIT`].
    pub fn start() -> Self {
        let limit = std::env::var("FRONTDESK_TEST_LIMIT_S").ok();
        let limit = limit.map_or(LIMIT, |limit| {
            Duration::from_secs(limit.parse().expect("FRONTDESK_TEST_LIMIT_S is in seconds"))
        });
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (held, dropped) = channel();
        let watch = move || {
            if is_late(&dropped, limit) {
                // Not eprintln!, which libtest keeps to itself.
                let _ = writeln!(
                    std::io::stderr(),
                    "{test} is stuck: it has held its server for {limit:?}"
                );
                std::process::abort();
            }
        };
        let thread = thread::Builder::new().name("watchdog".into()).spawn(watch);
        thread.expect("a thread can be started");
        Self { _held: held }
    }
}

/// Waits until the other side is dropped; whether that takes longer.
fn is_late(dropped: &Receiver<()>, limit: Duration) -> bool {
    dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_held_for_too_long_is_late() {
        let (held, dropped) = channel();
        assert!(is_late(&dropped, Duration::from_millis(1)));
        drop(held);
        assert!(!is_late(&dropped, LIMIT));
    }
}
