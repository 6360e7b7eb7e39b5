//! Every kind there and back, and what is refused.

use super::*;
use crate::{
    ids::{MessageId, MessageRef},
    protocol::{MAX_NAME_CHARS, MAX_TEXT_BYTES, frame::Mark, resume},
};

fn round_trip(kind: Kind) {
    let event = Event {
        site: Site::parse("default").expect("valid"),
        uid: Uid::parse("alice").expect("valid"),
        kind,
    };
    let fields = event.encode();
    let get = |name: &str| {
        fields
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(Event::decode(get), Ok(event));
}

#[test]
fn every_kind_survives_the_log() {
    let client = ClientId::random(&BootId::random());
    let conversation = ConversationId::parse("7.3.1763-0.1").expect("valid");
    round_trip(Kind::Open {
        client: client.clone(),
        lang: Lang::En,
        role: Role::Any,
        proof: None,
    });
    round_trip(Kind::Open {
        client: client.clone(),
        lang: Lang::En,
        role: Role::Supervisor,
        proof: Some(Proof {
            iat: 1_763_832_985,
            name: Some("\"客服1\"".into()),
        }),
    });
    round_trip(Kind::Revoke { keep_s: 60 });
    round_trip(Kind::Close {
        client: client.clone(),
        clean: true,
    });
    round_trip(Kind::IdleTimer {
        conversation: conversation.clone(),
    });
    round_trip(Kind::LostTimer { lost: 90_000 });
    round_trip(Kind::GatewayDead {
        boot: BootId::random(),
    });
    round_trip(Kind::QueueMoved);
    round_trip(Kind::QueueLost {
        queue: "s1".into(),
        upto: 9,
    });
    for verb in [
        Verb::StaffOnline {
            name: Some("\"客服1\"".into()),
            max: Some(3),
        },
        Verb::StaffOnline {
            name: None,
            max: None,
        },
        Verb::StaffOffline,
        Verb::CustomerConnect,
        Verb::CustomerLeave,
        Verb::Message {
            body: "\"hi\"".into(),
            id: Some(MessageRef::parse("m1").expect("valid")),
            conversation: Some(conversation.clone()),
        },
        Verb::Close {
            conversation: Some(conversation.clone()),
        },
        Verb::Mark {
            conversation: conversation.clone(),
            up_to: 7,
            mark: Mark::Read,
        },
        Verb::Recall {
            conversation,
            seq: 2,
            message: Some(MessageId::parse("7.3.1763-0.2").expect("valid")),
            id: Some(MessageRef::parse("r1").expect("valid")),
        },
        Verb::Resume {
            replaces: None,
            positions: Vec::new(),
        },
        Verb::Resume {
            replaces: Some(client.clone()),
            positions: resume::decode("7.3.1763-0.1 2 7.3.1764-0.1,7.3.1765-0.1 0").expect("valid"),
        },
        Verb::Direct {
            to: Uid::parse("sue").expect("valid"),
            body: "\"hi\"".into(),
            id: Some(MessageRef::parse("m1").expect("valid")),
        },
    ] {
        round_trip(Kind::Verb {
            client: client.clone(),
            n: 4,
            verb,
        });
    }
}

#[test]
fn a_newer_version_is_left_to_a_newer_program() {
    let get = |name: &str| (name == "v").then_some("3");
    assert_eq!(
        Event::decode(get),
        Err(DecodeError::UnknownVersion("3".into()))
    );
}

#[test]
fn anything_else_is_poison() {
    for (v, kind, body) in [
        ("0", "open", ""),
        ("x", "open", ""),
        ("1", "dance", ""),
        ("1", "message", "\"a"),
        ("1", "message", "{}"),
    ] {
        let get = |name: &str| match name {
            "v" => Some(v),
            "site" => Some("default"),
            "uid" => Some("alice"),
            "kind" => Some(kind),
            "body" => Some(body),
            _ => None,
        };
        assert!(
            matches!(Event::decode(get), Err(DecodeError::Poison(_))),
            "{v} {kind} {body}"
        );
    }
}

/// A log outlives the program that wrote it: what a gateway refuses, a worker refuses too.
#[test]
fn names_and_words_keep_their_bounds_in_the_log_too() {
    let decode = |kind: &'static str, field: &'static str, value: &str| {
        let client = "c".repeat(crate::ids::CLIENT_ID_BYTES);
        let get = |name: &str| match name {
            "v" | "n" => Some("1"),
            "site" => Some("default"),
            "uid" => Some("alice"),
            "kind" => Some(kind),
            "client" => Some(client.as_str()),
            _ => (name == field).then_some(value),
        };
        Event::decode(get).map(drop)
    };
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let (name, words) = (MAX_NAME_CHARS, MAX_TEXT_BYTES);
    for good in [json(&"客".repeat(name)), json("a b")] {
        assert_eq!(decode("staff_online", "name", &good), Ok(()), "{good}");
    }
    let longer = json(&"客".repeat(name + 1));
    for bad in [&longer, "\"\"", "\"a\\u0000\"", "\" a\"", "\"a\"\n"] {
        let poison = Err(DecodeError::Poison("name"));
        assert_eq!(decode("staff_online", "name", bad), poison, "{bad}");
    }
    assert_eq!(decode("message", "body", &json(&"x".repeat(words))), Ok(()));
    for bad in [&json(&"x".repeat(words + 1)), "\"\"", " \"a\""] {
        let poison = Err(DecodeError::Poison("body"));
        assert_eq!(decode("message", "body", bad), poison);
    }
}

#[test]
fn every_act_survives_the_log() {
    let conversation = || ConversationId::parse("7.3.1763-0.1").expect("valid");
    let key = MessageRef::parse("k1").expect("valid");
    let verbs = [
        Verb::Message {
            body: "\"hi\"".into(),
            id: Some(key.clone()),
            conversation: Some(conversation()),
        },
        Verb::Direct {
            to: Uid::parse("sue").expect("valid"),
            body: "\"hi\"".into(),
            id: Some(key.clone()),
        },
        Verb::Recall {
            conversation: conversation(),
            seq: 2,
            message: None,
            id: None,
        },
        Verb::Mark {
            conversation: conversation(),
            up_to: 7,
            mark: Mark::Delivered,
        },
        Verb::Close {
            conversation: Some(conversation()),
        },
    ];
    let verbs = verbs.into_iter().map(Act::Verb);
    for act in verbs.chain([Act::Revoke { keep_s: 60 }]) {
        for iat in [None, Some(1_763_832_985)] {
            round_trip(Kind::Request(Box::new(Request {
                client: ClientId::random(&BootId::random()),
                by: iat.map(|_| Uid::parse("robot").expect("valid")),
                role: Role::Service,
                lang: Lang::En,
                iat,
                key: key.clone(),
                act: act.clone(),
            })));
        }
    }
}

/// Nobody comes on duty, and no connection resumes, by a request; and its words have its key as their id.
#[test]
fn a_request_does_only_what_requests_may() {
    let client = "c".repeat(crate::ids::CLIENT_ID_BYTES);
    let decode = |act: &str, id: &str| {
        let fields = [
            ("v", "1"),
            ("site", "default"),
            ("uid", "alice"),
            ("kind", "request"),
            ("client", &client),
            ("role", "any"),
            ("lang", "en"),
            ("key", "k1"),
            ("do", act),
            ("id", id),
            ("body", "\"hi\""),
            ("to", "sue"),
            ("n", "1"),
        ];
        Event::decode(|name| {
            let field = fields.iter().find(|(known, _)| *known == name);
            field.map(|(_, value)| *value)
        })
        .map(drop)
    };
    assert_eq!(decode("message", "k1"), Ok(()));
    for act in ["message", "direct"] {
        assert_eq!(decode(act, "k2"), Err(DecodeError::Poison("id")));
    }
    for act in [
        "staff_online",
        "staff_offline",
        "customer_connect",
        "customer_leave",
        "resume",
        "open",
        "request",
        "queue_moved",
        "",
    ] {
        assert_eq!(decode(act, "k1"), Err(DecodeError::Poison("do")), "{act}");
    }
}
