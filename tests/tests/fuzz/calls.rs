//! Hostile transitions and fields past all that a worker checks: straight into the apply script.
//! Only the prefix of the site's keys is ours, as it always is: no text from outside is in it.

use frontdesk_shared::{ids::Lane, keys, push};
use frontdesk_tests::{
    fuzz::{Case, Subject},
    hostile::bytes,
    key_table::KeyTable,
    lane_driver::{LaneDriver, Pushed, unhurried},
    redis_server::RedisServer,
};
use frontdesk_worker::library::Outcome;
use rand::Rng as _;

use super::{
    actors::Actors,
    neighbours::{self, Neighbours},
    share,
};

const CALLS: usize = 100;
/// Ticks in which the timers of neighbours must fire: one that meets a timer it cannot read drops
/// it and fails.
const TICKS: usize = 200;

#[test]
fn whatever_a_transition_is_given_the_call_succeeds_and_the_lane_goes_on() {
    let mut subject = Subject::new("calls", share::CALLS, CALLS as u64);
    let (server, table) = (neighbours::server(), KeyTable::read());
    neighbours::run(async {
        for number in subject.numbers() {
            let mut case = subject.case(number);
            life(&mut subject, &mut case, &server, &table).await;
        }
    });
    subject.report(&["applied", "acknowledged", "answered", "dead letters"]);
}

async fn life(subject: &mut Subject, case: &mut Case, server: &RedisServer, table: &KeyTable) {
    let mut driver = neighbours::driver(server, unhurried()).await;
    let mut neighbours = Neighbours::meet(&mut driver).await;
    let mut actors = Actors::new(neighbours::hostile_site(&driver));
    for n in 0..CALLS {
        subject.count(call(&mut driver, &mut actors, case).await, 1);
        let published = driver.pushes_unchecked().await;
        let pushes = readable(&published);
        neighbours.heard_nothing(&pushes);
        actors.hear(&pushes);
        if n % 10 == 9 {
            settle_appended(&mut driver).await;
            neighbours.talk(&mut driver).await;
        }
    }
    let home = driver.site.clone();
    neighbours::check_rules(&mut driver.connection, &home).await;
    neighbours::check_keys(&mut driver, table, false).await;
    timers_go_on(&mut driver, &neighbours).await;
}

/// One call for one entry: applied, or a dead letter, once.
async fn call(driver: &mut LaneDriver, actors: &mut Actors, case: &mut Case) -> &'static str {
    settle_appended(driver).await;
    let (transition, fields) = actors.call(driver, &mut case.rng);
    let lane = Lane::new(case.rng.random_range(0..8)).expect("below LANES");
    let entry = [(bytes(&mut case.rng), bytes(&mut case.rng))];
    let id = driver.append_bytes(lane, &entry).await;
    let before = dead_letters(driver).await;
    let answers = driver.apply_unchecked(lane, id, &transition, &fields).await;
    let answers = answers.unwrap_or_else(|error| panic!("{error}: {transition:?} {fields:?}"));
    let what = match &answers[..] {
        [one] => one.split(|byte| *byte == b' ').next().unwrap_or_default(),
        _ => panic!("one entry, {} answers", answers.len()),
    };
    let what = match what {
        b"OK" => "applied",
        b"ACK" => "acknowledged",
        b"SAY" => "answered",
        b"DEAD" => "dead letters",
        _ => panic!("answered {answers:?}: {transition:?} {fields:?}"),
    };
    assert_eq!(driver.applied(lane).await, Some(id));
    let letters = dead_letters(driver).await - before;
    assert_eq!(letters, usize::from(what == "dead letters"));
    what
}

/// Applies what the scripts have appended, which may be hostile too.
async fn settle_appended(driver: &mut LaneDriver) {
    for entry in driver.drain().await {
        let stands = matches!(entry.outcome, Outcome::Duplicate | Outcome::Gap);
        assert!(!stands, "{entry:?}");
    }
    driver.pushes_unchecked().await;
}

async fn dead_letters(driver: &mut LaneDriver) -> usize {
    redis::cmd("XLEN")
        .arg(keys::dead(driver.shard))
        .query_async(&mut driver.connection)
        .await
        .expect("a stream")
}

/// What makes sense of what was published.
fn readable(published: &[(String, bytes::Bytes)]) -> Vec<Pushed> {
    let payloads = published
        .iter()
        .filter_map(|(_, bytes)| push::decode(bytes).ok());
    let records = payloads.flat_map(|payload| payload.records);
    let pushes = records.flat_map(|record| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pushed = |client: &str| Pushed {
            client: client.to_owned(),
            kind: record.kind,
            event: text(&record.event),
            text: text(&record.bytes),
        };
        record.targets().map(pushed).collect::<Vec<_>>()
    });
    pushes.collect()
}

/// The neighbours fall silent, and are told so in time.
async fn timers_go_on(driver: &mut LaneDriver, neighbours: &Neighbours) {
    let clock = keys::clock(driver.shard);
    let () = redis::cmd("HINCRBY")
        .arg(clock)
        .arg("now")
        .arg(120_000)
        .query_async(&mut driver.connection)
        .await
        .expect("a number");
    for _ in 0..TICKS {
        let _ = driver.try_tick(0).await;
        driver.drain().await;
        let published = driver.pushes_unchecked().await;
        if neighbours.heard_timeout(&readable(&published)) {
            return;
        }
    }
    panic!("the neighbours' timer did not fire in {TICKS} ticks");
}
