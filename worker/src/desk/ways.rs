//! What a reader remembers of senders: where their next words go, so that the script need not look it up. The design is
//! told in `lua/desk/talks.lua`.
//!
//! Two kinds of knowledge. What a *way* says (the conversation, its members, their connections) may be changed by
//! entries of any lane; it holds while its mark stands, which the script looks at. What a *sender* has (the numbers
//! of their connections' frames, their bucket, how many ids are kept of them) only entries of their own lane change. A
//! memory sees all of these, in order, and counts on; entries that it cannot judge make it forget the sender. Whatever
//! it gets wrong about buckets and ids is lenient, and put right by the next answer.

use std::{collections::HashMap, fmt::Write as _};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BOOT_ID_BYTES, ClientId, ConversationId, EventId, Site, Uid},
    keys,
    protocol::frame::Verb,
};

use super::Desk;
use crate::{
    app::{App as _, Hint, Memory, Transition},
    library::{Answer, SENT_IDS, SENT_RENEW_MS},
};

/// Most senders that the reader of a shard remembers: some 600 bytes each.
const MAX_SENDERS: usize = 8192;
/// Most conversations and connections of one sender that are remembered.
const MAX_OF_SENDER: usize = 50;

/// The memory of one reader.
pub(super) struct Ways {
    desk: Desk,
    rate_us: u64,
    rate_ahead_us: u64,
    senders: HashMap<(Site, Uid), Sender>,
}

#[derive(Default)]
struct Sender {
    /// The message whose answer will say more. None of their later entries is prepared yet.
    asked: Option<EventId>,
    /// The number of each connection's last frame.
    taken: Vec<(ClientId, u64)>,
    /// When their bucket is full, by the time of events.
    bucket_us: u64,
    /// When the TTL of their ids was set.
    since_ms: u64,
    /// Whether there may be older ids.
    old: bool,
    /// How many ids there are beside these.
    ids: usize,
    ways: Vec<Way>,
}

struct Way {
    conversation: String,
    mark: String,
    side: &'static str,
    /// Words that name no conversation go here, too.
    only: bool,
    /// When it was assigned, in ms by Redis's clock.
    at_ms: u64,
    /// The connections of both sides.
    connections: Vec<String>,
}

/// A message of a connection, with an id.
struct Words<'a> {
    client: &'a ClientId,
    n: u64,
    conversation: Option<&'a ConversationId>,
}

impl Ways {
    pub(super) fn new(desk: Desk) -> Self {
        let (rate_us, rate_ahead_us) = desk.rate_us();
        Self {
            desk,
            rate_us,
            rate_ahead_us,
            senders: HashMap::new(),
        }
    }

    /// A hint for words, after which they count as said; or nothing.
    fn hint(&mut self, id: EventId, event: &Event, words: &Words<'_>) -> Option<Hint> {
        let who = (event.site.clone(), event.uid.clone());
        let sender = self.senders.get_mut(&who)?;
        let now_us = id.stream.ms * 1000;
        let full_us = sender.bucket_us.max(now_us);
        let fresh = id.stream.ms.saturating_sub(sender.since_ms) <= SENT_RENEW_MS;
        if sender.ids >= SENT_IDS || !fresh || full_us > now_us + self.rate_ahead_us {
            return None;
        }
        let way = sender.way(id.stream.ms, words.conversation)?;
        let (conversation, mark, side) = (way.conversation.clone(), way.mark.clone(), way.side);
        let targets = targets(&way.connections, words.client.as_str());
        let mut taken = sender.taken.iter_mut();
        let (_, last) = taken.find(|(client, n)| client == words.client && *n + 1 == words.n)?;
        *last = words.n;
        sender.bucket_us = full_us + self.rate_us;
        sender.ids += 1;
        let mut bucket = sender.bucket_us.to_string();
        for (client, n) in sender.taken.iter().filter(|(it, _)| it != words.client) {
            let _ = write!(bucket, " {client} {n}");
        }
        let mut fields = vec![("mark", mark), ("bucket", bucket), ("targets", targets)];
        fields.extend(sender.old.then(|| ("old", "1".to_owned())));
        Some(Hint {
            hash: keys::talks(&event.site),
            field: conversation,
            side,
            fields,
        })
    }

    /// The answer to this message will say more.
    fn ask(&mut self, id: EventId, event: &Event) {
        let who = (event.site.clone(), event.uid.clone());
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&who) {
            let any = self.senders.keys().next().cloned();
            any.and_then(|any| self.senders.remove(&any));
        }
        self.senders.entry(who).or_default().asked = Some(id);
    }

    /// A frame that is taken if it is the next one, and changes nothing else that is remembered.
    fn take(&mut self, event: &Event, client: &ClientId, n: u64) {
        let who = (event.site.clone(), event.uid.clone());
        let Some(sender) = self.senders.get_mut(&who) else {
            return;
        };
        sender.asked = None;
        let taken = &mut sender.taken;
        match taken.iter_mut().find(|(it, _)| it == client) {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => taken.retain(|(it, _)| it != client),
        }
    }
}

impl Memory for Ways {
    fn prepare(&mut self, id: EventId, event: &Event) -> Transition {
        let mut transition = self.desk.prepare(event);
        match &event.kind {
            Kind::Verb { client, n, verb } => match verb {
                Verb::Message {
                    id: Some(_),
                    conversation,
                    ..
                } => {
                    let words = Words {
                        client,
                        n: *n,
                        conversation: conversation.as_ref(),
                    };
                    transition.hint = self.hint(id, event, &words);
                    if transition.hint.is_none() {
                        self.ask(id, event);
                    }
                }
                Verb::Mark { .. } => self.take(event, client, *n),
                _ => {
                    self.senders
                        .remove(&(event.site.clone(), event.uid.clone()));
                }
            },
            // Of no user, or of nothing that is remembered of one.
            Kind::GatewayDead { .. }
            | Kind::QueueMoved
            | Kind::QueueLost { .. }
            | Kind::IdleTimer { .. } => {}
            Kind::Open { .. }
            | Kind::Close { .. }
            | Kind::Revoke { .. }
            | Kind::Request(_)
            | Kind::LostTimer { .. } => {
                self.senders
                    .remove(&(event.site.clone(), event.uid.clone()));
            }
        }
        transition
    }

    fn settle(&mut self, id: EventId, transition: &Transition, answer: &Answer) {
        if transition.name != "message" || answer.placed.is_some() {
            return;
        }
        let (Ok(site), Ok(uid)) = (
            Site::parse(transition.field("site")),
            Uid::parse(transition.field("uid")),
        ) else {
            return;
        };
        let who = (site, uid);
        let Some(sender) = self.senders.get_mut(&who) else {
            return;
        };
        let asked = sender.asked == Some(id);
        let Some(told) = answer.told.as_deref().and_then(Told::parse) else {
            // It was refused, or stored before: what was counted on for it is not so.
            if asked || transition.hint.is_some() {
                self.senders.remove(&who);
            }
            return;
        };
        let frame = asked.then(|| {
            let client = ClientId::parse(transition.field("client")).ok()?;
            Some((client, transition.field("n").parse().ok()?))
        });
        sender.learn(told, frame.flatten());
    }

    fn forget(&mut self) {
        self.senders.clear();
    }
}

impl Sender {
    /// Where words go that were sent at this time.
    fn way(&self, ms: u64, conversation: Option<&ConversationId>) -> Option<&Way> {
        self.ways.iter().rev().find(|way| match conversation {
            Some(named) => way.conversation == named.as_str(),
            None => way.only && (way.side == CUSTOMER || way.at_ms <= ms),
        })
    }

    /// Learns what the answer to one of their messages said; `frame`: the message is their last entry so far.
    fn learn(&mut self, told: Told, frame: Option<(ClientId, u64)>) {
        if let Some((client, n)) = frame {
            self.asked = None;
            self.taken.retain(|(it, _)| *it != client);
            make_room(&mut self.taken);
            self.taken.push((client, n));
            (self.since_ms, self.old, self.ids) = (told.since_ms, told.old, told.ids);
            self.bucket_us = told.bucket_us;
        }
        let new = told.way;
        self.ways
            .retain(|way| way.conversation != new.conversation && !new.only);
        for way in &mut self.ways {
            way.only = false;
        }
        make_room(&mut self.ways);
        self.ways.push(new);
    }
}

fn make_room<T>(list: &mut Vec<T>) {
    if list.len() >= MAX_OF_SENDER {
        list.remove(0);
    }
}

const CUSTOMER: &str = "customer";
const STAFF: &str = "staff";

/// What the script tells of a sender; `D.way` in `lua/desk/talks.lua` writes it.
struct Told {
    way: Way,
    since_ms: u64,
    old: bool,
    ids: usize,
    bucket_us: u64,
}

impl Told {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let words: Vec<&str> = parts.next()?.split(' ').collect();
        let [conversation, mark, side, only, at, since, old, ids, bucket] = words[..] else {
            return None;
        };
        let connections = parts.flat_map(str::split_whitespace);
        Some(Self {
            way: Way {
                conversation: conversation.to_owned(),
                mark: mark.to_owned(),
                side: if side == CUSTOMER { CUSTOMER } else { STAFF },
                only: only == "1",
                at_ms: at.parse().ok()?,
                connections: connections.map(str::to_owned).collect(),
            },
            since_ms: since.parse().ok()?,
            old: old == "1",
            ids: ids.parse().ok()?,
            bucket_us: bucket.parse().ok()?,
        })
    }
}

/// All connections but one, those of a gateway joined by commas, the gateways by spaces.
fn targets(connections: &[String], except: &str) -> String {
    let mut gateways: Vec<(&str, String)> = Vec::new();
    for client in connections.iter().filter(|it| *it != except) {
        let boot = client.get(..BOOT_ID_BYTES).unwrap_or_default();
        match gateways.iter_mut().find(|(it, _)| *it == boot) {
            Some((_, clients)) => {
                clients.push(',');
                clients.push_str(client);
            }
            None => gateways.push((boot, client.clone())),
        }
    }
    let groups: Vec<String> = gateways.into_iter().map(|(_, clients)| clients).collect();
    groups.join(" ")
}
