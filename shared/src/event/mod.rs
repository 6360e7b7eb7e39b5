//! What is appended to a lane: one stream entry of text fields, versioned by `v`: flat, or packed into one.
//!
//! Gateways append what their sockets did; timers and scripts append the rest (their fields are
//! written in Lua, in `worker/lua`). A decoder meets every entry as if it were hostile: ids and
//! bounds are checked again, because a log outlives the program that wrote it.
//!
//! Here is what there is; `codec` writes and reads it, `verb` what a client's frame says, [`request`] what the
//! HTTP API is asked to do, [`hook`] to webhooks, `fields` looks at single values, [`packed`] puts fields into one.

mod codec;
mod fields;
pub mod hook;
pub mod packed;
pub mod request;
#[cfg(test)]
mod tests;
mod verb;

use crate::{
    ids::{BootId, ClientId, ConversationId, Site, Uid},
    protocol::{Lang, Role, frame::Verb},
};
pub use hook::{HookAct, HookSpec};
pub use request::{Act, Request};

/// The newest version of entries that this program can read: [`packed`].
pub const VERSION: u32 = 2;
/// The version of an entry whose fields are those of the stream's entry; scripts write these.
const FLAT: &str = "1";
/// The version of an entry whose fields are packed.
const PACKED: &str = "2";

/// The one queue of the policy `shared`; no uid looks like it.
pub const SHARED_QUEUE: &str = "-";

/// One event: who, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The tenant.
    pub site: Site,
    /// The user whose lane this is in.
    pub uid: Uid,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A socket is there. Idempotent.
    Open {
        /// The connection.
        client: ClientId,
        /// The user's language from here on.
        lang: Lang,
        /// What the handshake allows.
        role: Role,
        /// What its token says, where there are tokens.
        proof: Option<Proof>,
    },
    /// A socket is gone. Idempotent.
    Close {
        /// The connection.
        client: ClientId,
        /// Closed with 1000 or without a code, so on purpose.
        clean: bool,
    },
    /// The user is revoked: tokens made until now are void. Idempotent.
    Revoke {
        /// For how long such a token may live, in seconds.
        keep_s: u64,
    },
    /// A client sent a frame.
    Verb {
        /// The connection.
        client: ClientId,
        /// The frame's number on that connection, from 1.
        n: u64,
        /// The frame.
        verb: Verb,
    },
    /// The HTTP API was asked to do something.
    Request(Box<Request>),
    /// A conversation's idle timer is due.
    IdleTimer {
        /// The customer's conversation.
        conversation: ConversationId,
    },
    /// A lost user's time to come back is over.
    LostTimer {
        /// Until when on the shard's clock their place was kept: a later loss has another time.
        lost: u64,
    },
    /// A gateway is dead: close what it held. An event of a shard, in the lane 0 of each.
    GatewayDead {
        /// The boot that is dead.
        boot: BootId,
    },
    /// Places in queues may have changed: tell those concerned. Appended by the tick.
    QueueMoved,
    /// A queue has lost its staff member: continue telling those who wait in it.
    QueueLost {
        /// The staff member, or [`SHARED_QUEUE`].
        queue: String,
        /// The last ticket that was in the queue then.
        upto: u64,
    },
}

/// What a connection's token says beside who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// Display name as a JSON string.
    pub name: Option<String>,
}

/// Why an entry is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program: leave the lane to a worker that knows it.
    #[error("entry of unknown version {0}")]
    UnknownVersion(String),
    /// Of a known version, but not decodable: poison. Names the field, never its content.
    #[error("entry does not decode: {0}")]
    Poison(&'static str),
}

impl Event {
    /// The entry's fields in the order they are written.
    pub fn encode(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        self.write(|name, value| fields.push((name, value.to_owned())));
        fields
    }

    /// Hands the same fields to `put` without copying what the event holds.
    pub fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        put("v", FLAT);
        put("site", self.site.as_str());
        put("uid", self.uid.as_str());
        codec::write(&self.kind, put);
    }

    /// The arguments of an XADD behind the place: two fields, whatever the event has. Each field of an entry costs Redis
    /// as it is parsed, stored, written to the append-only file and read.
    pub fn pack(&self) -> [Vec<u8>; 4] {
        let mut packed = Vec::with_capacity(packed::USUAL_BYTES);
        self.write(|name, value| {
            if name != "v" {
                packed::put(&mut packed, name);
                packed::put(&mut packed, value);
            }
        });
        [b"v".to_vec(), PACKED.into(), packed::FIELD.into(), packed]
    }

    /// Reads an entry's fields, given as a lookup by name.
    pub fn decode<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, DecodeError> {
        let version = get("v").ok_or(DecodeError::Poison("v"))?;
        if version != FLAT && version != PACKED {
            return Err(match version.parse::<u32>() {
                Ok(newer) if newer > VERSION => DecodeError::UnknownVersion(newer.to_string()),
                _ => DecodeError::Poison("v"),
            });
        }
        let fields = fields::Fields { get: &get };
        Ok(Self {
            site: fields.parse("site", Site::parse)?,
            uid: fields.parse("uid", Uid::parse)?,
            kind: codec::read(&fields)?,
        })
    }
}
