//! Webhooks, and their deliveries that are not tried any more. For requests of a site's own programs only.

use std::collections::HashMap;

use frontdesk_shared::{
    ids::{HookId, StreamId},
    keys,
    redis::text,
};
use redis::{FromRedisValue, Value};
use serde_json::{Map, Value as Json, json};

use super::{Asker, Failure, Malformed, Reads, list};

/// What is counted, by its name; each is there, if only as 0.
const COUNTS: [&str; 4] = ["delivered", "failed", "dropped", "forgotten"];
/// Times, of what has happened at all.
const TIMES: [&str; 2] = ["delivered_at", "failed_at"];

impl Reads {
    /// The site's webhooks, or one: a JSON object, or the code of an error.
    pub(crate) async fn hooks(
        &self,
        asker: &Asker,
        one: Option<&HookId>,
    ) -> Result<String, &'static str> {
        let read = async {
            let keys = [keys::hooks(&asker.identity.site)];
            let args = [one.map_or("", HookId::as_str)];
            let reply = self.call(&self.webhooks, asker, &keys, &args).await?;
            let mut hooks = list(&reply)?
                .iter()
                .map(hook)
                .collect::<Result<Vec<_>, _>>()?;
            if one.is_some() {
                let hook = hooks.pop().ok_or(Malformed("webhook"))?;
                return Ok::<_, Failure>(Json::Object(hook).to_string());
            }
            hooks.sort_by_key(|hook| (hook["created"].as_u64(), hook["id"].to_string()));
            Ok(json!({ "webhooks": hooks }).to_string())
        };
        self.judged(asker, read).await
    }

    /// A page of what is parked, likewise.
    pub(crate) async fn parked(
        &self,
        asker: &Asker,
        hook: &HookId,
        before: Option<StreamId>,
        limit: u64,
    ) -> Result<String, &'static str> {
        let read = async {
            let site = &asker.identity.site;
            let keys = [keys::hooks(site), keys::hook(site, hook) + "parked"];
            let before = before.map(|place| place.to_string()).unwrap_or_default();
            let limit = limit.to_string();
            let args = [hook.as_str(), &before, &limit];
            let reply = self.call(&self.parked, asker, &keys, &args).await?;
            Ok::<_, Failure>(page(list(&reply)?)?)
        };
        self.judged(asker, read).await
    }
}

fn read<T: FromRedisValue>(value: &Value, what: &'static str) -> Result<T, Malformed> {
    T::from_redis_value(value.clone()).map_err(|_| Malformed(what))
}

/// What `lua/webhooks.lua` returns of one.
fn hook(item: &Value) -> Result<Map<String, Json>, Malformed> {
    type Fields = (String, String, u64, u64, u64, HashMap<String, String>);
    let (id, config, waiting, retrying, parked, counts): Fields = read(item, "webhook")?;
    let mut hook: Map<String, Json> =
        serde_json::from_str(&config).map_err(|_| Malformed("webhook"))?;
    hook.insert("id".into(), id.into());
    for (name, count) in [
        ("waiting", waiting),
        ("retrying", retrying),
        ("parked", parked),
    ] {
        hook.insert(name.into(), count.into());
    }
    let number = |name: &str| counts.get(name).and_then(|text| text.parse::<u64>().ok());
    for name in COUNTS {
        hook.insert(name.into(), number(name).unwrap_or(0).into());
    }
    for name in TIMES {
        if let Some(time) = number(name) {
            hook.insert(name.into(), time.into());
        }
    }
    if let Some(why) = counts.get("why") {
        hook.insert("why".into(), why.as_str().into());
    }
    Ok(hook)
}

/// What `lua/parked.lua` returns.
fn page(reply: &[Value]) -> Result<String, Malformed> {
    let [more, items @ ..] = reply else {
        return Err(Malformed("length"));
    };
    let deliveries = items.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
    let more = *more == Value::Int(1);
    let mut page = json!({ "deliveries": deliveries, "more": more });
    if let Some(Value::Array(last)) = items.last().filter(|_| more) {
        page["before"] = last.first().and_then(text).into();
    }
    Ok(page.to_string())
}

fn delivery(item: &Value) -> Result<Json, Malformed> {
    let (place, delivery, attempts, why): (String, String, u64, String) = read(item, "delivery")?;
    let place = StreamId::parse(&place).map_err(|_| Malformed("place"))?;
    let body = delivery.splitn(3, '|').nth(2).unwrap_or_default();
    let body: Map<String, Json> = serde_json::from_str(body).map_err(|_| Malformed("delivery"))?;
    let mut shown = json!({"attempts": attempts, "why": why, "parked_at": place.ms});
    for (name, field) in [
        ("delivery", "id"),
        ("type", "type"),
        ("time", "time"),
        ("conversation", "conversation"),
        ("seq", "seq"),
    ] {
        if let Some(value) = body.get(field) {
            shown[name] = value.clone();
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_webhook_is_what_is_kept_and_how_it_stands() {
        let config = r#"{"created":5,"changed":6,"enabled":true,"types":["a"],"url":"b"}"#;
        let counts = ["delivered", "3", "why", "timeout", "unlogged", "1"].map(bulk);
        let item = Value::Array(vec![
            bulk("6.1.1-0.1"),
            bulk(config),
            Value::Int(1),
            Value::Int(2),
            Value::Int(0),
            Value::Array(counts.to_vec()),
        ]);
        let shown = Json::Object(hook(&item).expect("well-formed"));
        let expected = json!({
            "id": "6.1.1-0.1", "created": 5, "changed": 6, "enabled": true, "types": ["a"], "url": "b",
            "waiting": 1, "retrying": 2, "parked": 0, "delivered": 3, "failed": 0, "dropped": 0,
            "forgotten": 0, "why": "timeout",
        });
        assert_eq!(shown, expected);
        assert!(hook(&Value::Nil).is_err());
    }

    #[test]
    fn a_page_of_parked_deliveries_says_how_to_go_on() {
        let body = r#"6.1.1-0.1|2|{"id":"i","type":"message.created","site":"s","time":7,"conversation":"6.1.1-0.1","seq":2,"from":"f","uid":"u","data":{}}"#;
        let entry = ["9-1", body, "4", "status 500"].map(bulk).to_vec();
        let reply = [Value::Int(1), Value::Array(entry)];
        let shown: Json = serde_json::from_str(&page(&reply).expect("well-formed")).expect("JSON");
        let expected = json!({
            "deliveries": [{
                "delivery": "i", "type": "message.created", "time": 7, "conversation": "6.1.1-0.1",
                "seq": 2, "attempts": 4, "why": "status 500", "parked_at": 9,
            }],
            "more": true, "before": "9-1",
        });
        assert_eq!(shown, expected);
    }
}
