//! Places: who is served by whom, and who waits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Logs, Report, site_of};
use crate::{
    conversation_log::Entry,
    drill::history::{Record, What},
};

pub(super) fn check(report: &mut Report<'_>, logs: &Logs) {
    for (key, log) in logs {
        if let Some(what) = staffing(log) {
            report.state("I6", format!("{key:?}: {what}"));
        }
    }
    let records = &report.evidence.records;
    capacity(report, records);
    queues(report, records);
}

/// I6: one member of staff at a time, words of staff only from them, nothing but recalls after the end.
fn staffing(log: &[Entry]) -> Option<String> {
    let (mut staff, mut ended) = (None, false);
    for entry in log {
        // A message is recalled by who said it, also after they or the conversation have gone on.
        if entry.kind == "recalled" {
            continue;
        }
        if ended {
            return Some(format!("{entry:?} comes after the end"));
        }
        match (entry.kind.as_str(), entry.from.as_str()) {
            ("assigned", _) => match staff.replace(&entry.uid) {
                None => {}
                Some(before) => return Some(format!("{entry:?} while {before} is there")),
            },
            ("requeued", _) => staff = None,
            ("ended", _) => ended = true,
            (_, "staff") if staff != Some(&entry.uid) => {
                return Some(format!("{entry:?} while {staff:?} is there"));
            }
            _ => {}
        }
    }
    None
}

/// I5: as a member of staff sees it, from their own socket.
fn capacity(report: &mut Report<'_>, records: &[Record]) {
    let mut sockets: BTreeMap<u64, (BTreeSet<String>, Option<u64>)> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let What::Told(frame) = &record.what else {
            continue;
        };
        let (action, payload) = (&frame["action"], &frame["payload"]);
        let conversation = payload["conversation"].as_str().map(str::to_owned);
        if let Some(conversations) = snapshot(frame) {
            // What this socket missed stands here.
            let (open, max) = sockets.entry(record.socket).or_default();
            let names = conversations.iter().filter(|item| item["state"] == "open");
            let names = names.filter_map(|item| item["conversation"].as_str());
            *open = names.map(str::to_owned).collect();
            *max = payload["duty"]["max"].as_u64();
        }
        let (open, max) = sockets.entry(record.socket).or_default();
        match (payload["code"].as_str(), conversation) {
            (Some("on_duty"), _) => *max = payload["max"].as_u64(),
            (Some("off_duty"), _) => open.clear(),
            (Some("new_customer"), Some(conversation)) => drop(open.insert(conversation)),
            (_, Some(conversation)) if action == "chat_close" => drop(open.remove(&conversation)),
            _ => {}
        }
        // Who resumes may have missed an end, and learns of it by the next snapshot.
        let certain = !report.evidence.devices.contains_key(&record.socket) || action == "snapshot";
        if certain && max.is_some_and(|max| open.len() as u64 > max) {
            report.at(index, "I5", format!("{max:?} places, but {open:?}"));
        }
    }
}

/// The conversations of a snapshot.
fn snapshot(frame: &Value) -> Option<&Vec<Value>> {
    let conversations = frame["payload"]["conversations"].as_array();
    conversations.filter(|_| frame["action"] == "snapshot")
}

/// I7: places in a queue only come nearer, and nobody who talks is timed out.
fn queues(report: &mut Report<'_>, records: &[Record]) {
    let mut places: BTreeMap<(u64, String), u64> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let What::Told(frame) = &record.what else {
            continue;
        };
        let payload = &frame["payload"];
        if ["timeout", "customer_timeout"]
            .map(Value::from)
            .contains(&payload["code"])
        {
            report.at(index, "I7", format!("timed out: {payload}"));
        }
        // `queue_moved` names no conversation: it is the one that was queued on this socket.
        let queue = (record.socket, site_of(&record.who).to_owned());
        if snapshot(frame).is_some() || frame["action"] == "resync" {
            places.remove(&queue); // something was missed, or lost: it may be another conversation
        }
        match (payload["code"].as_str(), payload["queue"].as_u64()) {
            (Some("queued" | "queue_moved"), Some(place)) => {
                let before = places.insert(queue, place);
                if before.is_some_and(|before| before < place) {
                    let what = format!("moved back in the queue from {before:?}: {payload}");
                    report.at(index, "I7", what);
                }
            }
            (Some("connected"), _) => drop(places.remove(&queue)),
            _ if ["chat_close", "queue_close"]
                .map(Value::from)
                .contains(&frame["action"]) =>
            {
                places.remove(&queue);
            }
            _ => {}
        }
    }
}
