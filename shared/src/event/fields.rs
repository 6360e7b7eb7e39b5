//! An entry's fields, and what single values must be.

use super::{DecodeError, SHARED_QUEUE};
use crate::{
    ids::{IdError, Uid},
    protocol::{MAX_FRAME_BYTES, MAX_SEQ},
};

/// A lookup by name.
pub(super) struct Fields<'g, G> {
    pub(super) get: &'g G,
}

impl<'a, G: Fn(&str) -> Option<&'a str>> Fields<'_, G> {
    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        (self.get)(name).ok_or(DecodeError::Poison(name))
    }

    pub(super) fn parse<T, E>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, DecodeError> {
        parse(self.text(name)?).map_err(|_| DecodeError::Poison(name))
    }

    pub(super) fn optional<T, E>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, DecodeError> {
        let value = (self.get)(name).map(parse).transpose();
        value.map_err(|_| DecodeError::Poison(name))
    }
}

/// A place in a conversation's log.
pub(super) fn seq(field: &str) -> Result<u64, ()> {
    let seq = field.parse().map_err(|_| ())?;
    if (1..=MAX_SEQ).contains(&seq) {
        Ok(seq)
    } else {
        Err(())
    }
}

/// Seconds that scripts can count with exactly, also as milliseconds.
pub(super) fn seconds(field: &str) -> Result<u64, ()> {
    const MOST: u64 = 1 << 40;
    field
        .parse()
        .ok()
        .filter(|s| (1..=MOST).contains(s))
        .ok_or(())
}

/// A queue is named by its staff member.
pub(super) fn queue(field: &str) -> Result<String, IdError> {
    if field == SHARED_QUEUE {
        return Ok(field.to_owned());
    }
    Uid::parse(field).map(|uid| uid.to_string())
}

/// A field that must be one JSON string, since it is joined into frames as it is, and what it says
/// must keep the rules of the frame it came in.
pub(super) fn json_text(field: &str, keeps_rules: impl Fn(&str) -> bool) -> Result<String, ()> {
    // JSON allows blanks around a value.
    let is_string = field.starts_with('"') && field.ends_with('"');
    if field.len() > 2 * MAX_FRAME_BYTES || !is_string {
        return Err(());
    }
    let text = serde_json::from_str::<std::borrow::Cow<'_, str>>(field).map_err(|_| ())?;
    if keeps_rules(&text) {
        Ok(field.to_owned())
    } else {
        Err(())
    }
}
