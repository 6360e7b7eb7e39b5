//! Who writes hostile entries: users of one site who also do what users do, so that there is state
//! to spoil, and a gateway that spoils what it appends.

use frontdesk_shared::{
    event::{Act, Event, Kind, SHARED_QUEUE, VERSION, packed},
    ids::{BootId, ClientId, ConversationId, Lane, MessageRef, Site, Uid},
    protocol::{
        Lang, Role,
        frame::{Mark, Verb},
    },
    push,
};
use frontdesk_tests::{
    hostile::{FIELDS, bytes, event, pick, proof},
    lane_driver::{LaneDriver, Pushed},
};
use rand::Rng;

const UIDS: &[&str] = &[
    "s1", "s2", "s3", "c1", "c2", "c3", "c4", "c5", "c6", "reaper", "tick",
];
const TRANSITIONS: &[&str] = &[
    "open",
    "close",
    "revoke",
    "staff_online",
    "staff_offline",
    "customer_connect",
    "customer_leave",
    "close_conversation",
    "message",
    "resume",
    "direct",
    "request",
    "idle_timer",
    "lost_timer",
    "gateway_dead",
    "queue_moved",
    "queue_lost",
    "hook_create",
    "hook_change",
    "hook_rotate",
    "hook_delete",
    "hook_redeliver",
    "hook_park",
];
/// So many entries at the beginning are as they should be.
const CALM: usize = 20;
const MIB: usize = 1024 * 1024;

pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

pub struct Actors {
    site: Site,
    boots: [BootId; 2],
    sockets: Vec<(Uid, ClientId, u64)>,
    conversations: Vec<ConversationId>,
    events: usize,
}

impl Actors {
    pub fn new(site: Site) -> Self {
        Self {
            site,
            boots: [(); 2].map(|()| BootId::random()),
            sockets: Vec::new(),
            conversations: Vec::new(),
            events: 0,
        }
    }

    /// Learns the names of conversations.
    pub fn hear(&mut self, pushes: &[Pushed]) {
        for push in pushes {
            if push.kind == push::Kind::Close {
                self.sockets
                    .retain(|(_, client, _)| client.as_str() != push.client);
            }
            let frame: Option<serde_json::Value> = serde_json::from_str(&push.text).ok();
            let name = frame.and_then(|frame| {
                let name = frame["payload"]["conversation"].as_str()?.to_owned();
                ConversationId::parse(&name).ok()
            });
            self.conversations.extend(name);
        }
        let many = self.conversations.len().saturating_sub(30);
        self.conversations.drain(..many);
    }

    /// An entry and its lane: as it should be, or spoilt.
    pub fn entry(&mut self, rng: &mut impl Rng) -> (Lane, Fields) {
        let spoilt = self.events > CALM && rng.random_ratio(1, 2);
        self.events += 1;
        let before = self.sockets.len();
        let (event, socket) = self.event(rng);
        let mut lane = Lane::of(&event.uid);
        let fields = event.encode().into_iter();
        let mut fields: Fields = fields.map(|(n, v)| (n.into(), v.into())).collect();
        if spoilt {
            self.sockets.truncate(before);
            for _ in 0..rng.random_range(1..3) {
                spoil(rng, &mut fields);
            }
            if rng.random_ratio(1, 10) {
                lane = Lane::new(rng.random_range(0..8)).expect("below LANES");
            }
        } else if let Some(socket) = socket {
            self.sockets[socket].2 += 1;
        }
        // An entry of a newer version is left to a newer worker, so it stops its lane on purpose.
        fields.retain(|(name, value)| name != b"v" || !is_newer(value));
        if fields.is_empty() {
            fields.push((bytes(rng), bytes(rng)));
        }
        if rng.random_ratio(1, 2) {
            fields = packed(rng, &fields, spoilt);
        }
        (lane, fields)
    }

    /// A transition and its fields, as a worker hands them to the script, but for what is spoilt.
    pub fn call(&mut self, driver: &LaneDriver, rng: &mut impl Rng) -> (Vec<u8>, Fields) {
        let spoilt = self.events > CALM && rng.random_ratio(2, 3);
        self.events += 1;
        let (event, socket) = self.event(rng);
        let transition = driver.transition(&event);
        let fields = transition.fields.into_iter();
        let mut fields: Fields = fields.map(|(n, v)| (n.into(), v.into())).collect();
        let mut name = transition.name.as_bytes().to_vec();
        if spoilt {
            let prefix = fields[0].clone();
            for _ in 0..rng.random_range(1..4) {
                spoil(rng, &mut fields);
            }
            fields.retain(|(name, value)| name != b"prefix" || *value == prefix.1);
            match rng.random_range(0..20) {
                0 => name = bytes(rng),
                1 => name = pick::<&str>(rng, TRANSITIONS).bytes().collect(),
                _ => {}
            }
        } else if let Some(socket) = socket {
            self.sockets[socket].2 += 1;
        }
        (name, fields)
    }

    /// What somebody does, or what a program appends. Returns whose frame it is.
    fn event(&mut self, rng: &mut impl Rng) -> (Event, Option<usize>) {
        if rng.random_ratio(1, 20) {
            let mut event = event(rng);
            event.site = self.site.clone();
            return (event, None);
        }
        let uid = Uid::parse(pick::<&str>(rng, UIDS)).expect("well-formed");
        let (mut uid, mut socket) = (uid, None);
        let kind = match rng.random_range(0..41) {
            7..34 if !self.sockets.is_empty() => {
                let at = rng.random_range(0..self.sockets.len());
                socket = Some(at);
                uid = self.sockets[at].0.clone();
                Kind::Verb {
                    client: self.sockets[at].1.clone(),
                    n: self.sockets[at].2 + 1,
                    verb: self.verb(rng, at),
                }
            }
            34 if !self.sockets.is_empty() => {
                let at = rng.random_range(0..self.sockets.len());
                let (owner, client, _) = self.sockets.swap_remove(at);
                uid = owner;
                Kind::Close {
                    client,
                    clean: rng.random(),
                }
            }
            35 if !self.conversations.is_empty() => Kind::IdleTimer {
                conversation: pick(rng, &self.conversations).clone(),
            },
            36 if rng.random_ratio(1, 3) => Kind::Revoke { keep_s: 3600 },
            36 => Kind::QueueMoved,
            37 => Kind::QueueLost {
                queue: (*pick(rng, &["s1", "s2", "c1", SHARED_QUEUE])).to_owned(),
                upto: *pick(rng, &[0, 3, 1000, u64::MAX]),
            },
            38 if rng.random_ratio(1, 4) => {
                let boot = rng.random_range(0..2);
                let dead = std::mem::replace(&mut self.boots[boot], BootId::random());
                self.sockets
                    .retain(|(_, client, _)| client.boot() != dead.as_str());
                Kind::GatewayDead { boot: dead }
            }
            39 => self.request(rng),
            _ => self.open(rng, &uid),
        };
        let site = self.site.clone();
        (Event { site, uid, kind }, socket)
    }

    /// What somebody asks the HTTP API for, with a socket or without.
    fn request(&self, rng: &mut impl Rng) -> Kind {
        let client = ClientId::random(pick(rng, &self.boots));
        let mut request = frontdesk_tests::hostile::request(rng, client);
        request.role = *pick(
            rng,
            &[Role::Any, Role::Customer, Role::Staff, Role::Service],
        );
        request.by = None;
        if rng.random_ratio(3, 4) {
            request.key =
                MessageRef::parse(&format!("k{}", rng.random_range(0..5))).expect("well-formed");
            let conversation = self.conversations.last().cloned();
            request.act = Act::Verb(match (rng.random_range(0..3), conversation) {
                (0, Some(conversation)) => Verb::Mark {
                    conversation,
                    up_to: rng.random_range(1..6),
                    mark: Mark::Read,
                },
                (1, conversation) => Verb::Message {
                    body: "\"asked words\"".to_owned(),
                    id: Some(request.key.clone()),
                    conversation,
                },
                _ => Verb::Direct {
                    to: Uid::parse(pick::<&str>(rng, UIDS)).expect("well-formed"),
                    body: "\"asked words\"".to_owned(),
                    id: Some(request.key.clone()),
                },
            });
        }
        Kind::Request(Box::new(request))
    }

    fn open(&mut self, rng: &mut impl Rng, uid: &Uid) -> Kind {
        let client = if self.sockets.is_empty() || rng.random_ratio(9, 10) {
            ClientId::random(pick(rng, &self.boots))
        } else {
            // One that is somebody else's.
            pick(rng, &self.sockets).1.clone()
        };
        self.sockets.push((uid.clone(), client.clone(), 0));
        Kind::Open {
            client,
            lang: *pick(rng, &Lang::ALL),
            role: *pick(rng, &[Role::Any, Role::Any, Role::Customer, Role::Staff]),
            proof: (rng.random_ratio(1, 8).then(|| proof(rng))).flatten(),
        }
    }

    fn verb(&self, rng: &mut impl Rng, socket: usize) -> Verb {
        if rng.random_ratio(1, 10) {
            return frontdesk_tests::hostile::verb(rng);
        }
        let conversation = self.conversations.last().filter(|_| rng.random_ratio(1, 3));
        let conversation = conversation.cloned();
        match (self.sockets[socket].0.as_str(), rng.random_range(0..10)) {
            (uid, 0..4) if uid.starts_with('s') => Verb::StaffOnline {
                name: None,
                max: Some(rng.random_range(1..3)),
            },
            (uid, 4) if uid.starts_with('s') => Verb::StaffOffline,
            (_, 0..4) => Verb::CustomerConnect,
            (_, 5) => Verb::CustomerLeave,
            (_, 6) => Verb::Close { conversation },
            (_, 7..9) if self.conversations.last().is_some() => {
                let conversation = self.conversations.last().cloned().expect("one");
                let (seq, mark) = (
                    rng.random_range(1..6),
                    *pick(rng, &[Mark::Delivered, Mark::Read]),
                );
                if rng.random_ratio(1, 2) {
                    Verb::Mark {
                        conversation,
                        up_to: seq,
                        mark,
                    }
                } else {
                    Verb::Recall {
                        conversation,
                        seq,
                        message: None,
                        id: None,
                    }
                }
            }
            (_, 7) => Verb::Resume {
                replaces: None,
                positions: Vec::new(),
            },
            (_, 8) => Verb::Direct {
                to: Uid::parse(pick::<&str>(rng, UIDS)).expect("well-formed"),
                body: "\"direct words\"".to_owned(),
                id: MessageRef::parse(&format!("m{}", rng.random_range(0..9))).ok(),
            },
            _ => Verb::Message {
                body: "\"words\"".to_owned(),
                id: MessageRef::parse(&format!("m{}", rng.random_range(0..9))).ok(),
                conversation,
            },
        }
    }
}

/// The same fields as gateways write them, all but the version in one.
fn packed(rng: &mut impl Rng, fields: &Fields, spoilt: bool) -> Fields {
    let mut packed = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| name != b"v") {
        packed::put(&mut packed, name);
        packed::put(&mut packed, value);
    }
    if spoilt && rng.random_ratio(1, 4) && !packed.is_empty() {
        let at = rng.random_range(0..packed.len());
        match rng.random_range(0..3) {
            0 => packed.truncate(at),
            1 => packed[at] = rng.random(),
            _ => packed.insert(at, b'9'),
        }
    }
    vec![
        (b"v".to_vec(), b"2".to_vec()),
        (packed::FIELD.into(), packed),
    ]
}

fn is_newer(value: &[u8]) -> bool {
    let version = std::str::from_utf8(value).ok();
    version.is_some_and(|version| {
        version
            .parse::<u32>()
            .is_ok_and(|version| version > VERSION)
    })
}

/// One thing goes wrong with fields.
pub fn spoil(rng: &mut impl Rng, fields: &mut Fields) {
    let name = if rng.random_ratio(4, 5) {
        pick::<&str>(rng, FIELDS).bytes().collect()
    } else {
        bytes(rng)
    };
    if fields.is_empty() {
        return fields.push((name, bytes(rng)));
    }
    let at = rng.random_range(0..fields.len());
    match rng.random_range(0..100) {
        0..15 => drop(fields.remove(at)),
        15..30 => fields.push((name, bytes(rng))),
        30..40 => fields[at].0 = name,
        40..44 => {
            let again = fields[at].clone();
            fields.push(again);
        }
        44..46 => {
            let count = *pick(rng, &[100, 3990, 4010, 20_000]);
            fields.extend((0..count).map(|n| (format!("x{n}").into_bytes(), Vec::new())));
        }
        46 => fields[at].1 = vec![b'x'; MIB],
        47 => fields.clear(),
        _ => fields[at].1 = bytes(rng),
    }
}
