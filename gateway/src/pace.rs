//! An even pace for what may cost Redis only so much time, since messages need it more.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many per second on average, and so many at once after a quiet time: a token bucket, kept as the
/// moment at which it will be full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    every: Duration,
    /// How far turns may be ahead of the even pace.
    slack: Duration,
}

impl Rate {
    pub(crate) fn new(per_second: f64, at_once: f64) -> Self {
        let every = Duration::from_secs_f64(1.0 / per_second);
        Self {
            every,
            slack: every.mul_f64((at_once - 1.0).max(0.0)),
        }
    }

    /// Takes the next turn of a bucket, unless that comes after the deadline. Returns when it is, or when
    /// it would be.
    pub(crate) fn turn(
        &self,
        bucket: &mut Instant,
        now: Instant,
        deadline: Instant,
    ) -> Result<Instant, Instant> {
        let due = (*bucket).max(now);
        let turn = due.checked_sub(self.slack).unwrap_or(now).max(now);
        if turn > deadline {
            return Err(turn);
        }
        *bucket = due + self.every;
        Ok(turn)
    }
}

/// A rate that many share.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    bucket: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            bucket: Mutex::new(Instant::now()),
        }
    }

    /// Takes the next turn, unless that comes later than somebody can wait.
    pub(crate) fn turn(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner); // one instant is whole
        self.rate.turn(&mut bucket, now, deadline).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_once_at_first_and_then_at_the_pace() {
        let pace = Pace::new(Rate::new(100.0, 3.0));
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
