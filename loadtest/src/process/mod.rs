//! The load is made by children of this program: one process may open only so many files, and one
//! thread makes only so much load. They are this program again, with the hidden command `child`;
//! orders go in by standard input, reports come out by standard output, one JSON line each. A child
//! ends when its input does, so when the parent is gone.

pub(crate) mod child;
pub(crate) mod crew;

use serde::{Deserialize, Serialize};

use crate::{context::Plan, count::Counts, latency::Latencies};

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// What to do; prepare it.
    Plan(Box<Plan>),
    /// All are prepared: begin, or go on to the next stage.
    Go,
    /// End early: nothing new, finish what is under way.
    Stop,
}

/// From a child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// Prepared for the next stage, with so many connections.
    Ready(u64),
    /// What happened in a second.
    Tick(Box<Tick>),
    /// All is finished.
    Done,
    /// It cannot go on, because of this.
    Failed(String),
}

/// One second of one child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// Which second since the beginning.
    pub(crate) second: u64,
    /// Microseconds since the beginning.
    pub(crate) elapsed_us: u64,
    /// Counts since the beginning of the process.
    pub(crate) counts: Counts,
    /// Latencies of this second.
    pub(crate) latencies: Latencies,
    /// The child's own processor time so far, in µs.
    pub(crate) cpu_us: u64,
}
