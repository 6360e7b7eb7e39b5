//! What a client says when it resumes: by which token, and how far it has seen its conversations.

use std::fmt;

use serde_json::Value;

use super::{MAX_POSITIONS, MAX_SEQ};
use crate::ids::{ConversationId, IdError, MessageId};

/// Longest resume token, in bytes; ours have about a hundred.
const MAX_TOKEN_BYTES: usize = 512;

/// A token as a client presents it. Never shown, so that it gets into no log line.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Checks nothing but the length: whether it is good is for its signature to say.
    pub fn parse(text: &str) -> Option<Self> {
        (1..=MAX_TOKEN_BYTES)
            .contains(&text.len())
            .then(|| Self(text.to_owned()))
    }

    /// The token itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// How far a client has seen a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The last entry seen; `None` before the first.
    pub seen: Option<Seen>,
}

/// An entry of a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its place, from 1.
    pub seq: u64,
    /// Its id: a log that has lost its end may have another entry at this place.
    pub id: MessageId,
}

impl Position {
    /// Reads one of the frame's `positions`: `id` is needed but for `seq` 0.
    fn from_json(value: &Value) -> Option<Self> {
        let conversation = ConversationId::parse(value.get("conversation")?.as_str()?).ok()?;
        let seen = match value.get("seq")?.as_u64()? {
            0 => None,
            seq => Some(Seen {
                seq: Some(seq).filter(|seq| *seq <= MAX_SEQ)?,
                id: MessageId::parse(value.get("id")?.as_str()?).ok()?,
            }),
        };
        Some(Self { conversation, seen })
    }

    fn parse(text: &str) -> Result<Self, IdError> {
        let mut words = text.split(' ');
        let conversation = ConversationId::parse(words.next().unwrap_or_default())?;
        let seq: u64 = words
            .next()
            .and_then(|word| word.parse().ok())
            .filter(|seq| *seq <= MAX_SEQ)
            .ok_or(IdError::Form)?;
        let seen = match (seq, words.next()) {
            (0, None) => None,
            (1.., Some(id)) => Some(Seen {
                seq,
                id: MessageId::parse(id)?,
            }),
            _ => return Err(IdError::Form),
        };
        match words.next() {
            None => Ok(Self { conversation, seen }),
            Some(_) => Err(IdError::Form),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.seen {
            None => write!(f, "{} 0", self.conversation),
            Some(Seen { seq, id }) => write!(f, "{} {seq} {id}", self.conversation),
        }
    }
}

/// The frame's `positions`, a conversation at most once; `None` if they are not as they should be.
pub fn from_json(value: &Value) -> Option<Vec<Position>> {
    let positions = value.as_array()?;
    let read = positions.iter().map(Position::from_json);
    let positions: Vec<_> = read.collect::<Option<_>>()?;
    is_list(&positions).then_some(positions)
}

/// Positions as a field of an event: `<conversation> <seq> <id>`, joined by commas.
pub fn encode(positions: &[Position]) -> String {
    let texts: Vec<String> = positions.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// Reads the field back.
pub fn decode(text: &str) -> Result<Vec<Position>, IdError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let positions: Vec<_> = text
        .split(',')
        .map(Position::parse)
        .collect::<Result<_, _>>()?;
    if is_list(&positions) {
        Ok(positions)
    } else {
        Err(IdError::Form)
    }
}

fn is_list(positions: &[Position]) -> bool {
    let once = |n: usize| {
        positions[..n]
            .iter()
            .all(|before| before.conversation != positions[n].conversation)
    };
    positions.len() <= MAX_POSITIONS && (0..positions.len()).all(once)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn positions_survive_the_log() {
        let read = from_json(&json!([
            { "conversation": "6.1.17-0.1", "seq": 3, "id": "6.1.18-0.1", "more": 1 },
            { "conversation": "6.1.19-0.1", "seq": 0 },
        ]));
        let positions = read.expect("well-formed");
        let text = encode(&positions);
        assert_eq!(text, "6.1.17-0.1 3 6.1.18-0.1,6.1.19-0.1 0");
        assert_eq!(decode(&text), Ok(positions));
        assert_eq!(decode(""), Ok(Vec::new()));
    }

    #[test]
    fn others_are_refused() {
        let many: Vec<Value> = (0..=MAX_POSITIONS)
            .map(|n| json!({ "conversation": format!("c{n}"), "seq": 0 }))
            .collect();
        assert!(from_json(&Value::from(&many[1..])).is_some());
        for bad in [
            Value::from(many),
            json!({}),
            json!([1]),
            json!([{ "seq": 0 }]),
            json!([{ "conversation": "a", "seq": -1 }]),
            json!([{ "conversation": "a", "seq": 1 }]),
            json!([{ "conversation": "a", "seq": 1, "id": "a b" }]),
            json!([{ "conversation": "{a}", "seq": 0 }]),
            json!([{ "conversation": "a", "seq": u64::MAX, "id": "b" }]),
            json!([{ "conversation": "a", "seq": 0 }, { "conversation": "a", "seq": 0 }]),
        ] {
            assert_eq!(from_json(&bad), None, "{bad}");
        }
        for bad in ["a", "a 0 b", "a 1", "a 1 b c", "a 0,", "a 0,a 0", "a x b"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::parse("abc").expect("well-formed");
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert_eq!(Token::parse(""), None);
    }
}
