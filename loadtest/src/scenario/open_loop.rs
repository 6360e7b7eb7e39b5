//! A schedule of due times that does not care how the server is doing.
//!
//! Tokio's timer counts in milliseconds, which would be a good part of what is measured. So a thread
//! sleeps until each due time, exact to the kernel's slack of 50 µs, and wakes the pair whose turn it is.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Longest sleep, so that an end is noticed.
const NAP: Duration = Duration::from_millis(20);

/// When whose messages are due: they take turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// When the first one is due.
    pub(crate) begin: Instant,
    /// Messages per second of this process.
    pub(crate) rate: f64,
    /// Pairs of this process.
    pub(crate) pairs: u64,
}

impl Schedule {
    /// When the `j`-th message of a pair is due, both from 0.
    pub(crate) fn due(&self, pair: u64, j: u64) -> Instant {
        self.nth(pair + j * self.pairs)
    }

    fn nth(&self, k: u64) -> Instant {
        self.begin + Duration::from_secs_f64(k as f64 / self.rate)
    }

    /// Starts the thread that wakes the pairs; it ends with `stop`.
    pub(crate) fn start(self, wake: Vec<Arc<Notify>>, stop: CancellationToken) {
        thread::spawn(move || {
            for k in 0.. {
                let due = self.nth(k);
                loop {
                    if stop.is_cancelled() {
                        return;
                    }
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    thread::sleep(left.min(NAP));
                }
                if let Some(turn) = wake.get(usize::try_from(k % self.pairs).unwrap_or(0)) {
                    turn.notify_one();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_take_turns_at_the_rate() {
        let begin = Instant::now();
        let schedule = Schedule {
            begin,
            rate: 1000.0,
            pairs: 10,
        };
        assert_eq!(schedule.due(3, 0) - begin, Duration::from_millis(3));
        assert_eq!(schedule.due(3, 2) - begin, Duration::from_millis(23));
    }
}
