//! The log rule: an entry applies once, and only as the next one of its lane, however often it is
//! read and by whom; poison harms nobody else. First with the library alone, then with two real
//! workers that are made to read one lane at once.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::collections::BTreeSet;

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BootId, Lane, Shard, Site, StreamId, Uid},
    keys,
    protocol::frame::Verb,
};
use frontdesk_tests::{
    cluster::Cluster,
    lane_driver::{LaneDriver, Pushed, Socket, on_duty, unhurried, words, words_with_id},
    process::Program,
    redis_dump::{Content, Dump},
    redis_server::{Options, RedisServer},
    wait,
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{Outcome, Prepared},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

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

#[tokio::test]
async fn a_gap_or_a_duplicate_changes_nothing_and_tells_nobody() {
    let (_server, mut driver) = start().await;
    let (_sam, _alice, entries) = conversation(&mut driver, 6).await;
    let lane = lane("alice");
    let mut invented = entries[5].clone();
    invented.id.seq += 1;
    // Nor does it help to follow what is applied.
    let mut follows = invented.clone();
    follows.before = entries[5].id;
    for (batch, answer) in [
        (&entries[1..], "G"),
        (&entries[5..], "G"),
        (&[invented.clone()][..], "G"),
        (&entries[..2], "AA"),
        (&entries[..2], "DD"),
        (&entries[1..2], "D"),
        (&[entries[0].clone(), entries[3].clone()][..], "DG"),
        // The call ends at the gap, though the next one would follow.
        (&[entries[3].clone(), entries[2].clone()][..], "G"),
        (&entries[..], "DDAAAA"),
        (&[invented][..], "G"),
        (&[follows][..], "G"),
    ] {
        let before = driver.dump().await;
        let outcomes = driver.apply(lane, batch).await;
        assert_eq!(short(&outcomes), answer);
        let pushes = driver.pushes().await;
        if !answer.contains('A') {
            assert_eq!(driver.dump().await.without_ttls(), before.without_ttls());
            assert_eq!(pushes, []);
        }
    }
}

/// What a stream may lose between a read and the call for it: its end, when Redis has become another
/// that never had it; or everything, and with it `applied` or not.
#[tokio::test]
async fn what_was_read_and_is_no_longer_there_changes_nothing() {
    type Loss = fn(&LaneDriver, &[Prepared]) -> redis::Cmd;
    let losses: [(&str, Loss); 4] = [
        ("the last", |driver, entries| {
            let mut command = redis::cmd("XDEL");
            command.arg(keys::events(driver.shard, lane("alice")));
            command.arg(entries[3].id.to_string()).to_owned()
        }),
        ("the last two", |driver, entries| {
            let mut command = redis::cmd("XDEL");
            command.arg(keys::events(driver.shard, lane("alice")));
            for entry in &entries[2..] {
                command.arg(entry.id.to_string());
            }
            command
        }),
        ("the stream", |driver, _| {
            let events = keys::events(driver.shard, lane("alice"));
            redis::cmd("DEL").arg(events).to_owned()
        }),
        ("everything", |_, _| redis::cmd("FLUSHALL")),
    ];
    for (what, loss) in losses {
        for applied in [0, 2] {
            let (_server, mut driver) = start().await;
            let socket = Socket::new("alice", &BootId::random());
            for _ in 0..4 {
                driver.append("alice", socket.open()).await;
            }
            let pending = driver.pending(lane("alice"), 4).await;
            let entries: Vec<_> = pending.into_iter().map(|p| p.prepared).collect();
            if applied > 0 {
                driver.apply(lane("alice"), &entries[..applied]).await;
            }
            driver.pushes().await;
            let lose = loss(&driver, &entries);
            let () = lose
                .query_async(&mut driver.connection)
                .await
                .expect("lost");
            let before = driver.dump().await;
            let outcomes = driver.apply(lane("alice"), &entries[applied..]).await;
            assert_eq!(short(&outcomes), "G", "{what}, {applied} applied");
            assert_eq!(driver.dump().await.without_ttls(), before.without_ttls());
            assert_eq!(driver.pushes().await, []);
        }
    }
}

/// A failure that no transition's pcall catches ends the call; what it has done must count as applied.
#[tokio::test]
async fn a_call_that_fails_in_the_middle_has_applied_what_it_has_done_and_no_more() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice, mut entries) = conversation(&mut driver, 3).await;
    let name = keys::dead(driver.shard);
    spoil(&mut driver, &name).await;
    let poison = driver
        .append_fields(lane("alice"), &[("v", "0".into())])
        .await;
    let kind = alice.verb(words_with_id("w3", "m3"));
    let last = driver.append("alice", kind).await;
    let more = driver.pending(lane("alice"), 5).await;
    entries.extend(more.into_iter().skip(3).map(|p| p.prepared));
    let (library, shard) = (driver.library(), driver.shard);
    let mut connection = driver.connection.clone();
    let failed = library.apply(&mut connection, shard, lane("alice"), &entries);
    let failed = failed.await.expect_err("the dead letter cannot be written");
    assert!(failed.to_string().contains("WRONGTYPE"), "{failed}");
    assert_eq!(driver.applied(lane("alice")).await, Some(poison));
    let mended = redis::cmd("DEL").arg(&name).to_owned();
    let () = mended
        .query_async(&mut driver.connection)
        .await
        .expect("mended");
    let outcomes = driver.apply(lane("alice"), &entries).await;
    assert_eq!(short(&outcomes), "DDDDA");
    assert_eq!(driver.applied(lane("alice")).await, Some(last));
    let conv = driver.conversation_of("alice").await.expect("open");
    let log = driver.key(&format!("log:{conv}"));
    let dump = driver.dump().await;
    let messages = dump.stream(&log).into_iter();
    let messages = messages.filter(|(_, fields)| fields.iter().any(|(name, _)| name == "message"));
    assert_eq!(messages.count(), 4, "each once");
}

#[tokio::test]
async fn the_order_of_entries_is_that_of_numbers_not_of_text() {
    let (_server, mut driver) = start().await;
    let boot = BootId::random();
    let sockets = [(); 4].map(|()| Socket::new("alice", &boot));
    for (socket, id) in sockets.iter().zip(["9-0", "10-9", "10-10", "100-0"]) {
        let event = Event {
            site: driver.site.clone(),
            uid: socket.uid.clone(),
            kind: socket.open(),
        };
        let () = redis::cmd("XADD")
            .arg(keys::events(driver.shard, lane("alice")))
            .arg(id)
            .arg(event.encode())
            .query_async(&mut driver.connection)
            .await
            .expect("appended");
    }
    let pending = driver.pending(lane("alice"), 4).await;
    let entries: Vec<_> = pending.into_iter().map(|p| p.prepared).collect();
    for n in 0..4 {
        let outcomes = driver.apply(lane("alice"), &entries[n..=n]).await;
        assert_eq!(short(&outcomes), "A", "{}", entries[n].id);
        let outcomes = driver.apply(lane("alice"), &entries[..=n]).await;
        assert_eq!(short(&outcomes), "D".repeat(n + 1), "{}", entries[n].id);
    }
}

#[tokio::test]
async fn calls_that_follow_a_lost_one_all_find_a_gap() {
    let (_server, mut driver) = start().await;
    let (_sam, _alice, entries) = conversation(&mut driver, 8).await;
    let before = driver.dump().await;
    // Pipelined on one connection, without the first two entries.
    let (library, shard) = (driver.library(), driver.shard);
    let calls = entries[2..].chunks(2).map(|chunk| {
        let mut connection = driver.connection.clone();
        async move {
            let lane = lane("alice");
            library.apply(&mut connection, shard, lane, chunk).await
        }
    });
    for outcomes in futures_util::future::join_all(calls).await {
        assert_eq!(short(&outcomes.expect("the script runs")), "G");
    }
    let after = driver.dump().await;
    assert_eq!(after.without_ttls(), before.without_ttls());
    let outcomes = driver.apply(lane("alice"), &entries).await;
    assert_eq!(short(&outcomes), "AAAAAAAA");
}

#[tokio::test]
async fn lanes_in_one_call_are_judged_each_by_itself() {
    let (_server, mut driver) = start().await;
    let mut lanes: Vec<(Lane, Vec<Prepared>)> = Vec::new();
    for n in 0.. {
        let uid = format!("user{n}");
        if lanes.iter().any(|(known, _)| *known == lane(&uid)) {
            continue;
        }
        for _ in 0..4 {
            let socket = Socket::new(&uid, &BootId::random());
            driver.append(&uid, socket.open()).await;
        }
        let pending = driver.pending(lane(&uid), 4).await;
        let entries = pending.into_iter().map(|p| p.prepared).collect();
        lanes.push((lane(&uid), entries));
        if lanes.len() == 4 {
            break;
        }
    }
    driver.apply(lanes[0].0, &lanes[0].1[..2]).await;
    let calls = [
        // Neither a gap nor duplicates of one lane concern another; nothing follows a gap in its own.
        ([0..3, 1..4, 0..4, 0..0], ["DDA", "G", "AAAA", ""]),
        ([3..4, 0..1, 3..4, 3..4], ["A", "A", "D", "G"]),
        ([0..4, 0..4, 0..4, 0..4], ["DDDD", "DAAA", "DDDD", "AAAA"]),
    ];
    for (ranges, answers) in calls {
        let parts = lanes.iter().zip(ranges);
        let parts = parts.map(|((lane, entries), range)| (*lane, &entries[range]));
        let outcomes = driver.apply_lanes(&parts.collect::<Vec<_>>()).await;
        let said: Vec<String> = outcomes.iter().map(|lane| short(lane)).collect();
        assert_eq!(said, answers);
    }
    let welcomes = driver.pushes().await.len();
    assert_eq!(welcomes, 16, "one for each open");
}

#[tokio::test]
async fn a_lane_replayed_from_its_start_changes_nothing() {
    for seed in SEEDS {
        let (_server, mut driver) = start().await;
        Trace::random(seed).run_undisturbed(&mut driver).await;
        driver.pushes().await;
        let before = driver.dump().await;
        let mut replayed = 0;
        for lane in Lane::all() {
            let entries = driver.entries(lane, "-", 10_000).await;
            let entries: Vec<_> = entries.into_iter().map(|p| p.prepared).collect();
            for chunk in entries.chunks(7) {
                let outcomes = driver.apply(lane, chunk).await;
                assert_eq!(short(&outcomes), "D".repeat(chunk.len()), "seed {seed}");
            }
            replayed += entries.len();
        }
        assert!(replayed > 50, "{replayed}");
        assert_eq!(driver.dump().await.without_ttls(), before.without_ttls());
        assert_eq!(driver.pushes().await, [], "seed {seed}");
    }
}

#[tokio::test]
async fn a_flushed_library_is_loaded_again_in_mid_load() {
    let (_server, mut driver) = start().await;
    let (sam, _alice, entries) = conversation(&mut driver, 60).await;
    let flush = || {
        let mut flush = redis::cmd("FUNCTION");
        flush.arg("FLUSH").arg("SYNC");
        flush
    };
    for (n, chunk) in entries.chunks(3).enumerate() {
        if n % 2 == 0 {
            let () = flush()
                .query_async(&mut driver.connection)
                .await
                .expect("flushed");
        }
        let outcomes = driver.apply(lane("alice"), chunk).await;
        assert_eq!(short(&outcomes), "AAA");
    }
    assert_eq!(driver.pushes_to(&sam).await.len(), 60);
    let () = flush()
        .query_async(&mut driver.connection)
        .await
        .expect("flushed");
    driver.tick_after(0).await;
}

/// What users do, one after the other: each stage is several events of one user, and the next
/// begins when they are applied.
struct Trace {
    seed: u64,
    stages: Vec<(String, Vec<Kind>)>,
    sockets: Vec<Socket>,
}

impl Trace {
    fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let boots = [BootId::random(), BootId::random()];
        let users = ["sam", "sue", "alice", "bob", "carl", "dora"];
        let mut sockets: Vec<Socket> = users
            .iter()
            .enumerate()
            .map(|(n, uid)| Socket::new(uid, &boots[n % 2]))
            .collect();
        let open = |socket: &Socket| (socket.uid.to_string(), vec![socket.open()]);
        let mut stages: Vec<_> = sockets.iter().map(open).collect();
        for (n, socket) in sockets[..2].iter_mut().enumerate() {
            let max = u32::try_from(n + 1).expect("small");
            stages.push((socket.uid.to_string(), vec![socket.verb(on_duty(max))]));
        }
        for _ in 0..60 {
            let n = rng.random_range(0..sockets.len());
            let count = rng.random_range(1..8);
            let mut events = Vec::new();
            for _ in 0..count {
                let verb = match (n < 2, rng.random_range(0..20)) {
                    (true, 0) => on_duty(rng.random_range(1..4)),
                    (true, 1) if rng.random_bool(0.3) => Verb::StaffOffline,
                    (true, 2..=3) => Verb::Close { conversation: None },
                    (false, 0..=3) => Verb::CustomerConnect,
                    (false, 4) => Verb::CustomerLeave,
                    (_, m @ 5..=11) => words_with_id("same", &format!("m{m}")),
                    _ => words(&format!("w{}", stages.len())),
                };
                // Staff may get a customer by it: what they say next must come after that.
                let crosses = n < 2 && !matches!(verb, Verb::Message { .. });
                events.push(sockets[n].verb(verb));
                if crosses {
                    break;
                }
            }
            stages.push((sockets[n].uid.to_string(), events));
        }
        Self {
            seed,
            stages,
            sockets,
        }
    }

    /// Applies every event alone. Returns everything in Redis and all that was told, by names.
    async fn run_undisturbed(&self, driver: &mut LaneDriver) -> (BTreeSet<String>, Vec<String>) {
        let mut names = self.names(driver);
        for (uid, events) in &self.stages {
            for kind in events {
                let id = driver.append(uid, kind.clone()).await;
                names.event(driver.event_id(lane(uid), id));
                let settled = driver.apply_pending(lane(uid), 10).await;
                assert_eq!(settled.len(), 1);
            }
        }
        let pushes = driver.pushes().await;
        (names.state(&driver.dump().await), names.pushes(&pushes))
    }

    fn names(&self, driver: &LaneDriver) -> Names {
        let mut names = vec![(keys::shard_prefix(driver.shard), String::new())];
        for socket in &self.sockets {
            names.push((socket.client.to_string(), format!("{}.1", socket.uid)));
            names.push((socket.client.boot().to_owned(), "boot".into()));
        }
        Names { names, events: 0 }
    }
}

/// Names in the place of ids, so that two runs of one trace can be compared.
struct Names {
    names: Vec<(String, String)>,
    events: usize,
}

impl Names {
    fn event(&mut self, id: String) {
        self.events += 1;
        self.names.push((id, format!("<e{}>", self.events)));
    }

    fn short(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (id, name) in self.names.iter().rev() {
            line = line.replace(id, name);
        }
        let is_time = |text: &str| {
            let ms: Option<u64> = text.parse().ok();
            ms.is_some_and(|ms| (1_500_000_000_000..10_000_000_000_000).contains(&ms))
        };
        let mut out = String::new();
        let mut number = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_ascii_digit() {
                number.push(c);
            } else {
                out.push_str(if is_time(&number) { "T" } else { &number });
                number.clear();
                out.push(c);
            }
        }
        out
    }

    /// Everything that the desk keeps. What depends on when ticks came, and by whom entries were
    /// applied in how many calls, is left out.
    fn state(&self, dump: &Dump) -> BTreeSet<String> {
        let elsewhere = [
            "applied",
            "clock",
            "due",
            "events",
            "lease",
            "moved",
            "pushes",
            "frontdesk",
        ];
        let mut dump = dump.clone().without_ttls();
        dump.0.retain(|name, _| {
            let rest = name.split_once("}:").map_or(&**name, |(_, rest)| rest);
            !elsewhere.contains(&rest.split(':').next().unwrap_or(rest))
        });
        for kept in dump.0.values_mut() {
            if let Content::Hash(fields) = &mut kept.content {
                fields.remove("idle");
                fields.remove("place");
                fields.remove("b");
            }
        }
        dump.lines().iter().map(|line| self.short(line)).collect()
    }

    fn pushes(&self, pushes: &[Pushed]) -> Vec<String> {
        let mut lines: Vec<String> = pushes
            .iter()
            .map(|pushed| self.short(&format!("{} {}", pushed.client, pushed.text)))
            .collect();
        lines.sort();
        lines
    }
}

fn assert_same(
    what: &str,
    seed: u64,
    disturbed: &BTreeSet<String>,
    undisturbed: &BTreeSet<String>,
) {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> String {
        a.difference(b).cloned().collect::<Vec<_>>().join("\n")
    };
    assert!(
        disturbed == undisturbed,
        "seed {seed}, {what}\nonly in the disturbed run:\n{}\nonly in the undisturbed one:\n{}",
        only(disturbed, undisturbed),
        only(undisturbed, disturbed)
    );
}

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

async fn dead_letters(driver: &mut LaneDriver) -> Vec<Vec<(String, String)>> {
    let name = keys::dead(driver.shard);
    let letters = driver.dump().await.stream(&name);
    letters.into_iter().map(|(_, fields)| fields).collect()
}

fn field<'f>(letter: &'f [(String, String)], name: &str) -> &'f str {
    let found = letter.iter().find(|(field, _)| field == name);
    found.map_or("", |(_, value)| value)
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

#[tokio::test]
async fn a_failure_before_the_first_write_leaves_only_its_dead_letter() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice, _) = conversation(&mut driver, 0).await;
    let conv = driver.conversation_of("alice").await.expect("open");
    let name = driver.key(&format!("conv:{conv}"));
    spoil(&mut driver, &name).await;
    let before = driver.dump().await;
    let outcome = driver.send(&mut alice, words_with_id("a", "m1")).await;
    assert!(matches!(outcome, Outcome::Dead(_)), "{outcome:?}");
    let (before, after) = (before.without_ttls(), driver.dump().await.without_ttls());
    let changed: BTreeSet<&str> = after
        .0
        .keys()
        .filter(|name| after.0.get(*name) != before.0.get(*name))
        .filter_map(|name| name.strip_prefix(&*keys::shard_prefix(driver.shard)))
        .collect();
    let events = format!("events:{}", lane("alice").number());
    assert_eq!(
        changed,
        BTreeSet::from(["applied", "dead", "pushes", &*events])
    );
    let letters = dead_letters(&mut driver).await;
    assert_eq!(letters.len(), 1);
    assert!(
        field(&letters[0], "error").contains("WRONGTYPE"),
        "{letters:?}"
    );
    assert_eq!(field(&letters[0], "body"), "\"a\"");
    assert_eq!(field(&letters[0], "uid"), "alice");
    told_internal(&mut driver, &alice).await;
    others_go_on(&mut driver).await;
}

#[tokio::test]
async fn a_failure_when_the_senders_own_key_cannot_be_read_tells_them_all_the_same() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice, _) = conversation(&mut driver, 0).await;
    let name = driver.key("u:alice");
    spoil(&mut driver, &name).await;
    let outcome = driver.send(&mut alice, words_with_id("a", "m1")).await;
    assert!(matches!(outcome, Outcome::Dead(_)), "{outcome:?}");
    assert_eq!(dead_letters(&mut driver).await.len(), 1);
    told_internal(&mut driver, &alice).await;
    others_go_on(&mut driver).await;
}

#[tokio::test]
async fn a_failure_between_writes_is_one_dead_letter_and_no_retry() {
    let (_server, mut driver) = start().await;
    let (_sam, mut alice, _) = conversation(&mut driver, 0).await;
    let conv = driver.conversation_of("alice").await.expect("open");
    let name = driver.key(&format!("log:{conv}"));
    spoil(&mut driver, &name).await;
    let kind = alice.verb(words_with_id("a", "m1"));
    driver.append("alice", kind).await;
    let pending = driver.pending(lane("alice"), 1).await;
    let entries = [pending[0].prepared.clone()];
    let outcomes = driver.apply(lane("alice"), &entries).await;
    assert_eq!(short(&outcomes), "X");
    told_internal(&mut driver, &alice).await;
    let before = driver.dump().await;
    assert_eq!(
        before.hash(&driver.key("u:alice"))[&format!("n:{}", alice.client)],
        "2"
    );
    for _ in 0..3 {
        let outcomes = driver.apply(lane("alice"), &entries).await;
        assert_eq!(short(&outcomes), "D");
    }
    assert_eq!(driver.dump().await.without_ttls(), before.without_ttls());
    assert_eq!(dead_letters(&mut driver).await.len(), 1);
    assert_eq!(driver.pushes().await, []);
    others_go_on(&mut driver).await;
}

#[tokio::test]
async fn an_entry_that_does_not_decode_is_a_dead_letter_and_the_lane_goes_on() {
    let (_server, mut driver) = start().await;
    conversation(&mut driver, 0).await;
    let fields = |kind: &str, uid: &str, body: &str| {
        [
            ("v", "1".to_owned()),
            ("site", "default".to_owned()),
            ("uid", uid.to_owned()),
            ("kind", kind.to_owned()),
            ("body", body.to_owned()),
        ]
    };
    assert_ne!(lane("sam"), lane("alice"));
    let poison = [
        fields("dance", "alice", "\"a\""),
        fields("message", "alice", "{\"a\""),
        fields("message", "{s07}", "\"a\""),
        // In a lane that is not sam's it would escape the order of what he does.
        fields("customer_connect", "sam", ""),
    ];
    for fields in &poison {
        driver.append_fields(lane("alice"), fields).await;
    }
    driver
        .append_fields(lane("alice"), &[("v", "0".into())])
        .await;
    let settled = driver.apply_pending(lane("alice"), 10).await;
    let outcomes: Vec<_> = settled.into_iter().map(|entry| entry.outcome).collect();
    assert_eq!(short(&outcomes), "XXXXX");
    let letters = dead_letters(&mut driver).await;
    assert_eq!(letters.len(), 5);
    for (letter, fields) in letters.iter().zip(&poison) {
        for (name, value) in fields {
            assert_eq!(
                field(letter, name),
                value,
                "a dead letter keeps all of its entry"
            );
        }
    }
    assert_eq!(driver.pushes().await, []);
    others_go_on(&mut driver).await;
}

/// Lua passes at most some 8,000 values at once, so such a dead letter used to fail the whole call,
/// which lost its pushes; and a name that is no text failed the read, again and again.
#[tokio::test]
async fn an_entry_of_any_size_and_bytes_is_one_dead_letter() {
    let (_server, mut driver) = start().await;
    conversation(&mut driver, 0).await;
    let many: Vec<_> = (0..5000)
        .map(|n| (format!("x{n}"), String::new()))
        .collect();
    let many = many
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    driver
        .append_bytes(lane("alice"), &many.collect::<Vec<_>>())
        .await;
    let no_text = (b"\xff\xfe".to_vec(), b"\xff".to_vec());
    driver.append_bytes(lane("alice"), &[no_text]).await;
    let settled = driver.apply_pending(lane("alice"), 10).await;
    let outcomes: Vec<_> = settled.into_iter().map(|entry| entry.outcome).collect();
    assert_eq!(short(&outcomes), "XX");
    let length: usize = redis::cmd("XLEN")
        .arg(keys::dead(driver.shard))
        .query_async(&mut driver.connection)
        .await
        .expect("a stream");
    assert_eq!(length, 2);
    assert_eq!(driver.pushes().await, []);
    others_go_on(&mut driver).await;
}

/// The sender alone is told.
async fn told_internal(driver: &mut LaneDriver, sender: &Socket) {
    let pushes = driver.pushes().await;
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert_eq!(pushes[0].client, sender.client.as_str());
    assert_eq!(pushes[0].short(), "error/internal");
    assert_eq!(pushes[0].frame()["payload"]["ref"], "m1");
}

/// Somebody else in the same lane is served.
async fn others_go_on(driver: &mut LaneDriver) {
    let mut names = (0..1000).map(|n| format!("other{n}"));
    let uid = names
        .find(|uid| lane(uid) == lane("alice"))
        .expect("one of a thousand");
    let mut socket = driver.open(&uid).await;
    driver.pushes().await;
    let outcome = driver.send(&mut socket, Verb::CustomerConnect).await;
    assert_eq!(outcome, Outcome::Applied);
    let told = driver.pushes_to(&socket).await;
    assert!(
        ["message/queued", "message/connected"].contains(&&*told[0]),
        "{told:?}"
    );
}

const DUPLICATES_AND_GAPS: &str = "frontdesk_worker_entries_total";

/// How many entries a worker has met that were not its to apply.
async fn collisions(worker: &Program) -> f64 {
    let page = frontdesk_tests::http::get(worker.metrics, "/metrics").await;
    let page = page.expect("metrics are served").body;
    let lines = page.lines().filter(|line| {
        line.starts_with(DUPLICATES_AND_GAPS)
            && (line.contains("\"duplicate\"") || line.contains("\"gap\""))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

async fn two_workers() -> Cluster {
    Cluster::builder()
        .gateways(0)
        .workers(2)
        .worker_setting("lease-ms", 1500)
        .worker_setting("heartbeat-ms", 300)
        .worker_setting("idle-s", settings().idle_s)
        .redis(Options::default().set("appendfsync", "everysec"))
        .worker_setting("allow-weak-redis", "")
        .start()
        .await
}

/// A worker sleeps through its lease with entries in hand, again and again, while others are
/// appended; it wakes when the other one has its lanes.
#[tokio::test]
async fn two_real_workers_on_one_lane_apply_each_entry_once() {
    const CUSTOMERS: usize = 4;
    let mut cluster = two_workers().await;
    let mut driver = LaneDriver::connect(&cluster.redis.url(), "default", settings()).await;
    let boot = BootId::random();
    let mut sam = Socket::new("sam", &boot);
    let mut last = driver.append("sam", sam.open()).await;
    let mut customers = Vec::new();
    for verb in [on_duty(u32::try_from(CUSTOMERS).expect("small"))] {
        let kind = sam.verb(verb);
        last = driver.append("sam", kind).await;
    }
    until_applied(&mut driver, lane("sam"), last).await;
    for n in 0..CUSTOMERS {
        // In lanes of the worker that will sleep.
        let uid = cluster.uid_at(&format!("c{n}-"), 0).await;
        let mut socket = Socket::new(&uid, &boot);
        driver.append(&uid, socket.open()).await;
        let kind = socket.verb(Verb::CustomerConnect);
        last = driver.append(&uid, kind).await;
        until_applied(&mut driver, lane(&uid), last).await;
        let conv = driver.conversation_of(&uid).await.expect("connected");
        customers.push((socket, conv, 0_usize));
    }
    let both: Vec<String> = cluster.running_workers();
    let mut rounds = 0;
    while rounds < 4 || collisions(&cluster.workers[0]).await < 1.0 {
        rounds += 1;
        assert!(rounds < 30, "they never met");
        for half in 0..2 {
            for n in 0..400 {
                let (socket, _, said) = &mut customers[n % CUSTOMERS];
                let kind = socket.verb(words_with_id(&format!("w{said}"), &format!("m{said}")));
                *said += 1;
                let uid = socket.uid.to_string();
                driver.append(&uid, kind).await;
                // In the middle of the first half, so with entries read and not applied.
                if half == 0 && n == 200 {
                    cluster.workers[0].child.pause();
                }
            }
            if half == 0 {
                let other = vec![both[1].clone()];
                wait::until("the other holds all", async || {
                    cluster.shared_by(&other).await.then_some(())
                })
                .await;
            } else {
                cluster.workers[0].child.unpause();
            }
        }
        cluster.settled().await;
    }
    for lane in Lane::all() {
        until_quiet(&mut driver, lane).await;
    }
    let dump = driver.dump().await;
    for (socket, conv, said) in &customers {
        let log = dump.stream(&driver.key(&format!("log:{conv}")));
        let words: Vec<&str> = log
            .iter()
            .filter_map(|(_, fields)| {
                let message = fields.iter().find(|(name, _)| name == "message")?;
                Some(message.1.trim_matches('"'))
            })
            .collect();
        let expected: Vec<String> = (0..*said).map(|n| format!("w{n}")).collect();
        assert_eq!(words, expected, "{}", socket.uid);
        for (place, (id, _)) in (1..).zip(&log) {
            assert_eq!(*id, format!("{place}-0"), "{}", socket.uid);
        }
    }
    assert_eq!(dump.stream(&keys::dead(driver.shard)), []);
}

async fn until_applied(driver: &mut LaneDriver, lane: Lane, id: StreamId) {
    wait::until("the entry is applied", async || {
        let applied = driver.applied(lane).await?;
        (applied >= id).then_some(())
    })
    .await;
}

async fn until_quiet(driver: &mut LaneDriver, lane: Lane) {
    wait::until("the lane is done", async || {
        driver.pending(lane, 1).await.is_empty().then_some(())
    })
    .await;
}

/// The trace waits at each step that crosses users; each worker in turn sleeps through its lease.
#[tokio::test]
async fn a_trace_with_sleeping_workers_ends_like_an_undisturbed_one() {
    let trace = Trace::random(99);
    let (_server, mut alone) = start().await;
    let (expected, _) = trace.run_undisturbed(&mut alone).await;
    let mut cluster = two_workers().await;
    let mut driver = LaneDriver::connect(&cluster.redis.url(), "default", settings()).await;
    let mut names = trace.names(&driver);
    for (n, (uid, events)) in trace.stages.iter().enumerate() {
        let sleeper = n / 16 % 2;
        if n % 16 == 8 {
            cluster.workers[sleeper].child.pause();
        }
        let mut last = StreamId::ZERO;
        for kind in events {
            last = driver.append(uid, kind.clone()).await;
            names.event(driver.event_id(lane(uid), last));
        }
        until_applied(&mut driver, lane(uid), last).await;
        if n % 16 == 15 {
            cluster.workers[sleeper].child.unpause();
            cluster.settled().await;
        }
    }
    let state = names.state(&driver.dump().await);
    assert_same("state and logs", trace.seed, &state, &expected);
}

#[tokio::test]
async fn an_entry_of_a_newer_version_makes_workers_leave_it_to_newer_ones() {
    let cluster = two_workers().await;
    let site = Site::parse("default").expect("well-formed");
    let mut driver = LaneDriver::connect(&cluster.redis.url(), site.as_str(), settings()).await;
    let alice = driver_open(&mut driver).await;
    let newer = [("v", "2".to_owned()), ("news", "unknown".to_owned())];
    let id = driver.append_fields(lane("alice"), &newer).await;
    let after = driver.append("alice", alice.close()).await;
    wait::until("no worker reads any lane", async || {
        cluster.leases().await.is_empty().then_some(())
    })
    .await;
    // And they wait quietly: each says once that it leaves.
    let from = driver.time_ms().await;
    wait::until("a second passes", async || {
        (driver.time_ms().await > from + 1000).then_some(())
    })
    .await;
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut driver.connection)
        .await
        .expect("readable");
    let leaving = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_hdel:calls="));
    let leaving = leaving.and_then(|rest| rest.split(',').next()?.parse().ok());
    assert!(leaving.unwrap_or(0) < 20, "{leaving:?} times");
    let applied = driver
        .applied(lane("alice"))
        .await
        .expect("the open is applied");
    assert!(applied < id && id < after);
    let dump = driver.dump().await;
    assert_eq!(dump.stream(&keys::dead(Shard::of(&site))), []);
    assert!(dump.0.contains_key(&driver.key("u:alice")));
}

async fn driver_open(driver: &mut LaneDriver) -> Socket {
    let alice = Socket::new("alice", &BootId::random());
    let id = driver.append("alice", alice.open()).await;
    until_applied(driver, lane("alice"), id).await;
    alice
}
