//! Hostile inputs in bulk: no panic, no stuck lane, and what is let through keeps every bound.
//! `make fuzz` runs a million; see docs/TESTING.md for seeds, counts and how to have a case again.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

/// Thousandths of all inputs for each subject; the rest (50) goes to the gateway's door, whose
/// tests are beside its code.
mod share {
    pub const FRAMES: u64 = 450;
    pub const EVENTS: u64 = 250;
    pub const PUSHES: u64 = 100;
    pub const IDS: u64 = 60;
    pub const ENTRIES: u64 = 55;
    pub const CALLS: u64 = 25;
    pub const SOCKETS: u64 = 10;
}

mod actors;
mod bounds;
mod calls;
mod entries;
mod events;
mod frames;
mod ids;
mod neighbours;
mod pushes;
mod reads;
mod sockets;
