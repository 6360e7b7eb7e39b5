//! How the desk stands: who is on duty, how many wait where, and who has waited longest. For requests only.

use std::fmt::Write as _;

use frontdesk_shared::{
    keys,
    protocol::notice::{is_json_string, json_string},
    redis::text,
};
use redis::Value;

use super::{Asker, Failure, Malformed, Reads, conversations::number, list};

/// Most of those who have waited longest that are named.
const MAX_LONGEST: u64 = 20;

/// A part of a list: how many to leave out, and how many to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

impl Reads {
    /// Who is on duty: a JSON object, or the code of an error.
    pub(crate) async fn staff(&self, asker: &Asker, range: Range) -> Result<String, &'static str> {
        let read = async {
            let keys = [keys::duty(&asker.identity.site)];
            let args = [range.offset.to_string(), range.limit.to_string()];
            let reply = self.call(&self.staff, asker, &keys, &texts(&args)).await?;
            Ok::<_, Failure>(staff(list(&reply)?, range)?)
        };
        self.judged(asker, read).await
    }

    /// How many wait, likewise.
    pub(crate) async fn queues(&self, asker: &Asker, range: Range) -> Result<String, &'static str> {
        let read = async {
            let site = &asker.identity.site;
            let keys = [keys::duty(site), keys::waiting(site)];
            let args = [range.offset, range.limit, MAX_LONGEST].map(|number| number.to_string());
            let reply = self.call(&self.queues, asker, &keys, &texts(&args)).await?;
            Ok::<_, Failure>(queues(list(&reply)?, range)?)
        };
        self.judged(asker, read).await
    }
}

fn texts(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// What `lua/staff.lua` returns.
fn staff(reply: &[Value], range: Range) -> Result<String, Malformed> {
    let [on_duty, members @ ..] = reply else {
        return Err(Malformed("length"));
    };
    let members: Vec<String> = members.iter().map(member).collect::<Result<_, _>>()?;
    let on_duty = number(on_duty)?;
    let more = has_more(on_duty, range);
    Ok(format!(
        r#"{{"on_duty":{on_duty},"staff":[{}],"more":{more}}}"#,
        members.join(",")
    ))
}

fn member(item: &Value) -> Result<String, Malformed> {
    let [uid, name, open, max, lost, waiting] = row(item)? else {
        return Err(Malformed("staff"));
    };
    let mut json = format!(r#"{{"uid":{}"#, json_string(string(uid)?));
    match string(name)? {
        "" => {}
        name if is_json_string(name) => drop(write!(json, r#","name":{name}"#)),
        _ => return Err(Malformed("name")),
    }
    let (open, max, waiting) = (number(open)?, number(max)?, number(waiting)?);
    let lost = *lost == Value::Int(1);
    let _ = write!(
        json,
        r#","open":{open},"max":{max},"waiting":{waiting},"lost":{lost}}}"#
    );
    Ok(json)
}

/// What `lua/queues.lua` returns.
fn queues(reply: &[Value], range: Range) -> Result<String, Malformed> {
    let [time, on_duty, waiting, shared, left, queues, longest] = reply else {
        return Err(Malformed("length"));
    };
    let time: u64 = string(time)?.parse().map_err(|_| Malformed("time"))?;
    let on_duty = number(on_duty)?;
    let more = has_more(on_duty, range);
    let queues: Vec<String> = row(queues)?.iter().map(queue).collect::<Result<_, _>>()?;
    let longest: Vec<String> = row(longest)?.iter().map(waits).collect::<Result<_, _>>()?;
    Ok(format!(
        r#"{{"time":{time},"on_duty":{on_duty},"waiting":{},"shared":{},"left":{},"queues":[{}],"more":{more},"longest":[{}]}}"#,
        number(waiting)?,
        number(shared)?,
        number(left)?,
        queues.join(","),
        longest.join(",")
    ))
}

fn queue(item: &Value) -> Result<String, Malformed> {
    let [staff, waiting] = row(item)? else {
        return Err(Malformed("queue"));
    };
    let (staff, waiting) = (json_string(string(staff)?), number(waiting)?);
    Ok(format!(r#"{{"staff":{staff},"waiting":{waiting}}}"#))
}

fn waits(item: &Value) -> Result<String, Malformed> {
    let [customer, conversation] = row(item)? else {
        return Err(Malformed("customer"));
    };
    let (customer, conversation) = (string(customer)?, string(conversation)?);
    // `<shard>.<lane>.<ms>-<seq>.<n>`: the event that began it.
    let since = conversation.split('.').nth(2);
    let since = since.and_then(|stream| stream.split('-').next()?.parse::<u64>().ok());
    let since = since.ok_or(Malformed("conversation"))?;
    Ok(format!(
        r#"{{"customer":{},"conversation":{},"since":{since}}}"#,
        json_string(customer),
        json_string(conversation)
    ))
}

fn has_more(on_duty: i64, range: Range) -> bool {
    u64::try_from(on_duty).is_ok_and(|all| all > range.offset.saturating_add(range.limit))
}

fn row(value: &Value) -> Result<&[Value], Malformed> {
    match value {
        Value::Array(fields) => Ok(fields),
        _ => Err(Malformed("row")),
    }
}

fn string(value: &Value) -> Result<&str, Malformed> {
    text(value).ok_or(Malformed("text"))
}
