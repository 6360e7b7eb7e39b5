//! Hostile entries in the lanes of a shard, through the worker's own decoder into the real Lua.

use std::collections::BTreeSet;

use frontdesk_shared::{
    ids::{Lane, StreamId},
    keys, push,
    stream::Entries,
};
use frontdesk_tests::{
    fuzz::{Case, Subject},
    key_table::KeyTable,
    lane_driver::{LaneDriver, Settled, unhurried},
    redis_server::RedisServer,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave, Policy},
    library::Outcome,
};

use super::{
    actors::Actors,
    neighbours::{self, Neighbours},
    share,
};

/// Entries of one case, in so many rounds.
const ROUNDS: usize = 10;
const ENTRIES_PER_ROUND: usize = 20;

#[test]
fn hostile_entries_are_applied_once_or_dead_letters_and_neighbours_talk_on() {
    let inputs = (ROUNDS * ENTRIES_PER_ROUND) as u64;
    let mut subject = Subject::new("entries", share::ENTRIES, inputs);
    let (server, table) = (neighbours::server(), KeyTable::read());
    neighbours::run(async {
        for number in subject.numbers() {
            let mut case = subject.case(number);
            life(&mut subject, &mut case, &server, &table).await;
        }
    });
    subject.report(&[
        "applied",
        "acknowledged",
        "answered",
        "dead letters",
        "told connected",
        "told your_turn",
    ]);
}

async fn life(subject: &mut Subject, case: &mut Case, server: &RedisServer, table: &KeyTable) {
    let settings = DeskSettings {
        policy: [Policy::Shortest, Policy::Shared][usize::from(case.number % 2 == 1)],
        on_staff_leave: [OnStaffLeave::Close, OnStaffLeave::Requeue]
            [usize::from(case.number / 2 % 2 == 1)],
        ..unhurried()
    };
    let mut driver = neighbours::driver(server, settings).await;
    let mut neighbours = Neighbours::meet(&mut driver).await;
    let site = neighbours::hostile_site(&driver);
    let mut actors = Actors::new(site.clone());
    let (mut appended, mut all) = (BTreeSet::new(), Vec::new());
    for round in 0..ROUNDS {
        for _ in 0..ENTRIES_PER_ROUND {
            let (lane, fields) = actors.entry(&mut case.rng);
            let id = driver.append_bytes(lane, &fields).await;
            appended.insert((lane, id));
        }
        if round % 2 == 1 {
            driver.tick_after(30_000).await;
        }
        let settled = driver.drain().await;
        let pushes = driver.pushes().await;
        for push in pushes.iter().filter(|push| push.kind != push::Kind::Close) {
            match push.short().as_str() {
                "message/connected" => subject.count("told connected", 1),
                "message/your_turn" => subject.count("told your_turn", 1),
                _ => {}
            }
        }
        neighbours.heard_nothing(&pushes);
        actors.hear(&pushes);
        all.extend(settled);
        neighbours.talk(&mut driver).await;
        for site in [&site, &driver.site.clone()] {
            neighbours::check_rules(&mut driver.connection, site).await;
        }
    }
    neighbours::check_keys(&mut driver, table, true).await;
    let settled: BTreeSet<_> = all.iter().map(|entry| (entry.lane, entry.id)).collect();
    assert!(appended.is_subset(&settled));
    check_log_rule(&mut driver, &all).await;
    for entry in &all {
        let what = match &entry.outcome {
            Outcome::Applied => "applied",
            Outcome::Acked(_) => "acknowledged",
            Outcome::Said(_) => "answered",
            // An event that decodes and is in its place never fails in Lua.
            Outcome::Dead(why) if why == "undecodable" || why.starts_with("undecodable (cut") => {
                "dead letters"
            }
            Outcome::Duplicate | Outcome::Gap | Outcome::Dead(_) => panic!("{entry:?}"),
        };
        subject.count(what, 1);
    }
}

/// Every entry was settled once, in order; those that failed are in the dead-letter stream, once.
async fn check_log_rule(driver: &mut LaneDriver, settled: &[Settled]) {
    let mut dead = BTreeSet::new();
    for lane in Lane::all() {
        let stream: Entries = range(driver, &keys::events(driver.shard, lane)).await;
        let settled: Vec<_> = settled.iter().filter(|entry| entry.lane == lane).collect();
        let ids: BTreeSet<StreamId> = settled.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), settled.len(), "an entry was settled twice");
        assert!(settled.is_sorted_by_key(|entry| entry.id));
        let last = stream.0.last().map(|entry| entry.id);
        assert_eq!(driver.applied(lane).await, last, "the lane stands still");
        let all: BTreeSet<StreamId> = stream.0.iter().map(|entry| entry.id).collect();
        assert!(ids.is_subset(&all));
        let failed = settled
            .iter()
            .filter(|entry| matches!(entry.outcome, Outcome::Dead(_)));
        dead.extend(failed.map(|entry| driver.event_id(lane, entry.id)));
    }
    let letters = range(driver, &keys::dead(driver.shard)).await.0;
    let events: BTreeSet<String> = letters
        .iter()
        .map(|letter| {
            let event = letter.fields.text("event");
            event.expect("a dead letter names its event").to_owned()
        })
        .collect();
    assert_eq!(events.len(), letters.len(), "a dead letter came twice");
    assert_eq!(events, dead);
}

async fn range(driver: &mut LaneDriver, key: &str) -> Entries {
    redis::cmd("XRANGE")
        .arg(key)
        .arg("-")
        .arg("+")
        .query_async(&mut driver.connection)
        .await
        .expect("a stream")
}
