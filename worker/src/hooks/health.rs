//! How receivers do, and for how long that is remembered of those that nothing is sent to.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::HookName;

/// A receiver that failed so often in a row is sick …
const SICK_AFTER: u32 = 2;
/// … and one whose last answer took longer has to share with those.
const SLOW: Duration = Duration::from_secs(1);
/// For how long it is remembered after the last attempt. A hook that was deleted is not heard of again, and one whose
/// next attempt comes later has one like any other.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// How a receiver does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Health {
    /// How often it has failed in a row.
    failures: u32,
    /// Its last answer took long.
    slow: bool,
}

impl Health {
    /// It has answered after this time.
    pub(super) fn answered(took: Duration) -> Self {
        Self {
            failures: 0,
            slow: took > SLOW,
        }
    }

    /// It has failed once more.
    pub(super) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// How often it has failed in a row.
    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    pub(super) fn has_failed(self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_sick(self) -> bool {
        self.failures >= SICK_AFTER
    }

    /// Whether its requests are of the share that all such receivers have.
    pub(super) fn has_to_share(self) -> bool {
        self.is_sick() || self.slow
    }

    fn is_well(self) -> bool {
        !self.has_failed() && !self.slow
    }
}

/// Receivers that failed at last or were slow, while nobody serves them.
#[derive(Debug, Default)]
pub(super) struct Sick(HashMap<HookName, (Health, Instant)>);

impl Sick {
    /// Remembers how one does.
    pub(super) fn note(&mut self, hook: HookName, health: Health, now: Instant) {
        if health.is_well() {
            self.0.remove(&hook);
        } else {
            self.0.insert(hook, (health, now));
        }
    }

    /// How it did at last; well, if nothing is known.
    pub(super) fn health(&self, hook: &HookName, now: Instant) -> Health {
        let known = self.0.get(hook).filter(|(_, since)| is_fresh(*since, now));
        known.map(|(health, _)| *health).unwrap_or_default()
    }

    /// Forgets those that nothing was sent to for long.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (_, since)| is_fresh(*since, now));
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.duration_since(since) < REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(id: &str) -> HookName {
        HookName::parse(&format!("default|{id}")).expect("well-formed")
    }

    #[test]
    fn who_is_not_heard_of_is_forgotten() {
        let (a, b) = (hook("6.1.1-0.1"), hook("6.1.1-0.2"));
        let mut failing = Health::default();
        failing.fail();
        failing.fail();
        let slow = Health::answered(2 * SLOW);
        assert!(failing.is_sick() && !slow.is_sick() && slow.has_to_share());
        let (mut sick, begun) = (Sick::default(), Instant::now());
        sick.note(a.clone(), failing, begun);
        sick.note(b.clone(), slow, begun + REMEMBERED / 2);
        let later = begun + REMEMBERED;
        assert!(sick.health(&a, later).is_well() && !sick.health(&b, later).is_well());
        sick.forget(later);
        assert_eq!(sick.0.len(), 1);
        sick.note(b.clone(), Health::answered(Duration::ZERO), later);
        assert!(sick.0.is_empty() && sick.health(&b, later).is_well());
    }
}
