//! Entries of a stream as Redis returns them.
//!
//! The redis crate's own types refuse a whole reply for one field whose name is not UTF-8. Such an
//! entry would be read again for ever, and with it every lane of its shard would stand still.

use redis::{FromRedisValue, ParsingError, Value};

use crate::{
    event::packed::{self, Packed},
    ids::StreamId,
    redis::text,
};

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// Its place in the stream.
    pub id: StreamId,
    /// Its fields.
    pub fields: Fields,
}

/// The fields of an entry. A name that is no text is left out: nothing of ours has such a name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// As the stream has them, except those that are packed.
    flat: Vec<(String, Value)>,
    packed: Packed,
}

impl Fields {
    /// The text of a field; of a name that is there twice, the last. An entry has so few that looking
    /// at each is the fastest way.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut from_the_last = self.flat.iter().rev();
        match from_the_last.find(|(it, _)| it == name) {
            Some((_, value)) => text(value),
            None => self.packed.text(name),
        }
    }

    /// All that are not packed, in the order of the entry.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.flat.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Bytes of names and values.
    pub fn bytes(&self) -> usize {
        let size = |value: &Value| match value {
            Value::BulkString(bytes) => bytes.len(),
            _ => 0,
        };
        let flat = self.flat.iter().map(|(name, it)| name.len() + size(it));
        flat.sum::<usize>() + self.packed.bytes()
    }
}

/// The entries of one stream: what XRANGE answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entries(pub Vec<StreamEntry>);

/// The entries of several streams, each with its key: what XREAD answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Streams(pub Vec<(String, Entries)>);

impl FromRedisValue for Entries {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let entries: Vec<(String, Vec<Value>)> = Vec::from_redis_value(value)?;
        let entries = entries.into_iter().filter_map(|(id, fields)| {
            let id = StreamId::parse(&id).ok()?;
            let fields = pairs(fields);
            Some(StreamEntry { id, fields })
        });
        Ok(Self(entries.collect()))
    }
}

impl FromRedisValue for Streams {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Vec::from_redis_value(value).map(Self)
    }
}

fn pairs(flat: Vec<Value>) -> Fields {
    let mut fields = Fields {
        flat: Vec::with_capacity(flat.len() / 2),
        packed: Packed::default(),
    };
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        let name = match name {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            name => text(&name).map(str::to_owned),
        };
        match (name, value) {
            (Some(name), Value::BulkString(bytes)) if name == packed::FIELD => {
                fields.packed = Packed::read(bytes);
            }
            (Some(name), value) => fields.flat.push((name, value)),
            (None, _) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn an_entry_with_a_name_that_is_no_text_does_not_hide_the_others() {
        let entry = |id: &[u8], fields: &[&[u8]]| {
            let fields = fields.iter().map(|field| bulk(field)).collect();
            Value::Array(vec![bulk(id), Value::Array(fields)])
        };
        let entries = Value::Array(vec![
            entry(b"1-0", &[b"\xff\xfe", b"x", b"v", b"1", b"v", b"2"]),
            entry(b"1-1", &[b"v", b"\xff"]),
        ]);
        let expected = Entries(vec![
            StreamEntry {
                id: StreamId { ms: 1, seq: 0 },
                fields: pairs(vec![bulk(b"v"), bulk(b"1"), bulk(b"v"), bulk(b"2")]),
            },
            StreamEntry {
                id: StreamId { ms: 1, seq: 1 },
                fields: pairs(vec![bulk(b"v"), bulk(b"\xff")]),
            },
        ]);
        let range = Entries::from_redis_value(entries.clone()).expect("an answer to XRANGE");
        assert_eq!(range, expected);
        assert_eq!(range.0[0].fields.text("v"), Some("2"));
        assert_eq!(range.0[1].fields.text("v"), None);
        assert_eq!(range.0[0].fields.text("x"), None);

        // RESP2 answers XREAD with pairs, RESP3 with a map, and both with nil if nothing came.
        let pair = Value::Array(vec![bulk(b"k"), entries.clone()]);
        let map = Value::Map(vec![(bulk(b"k"), entries)]);
        for reply in [Value::Array(vec![pair]), map] {
            let streams = Streams::from_redis_value(reply).expect("an answer to XREAD");
            assert_eq!(streams.0, [("k".to_owned(), expected.clone())]);
        }
        let nothing = Option::<Streams>::from_redis_value(Value::Nil);
        assert_eq!(nothing.expect("nothing came"), None);
    }
}
