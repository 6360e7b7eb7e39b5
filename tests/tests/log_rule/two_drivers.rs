//! Two of a kind drive one lane, by the library alone.

use frontdesk_shared::ids::{Lane, StreamId};
use frontdesk_tests::lane_driver::LaneDriver;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    SEEDS, lane, settings, short, start,
    trace::{Trace, assert_same},
};

/// One of two workers that drive a lane at once: it reads from where it likes, leaves entries out,
/// and takes its time.
async fn meddle(driver: &mut LaneDriver, lane: Lane, last: StreamId, rng: &mut StdRng) -> String {
    let mut all = String::new();
    let mut first = true;
    while driver
        .applied(lane)
        .await
        .is_none_or(|applied| applied < last)
        || first
    {
        first = false;
        assert!(all.len() < 100_000, "the lane stands still");
        let mut entries = if rng.random_bool(0.2) {
            let count = rng.random_range(1..200);
            driver.entries(lane, "-", count).await
        } else {
            driver.pending(lane, 32).await
        };
        // Read now, applied later, as by a worker that was paused.
        for _ in 0..rng.random_range(0..4) {
            driver.time_ms().await;
        }
        if rng.random_bool(0.3) && !entries.is_empty() {
            let left_out = rng.random_range(0..entries.len());
            entries.remove(left_out);
        }
        let mut rest: Vec<_> = entries.into_iter().map(|p| p.prepared).collect();
        while !rest.is_empty() {
            let most = rng.random_range(1..=rest.len().min(9));
            let batch: Vec<_> = rest.drain(..most).collect();
            let outcomes = short(&driver.apply(lane, &batch).await);
            all.push_str(&outcomes);
            // A careful worker stops at a gap; this one may not.
            if outcomes.contains('G') && rng.random_bool(0.5) {
                break;
            }
        }
    }
    all
}

#[tokio::test]
async fn two_workers_on_one_lane_do_what_one_does() {
    let mut outcomes = String::new();
    for seed in SEEDS {
        let trace = Trace::random(seed);
        let (_server, mut alone) = start().await;
        let (expected_state, expected_pushes) = trace.run_undisturbed(&mut alone).await;

        let (server, mut one) = start().await;
        let mut other = LaneDriver::connect(&server.url(), "default", settings()).await;
        let (mut rng, mut other_rng) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
        let mut names = trace.names(&one);
        for (uid, events) in &trace.stages {
            let mut last = StreamId::ZERO;
            for kind in events {
                last = one.append(uid, kind.clone()).await;
                names.event(one.event_id(lane(uid), last));
            }
            let (a, b) = tokio::join!(
                meddle(&mut one, lane(uid), last, &mut rng),
                meddle(&mut other, lane(uid), last, &mut other_rng)
            );
            outcomes.extend([a, b]);
        }
        let pushes = one.pushes().await;
        let state = names.state(&one.dump().await);
        assert_same("state and logs", trace.seed, &state, &expected_state);
        assert_eq!(names.pushes(&pushes), expected_pushes, "seed {seed}");
    }
    let count = |letter| outcomes.chars().filter(|c| *c == letter).count();
    assert!(
        count('D') > 100 && count('G') > 100,
        "they hardly met: {outcomes}"
    );
}
