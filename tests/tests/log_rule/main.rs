//! The log rule: an entry applies once, and only as the next one of its lane, however often it is
//! read and by whom; poison harms nobody else. First with the library alone, then with two real
//! workers that are made to read one lane at once.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod gaps;
mod poison;
mod quick;
mod trace;
mod two_drivers;
mod two_workers;

use frontdesk_shared::{
    ids::{Lane, Uid},
    protocol::frame::Verb,
};
use frontdesk_tests::{
    lane_driver::{LaneDriver, Socket, on_duty, unhurried, words_with_id},
    redis_server::{Options, RedisServer},
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{Outcome, Prepared},
};

/// Seeds of the random traces; a failure names the one it happened with.
const SEEDS: std::ops::Range<u64> = 0..12;

/// So long that no timer plays a part.
fn settings() -> DeskSettings {
    DeskSettings {
        idle_s: 24 * 60 * 60,
        ..unhurried()
    }
}

async fn start() -> (RedisServer, LaneDriver) {
    let server = Options::default().set("appendonly", "no").start();
    let driver = LaneDriver::connect(&server.url(), "default", settings()).await;
    (server, driver)
}

fn lane(uid: &str) -> Lane {
    Lane::of(&Uid::parse(uid).expect("well-formed"))
}

/// sam on duty and alice in a conversation with him; then alice says so much.
async fn conversation(driver: &mut LaneDriver, messages: usize) -> (Socket, Socket, Vec<Prepared>) {
    let mut sam = driver.open("sam").await;
    driver.send(&mut sam, on_duty(1)).await;
    let mut alice = driver.open("alice").await;
    driver.send(&mut alice, Verb::CustomerConnect).await;
    for n in 0..messages {
        let kind = alice.verb(words_with_id(&format!("w{n}"), &format!("m{n}")));
        driver.append("alice", kind).await;
    }
    driver.pushes().await;
    let pending = driver.pending(lane("alice"), messages).await;
    (
        sam,
        alice,
        pending.into_iter().map(|p| p.prepared).collect(),
    )
}

fn short(outcomes: &[Outcome]) -> String {
    let letters = outcomes.iter().map(|outcome| match outcome {
        Outcome::Applied | Outcome::Acked(_) | Outcome::Said(_) => 'A',
        Outcome::Duplicate => 'D',
        Outcome::Gap => 'G',
        Outcome::Dead(_) => 'X',
    });
    letters.collect()
}

/// Puts a text where the script expects something else.
async fn spoil(driver: &mut LaneDriver, name: &str) {
    let () = redis::cmd("SET")
        .arg(name)
        .arg("poison")
        .query_async(&mut driver.connection)
        .await
        .expect("set");
}
