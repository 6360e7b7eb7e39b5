//! When a delivery that has failed is tried again.

use std::time::Duration;

use rand::Rng as _;

/// The pauses between attempts; after the last of them a delivery is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// Most that a receiver may ask us to wait by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
/// A receiver that fails is asked again after a pause that grows by this with each failure in a row …
const PAUSE_STEP: Duration = Duration::from_millis(50);
/// … up to this, whatever its deliveries' own pauses are.
const MAX_PAUSE: Duration = Duration::from_secs(1);

impl Schedule {
    /// A schedule with these pauses.
    pub fn new(pauses: Vec<Duration>) -> Self {
        Self(pauses)
    }

    /// Most attempts of one delivery.
    pub fn attempts(&self) -> usize {
        self.0.len() + 1
    }

    /// How long to wait after so many failed attempts, with a fifth of it left to chance so that what has
    /// failed at once does not come back at once; `None` when there are to be no more.
    pub fn pause(&self, attempts: usize, retry_after: Option<Duration>) -> Option<Duration> {
        let pause = self.0.get(attempts.checked_sub(1)?)?;
        let pause = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        Some(pause.max(asked))
    }
}

/// How long to leave a receiver alone that has failed so many times in a row.
pub(super) fn breather(failures: u32) -> Duration {
    (PAUSE_STEP * failures.min(100)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let s = Duration::from_secs;
        let schedule = Schedule::new(vec![s(5), s(30)]);
        assert_eq!(schedule.attempts(), 3);
        for (attempts, about) in [(1, 5), (2, 30)] {
            let pause = schedule.pause(attempts, None).expect("another attempt");
            assert!(pause >= s(about).mul_f64(0.8) && pause < s(about).mul_f64(1.2));
        }
        assert_eq!(schedule.pause(3, Some(s(1))), None);
        assert_eq!(schedule.pause(1, Some(s(60))), Some(s(60)));
        assert_eq!(schedule.pause(1, Some(s(1_000_000))), Some(s(3600)));
        assert_eq!((breather(0), breather(1000)), (s(0), s(1)));
    }
}
