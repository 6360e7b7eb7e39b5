//! The frames: those that are sent, as text, and what a client needs to know of those that come.

use std::borrow::Cow;

use serde::Deserialize;

use crate::target::Side;

/// What came, as far as this tool looks at it.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(borrow)]
    pub(crate) action: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) payload: Payload<'a>,
}

/// The fields of a payload that this tool looks at.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Payload<'a> {
    pub(crate) code: Option<&'a str>,
    pub(crate) message: Option<Cow<'a, str>>,
    pub(crate) conversation: Option<&'a str>,
    pub(crate) customer: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    #[serde(rename = "ref")]
    pub(crate) reference: Option<&'a str>,
    pub(crate) seq: Option<u64>,
    pub(crate) queue: Option<u64>,
    pub(crate) retry_after_ms: Option<u64>,
}

impl<'a> Frame<'a> {
    /// `None`: not a frame.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether this is the action or the code.
    pub(crate) fn is(&self, what: &str) -> bool {
        self.action == what || self.payload.code == Some(what)
    }

    /// Whether something was not taken for now: to be sent again later.
    pub(crate) fn is_refused_for_now(&self) -> bool {
        self.is("busy") || self.is("rate_limited")
    }

    /// Whether it is somebody's words: those have no code.
    pub(crate) fn is_words(&self) -> bool {
        self.action == "message" && self.payload.code.is_none()
    }

    /// The number in the `ref` of one of our messages.
    pub(crate) fn reference(&self) -> Option<u64> {
        self.payload.reference?.strip_prefix('m')?.parse().ok()
    }
}

/// Asks for staff.
pub(crate) const CUSTOMER_CONNECT: &str = r#"{"action":"customerConnect"}"#;
/// Ends the conversation, or leaves the queue.
pub(crate) const CUSTOMER_LEAVE: &str = r#"{"action":"customerLeave"}"#;
/// Ends the staff member's day.
pub(crate) const STAFF_OFFLINE: &str = r#"{"action":"staffOffline"}"#;

/// Takes customers, `max` at a time.
pub(crate) fn staff_online(max: u32) -> String {
    format!(r#"{{"action":"staffOnline","payload":{{"name":"load","max":{max}}}}}"#)
}

/// Words for the other side. `text` must need no escapes: [`Words::text`] does not.
pub(crate) fn message(id: u64, text: &str, conversation: Option<&str>) -> String {
    match conversation {
        None => format!(r#"{{"action":"message","payload":{{"message":"{text}","id":"m{id}"}}}}"#),
        Some(conversation) => format!(
            r#"{{"action":"message","payload":{{"message":"{text}","id":"m{id}","conversation":"{conversation}"}}}}"#
        ),
    }
}

/// What a message of this tool says: who wrote it, in which talk, and the how-manieth it is. So whoever
/// hears it can tell what is lost, doubled, out of order, or not for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    /// The run and the pair or conversation, in one word without `/`.
    pub(crate) talk: &'a str,
    pub(crate) side: Side,
    /// From 1, by sender.
    pub(crate) n: u64,
    /// When it was due, in µs since 1970 by this machine; 0 if nobody needs it.
    pub(crate) due_us: u64,
}

impl<'a> Words<'a> {
    /// As the text of a message, filled up to `bytes`.
    pub(crate) fn text(&self, bytes: usize) -> String {
        let Self {
            talk,
            side,
            n,
            due_us,
        } = self;
        let mut text = format!("{talk}/{}/{n}/{due_us}/", side.letter());
        while text.len() < bytes {
            text.push('.');
        }
        text
    }

    /// Takes a text apart. `None`: not of this tool.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('/');
        Some(Self {
            talk: parts.next()?,
            side: match parts.next()? {
                "c" => Side::Customer,
                "s" => Side::Staff,
                _ => return None,
            },
            n: parts.next()?.parse().ok()?,
            due_us: parts.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way() {
        let words = Words {
            talk: "load-1.17",
            side: Side::Staff,
            n: 42,
            due_us: 5,
        };
        let text = words.text(100);
        assert_eq!(text.len(), 100);
        let sent = message(42, &text, None);
        let frame = Frame::parse(&sent).expect("a frame");
        assert!(frame.is_words());
        let heard = frame.payload.message.expect("a text");
        assert_eq!(Words::parse(&heard), Some(words));
    }

    #[test]
    fn acks_and_notices_are_told_apart() {
        let ack = r#"{"action":"ack","payload":{"ref":"m7","conversation":"1","seq":2}}"#;
        let frame = Frame::parse(ack).expect("a frame");
        assert_eq!((frame.reference(), frame.payload.seq), (Some(7), Some(2)));
        let notice = r#"{"action":"message","payload":{"code":"queued","message":"\"","queue":3}}"#;
        let frame = Frame::parse(notice).expect("a frame");
        assert!(frame.is("queued") && !frame.is_words());
    }
}
