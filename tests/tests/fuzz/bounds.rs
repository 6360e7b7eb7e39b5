//! What is promised of everything that is let through, written down once more.

use frontdesk_shared::{
    event::{Act, Event, Kind},
    protocol::{MAX_NAME_CHARS, MAX_POSITIONS, MAX_TEXT_BYTES, frame::Verb, resume::Seen},
};

/// `[A-Za-z0-9][A-Za-z0-9 and these]{0,63}`
pub fn is_id(text: &str, extra: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed)
}

/// So many characters of base64url.
pub fn is_random(text: &str, length: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.len() == length && text.chars().all(allowed)
}

pub fn check_verb(verb: &Verb) {
    match verb {
        Verb::StaffOnline {
            name: Some(name), ..
        } => {
            let name: String = serde_json::from_str(name).expect("a name is a JSON string");
            let length = name.chars().count();
            assert!((1..=MAX_NAME_CHARS).contains(&length), "{length}: {name:?}");
            assert!(!name.chars().any(char::is_control), "{name:?}");
        }
        Verb::Message {
            body,
            id,
            conversation,
        } => {
            let text: String = serde_json::from_str(body).expect("words are a JSON string");
            assert!((1..=MAX_TEXT_BYTES).contains(&text.len()), "{}", text.len());
            assert!(!body.chars().any(|c| c < ' '), "{body:?}");
            assert!(id.as_ref().is_none_or(|id| is_id(id.as_str(), "._:-")));
            let named = conversation.as_ref();
            assert!(named.is_none_or(|id| is_id(id.as_str(), ".-")));
        }
        Verb::Direct { to, body, id } => {
            let text: String = serde_json::from_str(body).expect("words are a JSON string");
            assert!((1..=MAX_TEXT_BYTES).contains(&text.len()), "{}", text.len());
            assert!(!body.chars().any(|c| c < ' '), "{body:?}");
            assert!(id.as_ref().is_none_or(|id| is_id(id.as_str(), "._:-")));
            assert!(is_id(to.as_str(), "._@-"));
        }
        Verb::Close {
            conversation: Some(conversation),
        } => assert!(is_id(conversation.as_str(), ".-")),
        Verb::Mark {
            conversation,
            up_to: seq,
            ..
        }
        | Verb::Recall {
            conversation, seq, ..
        } => {
            assert!(is_id(conversation.as_str(), ".-"));
            assert!((1..=1 << 53).contains(seq), "{seq}");
        }
        Verb::Resume {
            replaces,
            positions,
        } => {
            assert!(
                replaces
                    .as_ref()
                    .is_none_or(|id| is_random(id.as_str(), 44))
            );
            assert!(positions.len() <= MAX_POSITIONS, "{positions:?}");
            for position in positions {
                assert!(is_id(position.conversation.as_str(), ".-"));
                let good = |seen: &Seen| {
                    (1..=1 << 53).contains(&seen.seq) && is_id(seen.id.as_str(), ".-")
                };
                assert!(position.seen.as_ref().is_none_or(good), "{position:?}");
            }
        }
        _ => {}
    }
}

pub fn check_event(event: &Event) {
    assert!(is_id(event.site.as_str(), "._-"), "{event:?}");
    assert!(is_id(event.uid.as_str(), "._@-"), "{event:?}");
    match &event.kind {
        Kind::Open { client, .. } | Kind::Close { client, .. } => {
            assert!(is_random(client.as_str(), 44), "{event:?}");
        }
        Kind::Verb { client, verb, .. } => {
            assert!(is_random(client.as_str(), 44), "{event:?}");
            check_verb(verb);
        }
        Kind::Request(request) => {
            assert!(is_random(request.client.as_str(), 44), "{event:?}");
            assert!(is_id(request.key.as_str(), "._:-"), "{event:?}");
            let by = request.by.as_ref();
            assert!(by.is_none_or(|by| is_id(by.as_str(), "._@-")), "{event:?}");
            if let Act::Verb(verb) = &request.act {
                check_verb(verb);
            }
        }
        Kind::IdleTimer { conversation } => assert!(is_id(conversation.as_str(), ".-")),
        Kind::GatewayDead { boot } => assert!(is_random(boot.as_str(), 22)),
        Kind::QueueLost { queue, .. } => assert!(queue == "-" || is_id(queue, "._@-")),
        Kind::QueueMoved | Kind::Revoke { .. } | Kind::LostTimer { .. } => {}
    }
}

/// Reads fields as a worker does: of a name that is there twice, the last counts.
pub fn decode(fields: &[(String, String)]) -> Result<Event, frontdesk_shared::event::DecodeError> {
    Event::decode(|name| {
        let found = fields.iter().rev().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    })
}

/// An event that is written and read again is the same.
pub fn survives_the_log(event: &Event) {
    let fields = event.encode();
    let fields: Vec<_> = fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    assert_eq!(decode(&fields).as_ref(), Ok(event));
}
