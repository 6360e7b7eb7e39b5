//! What an App is to the worker: a name, its Lua transitions, and a pure function from an event to
//! the transition that applies it.

use frontdesk_shared::event::Event;

/// Named values handed to a script.
pub type Fields = Vec<(&'static str, String)>;

/// One Lua file of a library.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The file's name, for messages.
    pub name: &'static str,
    /// Its text.
    pub code: &'static str,
}

/// A transition to be run by the apply script: its name in the Lua table `T`, and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub fields: Fields,
}

/// An application of the event log. All workers of a cluster run the same one.
pub trait App: Send + Sync + 'static {
    /// The App's name, written to Redis at first boot.
    fn name(&self) -> &'static str;

    /// The App's part of the Lua library: each file adds to the tables `D` and `T`.
    fn sources(&self) -> &'static [Source];

    /// Settings that go with every call. Workers of one cluster must agree on them.
    fn settings(&self) -> Fields;

    /// Decides, encodes and digests everything that Lua should not: pure, no I/O, no clock.
    fn prepare(&self, event: &Event) -> Transition;
}
