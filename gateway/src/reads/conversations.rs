//! A user's list of conversations.

use std::fmt::Write as _;

use frontdesk_shared::{
    ids::MessageRef,
    keys,
    protocol::{
        notice::{is_json_string, json_string},
        read::Cursor,
    },
    redis::text,
};
use redis::Value;

use super::{Malformed, PAGE_BYTES, Part, Reads, entry::Raw, list};
use crate::auth::Identity;

/// A page that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) before: Option<Cursor>,
    pub(super) limit: u64,
}

/// The numbers of a conversation, by their names on the wire.
const NUMBERS: [&str; 5] = ["unread", "read", "delivered", "peer_read", "peer_delivered"];

impl Reads {
    /// One page.
    pub(super) async fn conversations(
        &self,
        asker: &Identity,
        ask: &Ask,
        reference: Option<&MessageRef>,
    ) -> Part {
        let keys = [keys::conversations(&asker.site, &asker.uid)];
        let (changed, after) = match &ask.before {
            Some(cursor) => (cursor.changed.to_string(), cursor.conversation.as_str()),
            None => ("+inf".to_owned(), ""),
        };
        let args = [
            &keys::site_prefix(&asker.site),
            asker.uid.as_str(),
            self.originals_for(asker),
            &changed,
            after,
            &ask.limit.to_string(),
            &PAGE_BYTES.to_string(),
        ];
        let reply = self.call(&self.conversations, &keys, &args).await?;
        Ok((frame(list(&reply)?, reference)?, None))
    }
}

/// The frame of what `lua/conversations.lua` returns.
fn frame(reply: &[Value], reference: Option<&MessageRef>) -> Result<String, Malformed> {
    let [more, changed, name, items @ ..] = reply else {
        return Err(Malformed("length"));
    };
    let items: Vec<String> = items.iter().map(conversation).collect::<Result<_, _>>()?;
    let more = *more == Value::Int(1);
    let mut frame = format!(
        r#"{{"action":"conversations","payload":{{"conversations":[{}],"more":{more}"#,
        items.join(",")
    );
    if more {
        let cursor = text(changed).zip(text(name));
        let (changed, name) = cursor.ok_or(Malformed("cursor"))?;
        let cursor = Cursor::parse(&format!("{changed}:{name}")).ok_or(Malformed("cursor"))?;
        let _ = write!(frame, r#","before":"{cursor}""#);
    }
    if let Some(reference) = reference {
        let _ = write!(frame, r#","ref":"{reference}""#);
    }
    frame.push_str("}}");
    Ok(frame)
}

fn conversation(item: &Value) -> Result<String, Malformed> {
    let Value::Array(fields) = item else {
        return Err(Malformed("conversation"));
    };
    let [id, state, with, name, seq, head, numbers @ .., queue, last] = &fields[..] else {
        return Err(Malformed("conversation"));
    };
    let string = |value| text(value).ok_or(Malformed("text"));
    let mut json = format!(
        r#"{{"conversation":{},"state":{}"#,
        json_string(string(id)?),
        json_string(string(state)?)
    );
    match string(with)? {
        "" => {}
        with => drop(write!(json, r#","with":{}"#, json_string(with))),
    }
    match string(name)? {
        "" => {}
        name if is_json_string(name) => drop(write!(json, r#","name":{name}"#)),
        _ => return Err(Malformed("name")),
    }
    let _ = write!(json, r#","seq":{}"#, number(seq)?);
    match string(head)? {
        "" => {}
        head => drop(write!(json, r#","id":{}"#, json_string(head))),
    }
    if numbers.len() != NUMBERS.len() {
        return Err(Malformed("numbers"));
    }
    for (name, value) in NUMBERS.iter().zip(numbers) {
        let _ = write!(json, r#","{name}":{}"#, number(value)?);
    }
    match number(queue)? {
        0 => {}
        place => drop(write!(json, r#","queue":{place}"#)),
    }
    match last {
        Value::Array(fields) if fields.is_empty() => {}
        // Alone: what came before it is not shown.
        last => drop(write!(json, r#","last":{}"#, Raw::read(last)?.json("")?)),
    }
    json.push('}');
    Ok(json)
}

fn number(value: &Value) -> Result<i64, Malformed> {
    match value {
        Value::Int(number) if *number >= 0 => Ok(*number),
        _ => Err(Malformed("number")),
    }
}
