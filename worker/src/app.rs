//! What an App is to the worker: a name, its Lua transitions, and a pure function from an event to
//! the transition that applies it.

use frontdesk_shared::{event::Event, ids::EventId};

use crate::library::Answer;

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
    /// What a quicker way of it takes beside that, if the worker remembers enough.
    pub hint: Option<Hint>,
}

/// What a worker remembers of an entry's circumstances: the script takes the quick way of the transition if it is still
/// so, and else the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The hash of which the script reads a field for all entries of a call at once.
    pub hash: String,
    /// That field. Its number among them is handed over as `number`.
    pub field: String,
    /// The mark that must stand there. Handed over as `mark`, the first of the quick way's own fields: the other way does
    /// not see these.
    pub mark: String,
    /// What many entries have in common.
    pub side: &'static str,
    /// What else the quick way takes.
    pub fields: Fields,
}

impl Transition {
    /// A field's value, "" if it has none.
    pub fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(it, _)| *it == name);
        field.map_or("", |(_, value)| value)
    }
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

    /// A memory for one reader.
    fn memory(&self) -> Box<dyn Memory>;
}

/// What the reader of some lanes of a shard remembers for an App from call to call, to give hints. It sees every entry of
/// its lanes that decodes, in their order, as long as it remembers anything.
pub trait Memory: Send {
    /// As [`App::prepare`], with a hint if it remembers what that takes. What comes after this event in its lane may be
    /// prepared before it is settled.
    fn prepare(&mut self, id: EventId, event: &Event) -> Transition;

    /// What became of an entry.
    fn settle(&mut self, id: EventId, transition: &Transition, answer: &Answer);

    /// Somebody else may have applied entries of these lanes, or one has failed: nothing remembered is sure any more.
    fn forget(&mut self);
}
