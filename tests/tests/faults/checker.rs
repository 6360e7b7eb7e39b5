//! The checker catches what it is there for: bugs planted into what a sound drill has left.

use std::collections::BTreeMap;

use frontdesk_tests::drill::{
    check::Evidence,
    history::{Record, What},
};
use serde_json::Value;

use crate::{cluster, drill};

/// Puts a bug into sound evidence.
type Plant = fn(&mut Evidence);

#[tokio::test]
async fn each_planted_bug_is_reported() {
    let drill = drill(cluster()).await;
    drill.progress(200).await;
    let sound = drill.finish().await;
    let bugs: &[(&str, &str, Plant)] = &[
        ("a lost ack", "I1", lose_an_acknowledged_message),
        ("a doubled apply", "I1", write_a_message_twice),
        ("a reordering", "I3", swap_two_messages_of_one_sender),
        ("a misdelivery", "I4", show_a_message_to_somebody_else),
        ("a message shown twice", "I10", show_a_message_twice),
        ("a message never shown", "I2", never_show_a_message),
        (
            "a message never shown to a device that resumes",
            "I2",
            never_show_a_message_to_a_device,
        ),
        ("a ghost connection", "I8", forget_who_is_here),
        ("a leaked place", "I8", leak_a_place),
        ("one place too many", "I5", take_one_customer_too_many),
        ("an entry never applied", "I9", leave_an_entry_unapplied),
    ];
    for (bug, invariant, plant) in bugs {
        let mut evidence = sound.clone();
        plant(&mut evidence);
        let broken = evidence.check();
        let found = broken.iter().find(|broken| broken.invariant == *invariant);
        assert!(
            found.is_some(),
            "{bug} is not reported as {invariant}: {broken:?}"
        );
    }
}

/// The record of an ack, and the one of the frame that showed the other side the same words.
fn acknowledged(evidence: &Evidence) -> (usize, Value) {
    let ack = |record: &Record| match &record.what {
        What::Told(frame) if frame["action"] == "ack" => Some(frame["payload"].clone()),
        _ => None,
    };
    let mut acks = evidence.records.iter().enumerate();
    acks.find_map(|(index, record)| Some((index, ack(record)?)))
        .expect("somebody was acknowledged")
}

/// The log of a conversation.
fn log<'e>(
    evidence: &'e mut Evidence,
    who: &str,
    conversation: &str,
) -> &'e mut Vec<(String, Vec<(String, String)>)> {
    let site = who.split('/').next().expect("a site");
    evidence.log_mut(site, conversation)
}

fn lose_an_acknowledged_message(evidence: &mut Evidence) {
    let (index, ack) = acknowledged(evidence);
    let who = evidence.records[index].who.clone();
    let conversation = ack["conversation"].as_str().expect("an id").to_owned();
    let id = format!("{}-0", ack["seq"]);
    log(evidence, &who, &conversation).retain(|(entry, _)| *entry != id);
}

fn write_a_message_twice(evidence: &mut Evidence) {
    let (index, ack) = acknowledged(evidence);
    let who = evidence.records[index].who.clone();
    let conversation = ack["conversation"].as_str().expect("an id").to_owned();
    let id = format!("{}-0", ack["seq"]);
    let log = log(evidence, &who, &conversation);
    let entry = log
        .iter()
        .find(|(entry, _)| *entry == id)
        .expect("it is written")
        .clone();
    let next = log.len() + 1;
    log.push((format!("{next}-0"), entry.1));
}

/// Gives two entries of one sender each other's references, as if the later had come first.
fn swap_two_messages_of_one_sender(evidence: &mut Evidence) {
    let (index, ack) = (0..evidence.records.len())
        .find_map(|index| match &evidence.records[index].what {
            What::Told(frame) if frame["action"] == "ack" && frame["payload"]["ref"] == "m2" => {
                Some((index, frame["payload"].clone()))
            }
            _ => None,
        })
        .expect("somebody said two things");
    let who = evidence.records[index].who.clone();
    let id = ack["id"].as_str().expect("an id").to_owned();
    // The entry of m2 gets an id from before everything else that its sender said.
    let early = {
        let (lane, _) = id
            .rsplit_once('.')
            .and_then(|(event, _)| event.rsplit_once('.'))
            .expect("an event id");
        format!("{lane}.1-0.1")
    };
    let conversation = ack["conversation"].as_str().expect("an id").to_owned();
    for (_, fields) in log(evidence, &who, &conversation) {
        for (_, value) in fields
            .iter_mut()
            .filter(|(name, value)| name == "id" && *value == id)
        {
            value.clone_from(&early);
        }
    }
}

/// The record of words of staff shown to their customer; another device of the staff member may be shown them, too.
fn shown(evidence: &Evidence) -> usize {
    let words =
        |what: &What| matches!(what, What::Told(frame) if frame["payload"]["from"] == "staff");
    let mut records = evidence.records.iter();
    records
        .position(|record| words(&record.what) && record.who.contains("/c"))
        .expect("a customer was told something")
}

fn show_a_message_to_somebody_else(evidence: &mut Evidence) {
    let index = shown(evidence);
    let mut record = evidence.records[index].clone();
    let (site, _) = record.who.split_once('/').expect("a site");
    let uids = ["c0", "c1"].map(|uid| format!("{site}/{uid}"));
    let other = uids
        .into_iter()
        .find(|other| *other != record.who)
        .expect("two customers");
    (record.who, record.socket) = (other, 1_000_000);
    evidence.records.push(record);
}

fn show_a_message_twice(evidence: &mut Evidence) {
    let index = shown(evidence);
    let record = evidence.records[index].clone();
    evidence.records.insert(index, record);
}

/// The record of what was shown to a socket and is neither the first nor the last that it was shown of its
/// conversation; of some sockets.
fn between(records: &[Record], these: impl Fn(u64) -> bool) -> usize {
    let mut views: BTreeMap<(u64, String), BTreeMap<u64, usize>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        if let What::Told(frame) = &record.what
            && these(record.socket)
            && frame["action"] != "ack"
            && let Some(seq) = frame["payload"]["seq"].as_u64()
        {
            let conversation = frame["payload"]["conversation"].to_string();
            let view = views.entry((record.socket, conversation)).or_default();
            view.insert(seq, index);
        }
    }
    let long = views.values().find(|view| view.len() > 2);
    let long = long.expect("somebody was told three things");
    *long.values().nth(1).expect("it is between two others")
}

fn never_show_a_message(evidence: &mut Evidence) {
    let index = between(&evidence.records, |socket| {
        !evidence.devices.contains_key(&socket)
    });
    evidence.records.remove(index);
}

fn never_show_a_message_to_a_device(evidence: &mut Evidence) {
    let index = between(&evidence.all, |socket| {
        evidence.devices.contains_key(&socket) && evidence.live.contains_key(&socket)
    });
    evidence.all.remove(index);
}

/// As if a socket had ended without a trace in the state.
fn forget_who_is_here(evidence: &mut Evidence) {
    evidence.live.pop_first();
}

fn leak_a_place(evidence: &mut Evidence) {
    // As if somebody who has gone still had an open conversation.
    let user = evidence.user_key("default", "s1");
    let kept = evidence
        .talking
        .0
        .get(&user)
        .expect("staff are here")
        .clone();
    evidence.empty.0.insert(user, kept);
}

fn take_one_customer_too_many(evidence: &mut Evidence) {
    let found = evidence.records.iter().position(|record| {
        matches!(&record.what, What::Told(frame) if frame["payload"]["code"] == "new_customer")
            && record.who.ends_with("/s0")
    });
    let index = found.expect("staff with one place had a customer");
    let mut record = evidence.records[index].clone();
    if let What::Told(frame) = &mut record.what {
        frame["payload"]["conversation"] = "6.0.1-0.1".into();
    }
    evidence.records.insert(index + 1, record);
}

fn leave_an_entry_unapplied(evidence: &mut Evidence) {
    let applied = evidence
        .empty
        .0
        .iter_mut()
        .find(|(name, _)| name.ends_with("}:applied"));
    let (_, kept) = applied.expect("something was applied");
    kept.content = frontdesk_tests::redis_dump::Content::Hash(BTreeMap::new());
}
