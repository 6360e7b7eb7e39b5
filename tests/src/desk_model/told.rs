//! What connections are told, in the model.

use frontdesk_shared::protocol::Lang;

use super::{Conv, Marks};

/// What a connection is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The connection.
    pub client: String,
    /// In which language.
    pub lang: Lang,
    /// What.
    pub what: What,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// That the connection is open.
    Welcome(String),
    /// That it is closed with this code.
    Close(u16),
    /// A row of the table of notices.
    Notice {
        /// The row's key.
        key: &'static str,
        /// Further fields.
        fields: Vec<(&'static str, Field)>,
    },
    /// The words of a line of a log.
    Words(Conv, usize),
    /// That there were words.
    Withheld(Conv, usize),
    /// Somebody's marks in a conversation; to themselves with what is unread.
    Receipt(Conv, String, Marks, Option<usize>),
    /// That a line of a log is recalled, with the id of who asked for it.
    Recalled(Conv, usize, Option<String>),
    /// To who asks by a request: that a conversation has ended, and why.
    Ended(Conv, &'static str),
    /// How everything stands.
    Snapshot {
        /// Who asks.
        uid: String,
        /// Name and places of who is on duty.
        duty: Option<(String, u32)>,
        /// Their conversations, in any order.
        conversations: Vec<Standing>,
    },
    /// What came after a position, of a conversation by its name.
    History {
        /// Which one, as it was asked for.
        name: String,
        /// The conversation and the places from which (exclusive) to which to tell; `None` if it is not
        /// theirs.
        lines: Option<(Conv, usize, usize)>,
        /// What the client has is not what happened.
        reset: bool,
        /// Places of messages that are recalled by now.
        recalled: Vec<usize>,
    },
}

/// A conversation as one of its members sees it in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub conv: Conv,
    /// waiting, open or ended.
    pub state: &'static str,
    /// Who is on the other side.
    pub with: Option<String>,
    /// The staff member's name, for the customer.
    pub name: Option<String>,
    /// How long its log is.
    pub seq: usize,
    /// How many messages of the other side were not read.
    pub unread: usize,
    /// How far they have got.
    pub own: Marks,
    /// How far the other side has.
    pub peer: Marks,
    /// The place in the queue.
    pub queue: Option<u64>,
}

/// An id that no entry has: a client that names it is wrong about what happened.
pub const WRONG_ID: &str = "0.0.1-1.9";

/// A field of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// JSON.
    Json(String),
    /// The name of a conversation.
    Conversation(Conv),
    /// Place, id, predecessor and time of a line of a log.
    Line(Conv, usize),
}
