//! What a client may ask to read. Reads are answered by the gateway, from read-only scripts: they
//! change nothing, so they are no events of the log.

use std::fmt;

use super::{
    MAX_SEQ,
    frame::{Payload, Refusal, bad},
};
use crate::ids::{ConversationId, MessageRef};

/// Most entries or conversations in one answer.
pub const MAX_PAGE: u64 = 100;
/// How many there are in an answer when the client does not say.
pub const DEFAULT_PAGE: u64 = 50;

/// A question and the client's id for it, which its answers repeat as `ref`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The client's own id of the question.
    pub id: Option<MessageRef>,
    /// What it wants to see.
    pub what: What,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `history`: one page of a conversation's log.
    History {
        /// Which conversation.
        conversation: ConversationId,
        /// Where the page begins, and in which direction it goes.
        from: From,
        /// Most entries.
        limit: u64,
    },
    /// `transcript`: the whole log of a conversation, in several answers.
    Transcript {
        /// Which conversation.
        conversation: ConversationId,
    },
    /// `conversations`: the user's own, the last changed first.
    Conversations {
        /// Go on after this one; from the newest on if absent.
        before: Option<Cursor>,
        /// Most conversations.
        limit: u64,
    },
}

/// Where a page of a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The newest entry, going back.
    Newest,
    /// The entry before this one, going back.
    Before(u64),
    /// The entry after this one, going on.
    After(u64),
}

/// A place in a list of conversations: `<ms of the last change>:<conversation>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When the conversation last changed.
    pub changed: u64,
    /// Which one it is: several may have changed at once.
    pub conversation: ConversationId,
}

impl Cursor {
    /// Reads what [`fmt::Display`] has written.
    pub fn parse(text: &str) -> Option<Self> {
        let (changed, conversation) = text.split_once(':')?;
        if changed.is_empty() || !changed.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            changed: changed.parse().ok().filter(|ms| *ms <= MAX_SEQ)?,
            conversation: ConversationId::parse(conversation).ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.changed, self.conversation)
    }
}

/// The question of this action, or `None` if the action is no question.
pub(super) fn decode(
    action: &str,
    payload: &Payload,
    id: Option<MessageRef>,
) -> Result<Option<Read>, Refusal> {
    Ok(question(action, payload)?.map(|what| Read { id, what }))
}

/// The same of a request of the HTTP API.
pub fn question(action: &str, payload: &Payload) -> Result<Option<What>, Refusal> {
    let what = match action {
        "history" => What::History {
            conversation: payload.the_conversation()?,
            from: from(payload)?,
            limit: limit(payload)?,
        },
        "transcript" => What::Transcript {
            conversation: payload.the_conversation()?,
        },
        "conversations" => What::Conversations {
            before: match payload.text("before")? {
                Some(text) => Some(Cursor::parse(text).ok_or(bad("before"))?),
                None => None,
            },
            limit: limit(payload)?,
        },
        _ => return Ok(None),
    };
    Ok(Some(what))
}

fn from(payload: &Payload) -> Result<From, Refusal> {
    let before = payload.number("before", 1..=MAX_SEQ)?;
    let after = payload.number("after", 0..=MAX_SEQ)?;
    match (before, after) {
        (None, None) => Ok(From::Newest),
        (Some(seq), None) => Ok(From::Before(seq)),
        (None, Some(seq)) => Ok(From::After(seq)),
        (Some(_), Some(_)) => Err(bad("after")),
    }
}

/// How many there may be in an answer.
pub fn limit(payload: &Payload) -> Result<u64, Refusal> {
    Ok(payload
        .number("limit", 1..=MAX_PAGE)?
        .unwrap_or(DEFAULT_PAGE))
}

#[cfg(test)]
mod tests {
    use super::super::frame::{self, Request};
    use super::*;

    fn ask(text: &str) -> Result<Read, Option<&'static str>> {
        match frame::decode(text) {
            Ok(Request::Read(read)) => Ok(read),
            Ok(other) => panic!("{text} is {other:?}"),
            Err(refusal) => Err(refusal.field),
        }
    }

    fn history(rest: &str) -> Result<(From, u64), Option<&'static str>> {
        let frame =
            format!(r#"{{"action":"history","payload":{{"conversation":"7.3.1-0.1"{rest}}}}}"#);
        ask(&frame).map(|read| match read.what {
            What::History { from, limit, .. } => (from, limit),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_page_of_history_has_one_beginning_and_a_bound() {
        assert_eq!(history(""), Ok((From::Newest, DEFAULT_PAGE)));
        assert_eq!(
            history(r#","before":7,"limit":1"#),
            Ok((From::Before(7), 1))
        );
        assert_eq!(
            history(r#","after":0,"limit":100"#),
            Ok((From::After(0), 100))
        );
        assert_eq!(
            history(r#","before":null,"after":3"#),
            Ok((From::After(3), 50))
        );
        for (rest, field) in [
            (r#","before":0"#, "before"),
            (r#","before":-1"#, "before"),
            (r#","before":1.5"#, "before"),
            (r#","before":"1""#, "before"),
            (r#","before":9007199254740993"#, "before"),
            (r#","after":-1"#, "after"),
            (r#","before":1,"after":1"#, "after"),
            (r#","limit":0"#, "limit"),
            (r#","limit":101"#, "limit"),
        ] {
            assert_eq!(history(rest), Err(Some(field)), "{rest}");
        }
        let unnamed = ask(r#"{"action":"transcript","payload":{}}"#);
        assert_eq!(unnamed, Err(Some("conversation")));
    }

    #[test]
    fn a_cursor_is_what_was_handed_out_and_nothing_else() {
        let text = "1763832985123:7.3.1763832985000-0.1";
        let list = |before: &str| {
            ask(&format!(
                r#"{{"action":"conversations","payload":{{"before":"{before}","id":"q1"}}}}"#
            ))
        };
        let read = list(text).expect("handed out");
        assert_eq!(read.id.as_ref().map(MessageRef::as_str), Some("q1"));
        let What::Conversations { before, limit } = read.what else {
            panic!("{:?}", read.what);
        };
        assert_eq!(limit, DEFAULT_PAGE);
        assert_eq!(
            before.map(|cursor| cursor.to_string()).as_deref(),
            Some(text)
        );
        for bad in ["", ":", "1:", ":a", "+1:a", "x:a", "1:*", "1 a", "1:a:b"] {
            assert_eq!(list(bad), Err(Some("before")), "{bad}");
        }
    }
}
