//! What a client may send, through the decoder and into the log's own form and back.

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BootId, ClientId, ConversationId, MessageId, MessageRef, Site, Uid},
    protocol::{
        Lang, MAX_FRAME_BYTES,
        frame::{self, Refusal, Request, Verb},
        notice::error_frame,
        resume::{Position, Seen},
    },
};
use frontdesk_tests::{
    fuzz::Subject,
    hostile::{NASTY, mutate, pick, text, verb},
};
use rand::Rng;
use serde_json::{Value, json};

use super::{
    bounds::{check_verb, survives_the_log},
    reads::{check_read, question},
    share,
};

const ACTIONS: &[&str] = &[
    "staffOnline",
    "staffOffline",
    "customerConnect",
    "customerLeave",
    "message",
    "close",
    "delivered",
    "read",
    "recall",
    "refresh",
    "direct",
    "resume",
    "history",
    "transcript",
    "conversations",
    "typing",
];
const PAYLOAD: &[&str] = &[
    "message",
    "id",
    "conversation",
    "name",
    "max",
    "up_to",
    "seq",
    "message_id",
    "to",
    "token",
    "positions",
    "before",
    "after",
    "limit",
    "on",
    "code",
    "prefix",
    "token",
];
/// How many frames of all kinds are sent as they are documented.
const DOCUMENTED: usize = 500;
/// Written by hand, since no serializer would.
#[rustfmt::skip]
const RAW: &[&str] = &[
    "1e400", "-1e400", "1e-400", "-0", "-0.0", "01", "+1", "0x1", ".5", "1.", "1e", "NaN", "Infinity", "18446744073709551616",
    r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud83d\ude00""#, r#""\u0000""#, r#""\x41""#, r#""\u00""#, "\"a\nb\"", "\"\0\"", "\"", "'a'",
    "true", "nul", "[]", "{}", r#"{"a":{"a":{}}}"#, "[[[[]]]]", "// x", "\u{feff}1", "",
];

#[test]
fn whatever_comes_the_decoder_answers_and_what_it_accepts_keeps_its_bounds() {
    let mut subject = Subject::new("frames", share::FRAMES, 1);
    for number in subject.numbers() {
        let mut case = subject.case(number);
        let text = frame_text(&mut case.rng);
        let what = match frame::decode(&text) {
            Ok(request) => check_accepted(&text, request),
            Err(refusal) => check_refusal(&refusal),
        };
        subject.count(what, 1);
    }
    let codes = [
        "too_large",
        "bad_json",
        "bad_field",
        "unknown_action",
        "bad_max",
    ];
    subject.report(&[&["accepted", "read", "typing"][..], &codes].concat());
}

/// What the documented frames say arrives, whatever the texts in them.
#[test]
fn a_frame_as_documented_is_the_verb_it_says() {
    let mut case = Subject::new("frames", 0, 1).case(0);
    for _ in 0..DOCUMENTED {
        let verb = verb(&mut case.rng);
        let text = valid(&verb).to_string();
        let is_resume = matches!(verb, Verb::Resume { .. }); // which needs a signed token
        if !is_resume && text.len() <= MAX_FRAME_BYTES {
            assert_eq!(frame::decode(&text), Ok(Request::Verb(verb)), "{text}");
        }
    }
}

fn check_accepted(text: &str, request: Request) -> &'static str {
    let value: Value = serde_json::from_str(text).expect("what is accepted is JSON");
    assert!(value.is_object(), "a frame is an object");
    match request {
        Request::Verb(verb) => {
            check_accepted_verb(&value, verb);
            "accepted"
        }
        Request::Resume { positions, .. } => {
            // What the gateway makes of it.
            let replaces = None;
            let verb = Verb::Resume {
                replaces,
                positions,
            };
            check_accepted_verb(&value, verb);
            "accepted"
        }
        Request::Refresh { token, .. } => {
            let (token, shown) = (token.expose(), format!("{token:?}"));
            assert_eq!(value["payload"]["token"].as_str(), Some(token));
            assert!(!token.is_empty() && !shown.contains(token));
            "refresh"
        }
        Request::Read(read) => {
            check_read(&value, &read);
            "read"
        }
        Request::Typing { conversation, on } => {
            let payload = &value["payload"];
            assert_eq!(value["action"], "typing");
            assert_eq!(on, payload["on"].as_bool().unwrap_or(true));
            let named = conversation.as_ref().map(ConversationId::as_str);
            assert_eq!(named, payload["conversation"].as_str());
            "typing"
        }
    }
}

fn check_accepted_verb(value: &Value, verb: Verb) {
    check_verb(&verb);
    let (action, payload) = (value["action"].as_str(), &value["payload"]);
    let expected = match &verb {
        Verb::StaffOnline { max, .. } => {
            assert_eq!(max.map(u64::from), payload["max"].as_u64());
            "staffOnline"
        }
        Verb::StaffOffline => "staffOffline",
        Verb::CustomerConnect => "customerConnect",
        Verb::CustomerLeave => "customerLeave",
        Verb::Message { body, id, .. } => {
            assert_eq!(*body, payload["message"].to_string());
            assert_eq!(id.as_ref().map(MessageRef::as_str), payload["id"].as_str());
            "message"
        }
        Verb::Close { .. } => "close",
        Verb::Mark { up_to, mark, .. } => {
            assert_eq!(Some(*up_to), payload["up_to"].as_u64());
            mark.as_str()
        }
        Verb::Recall { seq, .. } => {
            assert_eq!(Some(*seq), payload["seq"].as_u64());
            "recall"
        }
        Verb::Resume { positions, .. } => {
            let count = payload["positions"].as_array().map_or(0, Vec::len);
            assert_eq!(positions.len(), count);
            "resume"
        }
        Verb::Direct { to, body, .. } => {
            assert_eq!(Some(to.as_str()), payload["to"].as_str());
            assert_eq!(*body, payload["message"].to_string());
            "direct"
        }
    };
    assert_eq!(action, Some(expected));
    survives_the_log(&Event {
        site: Site::parse("default").expect("well-formed"),
        uid: Uid::parse("alice").expect("well-formed"),
        kind: Kind::Verb {
            client: ClientId::random(&BootId::random()),
            n: 1,
            verb,
        },
    });
}

/// The answer is a frame with one of the documented codes.
fn check_refusal(refusal: &Refusal) -> &'static str {
    let Refusal {
        code,
        field,
        reference,
    } = refusal;
    let fields: &[Option<&str>] = match *code {
        "bad_json" | "unknown_action" => &[None],
        "too_large" => &[None, Some("message")],
        "bad_max" => &[Some("max")],
        "bad_field" => &[
            Some("message"),
            Some("id"),
            Some("conversation"),
            Some("name"),
            Some("max"),
            Some("to"),
            Some("token"),
            Some("positions"),
            Some("before"),
            Some("after"),
            Some("limit"),
            Some("on"),
            Some("up_to"),
            Some("seq"),
            Some("message_id"),
        ],
        other => panic!("the code {other} is not documented"),
    };
    assert!(fields.contains(field), "{refusal:?}");
    let well_formed = reference
        .as_deref()
        .is_none_or(|id| MessageRef::parse(id).is_ok());
    assert!(well_formed, "{refusal:?}");
    let answer = error_frame(code, Lang::En, *field, reference.as_deref(), None);
    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    assert_eq!(answer["payload"]["code"], *code);
    code
}

/// A frame in any state of decay.
pub fn frame_text(rng: &mut impl Rng) -> String {
    match rng.random_range(0..100) {
        0..8 => text(rng),
        8..12 => {
            let length = rng.random_range(0..200);
            let bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        12..14 => nested(rng),
        14..50 => composed(rng),
        50..65 => valid(&verb(rng)).to_string(),
        68..70 => format!(
            "{}{}{}",
            pick(rng, NASTY),
            valid(&verb(rng)),
            pick(rng, NASTY)
        ),
        65..68 => question(rng).to_string(),
        70..73 => json!([valid(&verb(rng))["action"]]).to_string(),
        _ => {
            let mut bytes = valid(&verb(rng)).to_string().into_bytes();
            mutate(rng, &mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

fn nested(rng: &mut impl Rng) -> String {
    let depth = *pick(rng, &[10, 126, 127, 128, 129, 1000, 30_000]);
    let (open, close) = *pick(
        rng,
        &[("[", "]"), (r#"{"payload":"#, "}"), (r#"{"a":["#, "]}")],
    );
    let deep = format!("{}{}", open.repeat(depth), close.repeat(depth));
    if rng.random() {
        return deep;
    }
    format!(r#"{{"action":"message","payload":{{"message":"a","x":{deep}}}}}"#)
}

/// Members in any number and order, twice too, with values of any kind.
fn composed(rng: &mut impl Rng) -> String {
    let mut members = Vec::new();
    for _ in 0..rng.random_range(0..5) {
        let name = if rng.random_ratio(9, 10) {
            (*pick(rng, PAYLOAD)).to_owned()
        } else {
            text(rng)
        };
        let value = match name.as_str() {
            "max" | "up_to" | "seq" if rng.random_ratio(3, 4) => {
                rng.random_range(-2..9).to_string()
            }
            _ => value(rng),
        };
        members.push(format!("{}:{value}", Value::from(name)));
    }
    let payload = format!("{{{}}}", members.join(","));
    let payload = if rng.random_ratio(9, 10) {
        payload
    } else {
        value(rng)
    };
    let action = if rng.random_ratio(9, 10) {
        Value::from(*pick(rng, ACTIONS)).to_string()
    } else {
        value(rng)
    };
    let mut outer = vec![
        format!(r#""action":{action}"#),
        format!(r#""payload":{payload}"#),
    ];
    for _ in 0..rng.random_range(0..2) {
        let again = pick(rng, &outer).clone();
        outer.push(again);
    }
    if rng.random_ratio(1, 10) {
        outer.remove(0);
    }
    let space = *pick(rng, &["", "", "", " ", "\n", "\t\r\n", "\u{a0}"]);
    format!("{space}{{{space}{}{space}}}{space}", outer.join(","))
}

fn value(rng: &mut impl Rng) -> String {
    match rng.random_range(0..20) {
        0 => (*pick(rng, RAW)).to_owned(),
        1 | 2 => rng.random_range(-2..9).to_string(),
        3 | 4 => "null".to_owned(),
        5 => json!([text(rng)]).to_string(),
        6 => "9".repeat(rng.random_range(1..400)),
        _ => Value::from(text(rng)).to_string(),
    }
}

/// A verb as a client writes it.
fn valid(verb: &Verb) -> Value {
    let parsed = |json: &String| -> Value { serde_json::from_str(json).expect("JSON") };
    match verb {
        Verb::StaffOnline { name, max } => {
            json!({"action": "staffOnline", "payload": {"name": name.as_ref().map(parsed), "max": max}})
        }
        Verb::StaffOffline => json!({"action": "staffOffline"}),
        Verb::CustomerConnect => json!({"action": "customerConnect"}),
        Verb::CustomerLeave => json!({"action": "customerLeave"}),
        Verb::Message {
            body,
            id,
            conversation,
        } => {
            let (id, conversation) = (
                id.as_ref().map(MessageRef::as_str),
                conversation.as_ref().map(ConversationId::as_str),
            );
            json!({"action": "message", "payload":
                {"message": parsed(body), "id": id, "conversation": conversation}})
        }
        Verb::Resume { positions, .. } => {
            let position = |position: &Position| match &position.seen {
                None => json!({"conversation": position.conversation.as_str(), "seq": 0}),
                Some(Seen { seq, id }) => {
                    let conversation = position.conversation.as_str();
                    json!({"conversation": conversation, "seq": seq, "id": id.as_str()})
                }
            };
            let positions: Vec<Value> = positions.iter().map(position).collect();
            json!({"action": "resume", "payload": {"token": "t", "positions": positions}})
        }
        Verb::Direct { to, body, id } => {
            let id = id.as_ref().map(MessageRef::as_str);
            json!({"action": "direct", "payload":
                {"to": to.as_str(), "message": parsed(body), "id": id}})
        }
        Verb::Close { conversation } => {
            json!({"action": "close", "payload":
                {"conversation": conversation.as_ref().map(ConversationId::as_str)}})
        }
        Verb::Mark {
            conversation,
            up_to,
            mark,
        } => {
            json!({"action": mark.as_str(), "payload":
                {"conversation": conversation.as_str(), "up_to": up_to}})
        }
        Verb::Recall {
            conversation,
            seq,
            message,
            id,
        } => {
            let (message, id) = (
                message.as_ref().map(MessageId::as_str),
                id.as_ref().map(MessageRef::as_str),
            );
            json!({"action": "recall", "payload":
                {"conversation": conversation.as_str(), "seq": seq, "message_id": message, "id": id}})
        }
    }
}
