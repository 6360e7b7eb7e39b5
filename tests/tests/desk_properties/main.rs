//! Random lives of two small sites, applied by the real scripts on a real Redis and by the model
//! in `desk_model.rs`, with sockets that are lost and come back: after every call the state, every push, every ack and the rules of
//! `desk_state.rs` must agree. A failure prints the shortest life that shows it and keeps its seed
//! in `proptest-regressions/`. `PROPTEST_CASES=5000` looks for longer.
//!
//! `lives` says what may happen, `events` what is appended for it, `world` lives it, `checks` judges each call.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod checks;
mod events;
mod lives;
mod world;

use std::{cell::RefCell, collections::BTreeMap};

use anyhow::{Context as _, Result};
use frontdesk_tests::{lane_driver::unhurried, redis_server::Options};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave, Policy};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

use lives::{Step, beginning, step};
use world::World;

/// Lives per combination of settings, unless PROPTEST_CASES says otherwise.
const CASES: u32 = 100;

/// Most steps of a life.
const STEPS: usize = 100;

const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proptest-regressions/desk_properties.txt"
);

/// What somebody is told in every run, or the run has shown little.
const TOLD: &[&str] = &[
    "chat_close/closed",
    "chat_close/customer_left",
    "chat_close/customer_timeout",
    "chat_close/staff_offline",
    "chat_close/timeout",
    "close/4004",
    "close/4502",
    "error/bad_max",
    "error/forbidden",
    "error/id_reused",
    "error/bad_field",
    "error/no_conversation",
    "error/no_message",
    "error/no_user",
    "error/which_conversation",
    "error/wrong_role",
    "message/connected",
    "message/customer",
    "message/new_customer",
    "message/no_staff",
    "message/off_duty",
    "message/on_duty",
    "message/queue_full",
    "message/queue_moved",
    "message/queued",
    "message/staff",
    "message/still_queued",
    "message/user",
    "message/your_turn",
    "history/-",
    "snapshot/-",
    "queue_close/staff_offline",
    "recalled/-",
    "receipt/-",
    "welcome/welcome",
    "answer/ack",
    "answer/again",
    "answer/ended",
    "answer/id_reused",
    "answer/key_reused",
    "answer/no_conversation",
    "answer/receipt",
    "answer/recalled",
];

#[test]
fn shortest_queues_and_closing_follow_the_model() {
    follows_the_model(Policy::Shortest, OnStaffLeave::Close);
}

#[test]
fn shortest_queues_and_requeueing_follow_the_model() {
    follows_the_model(Policy::Shortest, OnStaffLeave::Requeue);
}

#[test]
fn a_shared_queue_and_closing_follow_the_model() {
    follows_the_model(Policy::Shared, OnStaffLeave::Close);
}

#[test]
fn a_shared_queue_and_requeueing_follow_the_model() {
    follows_the_model(Policy::Shared, OnStaffLeave::Requeue);
}

fn follows_the_model(policy: Policy, on_staff_leave: OnStaffLeave) {
    let settings = DeskSettings {
        policy,
        on_staff_leave,
        queue_limit: 3,
        leave_message: (policy == Policy::Shared) == (on_staff_leave == OnStaffLeave::Close),
        customer_direct: on_staff_leave == OnStaffLeave::Requeue,
        ..unhurried()
    };
    let cases = std::env::var_os("PROPTEST_CASES");
    let config = ProptestConfig {
        cases: cases
            .as_ref()
            .map_or(CASES, |_| ProptestConfig::default().cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 1000,
        ..ProptestConfig::default()
    };
    // Nothing here is about disks.
    let server = Options::default().set("appendonly", "no").start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let lives = (beginning(), proptest::collection::vec(step(), 10..STEPS));
    let seen = RefCell::new(BTreeMap::new());
    let result = TestRunner::new(config).run(&lives, |(beginning, mut steps)| {
        steps.splice(0..0, beginning);
        let life = runtime.block_on(live(&server.url(), &settings, &steps, &seen));
        life.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.take();
    let quick = seen.get("quick").copied().unwrap_or_default();
    assert!(
        cases.is_some() || quick > 20,
        "only {quick} went the quick way"
    );
    for what in TOLD.iter().filter(|_| cases.is_none()) {
        let told = seen.contains_key(*what);
        assert!(
            told,
            "the random lives are too dull: nobody was told {what}: {seen:?}"
        );
    }
}

async fn live(
    url: &str,
    settings: &DeskSettings,
    steps: &[Step],
    seen: &RefCell<BTreeMap<String, usize>>,
) -> Result<()> {
    let mut world = World::new(url, settings).await?;
    for (n, step) in steps.iter().enumerate() {
        let done = world.step(step).await;
        done.with_context(|| format!("step {n}, {step:?}"))?;
    }
    let done = world.everybody_leaves().await;
    done.context("when everybody had left")?;
    for (what, times) in world.seen {
        *seen.borrow_mut().entry(what).or_default() += times;
    }
    Ok(())
}
