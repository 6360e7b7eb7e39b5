//! Seeded random inputs that can be had again. Every case has a generator of its own, made from the
//! seed, the subject's name and the case's number; a failure prints the line that runs it alone.
//!
//! - `FRONTDESK_FUZZ_CASES`: inputs of all subjects together; [`CASES`] unless set.
//! - `FRONTDESK_FUZZ_SEED`: the seed; [`SEED`] unless set, so that a failure in CI is one here too.
//! - `FRONTDESK_FUZZ_ONLY`: the number of the one case to run.

use std::time::Instant;

use rand::{SeedableRng as _, rngs::StdRng};

/// Inputs of all subjects together in a plain test run.
pub const CASES: u64 = 40_000;
/// The seed of a plain test run.
pub const SEED: u64 = 20_251_122;

/// What is fuzzed, and with how much of the whole.
#[derive(Debug)]
pub struct Subject {
    name: &'static str,
    inputs: u64,
    cases: u64,
    seed: u64,
    only: Option<u64>,
    counts: Vec<(&'static str, u64)>,
    started: Instant,
}

/// One case. Dropped by a panic, it says how to have it again.
#[derive(Debug)]
pub struct Case {
    /// Its number.
    pub number: u64,
    /// Where its inputs come from.
    pub rng: StdRng,
    subject: &'static str,
    seed: u64,
    inputs: u64,
}

impl Subject {
    /// A subject that gets so many thousandths of all inputs, and uses up so many in one case.
    pub fn new(name: &'static str, per_mille: u64, inputs_per_case: u64) -> Self {
        let wanted = setting("FRONTDESK_FUZZ_CASES").unwrap_or(CASES) * per_mille / 1000;
        let cases = wanted.div_ceil(inputs_per_case).max(1);
        Self {
            name,
            inputs: cases * inputs_per_case,
            cases,
            seed: setting("FRONTDESK_FUZZ_SEED").unwrap_or(SEED),
            only: setting("FRONTDESK_FUZZ_ONLY"),
            counts: Vec::new(),
            started: Instant::now(),
        }
    }

    /// How many cases there are.
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// Its cases: all, or the one that was asked for.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.only.map_or(0..self.cases, |number| number..number + 1)
    }

    /// A case by its number.
    pub fn case(&self, number: u64) -> Case {
        // FNV-1a: any spread of seed, name and number over the generators will do.
        let parts = [self.seed.to_le_bytes(), number.to_le_bytes()].concat();
        let bytes = parts.iter().chain(self.name.as_bytes());
        let state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Case {
            number,
            rng: StdRng::seed_from_u64(state),
            subject: self.name,
            seed: self.seed,
            inputs: self.inputs,
        }
    }

    /// Counts something for the report.
    pub fn count(&mut self, what: &'static str, n: usize) {
        let n = n as u64;
        match self.counts.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count += n,
            None => self.counts.push((what, n)),
        }
    }

    /// How often something was counted.
    pub fn counted(&self, what: &str) -> u64 {
        let found = self.counts.iter().find(|(name, _)| *name == what);
        found.map_or(0, |(_, count)| *count)
    }

    /// Prints what was done. In a whole run each of these must have happened, or it was dull.
    pub fn report(mut self, expected: &[&str]) {
        self.counts.sort_unstable();
        let counts = self.counts.iter().map(|(what, n)| format!("{n} {what}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        eprintln!(
            "fuzz {}: seed {}, {} inputs in {:.1} s: {counts}",
            self.name,
            self.seed,
            self.inputs,
            self.started.elapsed().as_secs_f64()
        );
        for what in expected.iter().filter(|_| self.only.is_none()) {
            assert!(self.counted(what) > 0, "no input was {what}: {counts}");
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "fuzz {}: case {} of {} inputs, seed {}. To have it again:\n  \
                 FRONTDESK_FUZZ_SEED={} FRONTDESK_FUZZ_ONLY={} cargo test -p frontdesk-tests --test fuzz {}::",
                self.subject,
                self.number,
                self.inputs,
                self.seed,
                self.seed,
                self.number,
                self.subject
            );
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}
