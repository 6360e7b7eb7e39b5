//! Frames that the gateway answers by itself: what the decoder lets through keeps its bounds.

use frontdesk_shared::{
    ids::{ConversationId, MessageRef},
    protocol::read::{From, MAX_PAGE, Read, What},
};
use frontdesk_tests::hostile::pick;
use rand::Rng;
use serde_json::{Value, json};

use super::bounds::is_id;

/// JSON numbers are exact up to here.
const EXACT: u64 = 1 << 53;

/// A question, with values near the bounds.
pub fn question(rng: &mut impl Rng) -> Value {
    let action = *pick(rng, &["history", "history", "transcript", "conversations"]);
    let mut payload = json!({});
    let mut put = |name: &str, value: Value| payload[name] = value;
    if rng.random_ratio(9, 10) {
        put(
            "conversation",
            json!(pick(rng, &["7.3.1-0.1", "a", "", "x|y", "-"])),
        );
    }
    for name in ["before", "after", "limit"] {
        if rng.random_ratio(1, 3) {
            let number = *pick(rng, &[0, 1, 2, 99, 100, 101, EXACT, EXACT + 1, u64::MAX]);
            put(name, json!(number));
        }
    }
    if action == "conversations" && rng.random() {
        let cursor = pick(
            rng,
            &[
                "1:a",
                "0:7.3.1-0.1",
                ":a",
                "1:",
                "1",
                "1:a:b",
                "99999999999999999999:a",
            ],
        );
        put("before", json!(cursor));
    }
    if rng.random() {
        put("id", json!(pick(rng, &["q1", "q:1", "", "{q}"])));
    }
    json!({"action": action, "payload": payload})
}

/// What was accepted says what the frame says, within bounds.
pub fn check_read(value: &Value, read: &Read) {
    let payload = &value["payload"];
    assert_eq!(
        read.id.as_ref().map(MessageRef::as_str),
        payload["id"].as_str()
    );
    let named = |id: &ConversationId| {
        assert!(is_id(id.as_str(), ".-"));
        assert_eq!(Some(id.as_str()), payload["conversation"].as_str());
    };
    let bounded = |limit: &u64| {
        assert!((1..=MAX_PAGE).contains(limit), "{limit}");
        let asked = payload["limit"].as_u64();
        assert!(asked.is_none_or(|asked| asked == *limit));
    };
    let action = match &read.what {
        What::History {
            conversation,
            from,
            limit,
        } => {
            named(conversation);
            bounded(limit);
            let (before, after) = (payload["before"].as_u64(), payload["after"].as_u64());
            match *from {
                From::Newest => assert_eq!((before, after), (None, None)),
                From::Before(seq) => assert_eq!((before, after), (Some(seq), None)),
                From::After(seq) => assert_eq!((before, after), (None, Some(seq))),
            }
            assert!(before.or(after).is_none_or(|seq| seq <= EXACT));
            "history"
        }
        What::Transcript { conversation } => {
            named(conversation);
            "transcript"
        }
        What::Conversations { before, limit } => {
            bounded(limit);
            assert_eq!(before.is_some(), payload["before"].is_string());
            if let Some(cursor) = before {
                assert!(cursor.changed <= EXACT && is_id(cursor.conversation.as_str(), ".-"));
            }
            "conversations"
        }
    };
    assert_eq!(value["action"], action);
}
