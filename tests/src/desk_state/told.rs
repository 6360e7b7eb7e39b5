//! What people are told against the model.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use frontdesk_shared::protocol::{Lang, notice};
use serde_json::{Value, json};

use super::{SiteDump, same};
use crate::{
    desk_model::{Acked, Answer, Conv, DeskModel, Field, Standing, Told, What},
    lane_driver::Pushed,
};

impl SiteDump<'_> {
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
            if frame["action"] == "snapshot" {
                normalize(&mut frame["payload"])?;
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
                if line.from == "user" {
                    payload["uid"] = json!(line.uid);
                }
                self.put_line(&mut payload, model, *conv, *seq)?;
                return Ok(json!({ "action": "message", "payload": payload }));
            }
            What::Withheld(conv, seq) => {
                let line = &model.conversations[*conv].log[*seq - 1];
                let mut payload = json!({ "from": line.from, "recalled": true });
                payload["conversation"] = json!(model.name(*conv));
                self.put_line(&mut payload, model, *conv, *seq)?;
                return Ok(json!({ "action": "message", "payload": payload }));
            }
            What::Receipt(conv, uid, marks, unread) => {
                let (delivered, read) = (marks.delivered, marks.read);
                let mut payload = json!({ "uid": uid, "delivered": delivered, "read": read });
                payload["conversation"] = json!(model.name(*conv));
                if let Some(unread) = unread {
                    payload["unread"] = json!(unread);
                }
                return Ok(json!({ "action": "receipt", "payload": payload }));
            }
            What::Recalled(conv, seq, reference) => {
                let conversation = &model.conversations[*conv];
                let line = &conversation.log[*seq - 1];
                let mut payload = json!({ "of": seq, "uid": line.uid });
                payload["conversation"] = json!(model.name(*conv));
                payload["of_id"] = json!(self.log(model.name(*conv))[*seq - 1].1["id"]);
                if let Some(reference) = reference {
                    payload["ref"] = json!(reference);
                }
                self.put_line(&mut payload, model, *conv, conversation.recalled[seq])?;
                return Ok(json!({ "action": "recalled", "payload": payload }));
            }
            What::Ended(conv, reason) => {
                let payload = json!({ "conversation": model.name(*conv), "reason": reason });
                return Ok(json!({ "action": "ended", "payload": payload }));
            }
            What::Snapshot {
                uid,
                duty,
                conversations,
            } => return self.render_snapshot(model, uid, duty.as_ref(), conversations),
            What::History {
                name,
                lines,
                reset,
                recalled,
            } => {
                let mut frame = self.render_history(model, name, *lines, *reset)?;
                withhold(&mut frame, recalled);
                return Ok(frame);
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

    fn render_snapshot(
        &self,
        model: &DeskModel,
        uid: &str,
        duty: Option<&(String, u32)>,
        conversations: &[Standing],
    ) -> Result<Value> {
        let mut items = Vec::new();
        for standing in conversations {
            let name = model.name(standing.conv);
            let mut item = json!({
                "conversation": name, "state": standing.state, "seq": standing.seq,
                "unread": standing.unread, "read": standing.own.read, "delivered": standing.own.delivered,
                "peer_read": standing.peer.read, "peer_delivered": standing.peer.delivered,
            });
            if let Some((_, head)) = self.log(name).get(standing.seq.wrapping_sub(1)) {
                item["id"] = json!(head["id"]);
            }
            if let Some(with) = &standing.with {
                item["with"] = json!(with);
            }
            if let Some(name) = &standing.name {
                item["name"] = serde_json::from_str(name)?;
            }
            if let Some(queue) = standing.queue {
                item["queue"] = json!(queue);
            }
            items.push(item);
        }
        let mut payload = json!({
            "time": Value::Null, "uid": uid, "conversations": items, "more": false
        });
        if let Some((name, max)) = duty {
            let name: Value = serde_json::from_str(name)?;
            payload["duty"] = json!({ "name": name, "max": max });
        }
        sort(&mut payload);
        Ok(json!({ "action": "snapshot", "payload": payload }))
    }

    fn render_history(
        &self,
        model: &DeskModel,
        name: &str,
        lines: Option<(Conv, usize, usize)>,
        reset: bool,
    ) -> Result<Value> {
        let mut entries = Vec::new();
        let (conv, from, to) = lines.unwrap_or((0, 0, 0));
        for seq in from + 1..=to {
            let line = &model.conversations[conv].log[seq - 1];
            let mut entry = json!({ "kind": line.kind, "from": line.from, "uid": line.uid });
            self.put_line(&mut entry, model, conv, seq)?;
            match line.kind {
                "message" => entry["message"] = serde_json::from_str(&line.value)?,
                "ended" | "requeued" => entry["reason"] = json!(line.value),
                "recalled" => entry["of"] = serde_json::from_str(&line.value)?,
                _ => {}
            }
            entries.push(entry);
        }
        let mut payload = json!({ "conversation": name, "entries": entries, "more": false });
        if reset {
            payload["reset"] = json!(true);
        }
        Ok(json!({ "action": "history", "payload": payload }))
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

impl SiteDump<'_> {
    /// The answer to a request is what the model says, with the log's ids; a refusal has its code.
    pub fn check_answer(&self, model: &DeskModel, expected: &Answer, frame: &str) -> Result<()> {
        let actual: Value = serde_json::from_str(frame)?;
        let payload = &actual["payload"];
        match expected {
            Answer::Refused(code) => {
                ensure!(
                    actual["action"] == "error" && payload["code"] == *code,
                    "{actual} instead of {code}"
                );
                Ok(())
            }
            Answer::Acked(ack, waiting) => {
                let name = model.name(ack.conversation);
                let line = &self.log(name)[ack.seq - 1].1;
                let time: u64 = line["time"].parse()?;
                let mut payload =
                    json!({ "conversation": name, "seq": ack.seq, "id": line["id"], "time": time });
                if *waiting {
                    payload["waiting"] = json!(true);
                }
                same(
                    "answer",
                    &actual,
                    &json!({ "action": "ack", "payload": payload }),
                )
            }
            Answer::Told(what) => {
                let told = Told {
                    client: String::new(),
                    lang: Lang::En,
                    what: what.clone(),
                };
                same("answer", &actual, &self.render(model, &told)?)
            }
        }
    }
}

/// Leaves the words of recalled messages out of a page of history.
fn withhold(frame: &mut Value, recalled: &[usize]) {
    let entries = frame["payload"]["entries"].as_array_mut();
    for entry in entries.into_iter().flatten() {
        if recalled.iter().any(|seq| entry["seq"] == json!(seq)) {
            entry["recalled"] = json!(true);
            entry.as_object_mut().map(|entry| entry.remove("message"));
        }
    }
}

/// A snapshot without what is any: its time, and the order of conversations that changed in one ms.
fn normalize(payload: &mut Value) -> Result<()> {
    ensure!(payload["time"].is_u64(), "{payload}");
    payload["time"] = Value::Null;
    sort(payload);
    Ok(())
}

fn sort(payload: &mut Value) {
    if let Some(items) = payload["conversations"].as_array_mut() {
        items.sort_by_key(|item| item["conversation"].to_string());
    }
}
