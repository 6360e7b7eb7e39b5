//! What `resume` is answered with: the snapshot, what came after a position, `reset`, and their bounds.

use frontdesk_shared::{
    ids::{ConversationId, MessageId},
    protocol::{
        MAX_POSITIONS,
        frame::Verb,
        resume::{Position, Seen},
    },
};
use frontdesk_tests::{
    lane_driver::{LaneDriver, Pushed, Socket, on_duty, words, words_to},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::DeskSettings,
    library::{MAX_RESUMED_BYTES, MAX_RESUMED_ENTRIES, MAX_RESUMED_PAGE_BYTES, MAX_SNAPSHOT},
};
use serde_json::{Value, json};

use crate::scene::{Scene, lane};

on_both![
    a_snapshot_shows_how_everything_stands,
    a_position_is_answered_with_what_came_after_it,
    a_position_that_the_log_does_not_have_is_reset,
    a_conversation_of_others_is_as_one_that_does_not_exist,
    recalled_words_are_not_told_again,
    a_snapshot_is_bounded_and_what_lives_comes_first,
    a_history_is_bounded_in_entries_and_in_bytes,
    many_positions_are_bounded_together_and_a_call_answers_few,
];

/// The frames that answer a `resume`.
async fn resumed(
    driver: &mut LaneDriver,
    socket: &mut Socket,
    positions: Vec<Position>,
) -> Vec<Value> {
    let replaces = None;
    let verb = Verb::Resume {
        replaces,
        positions,
    };
    driver.pushes().await;
    driver.send(socket, verb).await;
    let pushes = driver.pushes().await;
    let client = socket.client.as_str();
    assert!(pushes.iter().all(|pushed| pushed.client == client));
    let frames: Vec<Value> = pushes
        .iter()
        .map(|pushed| pushed.frame()["payload"].clone())
        .collect();
    let first = pushes[0].frame();
    assert_eq!(first["action"], "snapshot", "{first}");
    frames
}

fn position(conversation: &str, seq: u64, id: &str) -> Position {
    Position {
        conversation: ConversationId::parse(conversation).expect("well-formed"),
        seen: (seq > 0).then(|| Seen {
            seq,
            id: MessageId::parse(id).expect("well-formed"),
        }),
    }
}

fn texts(history: &Value) -> Vec<&str> {
    let entries = history["entries"].as_array().expect("entries");
    entries
        .iter()
        .filter_map(|e| e["message"].as_str())
        .collect()
}

/// Fills a conversation's log behind its first entry, without events.
async fn fill(driver: &mut LaneDriver, conversation: &str, to: u64, text: &str) {
    let (log, conv) = (
        driver.key(&format!("log:{conversation}")),
        driver.key(&format!("conv:{conversation}")),
    );
    let mut pipeline = redis::pipe();
    for seq in 2..=to {
        let fields = [
            ("from", "staff".to_owned()),
            ("uid", "sam".to_owned()),
            ("id", format!("{conversation}.{seq}")),
            ("time", seq.to_string()),
            ("counts", format!("0 {}", seq - 1)),
            ("message", Value::from(text).to_string()),
        ];
        pipeline.xadd(&log, format!("{seq}-0"), &fields).ignore();
    }
    let last = format!("{conversation}.{to}");
    pipeline
        .hset_multiple(&conv, &[("seq", to.to_string()), ("last", last)])
        .ignore();
    let filled = pipeline.query_async(&mut driver.connection);
    let () = filled.await.expect("filled");
}

/// sam on duty with alice in a conversation.
async fn talk(scene: &mut Scene) -> (Socket, Socket, String) {
    let mut sam = scene.staff("sam", 5).await;
    let name = Verb::StaffOnline {
        name: Some("\"客服\\\"1\\\"\"".to_owned()),
        max: None,
    };
    scene.send(&mut sam, name).await;
    let alice = scene.customer("alice").await;
    let conv = scene.driver.conversation_of("alice").await.expect("one");
    (sam, alice, conv)
}

async fn a_snapshot_shows_how_everything_stands(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (mut sam, mut alice, conv) = talk(&mut scene).await;
    scene.send(&mut alice, words("one")).await;
    scene.send(&mut alice, words("two")).await;
    let driver = &mut scene.driver;
    let snapshot = resumed(driver, &mut sam, Vec::new()).await.remove(0);
    let item = &snapshot["conversations"][0];
    let (head, time) = (item["id"].clone(), snapshot["time"].clone());
    assert!(time.is_u64() && head.is_string(), "{snapshot}");
    let marks = json!({"read": 0, "delivered": 0, "peer_read": 0, "peer_delivered": 0});
    let mut expected = json!({
        "conversation": conv, "state": "open", "with": "alice", "seq": 3, "id": head, "unread": 2,
    });
    expected
        .as_object_mut()
        .expect("one")
        .extend(marks.as_object().expect("one").clone());
    assert_eq!(
        snapshot,
        json!({
            "time": time, "uid": "sam", "duty": {"name": "客服\"1\"", "max": 5},
            "conversations": [expected], "more": false
        })
    );
    let snapshot = resumed(driver, &mut alice, Vec::new()).await.remove(0);
    let item = &snapshot["conversations"][0];
    assert_eq!(item["name"], "客服\"1\"");
    assert_eq!(item["with"], "sam");
    assert_eq!(item["unread"], 0);
    assert_eq!(snapshot.get("duty"), None);
    let mut stranger = scene.open("zoe").await;
    let snapshot = resumed(&mut scene.driver, &mut stranger, Vec::new())
        .await
        .remove(0);
    assert_eq!(snapshot["conversations"], json!([]));
    // The place in a queue.
    scene.send(&mut sam, on_duty(1)).await;
    scene.customer("bob").await;
    let mut carl = scene.customer("carl").await;
    let snapshot = resumed(&mut scene.driver, &mut carl, Vec::new())
        .await
        .remove(0);
    let item = &snapshot["conversations"][0];
    assert_eq!(
        (&item["state"], &item["queue"]),
        (&json!("waiting"), &json!(2))
    );
    assert_eq!((&item["seq"], item.get("id")), (&json!(0), None));
}

async fn a_position_is_answered_with_what_came_after_it(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (mut sam, mut alice, conv) = talk(&mut scene).await;
    scene.send(&mut alice, words("one \"1\"")).await;
    scene.send(&mut sam, words_to("two", &conv)).await;
    let driver = &mut scene.driver;
    let all = resumed(driver, &mut alice, vec![position(&conv, 0, "")])
        .await
        .remove(1);
    let entries = all["entries"].as_array().expect("entries");
    let of = |n: usize, name: &str| entries[n][name].clone();
    assert_eq!(
        entries[0],
        json!({"seq": 1, "id": of(0, "id"), "time": of(0, "time"), "kind": "assigned", "from": "system", "uid": "sam"})
    );
    assert_eq!(
        entries[1],
        json!({"seq": 2, "id": of(1, "id"), "prev": of(0, "id"), "time": of(1, "time"), "kind": "message",
            "from": "customer", "uid": "alice", "message": "one \"1\""})
    );
    assert_eq!(all["conversation"], conv);
    assert_eq!((&all["more"], all.get("reset")), (&json!(false), None));
    let after = [vec!["one \"1\"", "two"], vec!["two"], vec![]];
    for ((seq, entry), expected) in (1..).zip(entries).zip(after) {
        let id = entry["id"].as_str().expect("an id");
        let positions = vec![position(&conv, seq, id)];
        let history = resumed(driver, &mut sam, positions).await.remove(1);
        assert_eq!(texts(&history), expected, "{seq}");
        assert_eq!(
            (&history["more"], history.get("reset")),
            (&json!(false), None)
        );
    }
}

async fn a_position_that_the_log_does_not_have_is_reset(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_sam, mut alice, conv) = talk(&mut scene).await;
    let driver = &mut scene.driver;
    fill(driver, &conv, 5, "words").await;
    for wrong in [
        position(&conv, 3, "6.1.1-0.9"),
        position(&conv, 5, "6.1.1-0.9"),
        position(&conv, 6, "6.1.1-0.9"),
        position(&conv, 1 << 53, "6.1.1-0.9"),
    ] {
        let history = resumed(driver, &mut alice, vec![wrong.clone()])
            .await
            .remove(1);
        assert_eq!(history["reset"], true, "{wrong:?}");
        let entries = history["entries"].as_array().expect("entries");
        assert_eq!(entries.len(), 5, "all there is");
        assert_eq!(entries[0].get("prev"), None);
        assert_eq!(entries[4]["prev"], entries[3]["id"]);
        assert_eq!(history["more"], false);
    }
    fill_more(driver, &conv).await;
    let wrong = vec![position(&conv, 3, "6.1.1-0.9")];
    let history = resumed(driver, &mut alice, wrong).await.remove(1);
    let entries = history["entries"].as_array().expect("entries");
    assert_eq!(entries.len() as u64, MAX_RESUMED_ENTRIES, "the newest page");
    assert_eq!(entries[0]["seq"], 201);
    assert_eq!(entries[0]["prev"], format!("{conv}.200"));
    assert_eq!(
        (&history["reset"], &history["more"]),
        (&json!(true), &json!(true))
    );
}

async fn fill_more(driver: &mut LaneDriver, conv: &str) {
    let log = driver.key(&format!("log:{conv}"));
    let mut trim = redis::cmd("DEL");
    let () = trim
        .arg(&log)
        .query_async(&mut driver.connection)
        .await
        .expect("gone");
    fill(driver, conv, 300, "words").await;
}

async fn a_conversation_of_others_is_as_one_that_does_not_exist(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_sam, mut alice, conv) = talk(&mut scene).await;
    scene.send(&mut alice, words("secret")).await;
    let mut eve = scene.customer("eve").await;
    let id = format!("{conv}.1");
    for name in [conv.as_str(), "6.1.1-0.1"] {
        for asked in [position(name, 0, ""), position(name, 1, &id)] {
            let mut answer = resumed(&mut scene.driver, &mut eve, vec![asked])
                .await
                .remove(1);
            assert_eq!(answer["conversation"].take(), name);
            let nothing =
                json!({"conversation": null, "entries": [], "more": false, "reset": true});
            assert_eq!(answer, nothing);
        }
    }
}

async fn recalled_words_are_not_told_again(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_sam, mut alice, conv) = talk(&mut scene).await;
    let driver = &mut scene.driver;
    fill(driver, &conv, 4, "words").await;
    let (gone, hash) = (
        driver.key(&format!("gone:{conv}")),
        driver.key(&format!("conv:{conv}")),
    );
    let mut pipeline = redis::pipe();
    pipeline
        .hset(&gone, 3, 1)
        .ignore()
        .hset(&hash, "recalls", 1)
        .ignore();
    let () = pipeline
        .query_async(&mut driver.connection)
        .await
        .expect("recalled");
    for asked in [position(&conv, 0, ""), position(&conv, 2, "6.1.1-0.9")] {
        let history = resumed(driver, &mut alice, vec![asked]).await.remove(1);
        let entry = &history["entries"][2];
        assert_eq!(entry["recalled"], true, "{history}");
        assert_eq!(
            (entry.get("message"), &entry["kind"]),
            (None, &json!("message"))
        );
        assert_eq!(texts(&history).len(), 2);
    }
}

async fn a_snapshot_is_bounded_and_what_lives_comes_first(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (mut sam, _, conv) = talk(&mut scene).await;
    let driver = &mut scene.driver;
    let list = driver.key("convs:sam");
    let mut pipeline = redis::pipe();
    for n in 0..MAX_SNAPSHOT {
        let name = format!("0.0.{n}-0.1");
        let key = driver.key(&format!("conv:{name}"));
        let fields = [("state", "ended"), ("staff", "sam"), ("customer", "bob")];
        pipeline.hset_multiple(&key, &fields).ignore();
        pipeline.zadd(&list, name, 9_000_000_000_000 + n).ignore();
    }
    let () = pipeline
        .query_async(&mut driver.connection)
        .await
        .expect("listed");
    let snapshot = resumed(driver, &mut sam, Vec::new()).await.remove(0);
    let items = snapshot["conversations"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(
        (items.len() as u64, &snapshot["more"]),
        (MAX_SNAPSHOT, &json!(true))
    );
    assert_eq!(
        items[0]["conversation"], conv,
        "though others changed later"
    );
    assert_eq!(
        items[1]["conversation"],
        format!("0.0.{}-0.1", MAX_SNAPSHOT - 1)
    );
    let forgotten = driver.key("conv:0.0.9-0.1");
    let mut forget = redis::cmd("DEL");
    let () = forget
        .arg(forgotten)
        .query_async(&mut driver.connection)
        .await
        .expect("gone");
    let snapshot = resumed(driver, &mut sam, Vec::new()).await.remove(0);
    assert_eq!(snapshot["more"], false, "what has expired is not missing");
}

async fn a_history_is_bounded_in_entries_and_in_bytes(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_sam, mut alice, conv) = talk(&mut scene).await;
    let driver = &mut scene.driver;
    fill(driver, &conv, 150, "words").await;
    let history = resumed(driver, &mut alice, vec![position(&conv, 0, "")])
        .await
        .remove(1);
    let entries = history["entries"].as_array().expect("entries");
    assert_eq!(
        (entries.len() as u64, &history["more"]),
        (MAX_RESUMED_ENTRIES, &json!(true))
    );
    let id = entries[99]["id"].as_str().expect("an id").to_owned();
    let rest = resumed(driver, &mut alice, vec![position(&conv, 100, &id)])
        .await
        .remove(1);
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(50));
    assert_eq!(
        (&rest["entries"][0]["prev"], &rest["more"]),
        (&json!(id), &json!(false))
    );
    // Long words: as many as fit, and one that does not fit alone.
    let log = driver.key(&format!("log:{conv}"));
    for (text, expected) in [("x".repeat(16_000), 4..=4), ("\u{1}".repeat(16_000), 1..=2)] {
        let mut trim = redis::cmd("DEL");
        let () = trim
            .arg(&log)
            .query_async(&mut driver.connection)
            .await
            .expect("gone");
        fill(driver, &conv, 20, &text).await;
        for asked in [position(&conv, 0, ""), position(&conv, 3, "6.1.1-0.9")] {
            let history = resumed(driver, &mut alice, vec![asked]).await.remove(1);
            let entries = history["entries"].as_array().expect("entries");
            assert!(expected.contains(&entries.len()), "{}", entries.len());
            assert_eq!(history["more"], true);
        }
    }
}

async fn many_positions_are_bounded_together_and_a_call_answers_few(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let (_sam, mut alice, conv) = talk(&mut scene).await;
    let driver = &mut scene.driver;
    let mut positions = Vec::new();
    for n in 0..MAX_POSITIONS {
        let name = format!("0.0.{n}-0.1");
        let key = driver.key(&format!("conv:{name}"));
        let mut set = redis::cmd("HSET");
        set.arg(key)
            .arg(&["state", "ended", "staff", "sam", "customer", "alice"]);
        let () = set.query_async(&mut driver.connection).await.expect("set");
        fill(driver, &name, 60, &"x".repeat(2000)).await;
        positions.push(position(&name, 0, ""));
    }
    assert!(driver.conversation_of("alice").await == Some(conv));
    let verb = Verb::Resume {
        replaces: None,
        positions,
    };
    for _ in 0..6 {
        let kind = alice.verb(verb.clone());
        driver.append("alice", kind).await;
    }
    driver.pushes().await;
    let (mut calls, mut answered) = (0, 0);
    while answered < 6 {
        let settled = driver.apply_pending(lane("alice"), 32).await;
        let pushes = driver.pushes().await;
        let bytes: usize = pushes.iter().map(|pushed| pushed.text.len()).sum();
        assert!(bytes < 700_000, "{bytes} of a queue of 1 MiB");
        for answer in pushes.chunks(MAX_POSITIONS + 1) {
            let bytes: usize = answer.iter().map(|pushed| pushed.text.len()).sum();
            let most = MAX_RESUMED_BYTES + MAX_RESUMED_PAGE_BYTES + 50_000;
            assert!((bytes as u64) < most, "{bytes}");
            let told = answer[1..].iter().map(Pushed::frame);
            let full = told
                .filter(|frame| frame["payload"]["entries"] != json!([]))
                .count();
            assert!((4..=6).contains(&full), "{full}");
            let last = answer[MAX_POSITIONS].frame();
            assert_eq!(last["payload"]["more"], true, "there is more, and no room");
        }
        (calls, answered) = (calls + 1, answered + settled.len());
    }
    assert!(calls >= 3, "{calls}");
}
