//! An entry of a conversation's log, from the lists of `lua/entries.lua` to JSON.

use std::fmt::Write as _;

use frontdesk_shared::{
    protocol::notice::{is_json_string, json_string},
    redis::text,
};
use redis::Value;

use super::Malformed;

/// An entry.
#[derive(Debug)]
pub(super) struct Raw<'reply> {
    pub(super) seq: u64,
    pub(super) id: &'reply str,
    time: u64,
    kind: &'reply str,
    from: &'reply str,
    uid: &'reply str,
    value: &'reply str,
    recalled: bool,
}

impl<'reply> Raw<'reply> {
    /// Reads one.
    pub(super) fn read(value: &'reply Value) -> Result<Self, Malformed> {
        let Value::Array(fields) = value else {
            return Err(Malformed("entry"));
        };
        let [texts @ .., recalled] = &fields[..] else {
            return Err(Malformed("entry"));
        };
        let texts: Option<Vec<&str>> = texts.iter().map(text).collect();
        let Some(&[seq, id, time, kind, from, uid, value]) = texts.as_deref() else {
            return Err(Malformed("entry"));
        };
        Ok(Self {
            seq: seq.parse().map_err(|_| Malformed("seq"))?,
            id,
            time: time.parse().map_err(|_| Malformed("time"))?,
            kind,
            from,
            uid,
            value,
            recalled: *recalled == Value::Int(1),
        })
    }

    /// Its JSON. `prev`: the id of the entry before, empty for the first. What people wrote is JSON already; it
    /// has only to be seen to be one string.
    pub(super) fn json(&self, prev: &str) -> Result<String, Malformed> {
        let mut json = format!(r#"{{"seq":{},"id":{}"#, self.seq, json_string(self.id));
        if !prev.is_empty() {
            let _ = write!(json, r#","prev":{}"#, json_string(prev));
        }
        let _ = write!(
            json,
            r#","time":{},"kind":{},"from":{},"uid":{}"#,
            self.time,
            json_string(self.kind),
            json_string(self.from),
            json_string(self.uid)
        );
        match self.kind {
            "message" if self.recalled && self.value.is_empty() => {}
            "message" if is_json_string(self.value) => {
                let _ = write!(json, r#","message":{}"#, self.value);
            }
            "message" => return Err(Malformed("message")),
            "recalled" => {
                let of: u64 = self.value.parse().map_err(|_| Malformed("of"))?;
                let _ = write!(json, r#","of":{of}"#);
            }
            "ended" | "requeued" => {
                let _ = write!(json, r#","reason":{}"#, json_string(self.value));
            }
            "assigned" => {}
            _ => return Err(Malformed("kind")),
        }
        json.push_str(if self.recalled {
            r#","recalled":true}"#
        } else {
            "}"
        });
        Ok(json)
    }
}
