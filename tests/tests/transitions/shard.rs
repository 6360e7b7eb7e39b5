//! The functions that are no transitions: `lease`, `tick`, `stats`.

use frontdesk_shared::{ids::Lane, keys};
use frontdesk_tests::{
    lane_driver::{LaneDriver, words},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{MAX_ADVANCE_MS, MAX_TIMERS_PER_TICK},
};

use crate::scene::Scene;

on_both![
    a_lease_belongs_to_one_worker_until_it_ends_or_is_given_back,
    the_clock_advances_a_little_whatever_the_wall_clock_does,
    a_time_set_between_ticks_is_not_over_too_early,
    a_tick_fires_a_bounded_number_of_timers,
    stats_count_what_waits_and_who_serves,
];

/// Calls `lease` for two lanes.
async fn lease(driver: &mut LaneDriver, token: &str, wishes: [&str; 2]) -> [i64; 2] {
    let names: Vec<String> = Lane::all()
        .take(2)
        .map(|lane| keys::lease(driver.shard, lane))
        .collect();
    let mut call = driver.library().call("lease", &names);
    call.arg(60_000).arg(token).arg(&wishes);
    let mut connection = driver.connection.clone();
    let held = driver.library().run(&mut connection, &call).await;
    held.expect("the script runs")
}

async fn owners(driver: &mut LaneDriver) -> Vec<String> {
    let dump = driver.dump().await;
    let names = Lane::all().take(2);
    names
        .map(|lane| match dump.0.get(&keys::lease(driver.shard, lane)) {
            Some(kept) => {
                let ttl = kept.ttl_ms.expect("a lease ends");
                assert!((50_000..=60_000).contains(&ttl), "{ttl}");
                format!("{:?}", kept.content)
            }
            None => "nobody".to_owned(),
        })
        .collect()
}

async fn a_lease_belongs_to_one_worker_until_it_ends_or_is_given_back(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let driver = &mut scene.driver;
    let (a, b) = (r#"Text("a")"#, r#"Text("b")"#);
    for (token, wishes, held, now) in [
        ("a", ["take", "release"], [1, 0], [a, "nobody"]),
        ("b", ["take", "take"], [0, 1], [a, b]),
        ("a", ["renew", "take"], [1, 0], [a, b]),
        // Who takes what they hold has it still.
        ("a", ["take", "renew"], [1, 0], [a, b]),
        // What belongs to another is not given back.
        ("b", ["release", "renew"], [0, 1], [a, b]),
        ("a", ["release", "release"], [0, 0], ["nobody", b]),
        // Who renews what has ended takes it.
        ("b", ["renew", "release"], [1, 0], [b, "nobody"]),
    ] {
        assert_eq!(
            lease(driver, token, wishes).await,
            held,
            "{token} {wishes:?}"
        );
        assert_eq!(owners(driver).await, now, "{token} {wishes:?}");
    }
}

async fn the_clock_advances_a_little_whatever_the_wall_clock_does(options: Options) {
    const MOST: u64 = 2000;
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let driver = &mut scene.driver;
    assert_eq!(
        driver.tick(MOST).await,
        (0, 0),
        "the first tick starts the clock"
    );
    let wall = i64::try_from(driver.time_ms().await).expect("a time");
    for (seen, advances) in [
        (wall - 3_600_000, MOST..=MOST),
        (wall - 500, 500..=MOST),
        // Set back, the wall clock does not set back the shard's.
        (wall + 3_600_000, 0..=0),
    ] {
        let before = driver.clock().await;
        let () = redis::cmd("HSET")
            .arg(keys::clock(driver.shard))
            .arg("seen")
            .arg(seen)
            .query_async(&mut driver.connection)
            .await
            .expect("a hash");
        let (_, now) = driver.tick(MOST).await;
        assert!(advances.contains(&(now - before)), "{} ms", now - before);
        assert_eq!(driver.clock().await, now);
    }
    let seen = driver.dump().await.hash(&keys::clock(driver.shard))["seen"].clone();
    let seen: i64 = seen.parse().expect("a number");
    assert!(
        (wall..wall + 60_000).contains(&seen),
        "the wall clock is followed again"
    );
}

/// The clock shows the time of the last tick: what has passed since then counts, but no outage does.
async fn a_time_set_between_ticks_is_not_over_too_early(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_staff, mut customer) = (scene.staff("sam", 1).await, scene.customer("alice").await);
    let idle_ms = DeskSettings::default().idle_s * 1000;
    for (since, counts) in [
        (0, 0..=MAX_ADVANCE_MS),
        (700, 700..=MAX_ADVANCE_MS),
        (3_600_000, MAX_ADVANCE_MS..=MAX_ADVANCE_MS),
        // The wall clock was set back.
        (-3_600_000, 0..=0),
    ] {
        let driver = &mut scene.driver;
        let wall = i64::try_from(driver.time_ms().await).expect("a time");
        let () = redis::cmd("HSET")
            .arg(keys::clock(driver.shard))
            .arg(&[("now", 1_000_000), ("seen", wall - since)])
            .query_async(&mut driver.connection)
            .await
            .expect("a hash");
        scene
            .send(&mut customer, words(&format!("since {since}")))
            .await;
        let driver = &mut scene.driver;
        let user = driver.dump().await.hash(&driver.key("u:alice"));
        let conversation = driver.key(&format!("conv:{}", user["conv"]));
        let idle = driver.dump().await.hash(&conversation)["idle"].clone();
        let idle: u64 = idle.parse().expect("a number");
        let counted = idle - idle_ms - 1_000_000;
        assert!(counts.contains(&counted), "{since} ms: {counted}");
    }
}

async fn a_tick_fires_a_bounded_number_of_timers(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let driver = &mut scene.driver;
    let count = MAX_TIMERS_PER_TICK + 50;
    for n in 0..count {
        let () = redis::cmd("ZADD")
            .arg(keys::due(driver.shard))
            .arg(n)
            .arg(format!("idle|default|c{n}|6.1.1-0.{n}|3"))
            .query_async(&mut driver.connection)
            .await
            .expect("a sorted set");
    }
    let lane = Lane::new(3).expect("there are more lanes");
    let so_far = [MAX_TIMERS_PER_TICK, count, count];
    for (tick, fired) in so_far.into_iter().enumerate() {
        driver.tick_after(1000).await;
        let pending = driver.pending(lane, 1000).await;
        assert_eq!(pending.len(), fired, "after tick {tick}");
    }
    let events = driver.pending(lane, 1000).await;
    for (n, pending) in events.iter().enumerate() {
        let event = pending.event.as_ref();
        // Appended in the order of their times. The uid's lane is wrong here, which is not the
        // tick's to judge.
        assert_eq!(event.expect("well-formed").uid.as_str(), format!("c{n}"));
    }
}

async fn stats_count_what_waits_and_who_serves(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    scene.staff("sam", 1).await;
    for uid in ["alice", "bob", "carl"] {
        scene.customer(uid).await;
    }
    assert_eq!(scene.stats().await, [2, 1, 0, 1]);
    scene.staff("sue", 5).await;
    assert_eq!(scene.stats().await, [0, 2, 1, 3]);
}

impl Scene {
    /// Customers waiting, staff on duty, staff with a free place, timers.
    pub async fn stats(&mut self) -> [i64; 4] {
        let driver = &mut self.driver;
        let mut call = driver.library().call("stats", &[keys::sites(driver.shard)]);
        call.arg(keys::shard_prefix(driver.shard));
        let mut connection = driver.connection.clone();
        let stats = driver.library().run(&mut connection, &call).await;
        stats.expect("the script runs")
    }
}
