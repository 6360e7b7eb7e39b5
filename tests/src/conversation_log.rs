//! What the cluster wrote down about a conversation.

use std::collections::BTreeMap;

use frontdesk_shared::{ids::Site, keys};
use redis::{AsyncCommands as _, aio::MultiplexedConnection, streams::StreamRangeReply};
use serde_json::Value;

/// One entry of a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 1.
    pub seq: u64,
    /// The message id.
    pub id: String,
    /// `customer`, `staff` or `system`.
    pub from: String,
    /// The user who made it.
    pub uid: String,
    /// `message`, or what happened: `assigned`, `ended`, `requeued`, `recalled`.
    pub kind: String,
    /// The words of a message; of anything else what the log says about it.
    pub body: String,
    /// The sender's own id.
    pub reference: Option<String>,
    /// When, as it was written.
    pub time: String,
}

impl Entry {
    /// An entry of the stream of a log.
    pub fn parse(stream_id: &str, fields: &BTreeMap<String, String>) -> Self {
        let field = |name: &str| fields.get(name).filter(|text| !text.is_empty()).cloned();
        let (seq, zero) = stream_id.split_once('-').expect("a stream id");
        assert_eq!(zero, "0", "ids of entries are <seq>-0");
        let kinds = ["message", "assigned", "ended", "requeued", "recalled"];
        let kind = kinds.into_iter().find(|kind| fields.contains_key(*kind));
        let kind = kind.unwrap_or_else(|| panic!("{fields:?} is of no known kind"));
        let body = field(kind).unwrap_or_default();
        Self {
            seq: seq.parse().expect("a number"),
            id: field("id").unwrap_or_else(|| panic!("entry {seq} has no id: {fields:?}")),
            from: field("from").unwrap_or_default(),
            uid: field("uid").unwrap_or_default(),
            kind: kind.to_owned(),
            // A JSON string; anything else stays as it is.
            body: serde_json::from_str::<String>(&body).unwrap_or(body),
            reference: field("ref"),
            time: field("time").unwrap_or_default(),
        }
    }
}

/// Reads the log of a conversation.
pub async fn read(
    connection: &mut MultiplexedConnection,
    site: &str,
    conversation: &str,
) -> Vec<Entry> {
    let site = Site::parse(site).expect("a well-formed site");
    let key = format!("{}log:{conversation}", keys::site_prefix(&site));
    let reply: StreamRangeReply = connection.xrange_all(&key).await.expect("a stream");
    let entries = reply.ids.into_iter().map(|entry| {
        let fields = entry.map.into_iter();
        let text = |value| redis::from_redis_value(value).expect("text");
        let fields = fields.map(|(name, value)| (name, text(value))).collect();
        Entry::parse(&entry.id, &fields)
    });
    let entries: Vec<_> = entries.collect();
    for (place, entry) in (1..).zip(&entries) {
        assert_eq!(entry.seq, place, "{key} has a hole");
    }
    entries
}

/// Frames of one conversation as one side saw them, acks of its own messages included: places
/// without holes or repeats, each frame but the first naming the one before it.
pub fn assert_chain(payloads: &[Value]) {
    let mut frames: Vec<_> = payloads
        .iter()
        .map(|payload| {
            let seq = payload["seq"].as_u64();
            let seq = seq.unwrap_or_else(|| panic!("no seq in {payload}"));
            assert!(payload["id"].is_string(), "no id in {payload}");
            assert!(
                payload["conversation"].is_string(),
                "no conversation in {payload}"
            );
            assert_eq!(payload["conversation"], payloads[0]["conversation"]);
            (seq, payload)
        })
        .collect();
    frames.sort_by_key(|(seq, _)| *seq);
    for pair in frames.windows(2) {
        let ((a, before), (b, after)) = (pair[0], pair[1]);
        assert_eq!(b, a + 1, "a hole or a repeat between {before} and {after}");
        if after["ref"].is_null() {
            assert_eq!(
                after["prev"], before["id"],
                "{after} does not name {before}"
            );
        }
    }
    let (first, payload) = frames[0];
    if first == 1 {
        assert!(payload["prev"].is_null(), "nothing comes before {payload}");
    }
}
