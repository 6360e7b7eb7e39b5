//! What each device that resumes has in the end, from socket to socket: all of its conversations, as
//! they are written, and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Logs, Report, messages::participants, site_of, uid_of};
use crate::drill::{
    history::{FAULTS, What},
    prefix,
    view::{Taken, Views},
};

/// A device, as far as its records tell.
#[derive(Debug, Default)]
struct Device {
    who: String,
    views: Views,
    /// Its last socket, and the last record of it.
    socket: u64,
    last: usize,
}

pub(super) fn check(report: &mut Report<'_>, logs: &Logs) {
    let evidence = report.evidence;
    let fault = |text: &str| {
        let mut faults = evidence.all.iter().filter(|record| record.who == FAULTS);
        faults.any(|record| record.to_string().contains(text))
    };
    // What was told and is not on disk may be followed by something else: then clients resume.
    let undone = fault("power lost") || fault("FLUSHALL");
    let mut devices: BTreeMap<&str, Device> = BTreeMap::new();
    for (index, record) in evidence.all.iter().enumerate() {
        let (Some(name), What::Told(frame)) = (evidence.devices.get(&record.socket), &record.what)
        else {
            continue;
        };
        let device = devices.entry(name).or_default();
        device.who.clone_from(&record.who);
        (device.socket, device.last) = (record.socket, index);
        for (invariant, what) in told(device, frame, logs) {
            if invariant == "I4" || !undone {
                report.at_all(index, invariant, format!("{name}: {what}: {frame}"));
            }
        }
    }
    for (name, device) in devices {
        if evidence.live.contains_key(&device.socket) {
            complete(report, name, &device, logs);
        }
    }
}

/// Takes what a device was told. Returns what is wrong with it.
fn told(device: &mut Device, frame: &Value, logs: &Logs) -> Vec<(&'static str, String)> {
    let payload = &frame["payload"];
    let mut wrong = Vec::new();
    match frame["action"].as_str().unwrap_or_default() {
        "ack" => {
            let contradicts = device.views.acked(payload) == Some(Taken::Wrong);
            let what = || ("I2", "an ack contradicts what was told".to_owned());
            wrong.extend(contradicts.then(what));
        }
        "message" | "chat_close" | "queue_close" => match device.views.push(payload) {
            Some(Taken::Known) => wrong.push(("I10", "pushed though it was told".to_owned())),
            Some(Taken::Wrong) => wrong.push(("I2", "does not follow what was told".to_owned())),
            Some(Taken::New) | None => {}
        },
        "history" => {
            if payload["reset"] == true {
                wrong.push(("I2", "a reset, and nothing was lost".to_owned()));
            }
            if let Err(what) = device.views.history(payload) {
                wrong.push(("I2", what));
            }
        }
        "snapshot" => wrong.extend(unread(device, payload, logs)),
        _ => {}
    }
    wrong
}

/// I2: nothing was marked as read, so what others said is unread; judged where it is written still.
fn unread(device: &Device, payload: &Value, logs: &Logs) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    for item in payload["conversations"].as_array().into_iter().flatten() {
        let name = item["conversation"].as_str().unwrap_or_default();
        let key = (site_of(&device.who).to_owned(), name.to_owned());
        let (Some(log), Some(seq)) = (logs.get(&key), item["seq"].as_u64()) else {
            continue;
        };
        let of_others = |entry: &&crate::conversation_log::Entry| {
            entry.seq <= seq && entry.kind == "message" && entry.uid != uid_of(&device.who)
        };
        let expected = log.iter().filter(of_others).count() as u64;
        if item["unread"].as_u64() != Some(expected) {
            wrong.push(("I2", format!("{expected} are unread in {item}")));
        }
    }
    wrong
}

/// I2, I4: who is here when everybody has settled has all that is theirs, just as it is written.
fn complete(report: &mut Report<'_>, name: &str, device: &Device, logs: &Logs) {
    let (site, uid) = (site_of(&device.who), uid_of(&device.who));
    for (key, log) in logs.iter().filter(|(key, _)| key.0 == site) {
        let hash = report
            .evidence
            .talking
            .hash(&format!("{}conv:{}", prefix(site), key.1));
        let view = device.views.0.get(&key.1);
        let theirs = participants(report, key, log).contains(uid);
        if view.is_some() && !theirs {
            report.at_all(device.last, "I4", format!("{name} has {key:?}"));
        }
        // What ended and was gone before it was heard of is in no snapshot but the list.
        let (Some(settled), true) = (hash.get("seq"), theirs) else {
            continue;
        };
        let settled: u64 = settled.parse().unwrap_or(0);
        let Some(view) = view else {
            let member =
                ["customer", "staff"].map(|role| hash.get(role).is_some_and(|it| it == uid));
            if member.contains(&true) && hash.get("state").is_some_and(|state| state != "ended") {
                report.at_all(device.last, "I2", format!("{name} does not know {key:?}"));
            }
            continue;
        };
        let first = view.entries.keys().next().copied().unwrap_or_default();
        for entry in log
            .iter()
            .filter(|entry| (first..=settled).contains(&entry.seq))
        {
            let seen = view.entries.get(&entry.seq);
            // Who goes off duty is told that instead of the ends.
            let own_end = entry.kind == "ended" && entry.uid == uid;
            let right = seen.is_some_and(|seen| {
                seen.id == entry.id && seen.words.as_ref().is_none_or(|words| *words == entry.body)
            });
            let untold = seen.is_none() && own_end;
            if !(right || untold) {
                let what = format!("{name} has {seen:?}, written is {entry:?}");
                report.at_all(device.last, "I2", what);
            }
        }
        for seq in view.entries.keys().filter(|seq| **seq > log.len() as u64) {
            let what = format!("{name} has place {seq} of {key:?}, which is not written");
            report.at_all(device.last, "I2", what);
        }
    }
}
