//! Growing waits with full-range jitter, so that many who failed together do not return together.

use std::time::Duration;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(50);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(1);

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// Waits between half of the ceiling and all of it, then doubles it.
    pub(crate) async fn wait(&mut self) {
        let delay = self.ceiling.mul_f64(rand::random_range(0.5..1.0));
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        tokio::time::sleep(delay).await;
    }
}
