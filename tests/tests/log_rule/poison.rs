//! Poison: one dead letter, no retry, and nobody else is harmed.

use std::collections::BTreeSet;

use frontdesk_shared::{keys, protocol::frame::Verb};
use frontdesk_tests::lane_driver::{LaneDriver, Socket, words_with_id};
use frontdesk_worker::library::Outcome;

use crate::{conversation, lane, short, spoil, start};

async fn dead_letters(driver: &mut LaneDriver) -> Vec<Vec<(String, String)>> {
    let name = keys::dead(driver.shard);
    let letters = driver.dump().await.stream(&name);
    letters.into_iter().map(|(_, fields)| fields).collect()
}

fn field<'f>(letter: &'f [(String, String)], name: &str) -> &'f str {
    let found = letter.iter().find(|(field, _)| field == name);
    found.map_or("", |(_, value)| value)
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
