//! One dead letter, as lua/dead.lua has written it.

use std::collections::BTreeMap;

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{EventId, Shard, StreamId},
    stream::StreamEntry,
};
use redis::Value;
use serde::Serialize;

/// An event that could not be applied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Letter {
    /// The event's id.
    pub event: String,
    /// When it failed, in ms since 1970.
    pub time: u64,
    /// Whose it was, and what; `null` where the event does not say.
    pub site: Option<String>,
    /// The user.
    pub uid: Option<String>,
    /// The event's kind.
    pub kind: Option<String>,
    /// Why it failed.
    pub error: String,
    /// Why it cannot be replayed; `null` if it can.
    pub not_replayable: Option<&'static str>,
    /// The event's fields, if they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<BTreeMap<String, String>>,
    /// The shard.
    #[serde(skip)]
    pub shard: Shard,
    /// Its place among the shard's letters.
    #[serde(skip)]
    pub place: StreamId,
}

impl Letter {
    /// Reads an entry of a shard's dead letters. Text that is none is shown as well as can be.
    pub fn read(shard: Shard, entry: &StreamEntry) -> Self {
        let mut all = entry.fields.iter().map(|(name, value)| (name, text(value)));
        // The event may have fields of the same names, behind these two.
        let event = all.next().map(|(_, text)| text).unwrap_or_default();
        let error = all.next().map(|(_, text)| text).unwrap_or_default();
        // Of a name that is there twice the last one counts, as for who decodes it.
        let fields: BTreeMap<String, String> =
            all.map(|(name, text)| (name.to_owned(), text)).collect();
        let field = |name: &str| fields.get(name).cloned();
        Self {
            time: entry.id.ms,
            site: field("site"),
            uid: field("uid"),
            kind: field("kind"),
            not_replayable: obstacle(&event, &error, &fields),
            fields: Some(fields),
            event,
            error,
            shard,
            place: entry.id,
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Why an event cannot be replayed.
fn obstacle(event: &str, error: &str, fields: &BTreeMap<String, String>) -> Option<&'static str> {
    if EventId::parse(event).is_err() {
        return Some("the id of its event is damaged");
    }
    if fields.is_empty() {
        return Some("its event was not in the stream any more");
    }
    // What lua/dead.lua says of more fields than it keeps.
    if error.contains("(cut: the first ") {
        return Some("it has more fields than a dead letter keeps");
    }
    match Event::decode(|name| fields.get(name).map(String::as_str)) {
        Ok(Event {
            kind: Kind::Open { .. },
            ..
        }) => Some("it is the opening of a socket, which has ended since"),
        Ok(Event {
            kind: Kind::Verb { .. },
            ..
        }) => Some(
            "it is a frame of a socket, which counts only there: its client has sent it again, or was told",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_shared::stream::Entries;
    use redis::FromRedisValue as _;

    use super::*;

    fn letter(fields: &[(&str, &str)]) -> Letter {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let flat = fields
            .iter()
            .flat_map(|(name, value)| [bulk(name), bulk(value)]);
        let entry = Value::Array(vec![bulk("17-1"), Value::Array(flat.collect())]);
        let entries = Entries::from_redis_value(Value::Array(vec![entry]));
        let entries = entries.expect("an answer to XRANGE");
        Letter::read(Shard::new(6).expect("below SHARDS"), &entries.0[0])
    }

    const HEAD: [(&str, &str); 2] = [("event", "6.1.16-0"), ("error", "WRONGTYPE")];
    const WHOSE: [(&str, &str); 3] = [("v", "1"), ("site", "default"), ("uid", "alice")];

    #[test]
    fn the_fields_of_an_event_cannot_pass_for_the_letters_own() {
        let own = [
            ("kind", "queue_moved"),
            ("event", "0.0.0-0"),
            ("error", "none"),
        ];
        let letter = letter(&[&HEAD[..], &WHOSE[..], &own[..]].concat());
        assert_eq!((&*letter.event, &*letter.error), ("6.1.16-0", "WRONGTYPE"));
        assert_eq!(
            (letter.time, letter.kind.as_deref()),
            (17, Some("queue_moved"))
        );
        assert_eq!(letter.not_replayable, None);
        assert_eq!(letter.fields.expect("kept")["event"], "0.0.0-0");
    }

    #[test]
    fn only_what_means_the_same_later_is_replayed() {
        let client = "c".repeat(frontdesk_shared::ids::CLIENT_ID_BYTES);
        let frame = [("kind", "customer_leave"), ("client", &client), ("n", "3")];
        let open = [
            ("kind", "open"),
            ("client", &client),
            ("lang", "en"),
            ("role", "any"),
        ];
        let close = [("kind", "close"), ("client", &client), ("clean", "0")];
        let poison = [("kind", "dance")];
        for (own, says) in [
            (&frame[..], Some("frame")),
            (&open[..], Some("opening")),
            (&close[..], None),
            (&poison[..], None),
        ] {
            let why = letter(&[&HEAD[..], &WHOSE[..], own].concat()).not_replayable;
            assert_eq!(why.is_some(), says.is_some(), "{own:?}: {why:?}");
            assert!(why.unwrap_or_default().contains(says.unwrap_or_default()));
        }
        let cut = [
            ("event", "6.1.16-0"),
            ("error", "x (cut: the first 64 of 90 fields)"),
        ];
        assert!(
            letter(&[&cut[..], &WHOSE[..]].concat())
                .not_replayable
                .is_some()
        );
        assert!(letter(&HEAD).not_replayable.is_some(), "nothing to append");
        assert!(
            letter(&[("event", "x"), ("error", "y"), ("v", "1")])
                .not_replayable
                .is_some()
        );
    }
}
