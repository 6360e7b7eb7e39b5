//! Messages: acknowledged and stored once, in order, seen by those concerned and by nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{Logs, Report, site_of, uid_of};
use crate::{
    conversation_log::Entry,
    drill::{
        NUMBERS_PER_DEVICE,
        history::{Record, What},
        prefix,
    },
};

/// What one socket saw of one conversation.
#[derive(Debug, Default)]
struct View {
    /// Index of the last record, for reports.
    last: usize,
    /// Places that were pushed.
    pushed: BTreeSet<u64>,
    /// The one pushed last, but for kept words.
    newest: u64,
    /// Where staff were told of a new customer: the words kept before that follow.
    assigned: u64,
    /// The last kept word that was pushed.
    kept: u64,
}

impl View {
    /// Notes a pushed place. Returns what is wrong with it.
    fn push(&mut self, seq: u64, payload: &Value) -> Option<(&'static str, &'static str)> {
        if payload["code"] == "new_customer" {
            self.assigned = seq;
        }
        let kept = seq < self.assigned;
        let before = if kept {
            &mut self.kept
        } else {
            &mut self.newest
        };
        let late = std::mem::replace(before, seq) > seq;
        if !self.pushed.insert(seq) {
            return Some(("I10", "shown twice"));
        }
        late.then_some(("I2", "shown after a later one"))
    }
}

/// A sender's own id of a message, with who they are.
type Reference = (String, String);
/// What is written, by who said it; more than once is wrong.
type Stored<'l> = HashMap<Reference, Vec<&'l Entry>>;

pub(super) fn check(report: &mut Report<'_>, logs: &Logs) {
    let records = &report.evidence.records;
    let mut stored = Stored::new();
    for (key, log) in logs {
        holes(report, key, log);
        for entry in log {
            if let Some(reference) = &entry.reference {
                let who = (format!("{}/{}", key.0, entry.uid), reference.clone());
                stored.entry(who).or_default().push(entry);
            }
        }
    }
    acknowledged(report, records, logs);
    let said = once(report, records, &stored);
    order(report, records, &stored, &said);
    let views = views(report, records, logs);
    for ((socket, who, key), view) in views {
        // A device that resumes is told what a socket misses; see `devices.rs`.
        if !report.evidence.devices.contains_key(&socket) {
            unbroken(report, socket, &who, &key, &view, logs);
        }
    }
}

/// I2: a log is 1..n.
fn holes(report: &mut Report<'_>, key: &(String, String), log: &[Entry]) {
    for (place, entry) in (1..).zip(log) {
        if entry.seq != place {
            let what = format!("the log of {key:?} has {} at place {place}", entry.seq);
            report.state("I2", what);
            return;
        }
    }
}

/// I1: what an ack says is written just so.
fn acknowledged(report: &mut Report<'_>, records: &[Record], logs: &Logs) {
    for (index, record) in records.iter().enumerate() {
        if let Some((ack, None)) = written(record, logs) {
            let found = entry(logs, &record.who, ack);
            let what = format!("acknowledged and not in the log: {ack}, there is {found:?}");
            report.at(index, "I1", what);
        }
    }
}

/// How many of these acks are of messages that are not written.
pub(super) fn not_written(records: &[Record], logs: &Logs) -> usize {
    let acks = records.iter().filter_map(|record| written(record, logs));
    acks.filter(|(_, entry)| entry.is_none()).count()
}

/// For the record of an ack: the ack, and the entry that is just what it says.
fn written<'r, 'l>(record: &'r Record, logs: &'l Logs) -> Option<(&'r Value, Option<&'l Entry>)> {
    let What::Told(frame) = &record.what else {
        return None;
    };
    if frame["action"] != "ack" {
        return None;
    }
    let ack = &frame["payload"];
    let same = |entry: &&Entry| {
        entry.uid == uid_of(&record.who)
            && ack["ref"] == entry.reference.clone().unwrap_or_default()
            && ack["id"] == entry.id
            && ack["time"].as_u64() == entry.time.parse().ok()
    };
    Some((ack, entry(logs, &record.who, ack).filter(same)))
}

/// The entry that a frame names by conversation and seq.
fn entry<'l>(logs: &'l Logs, who: &str, payload: &Value) -> Option<&'l Entry> {
    let conversation = payload["conversation"].as_str()?.to_owned();
    let log = logs.get(&(site_of(who).to_owned(), conversation))?;
    let seq = payload["seq"].as_u64()?;
    log.iter().find(|entry| entry.seq == seq)
}

/// I1: what was said is there at most once, with its words; and nothing else is there. Returns where
/// each message was said first.
fn once(
    report: &mut Report<'_>,
    records: &[Record],
    stored: &Stored<'_>,
) -> HashMap<Reference, usize> {
    let mut said = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        let What::Said { reference, words } = &record.what else {
            continue;
        };
        let message = (record.who.clone(), reference.clone());
        if said.insert(message.clone(), index).is_some() {
            continue; // said again: judged already
        }
        let found = stored.get(&message).map_or(&[][..], Vec::as_slice);
        if found.len() > 1 {
            let what = format!("{} times in the log: {found:?}", found.len());
            report.at(index, "I1", what);
        }
        for entry in found {
            if entry.body != *words {
                report.at(index, "I2", format!("other words are written: {entry:?}"));
            }
        }
    }
    for message in stored.keys().filter(|message| !said.contains_key(*message)) {
        report.state("I1", format!("nobody said {message:?}, but it is written"));
    }
    said
}

/// I3: what one sender said is written in that order; what was refused in between, and said again,
/// does not count.
fn order(
    report: &mut Report<'_>,
    records: &[Record],
    stored: &Stored<'_>,
    said: &HashMap<Reference, usize>,
) {
    let refused: HashSet<Reference> = records.iter().filter_map(refusal).collect();
    // A sender is a device: what two of them say at once has no order.
    let mut senders: BTreeMap<(&str, u64), Vec<(EventId, &Reference)>> = BTreeMap::new();
    for (message, entries) in stored {
        if !refused.contains(message) {
            let place = event_id(&entries[0].id);
            let device = number(&message.1) / NUMBERS_PER_DEVICE;
            let sender = senders.entry((&message.0, device)).or_default();
            sender.push((place, message));
        }
    }
    for messages in senders.values_mut() {
        messages.sort();
        for pair in messages.windows(2) {
            let (a, b) = (pair[0].1, pair[1].1);
            if number(&a.1) > number(&b.1) {
                let index = said.get(b).copied().unwrap_or_default();
                report.at(index, "I3", format!("{a:?} is written before {b:?}"));
            }
        }
    }
}

fn refusal(record: &Record) -> Option<Reference> {
    let What::Told(frame) = &record.what else {
        return None;
    };
    let reference = frame["payload"]["ref"].as_str()?;
    (frame["action"] == "error").then(|| (record.who.clone(), reference.to_owned()))
}

/// The time and number of an event, and of the thing it made.
type EventId = (u64, u64, u64);

/// `<shard>.<lane>.<ms>-<seq>.<n>`: comparable within a lane, and so for one sender.
fn event_id(id: &str) -> EventId {
    let mut numbers = id
        .split(['.', '-'])
        .skip(2)
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn number(reference: &str) -> u64 {
    let number = reference
        .strip_prefix('m')
        .and_then(|number| number.parse().ok());
    number.unwrap_or(0)
}

type Views = BTreeMap<(u64, String, (String, String)), View>;

/// Holds each pushed frame against the log (I2), its receivers (I4) and what was pushed before (I10).
fn views(report: &mut Report<'_>, records: &[Record], logs: &Logs) -> Views {
    let mut views = Views::new();
    for (index, record) in records.iter().enumerate() {
        let What::Told(frame) = &record.what else {
            continue;
        };
        let payload = &frame["payload"];
        let (Some(conversation), Some(seq)) =
            (payload["conversation"].as_str(), payload["seq"].as_u64())
        else {
            continue;
        };
        if frame["action"] == "ack" {
            continue;
        }
        let key = (site_of(&record.who).to_owned(), conversation.to_owned());
        let view = views
            .entry((record.socket, record.who.clone(), key.clone()))
            .or_default();
        view.last = index;
        if let Some((invariant, what)) = view.push(seq, payload) {
            report.at(index, invariant, format!("{what}: {payload}"));
        }
        match entry(logs, &record.who, payload) {
            Some(entry) if shows(payload, entry) => {}
            found => report.at(
                index,
                "I2",
                format!("{payload} is told, {found:?} is written"),
            ),
        }
        let log = logs.get(&key).map_or(&[][..], Vec::as_slice);
        if !participants(report, &key, log).contains(uid_of(&record.who)) {
            report.at(index, "I4", format!("shown to {}: {payload}", record.who));
        }
    }
    views
}

/// Whether a pushed frame is this entry.
fn shows(payload: &Value, entry: &Entry) -> bool {
    let words = payload["from"].is_null() || payload["message"] == *entry.body;
    let from = payload["from"].is_null() || payload["from"] == *entry.from;
    words
        && from
        && payload["id"] == entry.id
        && payload["time"].as_u64() == entry.time.parse().ok()
}

/// Who takes part in a conversation: its customer, and whoever was assigned to it.
pub(super) fn participants(
    report: &Report<'_>,
    key: &(String, String),
    log: &[Entry],
) -> BTreeSet<String> {
    let hash = format!("{}conv:{}", prefix(&key.0), key.1);
    let customer = report.evidence.empty.hash(&hash).remove("customer");
    let assigned = log.iter().filter(|entry| entry.kind == "assigned");
    let staff = assigned.map(|entry| entry.uid.clone());
    customer.into_iter().chain(staff).collect()
}

/// I2: between the first and the last push that a socket saw nothing is missing but what it said
/// itself; and who is still here when everybody has settled has seen all to the end.
fn unbroken(
    report: &mut Report<'_>,
    socket: u64,
    who: &str,
    key: &(String, String),
    view: &View,
    logs: &Logs,
) {
    let (Some(&first), Some(&(mut last))) = (view.pushed.first(), view.pushed.last()) else {
        return;
    };
    let log = logs.get(key).map_or(&[][..], Vec::as_slice);
    if report.evidence.live.contains_key(&socket) {
        let hash = format!("{}conv:{}", prefix(&key.0), key.1);
        let settled = report.evidence.talking.hash(&hash);
        last = settled
            .get("seq")
            .and_then(|seq| seq.parse().ok())
            .unwrap_or(last);
    }
    for entry in log {
        let between = (first..=last).contains(&entry.seq);
        // Its own words come back as an ack, and who goes off duty is told that instead of the end.
        let own = entry.uid == uid_of(who) && ["message", "ended"].contains(&entry.kind.as_str());
        if between && !own && !view.pushed.contains(&entry.seq) {
            let what = format!("socket {socket} of {who} never saw {entry:?}");
            report.at(view.last, "I2", what);
        }
    }
}
