//! The fields of a frame, each read and held to its bounds.

use std::ops::RangeInclusive;

use super::{Mark, Refusal, Request, Verb, bad, is_name, is_words, refuse};
use crate::{
    ids::{ConversationId, MessageId, MessageRef, Uid},
    protocol::{
        MAX_SEQ,
        notice::json_string,
        read,
        resume::{self, Position, Token},
    },
    token::Secret,
};

/// A number that is written with a point and is whole, as `2.0`: in JSON it is the same.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and within the bounds of what a float holds exactly"
)]
fn whole(value: &serde_json::Value) -> Option<u64> {
    let number = value.as_f64()?;
    let is_whole = number.fract() == 0.0 && (0.0..=MAX_SEQ as f64).contains(&number);
    is_whole.then_some(number as u64)
}

/// The fields of a frame, or of a request of the HTTP API, which has the same rules.
#[derive(Debug, Clone, Default)]
pub struct Payload(pub(super) serde_json::Map<String, serde_json::Value>);

impl Payload {
    /// A body that is one JSON object; `null` counts as an empty one.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        let fields = serde_json::from_slice::<Option<serde_json::Map<_, _>>>(body);
        let fields = fields.map_err(|_| refuse("bad_json", None))?;
        Ok(Self(fields.unwrap_or_default()))
    }

    /// Names and texts of a query: what looks like a number is one. Each name at most once.
    pub fn from_query(pairs: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let mut fields = serde_json::Map::new();
        for (name, text) in pairs {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = is_number.then(|| text.parse::<u64>().ok()).flatten();
            let value = number.map_or_else(|| text.into(), serde_json::Value::from);
            if fields.insert(name, value).is_some() {
                return None;
            }
        }
        Some(Self(fields))
    }

    /// A list of texts.
    pub fn texts(&self, field: &'static str) -> Result<Option<Vec<&str>>, Refusal> {
        match self.0.get(field) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::Array(list)) => {
                let texts: Option<Vec<_>> = list.iter().map(serde_json::Value::as_str).collect();
                texts.map(Some).ok_or(bad(field))
            }
            Some(_) => Err(bad(field)),
        }
    }

    /// The same with one field more.
    #[must_use]
    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    pub(super) fn request(
        &self,
        action: &str,
        reference: Option<MessageRef>,
    ) -> Result<Request, Refusal> {
        Ok(match action {
            "staffOnline" => Request::Verb(Verb::StaffOnline {
                name: self.name()?,
                max: self.max()?,
            }),
            "staffOffline" => Request::Verb(Verb::StaffOffline),
            "customerConnect" => Request::Verb(Verb::CustomerConnect),
            "customerLeave" => Request::Verb(Verb::CustomerLeave),
            "message" => Request::Verb(Verb::Message {
                body: self.words()?,
                id: reference,
                conversation: self.conversation()?,
            }),
            "close" => Request::Verb(Verb::Close {
                conversation: self.conversation()?,
            }),
            "typing" => Request::Typing {
                conversation: self.conversation()?,
                on: self.flag("on")?.unwrap_or(true),
            },
            "direct" => Request::Verb(Verb::Direct {
                to: self.to()?,
                body: self.words()?,
                id: reference,
            }),
            "delivered" => Request::Verb(self.mark(Mark::Delivered)?),
            "read" => Request::Verb(self.mark(Mark::Read)?),
            "recall" => Request::Verb(Verb::Recall {
                conversation: self.the_conversation()?,
                seq: self.seq("seq")?,
                message: self.message_id()?,
                id: reference,
            }),
            "refresh" => Request::Refresh {
                token: self.secret()?,
                id: reference,
            },
            "resume" => Request::Resume {
                token: self.token()?,
                positions: self.positions()?,
            },
            _ => match read::decode(action, self, reference)? {
                Some(read) => Request::Read(read),
                None => return Err(refuse("unknown_action", None)),
            },
        })
    }

    /// An optional text field; JSON `null` counts as absent.
    pub fn text(&self, field: &'static str) -> Result<Option<&str>, Refusal> {
        match self.0.get(field) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(field)),
        }
    }

    /// Yes or no.
    pub fn flag(&self, field: &'static str) -> Result<Option<bool>, Refusal> {
        match self.0.get(field) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(bad(field)),
        }
    }

    /// An optional whole number within bounds.
    pub fn number(
        &self,
        field: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Refusal> {
        match self.0.get(field) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => match value.as_u64().or_else(|| whole(value)) {
                Some(number) if bounds.contains(&number) => Ok(Some(number)),
                _ => Err(bad(field)),
            },
        }
    }

    pub(super) fn reference(&self) -> Result<Option<MessageRef>, Refusal> {
        let id = self.text("id")?.map(MessageRef::parse).transpose();
        id.map_err(|_| bad("id"))
    }

    fn conversation(&self) -> Result<Option<ConversationId>, Refusal> {
        let id = self
            .text("conversation")?
            .map(ConversationId::parse)
            .transpose();
        id.map_err(|_| bad("conversation"))
    }

    fn mark(&self, mark: Mark) -> Result<Verb, Refusal> {
        Ok(Verb::Mark {
            conversation: self.the_conversation()?,
            up_to: self.seq("up_to")?,
            mark,
        })
    }

    /// A place in a log that must be named.
    pub fn seq(&self, field: &'static str) -> Result<u64, Refusal> {
        self.number(field, 1..=MAX_SEQ)?.ok_or(bad(field))
    }

    /// The id that a message must have.
    pub fn message_id(&self) -> Result<Option<MessageId>, Refusal> {
        let id = self.text("message_id")?.map(MessageId::parse).transpose();
        id.map_err(|_| bad("message_id"))
    }

    fn token(&self) -> Result<Option<Token>, Refusal> {
        let token = self.text("token")?;
        token.map_or(Ok(None), |text| match Token::parse(text) {
            Some(token) => Ok(Some(token)),
            None => Err(bad("token")),
        })
    }

    fn positions(&self) -> Result<Vec<Position>, Refusal> {
        match self.0.get("positions") {
            None | Some(serde_json::Value::Null) => Ok(Vec::new()),
            Some(positions) => resume::from_json(positions).ok_or(bad("positions")),
        }
    }

    /// A conversation that must be named.
    pub fn the_conversation(&self) -> Result<ConversationId, Refusal> {
        self.conversation()?.ok_or(bad("conversation"))
    }

    /// Whom words are for.
    pub fn to(&self) -> Result<Uid, Refusal> {
        let uid = self.text("to")?.ok_or(bad("to"))?;
        Uid::parse(uid).map_err(|_| bad("to"))
    }

    /// The words of a message as a JSON string.
    pub fn words(&self) -> Result<String, Refusal> {
        let text = self.text("message")?.ok_or(bad("message"))?;
        match text {
            text if is_words(text) => Ok(json_string(text)),
            "" => Err(bad("message")),
            _ => Err(refuse("too_large", Some("message"))),
        }
    }

    fn secret(&self) -> Result<Secret, Refusal> {
        match self.text("token")? {
            None | Some("") => Err(bad("token")),
            Some(token) => Ok(token.to_owned().into()),
        }
    }

    fn name(&self) -> Result<Option<String>, Refusal> {
        let Some(name) = self.text("name")?.map(str::trim) else {
            return Ok(None);
        };
        if is_name(name) {
            Ok(Some(json_string(name)))
        } else {
            Err(bad("name"))
        }
    }

    fn max(&self) -> Result<Option<u32>, Refusal> {
        match self.0.get("max") {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|max| u32::try_from(max).ok()) {
                Some(max) if max > 0 => Ok(Some(max)),
                _ if value.is_number() => Err(refuse("bad_max", Some("max"))),
                _ => Err(bad("max")),
            },
        }
    }
}
