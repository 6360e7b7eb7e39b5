//! Holds what is in Redis against the model, and against rules that need no model.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use frontdesk_shared::protocol::notice;
use serde_json::{Value, json};

use crate::{
    desk_model::{Acked, Conv, DeskModel, Field, State, Told, What},
    lane_driver::Pushed,
    redis_dump::Dump,
};

/// One site's part of a dump.
#[derive(Debug, Clone, Copy)]
pub struct SiteDump<'d> {
    dump: &'d Dump,
    prefix: &'d str,
}

impl<'d> SiteDump<'d> {
    /// The keys of a dump that begin with a site's prefix.
    pub fn new(dump: &'d Dump, prefix: &'d str) -> Self {
        Self { dump, prefix }
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    fn hash(&self, rest: &str) -> BTreeMap<String, String> {
        self.dump.hash(&self.key(rest))
    }

    /// The members of a sorted set, in order.
    fn members(&self, rest: &str) -> Vec<String> {
        let members = self.dump.sorted(&self.key(rest));
        members.into_iter().map(|(member, _)| member).collect()
    }

    /// What follows `kind` in the names of the site's keys.
    fn names(&self, kind: &str) -> Vec<String> {
        let prefix = self.key(kind);
        self.dump.names(&prefix).map(str::to_owned).collect()
    }

    fn ttl(&self, rest: &str) -> Option<i64> {
        self.dump
            .0
            .get(&self.key(rest))
            .and_then(|kept| kept.ttl_ms)
    }

    /// The lines of a conversation's log, each a map of fields.
    fn log(&self, conv: &str) -> Vec<(String, BTreeMap<String, String>)> {
        let entries = self.dump.stream(&self.key(&format!("log:{conv}")));
        entries
            .into_iter()
            .map(|(id, fields)| (id, fields.into_iter().collect()))
            .collect()
    }

    /// Names the conversations that the model has begun since it was asked last.
    pub fn name_conversations(&self, model: &mut DeskModel) -> Result<()> {
        for conv in 0..model.conversations.len() {
            if model.names[conv].is_none() {
                let born = format!("{}.", model.conversations[conv].born);
                let names = self.names("conv:");
                let mut found = names.into_iter().filter(|name| name.starts_with(&born));
                let name = found
                    .next()
                    .with_context(|| format!("no conversation of {born}"))?;
                ensure!(found.next().is_none(), "two conversations of {born}");
                model.names[conv] = Some(name);
            }
        }
        Ok(())
    }

    /// Everything that the model says is so, and nothing else is there.
    pub fn check_model(&self, model: &DeskModel, due: &[(String, f64)]) -> Result<()> {
        let names = |convs: Vec<Conv>| -> Vec<String> {
            let customers = convs
                .iter()
                .map(|conv| &model.conversations[*conv].customer);
            customers.cloned().collect()
        };
        same("waiting", &self.members("waiting"), &names(model.waiting()))?;
        same("duty", &self.members("duty"), &model.on_duty())?;
        same("free", &self.members("free"), &model.free())?;
        for queue in self.names("q:") {
            let expected = names(model.queue(&queue));
            same(&queue, &self.members(&format!("q:{queue}")), &expected)?;
        }
        same(
            "users",
            &self.names("u:"),
            &model.users.keys().cloned().collect(),
        )?;
        for uid in model.users.keys() {
            let mut actual = self.hash(&format!("u:{uid}"));
            // Only their order means something, and that is checked above.
            let numbers = (actual.remove("duty"), actual.remove("turn"));
            let on_duty = model.users[uid].duty.is_some();
            ensure!(
                numbers.0.is_some() == on_duty,
                "{uid} is on duty or not: {actual:?}"
            );
            ensure!(
                numbers.1.is_some() == on_duty,
                "{uid} is on duty or not: {actual:?}"
            );
            same(uid, &actual, &expected_user(model, uid)).context("user")?;
            let of_user = format!("|{uid}|");
            let timers = due
                .iter()
                .filter(|(member, _)| member.starts_with("lost|") && member.contains(&of_user));
            let timers: Vec<f64> = timers.map(|(_, score)| *score).collect();
            let lost = model.users[uid].lost.filter(|lost| lost.timer);
            let expected: Vec<f64> = lost.iter().map(|lost| lost.until as f64).collect();
            ensure!(
                timers == expected,
                "{uid} is awaited until {timers:?}, not {expected:?}"
            );
        }
        for conv in 0..model.conversations.len() {
            self.check_conversation(model, conv, due)?;
        }
        ensure!(
            self.names("conv:").len() == model.conversations.len(),
            "a conversation that nobody began"
        );
        Ok(())
    }

    fn check_conversation(
        &self,
        model: &DeskModel,
        conv: Conv,
        due: &[(String, f64)],
    ) -> Result<()> {
        let (name, expected) = (model.name(conv), &model.conversations[conv]);
        let hash = self.hash(&format!("conv:{name}"));
        let field = |field: &str| hash.get(field).map_or("", String::as_str);
        let timers: Vec<_> = due
            .iter()
            .filter(|(member, _)| member.split('|').nth(3) == Some(name))
            .map(|(_, score)| *score)
            .collect();
        let mut timer_due = None;
        let about = || format!("conversation {name}: {hash:?} instead of {expected:?}");
        ensure!(field("customer") == expected.customer, about());
        match &expected.state {
            State::Waiting { words, bytes, .. } => {
                ensure!(field("state") == "waiting", about());
                ensure!(field("words") == words.to_string(), about());
                ensure!(field("bytes") == bytes.to_string(), about());
                ensure!(field("staff").is_empty(), about());
            }
            State::Open {
                staff,
                at,
                idle,
                timer,
            } => {
                timer_due = *timer;
                ensure!(field("state") == "open", about());
                ensure!(field("staff") == staff, about());
                ensure!(field("idle") == idle.to_string(), about());
                ensure!(field("at").parse::<u64>()? >= *at, about());
            }
            State::Ended => ensure!(field("state") == "ended", about()),
        }
        let expected_timers: Vec<f64> = timer_due.into_iter().map(|due| due as f64).collect();
        ensure!(
            timers == expected_timers,
            "timers {timers:?} of {name}, not {expected_timers:?}"
        );
        let log: Vec<_> = self
            .log(name)
            .into_iter()
            .map(|(_, mut fields)| {
                fields.remove("id");
                fields.remove("time");
                fields
            })
            .collect();
        let lines: Vec<BTreeMap<String, String>> = expected
            .log
            .iter()
            .map(|line| {
                let mut fields = BTreeMap::from([
                    ("from".to_owned(), line.from.to_owned()),
                    ("uid".to_owned(), line.uid.clone()),
                    (line.kind.to_owned(), line.value.clone()),
                ]);
                fields.extend(line.reference.clone().map(|id| ("ref".to_owned(), id)));
                fields
            })
            .collect();
        same(&format!("log of {name}"), &log, &lines)
    }

    /// The rules that hold after every transition, whoever is right about the rest.
    pub fn check_rules(&self) -> Result<()> {
        let (waiting, free, duty) = (
            self.members("waiting"),
            self.members("free"),
            self.members("duty"),
        );
        ensure!(
            free.is_empty() || waiting.is_empty(),
            "{free:?} are free while {waiting:?} wait"
        );
        let (mut queued, mut lost): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for queue in self.names("q:") {
            for uid in self.members(&format!("q:{queue}")) {
                let user = self.hash(&format!("u:{uid}"));
                ensure!(
                    user.get("queue") == Some(&queue),
                    "{uid} is in {queue}: {user:?}"
                );
                if user.contains_key("lost") {
                    lost.push(uid);
                } else {
                    queued.push(uid);
                }
            }
        }
        let present = |uid: &String| !waiting.contains(uid);
        ensure!(
            lost.iter().all(present),
            "of {lost:?} somebody waits for a place who is lost"
        );
        queued.sort();
        let mut sorted = waiting.clone();
        sorted.sort();
        same("the queues together", &queued, &sorted)?;

        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for uid in waiting.iter().chain(&lost) {
            let conv = self.hash(&format!("u:{uid}")).remove("conv");
            places.entry(uid.clone()).or_default().extend(conv);
        }
        for uid in &duty {
            let user = self.hash(&format!("u:{uid}"));
            ensure!(
                !user.contains_key("conv"),
                "{uid} is staff and customer: {user:?}"
            );
            let (open, max): (usize, usize) = (user["open"].parse()?, user["max"].parse()?);
            let convs: Vec<_> = user["convs"].split_whitespace().collect();
            ensure!(open == convs.len(), "{uid} counts wrong: {user:?}");
            ensure!(
                (open < max && !user.contains_key("lost")) == free.contains(uid),
                "{uid} free or not: {user:?}"
            );
            for conv in convs {
                let conversation = self.hash(&format!("conv:{conv}"));
                ensure!(
                    conversation["state"] == "open",
                    "{uid} has {conv}: {conversation:?}"
                );
                ensure!(
                    conversation["staff"] == *uid,
                    "{uid} has {conv}: {conversation:?}"
                );
                let customer = places.entry(conversation["customer"].clone()).or_default();
                customer.push(conv.to_owned());
            }
        }
        for (uid, places) in places {
            ensure!(places.len() == 1, "{uid} is in {places:?}");
        }
        self.check_logs()
    }

    fn check_logs(&self) -> Result<()> {
        for conv in self.names("conv:") {
            let hash = self.hash(&format!("conv:{conv}"));
            let log = self.log(&conv);
            let mut ids = Vec::new();
            for (place, (id, fields)) in (1..).zip(&log) {
                ensure!(*id == format!("{place}-0"), "{conv} has a hole before {id}");
                ids.push(&fields["id"]);
            }
            let count = hash.get("seq").map_or(0, |seq| seq.parse().unwrap_or(0));
            ensure!(count == log.len(), "{conv} counts {count} of {}", log.len());
            ensure!(hash.get("last") == ids.last().copied(), "{conv}: {hash:?}");
            ids.sort();
            ids.dedup();
            ensure!(ids.len() == log.len(), "{conv} has an id twice");
            let ended = hash["state"] == "ended";
            for key in [format!("conv:{conv}"), format!("log:{conv}")] {
                let is_there = self.dump.0.contains_key(&self.key(&key));
                ensure!(
                    !is_there || self.ttl(&key).is_some() == ended,
                    "{key} lives on after its end, or not until then"
                );
            }
        }
        for sent in self.names("sent:") {
            ensure!(
                self.ttl(&format!("sent:{sent}")).is_some(),
                "sent:{sent} lives for ever"
            );
        }
        Ok(())
    }

    /// What stays when everybody has left: what is kept for a while, and the site's counter.
    pub fn check_empty(&self) -> Result<()> {
        for (name, kept) in &self.dump.0 {
            let Some(rest) = name.strip_prefix(self.prefix) else {
                continue;
            };
            let kind = rest.split(':').next().unwrap_or_default();
            match kind {
                "conv" | "log" | "sent" => ensure!(kept.ttl_ms.is_some(), "{name} has no TTL"),
                "turn" => {}
                _ => bail!("{name} is left behind: {kept:?}"),
            }
        }
        Ok(())
    }

    /// What was pushed is what the model says, to each connection in the same order.
    pub fn check_pushes(&self, model: &DeskModel, told: &[Told], pushed: &[Pushed]) -> Result<()> {
        let mut expected: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for told in told {
            let frame = self.render(model, told)?;
            expected.entry(&told.client).or_default().push(frame);
        }
        let mut actual: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for pushed in pushed {
            let mut frame: Value = serde_json::from_str(&pushed.text)
                .with_context(|| format!("not JSON: {pushed:?}"))?;
            if frame["payload"]["code"] == "welcome" {
                ensure!(frame["payload"]["time"].is_u64(), "{frame}");
                frame["payload"]["time"] = Value::Null;
            }
            actual.entry(&pushed.client).or_default().push(frame);
        }
        same("pushes", &actual, &expected)
    }

    fn render(&self, model: &DeskModel, told: &Told) -> Result<Value> {
        let (key, fields) = match &told.what {
            What::Close(code) => return Ok(json!(code)),
            What::Words(conv, seq) => {
                let line = &model.conversations[*conv].log[*seq - 1];
                let body: Value = serde_json::from_str(&line.value)?;
                let mut payload = json!({ "from": line.from, "message": body });
                payload["conversation"] = json!(model.name(*conv));
                self.put_line(&mut payload, model, *conv, *seq)?;
                return Ok(json!({ "action": "message", "payload": payload }));
            }
            What::Welcome(uid) => {
                let fields = vec![
                    ("client_id", Field::Json(json!(told.client).to_string())),
                    ("uid", Field::Json(json!(uid).to_string())),
                    ("time", Field::Json("null".into())),
                ];
                ("welcome", fields)
            }
            What::Notice { key, fields } => (*key, fields.clone()),
        };
        let row = notice::by_key(key).with_context(|| format!("no notice {key}"))?;
        let mut payload = json!({ "code": row.code });
        let mut queue = String::new();
        for (name, field) in &fields {
            match field {
                Field::Json(text) => {
                    payload[*name] = serde_json::from_str(text)?;
                    if *name == "queue" {
                        queue.clone_from(text);
                    }
                }
                Field::Conversation(conv) => payload[*name] = json!(model.name(*conv)),
                Field::Line(conv, seq) => self.put_line(&mut payload, model, *conv, *seq)?,
            }
        }
        payload["message"] = json!(row.text(told.lang).replace("{queue}", &queue));
        Ok(json!({ "action": row.action, "payload": payload }))
    }

    /// `seq`, `id`, `prev` and `time` as the log has them.
    fn put_line(
        &self,
        payload: &mut Value,
        model: &DeskModel,
        conv: Conv,
        seq: usize,
    ) -> Result<()> {
        let log = self.log(model.name(conv));
        let line = |seq: usize| log.get(seq.wrapping_sub(1)).map(|(_, fields)| fields);
        let this = line(seq).with_context(|| format!("no line {seq} in {log:?}"))?;
        payload["seq"] = json!(seq);
        payload["id"] = json!(this["id"]);
        if let Some(before) = line(seq - 1) {
            payload["prev"] = json!(before["id"]);
        }
        payload["time"] = json!(this["time"].parse::<u64>()?);
        Ok(())
    }

    /// The ack is about the line that the model means.
    pub fn check_ack(
        &self,
        model: &DeskModel,
        expected: &Acked,
        ack: &frontdesk_worker::library::Ack,
    ) -> Result<()> {
        let name = model.name(expected.conversation);
        let log = self.log(name);
        let (_, line) = &log[expected.seq - 1];
        let actual = (&*ack.conversation, &ack.seq, &ack.id, &ack.time);
        let wanted = (name, &expected.seq.to_string(), &line["id"], &line["time"]);
        same("ack", &actual, &wanted)?;
        ensure!(
            line.get("ref") == Some(&ack.reference),
            "{ack:?} of {line:?}"
        );
        Ok(())
    }
}

fn expected_user(model: &DeskModel, uid: &str) -> BTreeMap<String, String> {
    let user = &model.users[uid];
    let mut fields = BTreeMap::new();
    let mut put = |name: &str, value: String| fields.insert(name.to_owned(), value);
    let list = |names: &mut dyn Iterator<Item = &str>| -> String {
        names.fold(String::new(), |list, name| list + name + " ")
    };
    let clients = list(&mut user.sockets.iter().map(|(client, _)| client.as_str()));
    put("conns", clients);
    for (client, n) in &user.sockets {
        put(&format!("n:{client}"), n.to_string());
    }
    for client in &user.resume {
        put(&format!("r:{client}"), "1".to_owned());
    }
    if let Some(lost) = user.lost {
        put("lost", lost.until.to_string());
    }
    put("lang", user.lang.to_string());
    put("role", user.role.as_str().to_owned());
    let uid = frontdesk_shared::ids::Uid::parse(uid).expect("well-formed");
    let lane = frontdesk_shared::ids::Lane::of(&uid);
    put("lane", lane.number().to_string());
    if let Some(duty) = &user.duty {
        put("name", duty.name.clone());
        put("max", duty.max.to_string());
        put("open", duty.open.len().to_string());
        let convs = list(&mut duty.open.iter().map(|conv| model.name(*conv)));
        put("convs", convs);
    }
    if let Some(conv) = user.conversation {
        put("conv", model.name(conv).to_owned());
        if let State::Waiting { queue, .. } = &model.conversations[conv].state {
            put("queue", queue.clone());
            put("place", user.told.to_string());
        }
    }
    fields
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    bail!("{what}\n     is {actual:?}\n not is {expected:?}");
}
