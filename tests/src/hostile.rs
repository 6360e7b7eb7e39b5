//! Texts, bytes and events as a broken or malicious program writes them.

use frontdesk_shared::{
    event::{Act, Event, HookAct, HookSpec, Kind, Proof, Request, SHARED_QUEUE},
    hooks::{self, HookTypes, HookUrl},
    ids::{BootId, ClientId, ConversationId, HookId, MessageId, MessageRef, Site, Uid},
    protocol::{
        Lang, MAX_POSITIONS, MAX_SEQ, Role,
        frame::{Mark, Verb},
        resume::{Position, Seen},
    },
};
use rand::{Rng, seq::IndexedRandom as _};
use serde_json::Value;

/// What once broke something somewhere.
#[rustfmt::skip]
pub const NASTY: &[&str] = &[
    "", " ", "\0", "a\0b", "\n", "\r\n", "a\r\nb", "\t", "\u{7f}", "\u{85}", "\u{2028}", "\u{feff}",
    "\u{202e}txt.exe", "\u{2066}x\u{2069}", "\u{200b}", "e\u{301}", "👩‍👩‍👧‍👦", "客服", "\u{10ffff}", "\u{d7ff}\u{e000}",
    "*", "?", "[a-z]*", "{s07}", "{s00}:site:default:u:x", "{}", "{", "}", "}{", "a|b", "|", "a,b", "a b", "::", ":", "..", "../../etc", "-", "--", "@", ".",
    "0", "-0", "+1", "01", "1.0", "1e400", "-1e400", "NaN", "nan", "inf", "-inf", "0x10", "1e3", " 1", "1 ", "١",
    "4294967295", "4294967296", "9007199254740993", "9223372036854775808", "18446744073709551615", "18446744073709551616", "99999999999999999999999999",
    "0-0", "1-1", "18446744073709551615-18446744073709551615", "(0-0", "$", ">", "+",
    "__index", "__gc", "__newindex", "_G", "redis", "string", "nil", "null", "true", "%s%s%n", "%1", "%d+", "^$", "\\", "\"", "'", "\"\"", "\"a", "\"a\"", "\"\\ud800\"", "\"a\"\n", "[\"a\"]", "]]", "--[[",
    "prefix", "uid", "client", "open", "message", "queue_moved", "undecodable", "events:0", "applied", "dead", "FLUSHALL", "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
];

/// The fields of every event there is.
pub const FIELDS: &[&str] = &[
    "v",
    "site",
    "uid",
    "kind",
    "client",
    "lang",
    "role",
    "clean",
    "n",
    "name",
    "max",
    "body",
    "id",
    "conversation",
    "iat",
    "keep_s",
    "boot",
    "queue",
    "upto",
    "up_to",
    "seq",
    "message",
    "lost",
    "replaces",
    "positions",
    "to",
    "by",
    "key",
    "do",
    "hook",
    "url",
    "types",
    "enabled",
    "secret",
    "delivery",
];

/// A text: nasty, random, too long, or nearly an id or a number.
pub fn text(rng: &mut impl Rng) -> String {
    match rng.random_range(0..100) {
        0..50 => (*pick(rng, NASTY)).to_owned(),
        50..60 => format!("{}{}{}", pick(rng, NASTY), id(rng, 8), pick(rng, NASTY)),
        60..75 => {
            let length = rng.random_range(0..70);
            (0..length).map(|_| rng.random::<char>()).collect()
        }
        75..88 => {
            let length = *pick(rng, &[1, 22, 43, 44, 45, 63, 64, 65, 200]);
            id(rng, length)
        }
        88..98 => rng.random::<u64>().to_string(),
        _ => {
            let unit = *pick(rng, &["x", "\"", "\\", "长", "\u{1}", "\u{1f600}"]);
            unit.repeat(*pick(rng, &[100, 5462, 16_385, 70_000]))
        }
    }
}

/// Letters, digits and now and then what ids may hold besides.
pub fn id(rng: &mut impl Rng, length: usize) -> String {
    const ALPHABET: &[u8] = b"abcxyzABCXYZ0123456789abcxyzABCXYZ0123456789._@:-";
    let letters = (0..length).map(|_| char::from(*pick(rng, ALPHABET)));
    letters.collect()
}

/// Bytes: a text, or no text at all.
pub fn bytes(rng: &mut impl Rng) -> Vec<u8> {
    if rng.random_ratio(4, 5) {
        return text(rng).into_bytes();
    }
    let length = rng.random_range(0..40);
    (0..length).map(|_| rng.random()).collect()
}

/// Changes bytes in a few places.
pub fn mutate(rng: &mut impl Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        let to = rng.random_range(at..=bytes.len().min(at + 16));
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.insert(at, rng.random()),
            2 => drop(bytes.drain(at..to)),
            3 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..to, pick(rng, NASTY).bytes())),
        }
    }
}

/// One of several.
pub fn pick<'a, T>(rng: &mut impl Rng, from: &'a [T]) -> &'a T {
    from.choose(rng).expect("there is something to choose from")
}

/// An event that everybody would accept, of anybody.
pub fn event(rng: &mut impl Rng) -> Event {
    let client = ClientId::random(&BootId::random());
    let kind = match rng.random_range(0..14) {
        0 => Kind::Open {
            client,
            lang: *pick(rng, &Lang::ALL),
            role: *pick(rng, &Role::ALL),
            proof: proof(rng),
        },
        11 => Kind::Revoke {
            keep_s: rng.random_range(1..1 << 40),
        },
        1 => Kind::Close {
            client,
            clean: rng.random(),
        },
        2 => Kind::IdleTimer {
            conversation: conversation(rng),
        },
        3 => Kind::GatewayDead {
            boot: BootId::random(),
        },
        12 => Kind::LostTimer { lost: number(rng) },
        13 => Kind::Request(Box::new(request(rng, client))),
        4 => Kind::QueueMoved,
        5 => Kind::QueueLost {
            queue: if rng.random() {
                SHARED_QUEUE.to_owned()
            } else {
                parsed(rng, Uid::parse).to_string()
            },
            upto: number(rng),
        },
        _ => Kind::Verb {
            client,
            n: number(rng),
            verb: verb(rng),
        },
    };
    Event {
        site: parsed(rng, Site::parse),
        uid: parsed(rng, Uid::parse),
        kind,
    }
}

/// What a token may say, or nothing.
pub fn proof(rng: &mut impl Rng) -> Option<Proof> {
    let iat = *pick(rng, &[1, 1_763_832_985, 1 << 40]);
    let name = rng.random::<bool>().then(|| json_text(rng, 64));
    rng.random::<bool>().then_some(Proof { iat, name })
}

/// Something done to webhooks.
fn hook_act(rng: &mut impl Rng) -> HookAct {
    let hook = parsed(rng, HookId::parse);
    // The same for a seed.
    let secret = format!("whsec_{}=", "A".repeat(43));
    let secret = hooks::secret(&secret).expect("well-formed");
    let letters = pick::<&str>(rng, &["qstemr", "m", "et"]);
    let spec = HookSpec {
        url: HookUrl::parse("https://example.com/").expect("well-formed"),
        types: HookTypes::from_letters(letters).expect("known"),
        enabled: rng.random(),
    };
    match rng.random_range(0..9) {
        0 => HookAct::Change { hook, spec },
        1 => HookAct::Rotate { hook, secret },
        2 => HookAct::Delete { hook },
        3 => HookAct::Redeliver {
            hook,
            delivery: rng.random::<bool>().then(|| parsed(rng, MessageId::parse)),
        },
        4 => HookAct::Park {
            hook,
            delivery: rng.random::<bool>().then(|| parsed(rng, MessageId::parse)),
        },
        _ => HookAct::Create { spec, secret },
    }
}

/// A request that everybody would accept.
pub fn request(rng: &mut impl Rng, client: ClientId) -> Request {
    let key = parsed(rng, MessageRef::parse);
    let mut act = None;
    while act.is_none() {
        act = match verb(rng) {
            Verb::Message {
                body, conversation, ..
            } => Some(Verb::Message {
                body,
                conversation,
                id: Some(key.clone()),
            }),
            Verb::Direct { to, body, .. } => Some(Verb::Direct {
                to,
                body,
                id: Some(key.clone()),
            }),
            verb @ (Verb::Mark { .. } | Verb::Recall { .. } | Verb::Close { .. }) => Some(verb),
            _ => None,
        };
    }
    let other = match rng.random_range(0..3) {
        0 => Act::Revoke {
            keep_s: rng.random_range(1..1 << 40),
        },
        _ => Act::Hook(hook_act(rng)),
    };
    let act = act.filter(|_| rng.random_ratio(7, 10));
    Request {
        client,
        by: rng.random_ratio(1, 5).then(|| parsed(rng, Uid::parse)),
        role: *pick(rng, &Role::ALL),
        lang: *pick(rng, &Lang::ALL),
        iat: rng
            .random::<bool>()
            .then(|| *pick(rng, &[1, 1_763_832_985, 1 << 40])),
        key,
        act: act.map_or(other, Act::Verb),
    }
}

/// A verb that everybody would accept.
pub fn verb(rng: &mut impl Rng) -> Verb {
    match rng.random_range(0..12) {
        9 => Verb::Resume {
            replaces: rng
                .random::<bool>()
                .then(|| ClientId::random(&BootId::random())),
            positions: positions(rng),
        },
        0 => Verb::StaffOnline {
            name: rng.random::<bool>().then(|| json_text(rng, 64)),
            max: rng.random::<bool>().then(|| rng.random_range(1..7)),
        },
        1 => Verb::StaffOffline,
        2 => Verb::CustomerConnect,
        3 => Verb::CustomerLeave,
        4 => Verb::Close {
            conversation: rng.random::<bool>().then(|| conversation(rng)),
        },
        6 => Verb::Mark {
            conversation: conversation(rng),
            up_to: seq(rng),
            mark: *pick(rng, &[Mark::Delivered, Mark::Read]),
        },
        7 => Verb::Recall {
            conversation: conversation(rng),
            seq: seq(rng),
            message: rng.random::<bool>().then(|| parsed(rng, MessageId::parse)),
            id: rng.random::<bool>().then(|| parsed(rng, MessageRef::parse)),
        },
        5 => Verb::Direct {
            to: parsed(rng, Uid::parse),
            body: json_text(rng, 16 * 1024),
            id: rng.random::<bool>().then(|| parsed(rng, MessageRef::parse)),
        },
        _ => Verb::Message {
            body: json_text(rng, 16 * 1024),
            id: rng.random::<bool>().then(|| parsed(rng, MessageRef::parse)),
            conversation: rng.random_ratio(1, 4).then(|| conversation(rng)),
        },
    }
}

/// A place in a log, mostly a small one.
fn seq(rng: &mut impl Rng) -> u64 {
    *pick(rng, &[1, 2, 3, 9, MAX_SEQ])
}

/// A text of at most so many bytes, without control characters, as a JSON string.
fn json_text(rng: &mut impl Rng, most: usize) -> String {
    let text: String = text(rng).chars().filter(|c| !c.is_control()).collect();
    let shorter = text
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= most);
    let text: String = shorter.map(|(_, c)| c).collect();
    // A name is trimmed, so one that is not would not come back the same.
    let text = text.trim();
    Value::from(if text.is_empty() { "x" } else { text }).to_string()
}

fn conversation(rng: &mut impl Rng) -> ConversationId {
    parsed(rng, ConversationId::parse)
}

fn positions(rng: &mut impl Rng) -> Vec<Position> {
    let mut positions: Vec<Position> = Vec::new();
    for _ in 0..*pick(rng, &[0, 1, 2, MAX_POSITIONS]) {
        let conversation = conversation(rng);
        if positions.iter().all(|p| p.conversation != conversation) {
            let id = rng.random::<bool>().then(|| parsed(rng, MessageId::parse));
            let seq = *pick(rng, &[1, 2, 100, 1 << 53]);
            positions.push(Position {
                conversation,
                seen: id.map(|id| Seen { seq, id }),
            });
        }
    }
    positions
}

fn number(rng: &mut impl Rng) -> u64 {
    *pick(rng, &[0, 1, 2, 1 << 53, (1 << 53) + 1, u64::MAX])
}

fn parsed<T, E>(rng: &mut impl Rng, parse: impl Fn(&str) -> Result<T, E>) -> T {
    loop {
        let length = *pick(rng, &[1, 2, 5, 64]);
        if let Ok(id) = parse(&id(rng, length)) {
            return id;
        }
    }
}
