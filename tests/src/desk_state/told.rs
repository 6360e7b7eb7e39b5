//! What people are told against the model.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use frontdesk_shared::protocol::notice;
use serde_json::{Value, json};

use super::{SiteDump, same};
use crate::{
    desk_model::{Acked, Conv, DeskModel, Field, Told, What},
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
