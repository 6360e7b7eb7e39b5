//! An even pace for what may cost Redis only so much time, since messages need it more.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Turns at an even pace, with some at once after a quiet time.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    /// How far turns may be ahead of the pace.
    slack: Duration,
    /// When the next turn would be at the even pace.
    next: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(per_second: f64, at_once: f64) -> Self {
        let every = Duration::from_secs_f64(1.0 / per_second);
        Self {
            every,
            slack: every.mul_f64(at_once - 1.0),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Takes the next turn, unless that comes later than somebody can wait.
    pub(crate) fn turn(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner); // one instant is whole
        let due = (*next).max(now);
        let turn = due.checked_sub(self.slack).unwrap_or(now).max(now);
        if turn > deadline {
            return None;
        }
        *next = due + self.every;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_once_at_first_and_then_at_the_pace() {
        let pace = Pace::new(100.0, 3.0);
        let now = Instant::now() + Duration::from_secs(1);
        let deadline = now + Duration::from_millis(25);
        let turns: Vec<_> = (0..6).map(|_| pace.turn(now, deadline)).collect();
        let ms = |ms| Some(now + Duration::from_millis(ms));
        assert_eq!(turns, [ms(0), ms(0), ms(0), ms(10), ms(20), None]);
        // Who was not given a turn has not used one up.
        let later = now + Duration::from_millis(30);
        assert_eq!(pace.turn(later, later), Some(later));
    }
}
