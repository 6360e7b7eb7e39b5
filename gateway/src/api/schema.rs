//! The shapes of bodies, answers and parameters in `openapi.json`. They are only described here: bodies are read by the
//! rules of frames, answers are joined from what scripts return. That both are as described is what
//! `tests/tests/api/schema.rs` looks at.
#![allow(dead_code, reason = "described, not made")]
#![allow(clippy::struct_field_names, reason = "the names are the wire's")]

use utoipa::{IntoParams, ToSchema};

/// Words into a conversation.
#[derive(ToSchema)]
pub(crate) struct Words {
    /// At most 16 KiB of UTF-8.
    #[schema(min_length = 1, example = "Hello")]
    message: String,
}

/// Words to a user.
#[derive(ToSchema)]
pub(crate) struct DirectWords {
    /// The uid of who is to have them.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", example = "bob")]
    to: String,
    /// At most 16 KiB of UTF-8.
    #[schema(min_length = 1, example = "Hello")]
    message: String,
}

/// How far somebody has got.
#[derive(ToSchema)]
pub(crate) struct UpTo {
    /// The `seq` of the last entry. Marks only move forward, and not beyond the newest entry.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_992_u64)]
    up_to: u64,
}

/// Which message is meant.
#[derive(ToSchema)]
pub(crate) struct Recall {
    /// The id that the message must have.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    message_id: Option<String>,
}

/// What a visitor may wish for.
#[derive(ToSchema)]
pub(crate) struct VisitorWishes {
    /// The tenant; `default` without one.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    site: Option<String>,
    /// `zh-CN` or `en`.
    #[schema(pattern = "^(zh|en)(-[A-Za-z]+)?$")]
    lang: Option<String>,
}

/// Words are stored.
#[derive(ToSchema)]
pub(crate) struct Stored {
    /// Where.
    conversation: String,
    /// Their place there, from 1.
    seq: u64,
    /// Their id, unique in the cluster.
    id: String,
    /// When, in ms since 1970.
    time: u64,
    /// The customer waits: they are kept for the staff.
    #[schema(required = false)]
    waiting: bool,
}

/// How far a user has got in a conversation.
#[derive(ToSchema)]
pub(crate) struct Receipt {
    conversation: String,
    /// The user.
    uid: String,
    /// Up to which `seq` entries have reached a device.
    delivered: u64,
    /// Up to which they were seen.
    read: u64,
    /// How many messages of the other side are not.
    unread: u64,
}

/// A message was taken back.
#[derive(ToSchema)]
pub(crate) struct Recalled {
    conversation: String,
    /// The `seq` of the message.
    of: u64,
    /// Its id.
    of_id: String,
    /// Who took it back.
    uid: String,
    /// The place of this entry.
    seq: u64,
    id: String,
    /// The id of the entry before.
    #[schema(required = false)]
    prev: String,
    time: u64,
}

/// A conversation has ended.
#[derive(ToSchema)]
pub(crate) struct Ended {
    conversation: String,
    /// `closed` by staff, or `customer_left`.
    reason: String,
}

/// A user was revoked.
#[derive(ToSchema)]
pub(crate) struct Revoked {
    uid: String,
    /// Tokens made until this second let nobody in.
    before: u64,
}

/// An entry of a conversation's log.
#[derive(ToSchema)]
pub(crate) struct Entry {
    /// Its place, 1..n without holes.
    seq: u64,
    id: String,
    /// The id of the entry before.
    #[schema(required = false)]
    prev: String,
    /// When, in ms since 1970.
    time: u64,
    /// `message`, `assigned`, `ended`, `requeued` or `recalled`.
    kind: String,
    /// `customer`, `staff`, `user` or `system`.
    from: String,
    uid: String,
    /// The words of a message.
    #[schema(required = false)]
    message: String,
    /// The message was taken back.
    #[schema(required = false)]
    recalled: bool,
    /// Of `recalled`: which message.
    #[schema(required = false)]
    of: u64,
    /// Of `ended` and `requeued`: why.
    #[schema(required = false)]
    reason: String,
}

/// A part of a conversation's log.
#[derive(ToSchema)]
pub(crate) struct History {
    conversation: String,
    entries: Vec<Entry>,
    /// There are further ones in the same direction.
    more: bool,
}

/// A conversation as one of its sides sees it.
#[derive(ToSchema)]
pub(crate) struct Conversation {
    conversation: String,
    /// `waiting`, `open`, `ended` or `direct`.
    state: String,
    /// The uid of the other side.
    #[schema(required = false)]
    with: String,
    /// The display name of the staff member.
    #[schema(required = false)]
    name: String,
    /// The place of the newest entry.
    seq: u64,
    /// Its id.
    #[schema(required = false)]
    id: String,
    unread: u64,
    read: u64,
    delivered: u64,
    peer_read: u64,
    peer_delivered: u64,
    /// The place in the queue, from 1.
    #[schema(required = false)]
    queue: u64,
    /// The newest message.
    #[schema(required = false)]
    last: Entry,
    /// Where one conversation is asked for: the uids of its sides, the customer first.
    #[schema(required = false)]
    members: Vec<String>,
}

/// Conversations, the last changed first.
#[derive(ToSchema)]
pub(crate) struct Conversations {
    conversations: Vec<Conversation>,
    more: bool,
    /// Leads to the next page.
    #[schema(required = false)]
    before: String,
}

/// Somebody on duty.
#[derive(ToSchema)]
pub(crate) struct StaffMember {
    uid: String,
    #[schema(required = false)]
    name: String,
    /// Conversations that they have.
    open: u64,
    /// How many they take.
    max: u64,
    /// Customers who wait for them.
    waiting: u64,
    /// Their last socket was lost, and they may come back.
    lost: bool,
}

/// Who is on duty, the shortest queue first.
#[derive(ToSchema)]
pub(crate) struct Staff {
    /// How many there are.
    on_duty: u64,
    staff: Vec<StaffMember>,
    more: bool,
}

/// The queue of a staff member.
#[derive(ToSchema)]
pub(crate) struct Queue {
    staff: String,
    waiting: u64,
}

/// Somebody who waits.
#[derive(ToSchema)]
pub(crate) struct Waits {
    customer: String,
    conversation: String,
    /// When the conversation began, in ms since 1970.
    since: u64,
}

/// Who waits where.
#[derive(ToSchema)]
pub(crate) struct Queues {
    /// Redis's clock, in ms since 1970.
    time: u64,
    /// How many are on duty.
    on_duty: u64,
    /// How many wait, in all queues.
    waiting: u64,
    /// How many in the one queue of the policy `shared`.
    shared: u64,
    /// How many have left messages while nobody was on duty.
    left: u64,
    /// The queues of staff on duty, the shortest first.
    queues: Vec<Queue>,
    more: bool,
    /// Those who have waited longest, at most 20.
    longest: Vec<Waits>,
}

/// Opens one socket, once, on any gateway.
#[derive(ToSchema)]
pub(crate) struct Ticket {
    ticket: String,
    expires_in_s: u64,
}

/// An anonymous customer.
#[derive(ToSchema)]
pub(crate) struct Visitor {
    /// Known again by this.
    token: String,
    token_expires_in_s: u64,
    uid: String,
    site: String,
    ticket: String,
    expires_in_s: u64,
}

/// What was not done, and why (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails {
    /// Leads to the table of problems.
    r#type: String,
    /// What it is, for developers.
    title: String,
    status: u16,
    /// For programs; stable.
    code: String,
    /// For people, in the asker's language where the code is a notice's.
    detail: String,
    /// Which field, parameter or header is at fault.
    #[schema(required = false)]
    field: String,
    /// Ask again no earlier than that.
    #[schema(required = false)]
    retry_after_ms: u64,
    /// Ask again under this key: it is done once.
    #[schema(required = false)]
    idempotency_key: String,
}

/// Which conversation.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfConversation {
    /// Its id.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    conversation: String,
}

/// Which message.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfMessage {
    /// The conversation's id.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    conversation: String,
    /// The message's place in it.
    #[param(minimum = 1, maximum = 9_007_199_254_740_992_u64)]
    seq: u64,
}

/// Which user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfUser {
    /// Their uid.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    uid: String,
}

/// Once for each key.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Once {
    /// The same key again within a day has the same answer and does nothing more; with another body it is refused
    /// (422). At least the last 256 keys of a user are remembered. Without one, repeating does it again.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
    )]
    key: String,
}

/// A page of a log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfLog {
    /// Go back from this `seq`, newest first. Without `before` and `after`: from the newest.
    #[param(minimum = 1, maximum = 9_007_199_254_740_992_u64)]
    before: Option<u64>,
    /// Go on from this `seq`, oldest first. Not together with `before`.
    #[param(minimum = 0, maximum = 9_007_199_254_740_992_u64)]
    after: Option<u64>,
    /// Most entries.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u64>,
}

/// A page of a list of conversations.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfConversations {
    /// What the page before has said.
    #[param(pattern = "^[0-9]{1,15}:[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    before: Option<String>,
    /// Most conversations.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u64>,
}

/// A part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PartOfList {
    /// How many to leave out.
    #[param(minimum = 0, maximum = 1_000_000, default = 0)]
    offset: Option<u64>,
    /// Most of them.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u64>,
}
