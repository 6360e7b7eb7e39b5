//! Who lives, as somebody sees it who came a moment ago: a counter that was seen to move lately.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Serialize;

/// What a counter says of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pulse {
    /// It moves.
    Alive,
    /// It was not seen to move for as long as we looked.
    Silent,
    /// A worker has declared a gateway dead, or it has stopped.
    Dead,
}

impl Pulse {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Dead => "dead",
        }
    }
}

/// Counters by name, and when each was seen to move.
#[derive(Debug)]
pub struct Pulses {
    window: Duration,
    seen: HashMap<String, (String, Option<Instant>)>,
}

impl Pulses {
    /// Whoever moved within `window` is alive.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            seen: HashMap::new(),
        }
    }

    /// Takes one reading.
    pub fn observe<'c>(
        &mut self,
        now: Instant,
        counters: impl Iterator<Item = (&'c String, &'c String)>,
    ) {
        let mut before = std::mem::take(&mut self.seen);
        for (name, counter) in counters {
            let moved = match before.remove(name) {
                Some((old, moved)) if old == *counter => moved,
                Some(_) => Some(now),
                None => None,
            };
            self.seen.insert(name.clone(), (counter.clone(), moved));
        }
    }

    /// What is known of one.
    pub fn of(&self, now: Instant, name: &str) -> Pulse {
        match self.seen.get(name) {
            Some((_, Some(moved))) if now.duration_since(*moved) <= self.window => Pulse::Alive,
            _ => Pulse::Silent,
        }
    }

    /// Whether every counter was seen to move.
    pub fn all_alive(&self, now: Instant) -> bool {
        self.seen
            .keys()
            .all(|name| self.of(now, name) == Pulse::Alive)
    }

    /// Nothing could be read for a while: nobody's silence counts.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_moves_is_alive() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut pulses = Pulses::new(Duration::from_secs(3));
        let mut read = |second, counters: [(&str, &str); 2]| {
            let counters = counters.map(|(name, n)| (name.to_owned(), n.to_owned()));
            pulses.observe(at(second), counters.iter().map(|(name, n)| (name, n)));
            let alive = ["a", "b"].map(|name| pulses.of(at(second), name) == Pulse::Alive);
            (alive, pulses.all_alive(at(second)))
        };
        assert_eq!(read(0, [("a", "1"), ("b", "7")]), ([false, false], false));
        assert_eq!(read(1, [("a", "2"), ("b", "8")]), ([true, true], true));
        assert_eq!(read(4, [("a", "3"), ("b", "8")]), ([true, true], true));
        assert_eq!(read(5, [("a", "4"), ("b", "8")]), ([true, false], false));
        // Whoever has gone is waited for no longer.
        assert_eq!(read(6, [("a", "5"), ("c", "1")]), ([true, false], false));
        pulses.forget();
        assert_eq!(pulses.of(at(6), "a"), Pulse::Silent);
    }
}
