//! The state against the model.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::{SiteDump, same};
use crate::desk_model::{Conv, Conversation, DeskModel, State};

fn sorted(mut uids: Vec<String>) -> Vec<String> {
    uids.sort();
    uids
}

impl SiteDump<'_> {
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
        same(
            "away",
            &sorted(self.members("away")),
            &sorted(names(model.away())),
        )?;
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
            actual.remove("b"); // nobody is held back here: when it will be full is any time
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
            check_awaited(model, uid, due)?;
        }
        for conv in 0..model.conversations.len() {
            self.check_conversation(model, conv, due)?;
        }
        self.check_lists(model)?;
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
        let past = list_of(expected.past.iter().map(String::as_str));
        ensure!(field("past") == past, about());
        match &expected.state {
            State::Waiting {
                words, bytes, left, ..
            } => {
                timer_due = left.and_then(|idle| idle.timer);
                let until = left.map_or(String::new(), |idle| idle.until.to_string());
                ensure!(field("idle") == until, about());
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
            State::Ended => {
                ensure!(field("state") == "ended", about());
                let staff = expected.staff.as_deref();
                ensure!(field("staff") == staff.unwrap_or_default(), about());
            }
            State::Direct { members, renewed } => {
                ensure!(field("state") == "direct", about());
                ensure!([field("a"), field("b")] == *members, about());
                ensure!(field("renewed") == renewed.to_string(), about());
                let dm = self
                    .dump
                    .text(&self.key(&format!("dm:{}", members.join("|"))));
                ensure!(dm == Some(name), about());
            }
        }
        self.check_marks(name, &hash, expected)?;
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
        let (mut by_a, mut by_b) = (0, 0);
        let first = match &expected.state {
            State::Direct { members, .. } => Some(&members[0]),
            _ => None,
        };
        let lines: Vec<BTreeMap<String, String>> = expected
            .log
            .iter()
            .map(|line| {
                let is_message = line.kind == "message";
                let of_a = line.from == "customer" || Some(&line.uid) == first;
                by_a += u32::from(is_message && of_a);
                by_b += u32::from(is_message && !of_a);
                let mut fields = BTreeMap::from([
                    ("from".to_owned(), line.from.to_owned()),
                    ("uid".to_owned(), line.uid.clone()),
                    ("counts".to_owned(), format!("{by_a} {by_b}")),
                    (line.kind.to_owned(), line.value.clone()),
                ]);
                fields.extend(line.reference.clone().map(|id| ("ref".to_owned(), id)));
                fields
            })
            .collect();
        same(&format!("log of {name}"), &log, &lines)
    }

    /// Marks, what is unread by them, and recalled messages.
    fn check_marks(
        &self,
        name: &str,
        hash: &BTreeMap<String, String>,
        expected: &Conversation,
    ) -> Result<()> {
        let about = || format!("conversation {name}: {hash:?} instead of {expected:?}");
        let side = |side: &str| (format!("d{side}"), format!("r{side}"));
        let members = expected.members();
        let past = expected.past.iter().map(String::as_str);
        let past = past.filter(|uid| !members.contains(uid));
        let past = past.map(|uid| (uid, side(&format!(":{uid}"))));
        let sides = ["a", "b"].map(side);
        let marks = members.iter().copied().zip(sides).chain(past);
        for (uid, (delivered, read)) in marks {
            let wanted = expected.marks.get(uid).copied().unwrap_or_default();
            let delivered = hash.get(&delivered).map_or("0", String::as_str);
            ensure!(delivered == wanted.delivered.to_string(), about());
            let read = hash.get(&read).map_or("0 0", String::as_str);
            let seen = expected.written_to(uid, wanted.read);
            ensure!(read == format!("{} {seen}", wanted.read), about());
        }
        let gone = self.hash(&format!("gone:{name}"));
        let recalled = expected.recalled.iter();
        let recalled = recalled.map(|(seq, by)| (seq.to_string(), by.to_string()));
        same("recalled", &gone, &recalled.collect())?;
        let recalls = hash.get("recalls").map_or("0", String::as_str);
        ensure!(recalls == gone.len().to_string(), about());
        Ok(())
    }

    /// Everybody's list has what they took part in, for as long as it is kept.
    fn check_lists(&self, model: &DeskModel) -> Result<()> {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (conv, conversation) in model.conversations.iter().enumerate() {
            let assigned = conversation.log.iter().filter(|l| l.kind == "assigned");
            let members = match &conversation.state {
                State::Direct { members, .. } => members.each_ref().to_vec(),
                _ => assigned
                    .map(|line| &line.uid)
                    .chain([&conversation.customer])
                    .collect(),
            };
            for uid in members {
                let list = expected.entry(uid.clone()).or_default();
                list.insert(model.name(conv).to_owned());
            }
        }
        let list = |uid: String| {
            let members = self.members(&format!("convs:{uid}"));
            (uid, members.into_iter().collect())
        };
        let actual: BTreeMap<_, _> = self.names("convs:").into_iter().map(list).collect();
        same("the lists of conversations", &actual, &expected)?;
        let roles = model.seen.iter();
        let expected = roles.map(|(uid, role)| (uid.clone(), Some(role.as_str())));
        let role = |uid: String| {
            let role = self.dump.text(&self.key(&format!("who:{uid}")));
            (uid, role)
        };
        let actual: BTreeMap<_, _> = self.names("who:").into_iter().map(role).collect();
        same("who was there", &actual, &expected.collect())?;
        let is_direct = |c: &&Conversation| matches!(c.state, State::Direct { .. });
        let count = model.conversations.iter().filter(is_direct).count();
        same("pairs", &self.names("dm:").len(), &count)
    }
}

/// Who is lost is awaited until the time that the model says, by one timer.
fn check_awaited(model: &DeskModel, uid: &str, due: &[(String, f64)]) -> Result<()> {
    let of_user = format!("|{uid}|");
    let is_timer = |member: &str| member.starts_with("lost|") && member.contains(&of_user);
    let timers = due.iter().filter(|(member, _)| is_timer(member));
    let timers: Vec<f64> = timers.map(|(_, score)| *score).collect();
    let lost = model.users[uid].lost.filter(|lost| lost.timer);
    let expected: Vec<f64> = lost.iter().map(|lost| lost.until as f64).collect();
    same(&format!("timers of lost {uid}"), &timers, &expected)
}

fn expected_user(model: &DeskModel, uid: &str) -> BTreeMap<String, String> {
    let user = &model.users[uid];
    let mut fields = BTreeMap::new();
    let mut put = |name: &str, value: String| fields.insert(name.to_owned(), value);
    let clients = list_of(user.sockets.iter().map(|(client, _)| client.as_str()));
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
        let convs = list_of(duty.open.iter().map(|conv| model.name(*conv)));
        put("convs", convs);
    }
    if let Some(conv) = user.conversation {
        put("conv", model.name(conv).to_owned());
        let conversation = &model.conversations[conv];
        if conversation.left {
            put(
                "left",
                if conversation.answered { "2" } else { "1" }.to_owned(),
            );
        }
        if let State::Waiting { queue, .. } = &conversation.state {
            put("queue", queue.clone());
            put("place", user.told.to_string());
        }
    }
    fields
}

/// A list of ids as it is kept in one text.
fn list_of<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.fold(String::new(), |list, id| list + id + " ")
}
