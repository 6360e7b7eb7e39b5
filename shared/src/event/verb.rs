//! What a client's frame says, as an entry's fields and back.

use super::{
    DecodeError,
    fields::{Fields, json_text, seq},
};
use crate::{
    ids::{ClientId, ConversationId, MessageId, MessageRef, Uid},
    protocol::{
        frame::{self, Mark, Verb},
        resume,
    },
};

/// Its name in the log.
pub(super) fn name(verb: &Verb) -> &'static str {
    match verb {
        Verb::StaffOnline { .. } => "staff_online",
        Verb::StaffOffline => "staff_offline",
        Verb::CustomerConnect => "customer_connect",
        Verb::CustomerLeave => "customer_leave",
        Verb::Message { .. } => "message",
        Verb::Close { .. } => "close_conversation",
        Verb::Mark { mark, .. } => mark.as_str(),
        Verb::Recall { .. } => "recall",
        Verb::Resume { .. } => "resume",
        Verb::Direct { .. } => "direct",
    }
}

/// Hands its fields to `put`, without its name.
pub(super) fn write(verb: &Verb, mut put: impl FnMut(&'static str, &str)) {
    match verb {
        Verb::StaffOnline { name, max } => {
            if let Some(name) = name {
                put("name", name);
            }
            if let Some(max) = max {
                put("max", &max.to_string());
            }
        }
        Verb::StaffOffline | Verb::CustomerConnect | Verb::CustomerLeave => {}
        Verb::Message {
            body,
            id,
            conversation,
        } => {
            put("body", body);
            if let Some(id) = id {
                put("id", id.as_str());
            }
            if let Some(conversation) = conversation {
                put("conversation", conversation.as_str());
            }
        }
        Verb::Close { conversation } => {
            if let Some(conversation) = conversation {
                put("conversation", conversation.as_str());
            }
        }
        Verb::Mark {
            conversation,
            up_to,
            ..
        } => {
            put("conversation", conversation.as_str());
            put("up_to", &up_to.to_string());
        }
        Verb::Recall {
            conversation,
            seq,
            message,
            id,
        } => {
            put("conversation", conversation.as_str());
            put("seq", &seq.to_string());
            if let Some(message) = message {
                put("message", message.as_str());
            }
            if let Some(id) = id {
                put("id", id.as_str());
            }
        }
        Verb::Resume {
            replaces,
            positions,
        } => {
            if let Some(replaces) = replaces {
                put("replaces", replaces.as_str());
            }
            if !positions.is_empty() {
                put("positions", &resume::encode(positions));
            }
        }
        Verb::Direct { to, body, id } => {
            put("to", to.as_str());
            put("body", body);
            if let Some(id) = id {
                put("id", id.as_str());
            }
        }
    }
}

/// Reads the one with this name, if there is one.
pub(super) fn read<'a, G: Fn(&str) -> Option<&'a str>>(
    name: &str,
    fields: &Fields<'_, G>,
) -> Result<Option<Verb>, DecodeError> {
    let words = || fields.parse("body", |field| json_text(field, frame::is_words));
    Ok(Some(match name {
        "staff_online" => Verb::StaffOnline {
            name: fields.optional("name", |field| json_text(field, frame::is_name))?,
            max: fields.optional("max", str::parse)?,
        },
        "staff_offline" => Verb::StaffOffline,
        "customer_connect" => Verb::CustomerConnect,
        "customer_leave" => Verb::CustomerLeave,
        "message" => Verb::Message {
            body: words()?,
            id: fields.optional("id", MessageRef::parse)?,
            conversation: fields.optional("conversation", ConversationId::parse)?,
        },
        "close_conversation" => Verb::Close {
            conversation: fields.optional("conversation", ConversationId::parse)?,
        },
        "delivered" => mark(fields, Mark::Delivered)?,
        "read" => mark(fields, Mark::Read)?,
        "recall" => Verb::Recall {
            conversation: fields.parse("conversation", ConversationId::parse)?,
            seq: fields.parse("seq", seq)?,
            message: fields.optional("message", MessageId::parse)?,
            id: fields.optional("id", MessageRef::parse)?,
        },
        "resume" => Verb::Resume {
            replaces: fields.optional("replaces", ClientId::parse)?,
            positions: fields
                .optional("positions", resume::decode)?
                .unwrap_or_default(),
        },
        "direct" => Verb::Direct {
            to: fields.parse("to", Uid::parse)?,
            body: words()?,
            id: fields.optional("id", MessageRef::parse)?,
        },
        _ => return Ok(None),
    }))
}

fn mark<'a, G: Fn(&str) -> Option<&'a str>>(
    fields: &Fields<'_, G>,
    mark: Mark,
) -> Result<Verb, DecodeError> {
    Ok(Verb::Mark {
        conversation: fields.parse("conversation", ConversationId::parse)?,
        up_to: fields.parse("up_to", seq)?,
        mark,
    })
}
