//! The bounds of what scripts do, which Lua knows as the table `L`.

use frontdesk_shared::protocol::{
    MAX_CONNECTIONS_PER_USER, MAX_POSITIONS, MAX_WAITING_BYTES, MAX_WAITING_MESSAGES,
};

use crate::hooks;

/// Most users that one call may touch; what is more is finished by continuation events.
pub const MAX_TOUCHED_USERS: usize = 200;
/// About how many dead letters a shard keeps.
pub const MAX_DEAD_LETTERS: usize = 10_000;
/// Most fields of an entry that its dead letter keeps; no event has half as many.
pub const MAX_DEAD_LETTER_FIELDS: usize = 64;
/// Most timers that one tick of a shard turns into events.
pub const MAX_TIMERS_PER_TICK: usize = 100;
/// Most that a shard's clock advances in one tick, in ms.
pub const MAX_ADVANCE_MS: u64 = 2000;
/// Most sites of a shard that the metrics look at.
pub const MAX_SITES_IN_STATS: usize = 200;
/// Most packed texts whose meaning the apply script keeps: an App's transitions and the sites of a shard.
pub const MAX_KEPT: usize = 1000;
/// Whole numbers up to this one, and their texts, are not converted but looked up.
pub const SMALL_NUMBERS: u64 = 1000;
/// Most bytes of earlier words that staff who take a conversation over are sent.
pub const MAX_PUSHED_WORDS_BYTES: u64 = 64 * 1024;
/// Bytes of such words after which a call takes nobody over any more: they may all be for one socket.
pub const MAX_FILLED_BYTES: u64 = 256 * 1024;
/// Most conversations that a user's list holds.
pub const MAX_CONVERSATIONS_PER_USER: usize = 1000;
/// Most conversations of a list that are looked at, whether they are forgotten, when one is added.
pub const MAX_PRUNED_CONVERSATIONS: usize = 10;
/// Most conversations at either end of a full list that are looked at for one that is over.
pub const MAX_DROPPABLE: usize = 100;
/// How old the expiry of a direct conversation may be before a message renews it, in milliseconds; not
/// more than the retention.
pub const DIRECT_RENEW_MS: u64 = 60 * 60 * 1000;
/// Most earlier staff that a conversation remembers.
pub const MAX_PAST_STAFF: usize = 50;
/// Most conversations in the snapshot that answers a `resume`; `conversations` shows the others.
pub const MAX_SNAPSHOT: u64 = 50;
/// Most names of a user's list that are looked at for it: some may have expired.
pub const MAX_LOOKED_AT: u64 = 200;
/// Most entries of one conversation that a `resume` is answered with; `history` has the others.
pub const MAX_RESUMED_ENTRIES: u64 = 100;
/// Most bytes of them; one entry is given always.
pub const MAX_RESUMED_PAGE_BYTES: u64 = 64 * 1024;
/// Most bytes of entries of all conversations together, and what the last one is longer by: with all
/// else that a call pushes it must fit into a socket's queue.
pub const MAX_RESUMED_BYTES: u64 = 256 * 1024;
/// So many bytes of an answer to a `resume`, or of words for who takes over, count as one user touched: a call does
/// few of that.
pub const TOUCH_BYTES: u64 = 2048;
/// How long a chain of `queue_moved` events counts as under way without a sign of life, in ms.
pub const MOVING_MS: u64 = 5000;
/// How long a dead gateway is remembered, in milliseconds; by then nothing of it is on its way.
pub const FENCED_MS: u64 = 24 * 60 * 60 * 1000;
/// A sender's ids are kept in two generations of this many.
pub const SENT_IDS: usize = 256;
/// How long a sender's ids are kept, in milliseconds: a day after the last one, and [`SENT_RENEW_MS`].
pub const SENT_MS: u64 = 25 * 60 * 60 * 1000;
/// How much longer than until it is full the bucket of a user who is not here is kept, in milliseconds: events
/// may be applied late.
pub const BUCKET_MS: u64 = 60_000;
/// How old the TTL of a sender's ids may be before it is set again, in milliseconds.
pub const SENT_RENEW_MS: u64 = 60 * 60 * 1000;

/// What stands between the braces of `L` in Lua.
pub(super) fn table() -> String {
    let limits = [
        ("connections", MAX_CONNECTIONS_PER_USER as u64),
        ("words", MAX_WAITING_MESSAGES as u64),
        ("words_bytes", MAX_WAITING_BYTES as u64),
        ("touched", MAX_TOUCHED_USERS as u64),
        ("dead", MAX_DEAD_LETTERS as u64),
        ("dead_fields", MAX_DEAD_LETTER_FIELDS as u64),
        ("timers", MAX_TIMERS_PER_TICK as u64),
        ("advance_ms", MAX_ADVANCE_MS),
        ("sites", MAX_SITES_IN_STATS as u64),
        ("kept", MAX_KEPT as u64),
        ("small", SMALL_NUMBERS),
        ("push_bytes", MAX_PUSHED_WORDS_BYTES),
        ("fill_bytes", MAX_FILLED_BYTES),
        ("sent", SENT_IDS as u64),
        ("sent_ms", SENT_MS),
        ("sent_renew_ms", SENT_RENEW_MS),
        ("bucket_ms", BUCKET_MS),
        ("fenced_ms", FENCED_MS),
        ("moving_ms", MOVING_MS),
        ("snapshot", MAX_SNAPSHOT),
        ("looked", MAX_LOOKED_AT),
        ("page", MAX_RESUMED_ENTRIES),
        ("page_bytes", MAX_RESUMED_PAGE_BYTES),
        ("resume_bytes", MAX_RESUMED_BYTES),
        ("touch_bytes", TOUCH_BYTES),
        ("positions", MAX_POSITIONS as u64),
        ("conversations", MAX_CONVERSATIONS_PER_USER as u64),
        ("droppable", MAX_DROPPABLE as u64),
        ("pruned", MAX_PRUNED_CONVERSATIONS as u64),
        ("past", MAX_PAST_STAFF as u64),
        ("renew_ms", DIRECT_RENEW_MS),
    ];
    let limits = limits.into_iter().chain(hooks::LIMITS);
    let limits: Vec<String> = limits
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    limits.join(", ")
}
