//! What happened to whom, in the order in which the test saw it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Who a fault is written down for.
pub const FAULTS: &str = "fault";

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Record {
    /// When, since the beginning.
    pub at: Duration,
    /// `site/uid`, or [`FAULTS`].
    pub who: String,
    /// On which of all sockets; 0 for faults.
    pub socket: u64,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone)]
pub enum What {
    /// A message was sent.
    Said {
        /// The sender's own id of it.
        reference: String,
        /// Its words.
        words: String,
    },
    /// Any other frame was sent.
    Did(String),
    /// A frame came.
    Told(Value),
    /// The server ended the socket, or the network did: the close code, or why.
    Lost(String),
    /// The person ended the socket.
    Left,
    /// Something was done to the cluster.
    Fault(String),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        let Self { who, socket, .. } = self;
        match &self.what {
            What::Said { reference, words } => {
                write!(f, "{at:9.3} {who} #{socket} says {reference}: {words:?}")
            }
            What::Did(frame) => write!(f, "{at:9.3} {who} #{socket} sends {frame}"),
            What::Told(frame) => write!(f, "{at:9.3} {who} #{socket} is told {frame}"),
            What::Lost(why) => write!(f, "{at:9.3} {who} #{socket} is cut off: {why}"),
            What::Left => write!(f, "{at:9.3} {who} #{socket} leaves"),
            What::Fault(what) => write!(f, "{at:9.3} *** {what}"),
        }
    }
}

/// The records so far; clones write into the same.
#[derive(Debug, Clone)]
pub struct History {
    began: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            records: Arc::default(),
        }
    }
}

impl History {
    /// Writes something down.
    pub fn note(&self, who: &str, socket: u64, what: What) {
        let mut records = self.lock();
        records.push(Record {
            at: self.began.elapsed(),
            who: who.to_owned(),
            socket,
            what,
        });
    }

    /// Writes down what was done to the cluster.
    pub fn fault(&self, what: impl Into<String>) {
        self.note(FAULTS, 0, What::Fault(what.into()));
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner) // a list, never half-written
    }
}

/// What happened around a record: the last fault before it, and what the same person lived through.
pub fn around(records: &[Record], index: usize) -> Vec<String> {
    const EACH_WAY: usize = 6;
    let Some(record) = records.get(index) else {
        return Vec::new();
    };
    let fault = records[..index].iter().rfind(|other| other.who == FAULTS);
    let same = |other: &&Record| other.who == record.who;
    let before: Vec<_> = records[..index].iter().filter(same).collect();
    let after = records[index + 1..].iter().filter(same).take(EACH_WAY);
    let before = before[before.len().saturating_sub(EACH_WAY)..].iter();
    let mut lines: Vec<String> = fault.iter().map(|record| format!("    {record}")).collect();
    lines.extend(before.map(|record| format!("    {record}")));
    lines.push(format!("--> {record}"));
    lines.extend(after.map(|record| format!("    {record}")));
    lines
}
