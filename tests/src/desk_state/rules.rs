//! Rules that hold whoever is right about the rest.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use super::{LogLine, SiteDump, same};

impl SiteDump<'_> {
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
        let passed_over = |uid: &String| !waiting.contains(uid);
        ensure!(
            lost.iter().all(passed_over),
            "somebody of {lost:?} waits, and is lost"
        );
        lost.sort();
        let mut away = self.members("away");
        away.sort();
        same("who is lost and waits", &away, &lost)?;
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
            let user = self.hash(&format!("u:{uid}"));
            let is_here = user.get("conns").is_some_and(|conns| !conns.is_empty());
            ensure!(
                is_here || user.contains_key("lost") || user.contains_key("left"),
                "{uid} is in a conversation, but neither here nor awaited: {user:?}"
            );
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
            check_counts(&hash, &log).with_context(|| format!("{conv}: {hash:?}"))?;
            check_marks(&hash, &log).with_context(|| format!("{conv}: {hash:?}"))?;
            self.check_recalls(&conv, &hash, &log)?;
            let ended = hash["state"] == "ended";
            let expires = ended || hash["state"] == "direct";
            let listed = |role: &str| {
                let uid = hash.get(role)?;
                let list = self.members(&format!("convs:{uid}"));
                (!list.contains(&conv)).then(|| format!("{conv} is not in the list of {uid}"))
            };
            if let Some(unlisted) = ["customer", "staff", "a", "b"].into_iter().find_map(listed) {
                ensure!(ended, unlisted);
            }
            for kind in ["conv", "log", "gone"] {
                let key = format!("{kind}:{conv}");
                let is_there = self.dump.0.contains_key(&self.key(&key));
                ensure!(
                    !is_there || self.ttl(&key).is_some() == expires,
                    "{key} lives on after its end, or not until then"
                );
            }
        }
        for kind in ["sent:", "req:", "b:", "convs:", "who:", "dm:", "revoked:"] {
            for name in self.names(kind) {
                let ttl = self.ttl(&format!("{kind}{name}"));
                ensure!(ttl.is_some(), "{kind}{name} lives for ever");
            }
        }
        Ok(())
    }

    /// How far everybody has got in each conversation, by conversation and user: delivered and read.
    pub fn marks(&self) -> Result<BTreeMap<(String, String), (u64, u64)>> {
        let mut marks = BTreeMap::new();
        for conv in self.names("conv:") {
            let hash = self.hash(&format!("conv:{conv}"));
            for (name, delivered) in &hash {
                let Some(whose) = name.strip_prefix('d').filter(|whose| is_whose(whose)) else {
                    continue;
                };
                let uid = match whose {
                    "a" => hash.get("customer").unwrap_or_else(|| &hash["a"]),
                    "b" => hash.get("staff").unwrap_or_else(|| &hash["b"]),
                    past => &past[1..],
                };
                let read = hash.get(&format!("r{whose}"));
                let read = read.and_then(|read| read.split(' ').next()).unwrap_or("0");
                let whose = (conv.clone(), uid.to_owned());
                marks.insert(whose, (delivered.parse()?, read.parse()?));
            }
        }
        Ok(marks)
    }

    /// A recalled message is one of the same sender, and it is recalled once.
    fn check_recalls(
        &self,
        conv: &str,
        hash: &BTreeMap<String, String>,
        log: &[LogLine],
    ) -> Result<()> {
        let mut gone = self.hash(&format!("gone:{conv}"));
        let recalls = hash.get("recalls").map_or("0", String::as_str);
        ensure!(
            recalls == gone.len().to_string(),
            "{conv} counts {recalls} of {gone:?}"
        );
        for (id, fields) in log {
            let Some(of) = fields.get("recalled") else {
                continue;
            };
            let by = gone
                .remove(of)
                .with_context(|| format!("{of} is not gone from {conv}"))?;
            ensure!(*id == format!("{by}-0"), "{id} is {by}");
            let message = &log[of.parse::<usize>()? - 1].1;
            let same = |name: &str| message.get(name) == fields.get(name);
            ensure!(
                message.contains_key("message") && same("uid") && same("from"),
                "{id} of {conv} recalls {message:?}"
            );
        }
        ensure!(gone.is_empty(), "nobody recalled {gone:?} of {conv}");
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
                "conv" | "log" | "gone" | "sent" | "req" | "b" | "convs" | "who" | "dm"
                | "revoked" => {
                    ensure!(kept.ttl_ms.is_some(), "{name} has no TTL");
                }
                "turn" => {}
                _ => bail!("{name} is left behind: {kept:?}"),
            }
        }
        Ok(())
    }
}

/// Each entry of a log counts the messages of both sides up to it, and the conversation all of them.
fn check_counts(hash: &BTreeMap<String, String>, log: &[LogLine]) -> Result<()> {
    let (mut a, mut b) = (0, 0);
    for (id, fields) in log {
        let is_message = fields.contains_key("message");
        let of_a = ["customer", "a"]
            .iter()
            .any(|role| hash.get(*role) == fields.get("uid"));
        a += u64::from(is_message && of_a);
        b += u64::from(is_message && !of_a);
        let counts = fields.get("counts");
        ensure!(
            counts == Some(&format!("{a} {b}")),
            "{id} counts {counts:?}, not {a} {b}"
        );
    }
    let last = log.last().and_then(|(_, fields)| fields.get("counts"));
    ensure!(hash.get("counts") == last, "counts are not of {log:?}");
    Ok(())
}

/// Marks are within the log, what was read was delivered, and a read mark counts the other side's
/// messages up to it.
fn check_marks(hash: &BTreeMap<String, String>, log: &[LogLine]) -> Result<()> {
    for (name, value) in hash {
        let Some(whose) = name.strip_prefix('r').filter(|whose| is_whose(whose)) else {
            continue;
        };
        let (read, seen) = value
            .split_once(' ')
            .context("a read mark has two numbers")?;
        let read: usize = read.parse()?;
        let delivered: usize = hash[&format!("d{whose}")].parse()?;
        ensure!(
            read <= delivered && delivered <= log.len(),
            "{name} or d{whose}"
        );
        let counts = read.checked_sub(1).map_or("0 0", |at| &log[at].1["counts"]);
        let (by_a, by_b) = counts.split_once(' ').context("two counts")?;
        ensure!(
            seen == if whose == "a" { by_b } else { by_a },
            "{name} of {counts}"
        );
    }
    Ok(())
}

fn is_whose(mark: &str) -> bool {
    mark == "a" || mark == "b" || mark.starts_with(':')
}
