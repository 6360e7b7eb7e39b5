//! Entries out of turn: they change nothing and tell nobody.

use frontdesk_shared::{
    event::Event,
    ids::{BootId, Lane},
    keys,
};
use frontdesk_tests::lane_driver::{LaneDriver, Socket, words_with_id};
use frontdesk_worker::library::Prepared;

use crate::{SEEDS, conversation, lane, short, spoil, start, trace::Trace};

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
