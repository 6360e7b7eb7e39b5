//! What a client sends: JSON text frames `{"action": "...", "payload": {...}}`, and the bare `PING`.

mod payload;

use serde::Deserialize;

use super::{
    MAX_FRAME_BYTES, MAX_NAME_CHARS, MAX_TEXT_BYTES,
    read::Read,
    resume::{Position, Token},
};
use crate::{
    ids::{ClientId, ConversationId, MessageId, MessageRef, Uid},
    token::Secret,
};

pub use payload::Payload;

/// The bare text a client may send to keep its socket alive; no activity of the customer.
pub const PING: &str = "PING";
/// What answers it.
pub const PONG: &str = "PONG";

/// What a client asks for: a frame, decoded and validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// An event of its user's lane: it changes state, so it goes through the log.
    Verb(Verb),
    /// `refresh`: a new token for the same user. Answered by the gateway; the log never sees it.
    Refresh {
        /// The token.
        token: Secret,
        /// The frame's id, named in the answer.
        id: Option<MessageRef>,
    },
    /// `resume`: I keep my place when my socket is lost. The gateway makes a [`Verb::Resume`] of it.
    Resume {
        /// Signed proof of which connection this one replaces.
        token: Option<Token>,
        /// How far the client has seen its conversations.
        positions: Vec<Position>,
    },
    /// A question: the gateway answers it, and nothing changes.
    Read(Read),
    /// `typing`: told to the other side at once or not at all, and kept nowhere.
    Typing {
        /// Which conversation; needed when there is more than one.
        conversation: Option<ConversationId>,
        /// Typing, or no more.
        on: bool,
    },
}

/// What a user does. Texts are JSON strings (quotes included), ready to be joined into outgoing
/// frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `staffOnline`: take customers.
    StaffOnline {
        /// Display name as a JSON string; `None` keeps the present one or the default.
        name: Option<String>,
        /// How many customers at a time; `None` keeps the present value or 1.
        max: Option<u32>,
    },
    /// `staffOffline`: stop taking customers; open conversations end.
    StaffOffline,
    /// `customerConnect`: ask for staff.
    CustomerConnect,
    /// `customerLeave`: end the conversation or leave the queue.
    CustomerLeave,
    /// `message`: words for the other side.
    Message {
        /// The words as a JSON string.
        body: String,
        /// The sender's id, for deduplication and the `ack`.
        id: Option<MessageRef>,
        /// Which conversation; needed when there is more than one.
        conversation: Option<ConversationId>,
    },
    /// `close`: end one conversation.
    Close {
        /// Which one; needed when there is more than one.
        conversation: Option<ConversationId>,
    },
    /// `delivered`, `read`: how far the user has got in a conversation.
    Mark {
        /// Which one.
        conversation: ConversationId,
        /// The `seq` up to which the mark goes.
        up_to: u64,
        /// What was done up to there.
        mark: Mark,
    },
    /// `recall`: take a message of one's own back.
    Recall {
        /// Where it is.
        conversation: ConversationId,
        /// Its place there.
        seq: u64,
        /// Its id, to be checked.
        message: Option<MessageId>,
        /// The sender's id of this frame, for the answer.
        id: Option<MessageRef>,
    },
    /// `resume`: this connection keeps its user's place when it is lost.
    Resume {
        /// The connection that it replaces.
        replaces: Option<ClientId>,
        /// How far the client has seen its conversations.
        positions: Vec<Position>,
    },
    /// `direct`: words to a user of the site; begins or continues their direct conversation.
    Direct {
        /// Who is to have them.
        to: Uid,
        /// The words as a JSON string.
        body: String,
        /// The sender's id, for deduplication and the `ack`.
        id: Option<MessageRef>,
    },
}

impl Verb {
    /// The sender's own id of the frame: what answers it carries it as `ref`.
    pub fn reference(&self) -> Option<&MessageRef> {
        match self {
            Self::Message { id, .. } | Self::Direct { id, .. } | Self::Recall { id, .. } => {
                id.as_ref()
            }
            _ => None,
        }
    }
}

/// What was done with all messages up to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// They have reached a device of the user.
    Delivered,
    /// The user has seen them; so they were delivered.
    Read,
}

impl Mark {
    /// The action, which is also the event's kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// Why a frame was refused: an `error` code, the field at fault, and the frame's `id` if it had a
/// valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A code of the [`super::notice`] table.
    pub code: &'static str,
    /// The name of the field at fault.
    pub field: Option<&'static str>,
    /// The sender's `id`.
    pub reference: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    action: String,
    #[serde(default)]
    payload: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What may stand before a JSON value (RFC 8259 §2).
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Decodes one text frame. Unknown fields are ignored, unknown actions refused.
pub fn decode(text: &str) -> Result<Request, Refusal> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(refuse("too_large", None));
    }
    // serde would also take an array, `["customerLeave"]`, for the envelope.
    if !text.trim_start_matches(BLANKS).starts_with('{') {
        return Err(refuse("bad_json", None));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|_| refuse("bad_json", None))?;
    let payload = Payload(envelope.payload.unwrap_or_default());
    let reference = payload.reference()?;
    payload
        .request(&envelope.action, reference.clone())
        .map_err(|mut refusal| {
            refusal.reference = reference.map(|r| r.to_string());
            refusal
        })
}

/// Whether a text may be somebody's display name.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim().len() == name.len()
}

/// Whether a text may be the words of a message.
pub fn is_words(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len())
}

fn refuse(code: &'static str, field: Option<&'static str>) -> Refusal {
    Refusal {
        code,
        field,
        reference: None,
    }
}

pub(super) fn bad(field: &'static str) -> Refusal {
    refuse("bad_field", Some(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        decode(text).map_or_else(|refusal| refusal.code, |_| "ok")
    }

    #[test]
    fn the_dialect_as_typed_by_hand() {
        assert_eq!(
            decode(r#"{"action":"staffOnline","payload":{"name":"客服1"}}"#),
            Ok(Request::Verb(Verb::StaffOnline {
                name: Some("\"客服1\"".into()),
                max: None
            }))
        );
        assert_eq!(
            decode(r#"{"action":"customerConnect"}"#),
            Ok(Request::Verb(Verb::CustomerConnect))
        );
        assert_eq!(
            decode(r#"{"action":"message","payload":{"message":"你\"好"}}"#),
            Ok(Request::Verb(Verb::Message {
                body: r#""你\"好""#.into(),
                id: None,
                conversation: None
            }))
        );
    }

    #[test]
    fn bad_input_gets_its_code() {
        for (text, expected) in [
            ("", "bad_json"),
            ("nonsense", "bad_json"),
            ("[]", "bad_json"),
            (r#"["customerLeave"]"#, "bad_json"),
            (" [\"message\",{\"message\":\"x\"}]", "bad_json"),
            (" \t\r\n{\"action\":\"customerLeave\"} ", "ok"),
            ("{}", "bad_json"),
            (r#"{"action":1}"#, "bad_json"),
            (r#"{"action":"message","payload":[]}"#, "bad_json"),
            (r#"{"action":"dance"}"#, "unknown_action"),
            (r#"{"action":"message"}"#, "bad_field"),
            (
                r#"{"action":"message","payload":{"message":""}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"message","payload":{"message":7}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"message","payload":{"message":"x","id":"{a}"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"message","payload":{"message":"x","id":"*"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"message","payload":{"message":"x","id":"a\nb"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"close","payload":{"conversation":"{s00}"}}"#,
                "bad_field",
            ),
            (r#"{"action":"typing"}"#, "ok"),
            (r#"{"action":"typing","payload":{"on":"no"}}"#, "bad_field"),
            (r#"{"action":"staffOnline","payload":{"max":0}}"#, "bad_max"),
            (
                r#"{"action":"staffOnline","payload":{"max":-1}}"#,
                "bad_max",
            ),
            (
                r#"{"action":"staffOnline","payload":{"max":"2"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"staffOnline","payload":{"name":"a\u0000"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"staffOnline","payload":{"name":null,"max":2}}"#,
                "ok",
            ),
            (
                r#"{"action":"direct","payload":{"message":"x"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"direct","payload":{"to":"a|b","message":"x"}}"#,
                "bad_field",
            ),
            (r#"{"action":"direct","payload":{"to":"sue"}}"#, "bad_field"),
            (
                r#"{"action":"direct","payload":{"to":"sue","message":"x"}}"#,
                "ok",
            ),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
        let long = format!(
            r#"{{"action":"message","payload":{{"message":"{}"}}}}"#,
            "x".repeat(MAX_TEXT_BYTES + 1)
        );
        assert_eq!(code(&long), "too_large");
    }

    #[test]
    fn marks_and_recalls_name_a_place() {
        for (text, expected) in [
            (
                r#"{"action":"read","payload":{"conversation":"1.1.1-0.1","up_to":0}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"delivered","payload":{"conversation":"1.1.1-0.1","up_to":9007199254740993}}"#,
                "bad_field",
            ),
            (r#"{"action":"read","payload":{"up_to":1}}"#, "bad_field"),
            (
                r#"{"action":"read","payload":{"conversation":"1.1.1-0.1"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"read","payload":{"conversation":"1.1.1-0.1","up_to":1}}"#,
                "ok",
            ),
            (
                r#"{"action":"recall","payload":{"conversation":"1.1.1-0.1","seq":1.5}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"recall","payload":{"conversation":"1.1.1-0.1","seq":1,"message_id":"*"}}"#,
                "bad_field",
            ),
            (
                r#"{"action":"recall","payload":{"conversation":"1.1.1-0.1","seq":1,"message_id":null}}"#,
                "ok",
            ),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn a_refusal_carries_the_reference() {
        let refusal =
            decode(r#"{"action":"message","payload":{"id":"m1"}}"#).expect_err("no words");
        assert_eq!(refusal.reference.as_deref(), Some("m1"));
        assert_eq!(refusal.field, Some("message"));
    }
}
