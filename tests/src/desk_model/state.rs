//! What there is, in the model: users, conversations and their logs.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_shared::protocol::{Lang, Role};

/// A conversation's number in the model.
pub type Conv = usize;

/// A user who is connected, or lost and awaited.
#[derive(Debug, Clone)]
pub struct User {
    /// Connections in the order of opening, with the number of the last frame taken.
    pub sockets: Vec<(String, u64)>,
    /// Which of them resume.
    pub resume: BTreeSet<String>,
    /// Set while the user is lost and awaited.
    pub lost: Option<Lost>,
    /// Language.
    pub lang: Lang,
    /// Role.
    pub role: Role,
    /// Set while on duty.
    pub duty: Option<Duty>,
    /// The conversation as a customer.
    pub conversation: Option<Conv>,
    /// The place in the queue that they know.
    pub told: u64,
}

/// How long a lost user is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Until when on the shard's clock.
    pub until: u64,
    /// Whether the timer is set; otherwise its event is on its way.
    pub timer: bool,
}

/// A staff member's duty.
#[derive(Debug, Clone)]
pub struct Duty {
    /// Name, as a JSON string.
    pub name: String,
    /// Most conversations at a time.
    pub max: u32,
    /// When they came on duty.
    pub since: u64,
    /// When they got their latest conversation, or came on duty.
    pub latest: u64,
    /// Open conversations in the order of assignment.
    pub open: Vec<Conv>,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The event that began it.
    pub born: String,
    /// The customer; nobody in a direct conversation.
    pub customer: String,
    /// When they asked.
    pub ticket: u64,
    /// How it stands.
    pub state: State,
    /// Whose it is or was last.
    pub staff: Option<String>,
    /// Whether the customer has left messages, and not written to staff since while they were here.
    pub left: bool,
    /// Whether they have written to staff since without being here.
    pub answered: bool,
    /// Earlier staff, the latest last.
    pub past: Vec<String>,
    /// Up to which place somebody's devices and they themselves have got.
    pub marks: BTreeMap<String, Marks>,
    /// Places of recalled messages, and of the lines that say so.
    pub recalled: BTreeMap<usize, usize>,
    /// Its log.
    pub log: Vec<Line>,
}

/// How far somebody has got in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Delivered up to this place.
    pub delivered: usize,
    /// Read up to this place.
    pub read: usize,
}

/// How a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In a queue, with so many messages and bytes kept.
    Waiting {
        /// Whose queue.
        queue: String,
        /// Messages kept.
        words: usize,
        /// Their bytes.
        bytes: usize,
        /// Until when it waits, if messages were left.
        left: Option<Idle>,
    },
    /// With a staff member.
    Open {
        /// Who.
        staff: String,
        /// Redis's clock at the assignment, at the earliest.
        at: u64,
        /// When it counts as idle.
        idle: u64,
        /// When its timer is due; `None` while the timer's event is on its way.
        timer: Option<u64>,
    },
    /// Over.
    Ended,
    /// Between two users, since this one began it.
    Direct {
        /// Both, in order.
        members: [String; 2],
        /// When its expiry was set.
        renewed: u64,
    },
}

/// Until when a conversation goes on without the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// When it ends.
    pub until: u64,
    /// When its timer is due; `None` while the timer's event is on its way.
    pub timer: Option<u64>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// customer, staff, user or system.
    pub from: &'static str,
    /// Who made it.
    pub uid: String,
    /// message, assigned, ended, requeued or recalled.
    pub kind: &'static str,
    /// The words, or what is to be known.
    pub value: String,
    /// The sender's id.
    pub reference: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) to: Option<String>,
    pub(super) ack: Acked,
}

/// What an ack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// Where the message is.
    pub conversation: Conv,
    /// Its place.
    pub seq: usize,
}
