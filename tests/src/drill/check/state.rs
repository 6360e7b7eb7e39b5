//! What is in Redis: while people live, when they have settled, and after they have left.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_shared::{
    ids::{Lane, Shard},
    keys,
};

use super::Report;
use crate::{
    desk_state::SiteDump,
    drill::{SITES, prefix},
    redis_dump::Dump,
};

pub(super) fn check(report: &mut Report<'_>) {
    let evidence = report.evidence;
    for what in &evidence.seen {
        report.state("I5", format!("while people lived: {what}"));
    }
    for what in &evidence.unsettled {
        report.state("I7", what.clone());
    }
    for what in rules(&evidence.talking) {
        report.state("I7", format!("when everybody had settled: {what}"));
    }
    for what in presence(&evidence.talking, &evidence.live) {
        report.state("I8", what);
    }
    for what in left_behind(&evidence.empty) {
        report.state("I8", what);
    }
    for what in unapplied(&evidence.empty) {
        report.state("I9", what);
    }
}

/// The rules of the desk that hold at every moment: capacity, nobody in two places, no place free
/// while somebody waits, logs without holes.
pub fn rules(dump: &Dump) -> Vec<String> {
    let broken = SITES.iter().filter_map(|site| {
        let prefix = prefix(site);
        let result = SiteDump::new(dump, &prefix).check_rules();
        result.err().map(|error| format!("{site}: {error:#}"))
    });
    broken.collect()
}

/// Those who are registered are those who are here.
pub fn presence(dump: &Dump, live: &BTreeMap<u64, String>) -> Vec<String> {
    let here: BTreeSet<&String> = live.values().collect();
    let registered = registered(dump);
    let ghosts = registered.keys().filter(|client| !here.contains(client));
    let ghosts = ghosts.map(|client| format!("ghost connection {client} {}", registered[client]));
    let unknown = here
        .iter()
        .filter(|client| !registered.contains_key(**client));
    let unknown = unknown.map(|client| format!("{client} is connected and not registered"));
    ghosts.chain(unknown).collect()
}

/// All registered connections: client id to who they are.
fn registered(dump: &Dump) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for shard in Shard::all() {
        let boots = format!("{}boot:", keys::shard_prefix(shard));
        for boot in dump.names(&boots) {
            all.extend(dump.hash(&format!("{boots}{boot}")));
        }
    }
    all
}

/// What is still there of people who have left: connections, places, timers.
pub fn left_behind(dump: &Dump) -> Vec<String> {
    let mut left = Vec::new();
    for site in SITES {
        let prefix = prefix(site);
        if let Err(error) = SiteDump::new(dump, &prefix).check_empty() {
            left.push(format!("{site}: {error:#}"));
        }
    }
    for shard in Shard::all() {
        let prefix = keys::shard_prefix(shard);
        for kind in ["boot:", "due", "moved", "again", "sites"] {
            let names = dump.names(&prefix).filter(|name| name.starts_with(kind));
            left.extend(names.map(|name| format!("{prefix}{name} is left behind")));
        }
    }
    left
}

/// I9: what was appended is applied, and none of it as a dead letter.
fn unapplied(dump: &Dump) -> Vec<String> {
    let mut wrong = Vec::new();
    for shard in Shard::all() {
        for (id, fields) in dump.stream(&keys::dead(shard)) {
            wrong.push(format!("dead letter {id}: {fields:?}"));
        }
        let applied = dump.hash(&keys::applied(shard));
        for lane in Lane::all() {
            let key = keys::events(shard, lane);
            let Some((last, _)) = dump.stream(&key).pop() else {
                continue;
            };
            let done = applied.get(&lane.number().to_string());
            if done.is_none_or(|done| halves(done) < halves(&last)) {
                wrong.push(format!("{key} ends at {last}, applied up to {done:?}"));
            }
        }
    }
    wrong
}

/// Both halves of a stream id.
fn halves(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap_or((id, "0"));
    (ms.parse().unwrap_or(0), seq.parse().unwrap_or(0))
}
