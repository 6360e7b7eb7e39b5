//! The history checker: what everybody sent, was promised and saw, against what is written. Reports
//! each broken invariant of these, with what happened around it:
//!
//! - I1 what was acknowledged is in the log exactly once; what was not, at most once.
//! - I2 a log is 1..n without holes, and what a socket saw is the log, without holes.
//! - I3 a sender's messages keep their order.
//! - I4 nobody sees what is not theirs.
//! - I5 nobody has more customers than places.
//! - I6 a conversation has one member of staff, and none after its end.
//! - I7 who asks for staff is answered, moves only forward in a queue, and is not timed out while
//!   talking; no place is free while somebody waits.
//! - I8 only those are registered who are here, and nobody leaves anything behind.
//! - I9 every event is applied once: no dead letters, nothing left to apply.
//! - I10 nobody is shown anything twice.
//!
//! I2, I4 and I10 are judged twice: for each socket, and for each device that resumes, whose view goes
//! on from socket to socket (`devices.rs`).

mod devices;
mod messages;
mod places;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

pub use self::state::{left_behind, presence, rules};
use super::{
    SITES,
    history::{FAULTS, Record, What, around},
    prefix,
};
use crate::{
    conversation_log::Entry,
    redis_dump::{Content, Dump, StreamEntry},
};

/// How many broken invariants a report shows in full.
const SHOWN: usize = 5;

/// Everything that is known after a drill.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Where its chance came from.
    pub seed: u64,
    /// How long it was.
    pub took: Duration,
    /// What happened to whom.
    pub records: Vec<Record>,
    /// The same with what may have been undone, in the order in which it happened.
    pub all: Vec<Record>,
    /// The sockets of devices that resume, and whose they are.
    pub devices: BTreeMap<u64, String>,
    /// What was told and may have been undone by a loss of power.
    pub undone: Vec<Record>,
    /// Who was connected when everybody had settled: sockets and their client ids.
    pub live: BTreeMap<u64, String>,
    /// All of Redis at that moment.
    pub talking: Dump,
    /// All of Redis after everybody had left.
    pub empty: Dump,
    /// Rules that the state broke while people lived.
    pub seen: Vec<String>,
    /// What had not settled in time.
    pub unsettled: Vec<String>,
}

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Broken {
    /// `I1` to `I10`.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: String,
    /// The records around it.
    pub around: Vec<String>,
}

/// All conversation logs, by site and conversation.
type Logs = BTreeMap<(String, String), Vec<Entry>>;

/// Collects what is broken.
struct Report<'e> {
    evidence: &'e Evidence,
    broken: Vec<Broken>,
}

impl Report<'_> {
    fn at(&mut self, index: usize, invariant: &'static str, what: String) {
        let around = around(&self.evidence.records, index);
        self.broken.push(Broken {
            invariant,
            what,
            around,
        });
    }

    /// The same for an index into all that happened.
    fn at_all(&mut self, index: usize, invariant: &'static str, what: String) {
        let around = around(&self.evidence.all, index);
        self.broken.push(Broken {
            invariant,
            what,
            around,
        });
    }

    fn state(&mut self, invariant: &'static str, what: String) {
        self.broken.push(Broken {
            invariant,
            what,
            around: Vec::new(),
        });
    }
}

impl Evidence {
    /// Every broken invariant.
    pub fn check(&self) -> Vec<Broken> {
        let mut report = Report {
            evidence: self,
            broken: Vec::new(),
        };
        let logs = self.logs();
        messages::check(&mut report, &logs);
        devices::check(&mut report, &logs);
        places::check(&mut report, &logs);
        state::check(&mut report);
        report.broken
    }

    /// Panics with a report if anything is broken.
    pub fn assert_sound(&self) {
        let broken = self.check();
        if broken.is_empty() {
            return;
        }
        let mut text = String::new();
        for one in broken.iter().take(SHOWN) {
            let _ = writeln!(text, "{}: {}", one.invariant, one.what);
            for line in &one.around {
                let _ = writeln!(text, "      {line}");
            }
        }
        let all: Vec<_> = broken.iter().map(|one| one.invariant).collect();
        panic!(
            "{} broken ({all:?}), FRONTDESK_SEED={}\n{text}",
            broken.len(),
            self.seed
        );
    }

    /// All conversation logs as they are after the drill.
    fn logs(&self) -> Logs {
        let mut logs = Logs::new();
        for site in SITES {
            let prefix = format!("{}log:", prefix(site));
            for conversation in self.empty.names(&prefix) {
                let entries = self.empty.stream(&format!("{prefix}{conversation}"));
                let entries = entries.into_iter();
                let entries = entries.map(|(id, fields)| {
                    Entry::parse(&id, &fields.into_iter().collect::<BTreeMap<_, _>>())
                });
                let key = (site.to_owned(), conversation.to_owned());
                logs.insert(key, entries.collect());
            }
        }
        logs
    }

    /// The stream of a conversation's log, for who plants a bug in it.
    pub fn log_mut(&mut self, site: &str, conversation: &str) -> &mut Vec<StreamEntry> {
        let key = format!("{}log:{conversation}", prefix(site));
        match self.empty.0.get_mut(&key).map(|kept| &mut kept.content) {
            Some(Content::Stream(entries)) => entries,
            other => panic!("{key} is no log: {other:?}"),
        }
    }

    /// The key of a user.
    pub fn user_key(&self, site: &str, uid: &str) -> String {
        format!("{}u:{uid}", prefix(site))
    }

    /// How many records are such.
    fn count(&self, such: impl Fn(&What) -> bool) -> usize {
        let records = self.records.iter();
        records.filter(|record| such(&record.what)).count()
    }

    /// Messages whose sender was told that they are stored, counted once each.
    pub fn acknowledged(&self) -> usize {
        let acks = self.records.iter().filter_map(|record| match &record.what {
            What::Told(frame) if frame["action"] == "ack" => {
                Some((&record.who, frame["payload"]["ref"].as_str()?))
            }
            _ => None,
        });
        acks.collect::<BTreeSet<_>>().len()
    }

    /// How often somebody was told that what they have is not what is written.
    pub fn resets(&self) -> usize {
        self.told(|frame| frame["action"] == "history" && frame["payload"]["reset"] == true)
    }

    /// How often somebody was told to resume on the same socket.
    pub fn resyncs(&self) -> usize {
        self.told(|frame| frame["action"] == "resync")
    }

    /// How many such frames were told.
    fn told(&self, such: impl Fn(&serde_json::Value) -> bool) -> usize {
        let records = self.all.iter();
        let told = |record: &&Record| matches!(&record.what, What::Told(frame) if such(frame));
        records.filter(told).count()
    }

    /// What the drill was, in one line.
    pub fn summary(&self) -> String {
        let faults = self.records.iter().filter(|record| record.who == FAULTS);
        let refused = self.count(|what| {
            matches!(what, What::Told(frame) if frame["action"] == "error" && !frame["payload"]["ref"].is_null())
        });
        let broken = self.check();
        let of = |text: &str| broken.iter().filter(|one| one.what.contains(text)).count();
        format!(
            "drill: seed {}, {:.0} s, {} faults ({} kills), {} messages acknowledged, {} refused, {} sockets cut off, \
             {} lost, {} doubled, {} undone by a loss of power, {} resumed, {} told to resync, {} resets, {} invariants broken",
            self.seed,
            self.took.as_secs_f64(),
            faults.clone().count(),
            faults
                .filter(|record| record.to_string().contains("kill -9"))
                .count(),
            self.acknowledged(),
            refused,
            self.count(|what| matches!(what, What::Lost(_))),
            of("acknowledged"),
            of("times in the log"),
            messages::not_written(&self.undone, &self.logs()),
            self.told(|frame| frame["action"] == "snapshot"),
            self.resyncs(),
            self.resets(),
            broken.len(),
        )
    }
}

/// The site of somebody.
fn site_of(who: &str) -> &str {
    who.split('/').next().unwrap_or_default()
}

/// The uid of somebody.
fn uid_of(who: &str) -> &str {
    who.split('/').nth(1).unwrap_or_default()
}
