//! What the apply script answers.

use frontdesk_shared::ids::EventId;
use redis::{FromRedisValue, ParsingError, Value};

use super::Prepared;

/// What the apply script said of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Applied.
    Applied,
    /// Applied, or applied before: the sender gets this ack.
    Acked(Ack),
    /// Applied: who has asked by a request gets this answer.
    Said(Said),
    /// Not newer than what is applied; nothing changed.
    Duplicate,
    /// Not the next one; nothing changed and the call ended here.
    Gap,
    /// In the dead-letter stream, with this error.
    Dead(String),
}

/// What a sender is told of a stored message. Every field is a validated id or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The sender's connection.
    pub client: String,
    /// The sender's id of the message.
    pub reference: String,
    /// Where it was stored.
    pub conversation: String,
    /// Its place there.
    pub seq: String,
    /// Its id.
    pub id: String,
    /// When it was appended, in ms.
    pub time: String,
}

/// What somebody is told who has asked by a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The request's address.
    pub client: String,
    /// The frame that a connection would get.
    pub frame: String,
}

/// What the apply script said of one entry, and what it told the App's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// Applied the quick way, to this place of the conversation: [`Answer::of`] makes an ack of it.
    pub placed: Option<String>,
    /// What the worker may remember.
    pub told: Option<String>,
}

/// What the apply script said: for each lane looked at, of each entry looked at.
#[derive(Debug)]
pub struct Answers(pub Vec<Vec<Answer>>);

impl FromRedisValue for Answers {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let lanes: Vec<Vec<String>> = Vec::from_redis_value(value)?;
        let parse = |lane: Vec<String>| lane.iter().map(|text| Answer::parse(text)).collect();
        Ok(Self(
            lanes.into_iter().map(parse).collect::<Result<_, _>>()?,
        ))
    }
}

impl Answer {
    fn parse(text: &str) -> Result<Self, ParsingError> {
        let (mut outcome, mut placed, mut told) = (Outcome::Applied, None, None);
        if let Some(seq) = text.strip_prefix("SEQ ") {
            placed = Some(seq.to_owned());
        } else if let (true, Some((ack, rest))) = (text.starts_with("ACK "), text.split_once('\n'))
        {
            (outcome, told) = (Outcome::parse(ack)?, Some(rest.to_owned()));
        } else {
            outcome = Outcome::parse(text)?;
        }
        Ok(Self {
            outcome,
            placed,
            told,
        })
    }

    /// The same with what the worker knows of the entry.
    #[must_use]
    pub fn of(self, event: EventId, entry: &Prepared) -> Self {
        let (Some(seq), Some(hint)) = (&self.placed, &entry.transition.hint) else {
            return self;
        };
        let ack = Ack {
            client: entry.transition.field("client").to_owned(),
            reference: entry.transition.field("id").to_owned(),
            conversation: hint.field.clone(),
            seq: seq.clone(),
            id: format!("{event}.1"),
            time: entry.id.ms.to_string(),
        };
        Self {
            outcome: Outcome::Acked(ack),
            ..self
        }
    }
}

impl Outcome {
    fn parse(answer: &str) -> Result<Self, ParsingError> {
        let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        match word {
            "OK" => Ok(Self::Applied),
            "DUP" => Ok(Self::Duplicate),
            "GAP" => Ok(Self::Gap),
            "DEAD" => Ok(Self::Dead(rest.to_owned())),
            "ACK" => {
                let parts: Vec<&str> = rest.split(' ').collect();
                if let [client, reference, conversation, seq, id, time] = parts[..] {
                    return Ok(Self::Acked(Ack {
                        client: client.to_owned(),
                        reference: reference.to_owned(),
                        conversation: conversation.to_owned(),
                        seq: seq.to_owned(),
                        id: id.to_owned(),
                        time: time.to_owned(),
                    }));
                }
                Err(unexpected())
            }
            "SAY" => {
                let (client, frame) = rest.split_once(' ').ok_or_else(unexpected)?;
                Ok(Self::Said(Said {
                    client: client.to_owned(),
                    frame: frame.to_owned(),
                }))
            }
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> ParsingError {
    "the apply script gave an answer this program does not know".into()
}

impl Ack {
    /// The `ack` frame.
    pub fn frame(&self) -> String {
        format!(
            r#"{{"action":"ack","payload":{{"ref":"{}","conversation":"{}","seq":{},"id":"{}","time":{}}}}}"#,
            self.reference, self.conversation, self.seq, self.id, self.time
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_script_are_read() {
        assert_eq!(Outcome::parse("OK").ok(), Some(Outcome::Applied));
        assert_eq!(
            Outcome::parse("DEAD a b").ok(),
            Some(Outcome::Dead("a b".into()))
        );
        assert!(Outcome::parse("ACK a b").is_err());
        assert!(Outcome::parse("").is_err());
        assert!(Outcome::parse("SAY c").is_err());
        let said = Said {
            client: "c".into(),
            frame: "{ }".into(),
        };
        assert_eq!(Outcome::parse("SAY c { }").ok(), Some(Outcome::Said(said)));
        let acked = Outcome::parse("ACK c m1 v 3 v.1 17").expect("well-formed");
        let Outcome::Acked(ack) = acked else {
            panic!("not an ack: {acked:?}")
        };
        assert_eq!(
            ack.frame(),
            r#"{"action":"ack","payload":{"ref":"m1","conversation":"v","seq":3,"id":"v.1","time":17}}"#
        );
    }
}
