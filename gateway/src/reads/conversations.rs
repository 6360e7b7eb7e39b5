//! A user's list of conversations.

use std::fmt::Write as _;

use frontdesk_shared::{
    ids::ConversationId,
    keys,
    protocol::{
        notice::{is_json_string, json_string},
        read::Cursor,
    },
    redis::text,
};
use redis::Value;

use super::{Asker, Failure, Malformed, PAGE_BYTES, Part, Reads, entry::Raw, list};

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
    pub(super) async fn conversations(&self, asker: &Asker, ask: &Ask) -> Result<Part, Failure> {
        let identity = &asker.identity;
        let keys = [keys::conversations(&identity.site, &identity.uid)];
        let (changed, after) = match &ask.before {
            Some(cursor) => (cursor.changed.to_string(), cursor.conversation.as_str()),
            None => ("+inf".to_owned(), ""),
        };
        let args = [
            self.originals_for(asker),
            &changed,
            after,
            &ask.limit.to_string(),
            &PAGE_BYTES.to_string(),
        ];
        let reply = self.call(&self.conversations, asker, &keys, &args).await?;
        Ok(Part {
            action: "conversations",
            open: open(list(&reply)?)?,
            rest: None,
        })
    }

    /// One conversation for a request: a JSON object, or the code of an error.
    pub(crate) async fn conversation(
        &self,
        asker: &Asker,
        id: &ConversationId,
    ) -> Result<String, &'static str> {
        let read = async {
            let keys = [keys::conversation(&asker.identity.site, id)];
            let args = [id.as_str(), self.originals_for(asker)];
            let reply = self.call(&self.conversation, asker, &keys, &args).await?;
            Ok(with_sides(list(&reply)?)?)
        };
        self.judged(asker, read).await
    }
}

/// What `lua/conversations.lua` returns as a JSON object, without its closing brace.
fn open(reply: &[Value]) -> Result<String, Malformed> {
    let [more, changed, name, items @ ..] = reply else {
        return Err(Malformed("length"));
    };
    let items: Vec<String> = items.iter().map(conversation).collect::<Result<_, _>>()?;
    let more = *more == Value::Int(1);
    let mut open = format!(r#"{{"conversations":[{}],"more":{more}"#, items.join(","));
    if more {
        let cursor = text(changed).zip(text(name));
        let (changed, name) = cursor.ok_or(Malformed("cursor"))?;
        let cursor = Cursor::parse(&format!("{changed}:{name}")).ok_or(Malformed("cursor"))?;
        let _ = write!(open, r#","before":"{cursor}""#);
    }
    Ok(open)
}

/// What `lua/conversation.lua` returns.
fn with_sides(reply: &[Value]) -> Result<String, Malformed> {
    let [item, a, b] = reply else {
        return Err(Malformed("length"));
    };
    let mut json = conversation(item)?;
    let sides = [a, b].map(|side| text(side).ok_or(Malformed("side")));
    let sides = sides.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sides = sides.into_iter().filter(|side| !side.is_empty());
    let sides: Vec<String> = sides.map(json_string).collect();
    json.pop(); // its closing brace
    let _ = write!(json, r#","members":[{}]}}"#, sides.join(","));
    Ok(json)
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

pub(super) fn number(value: &Value) -> Result<i64, Malformed> {
    match value {
        Value::Int(number) if *number >= 0 => Ok(*number),
        _ => Err(Malformed("number")),
    }
}
