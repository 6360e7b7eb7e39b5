//! What a reader remembers of senders: where their next words go, so that the script need not look it up. The design is
//! told in `lua/desk/talks.lua`.
//!
//! Two kinds of knowledge. What a *way* says (the conversation, its members, their connections) may be changed by
//! entries of any lane; it holds while its mark stands, which the script looks at. What a *sender* has (the numbers
//! of their connections' frames, their bucket, how many ids are kept of them) only entries of their own lane change. A
//! memory sees all of these, in order, and counts on; entries that it cannot judge make it forget the sender. Whatever
//! it gets wrong about buckets and ids is lenient, and put right by the next answer.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

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
    /// The message whose answer will say more.
    asked: Option<Asked>,
    /// The number of each connection's last frame.
    taken: Vec<(ClientId, u64)>,
    /// When their bucket is full, by the time of events.
    bucket_us: u64,
    /// When the TTL of their ids was set, by the time of events, and when that was learned.
    since_ms: u64,
    learned: Option<Instant>,
    /// Whether there may be older ids.
    old: bool,
    /// How many ids there are beside these.
    ids: usize,
    ways: Vec<Way>,
}

/// A message that was given without a hint. Of what came behind it only frames are known that do no more than being
/// taken.
struct Asked {
    message: EventId,
    client: ClientId,
    /// The last frame of this connection.
    n: u64,
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
        let now_us = id.stream.ms.saturating_mul(1000);
        let full_us = sender.bucket_us.max(now_us);
        let waits = full_us > now_us.saturating_add(self.rate_ahead_us);
        if sender.asked.is_some() || sender.ids >= SENT_IDS || waits {
            return None;
        }
        // By both clocks: the ids must not have expired, or they would be kept for ever.
        let renewed = id.stream.ms.saturating_sub(sender.since_ms) <= SENT_RENEW_MS;
        if !renewed || sender.learned?.elapsed() > Duration::from_millis(SENT_RENEW_MS) {
            return None;
        }
        let way = sender.way(id.stream.ms, words.conversation)?;
        let (conversation, mark, side) = (way.conversation.clone(), way.mark.clone(), way.side);
        let targets = targets(&way.connections, words.client.as_str());
        let mut taken = sender.taken.iter_mut();
        let (_, last) = taken.find(|(client, n)| client == words.client && *n + 1 == words.n)?;
        *last = words.n;
        sender.bucket_us = full_us.saturating_add(self.rate_us);
        sender.ids += 1;
        let mut rest = sender.bucket_us.to_string();
        for (client, n) in sender.taken.iter().filter(|(it, _)| it != words.client) {
            let _ = write!(rest, " {client} {n}");
        }
        let mut fields = vec![("taken", rest), ("targets", targets)];
        fields.extend(sender.old.then(|| ("old", "1".to_owned())));
        Some(Hint {
            hash: keys::talks(&event.site),
            field: conversation,
            mark,
            side,
            fields,
        })
    }

    /// The answer to this message will say more.
    fn ask(&mut self, id: EventId, event: &Event, words: &Words<'_>) {
        let who = (event.site.clone(), event.uid.clone());
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&who) {
            self.senders.clear(); // each costs one message that looks everything up
        }
        let sender = self.senders.entry(who).or_default();
        sender.taken.retain(|(client, _)| client != words.client);
        sender.asked = Some(Asked {
            message: id,
            client: words.client.clone(),
            n: words.n,
        });
    }

    /// A frame that is taken if it is the next one, and changes nothing else that is remembered.
    fn take(&mut self, event: &Event, client: &ClientId, n: u64) {
        let who = (event.site.clone(), event.uid.clone());
        let Some(sender) = self.senders.get_mut(&who) else {
            return;
        };
        match &mut sender.asked {
            Some(asked) if asked.client == *client && asked.n + 1 == n => asked.n = n,
            _ => sender.asked = None,
        }
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
                        self.ask(id, event, &words);
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
        let asked = sender.asked.take_if(|asked| asked.message == id);
        let Some(told) = answer.told.as_deref().and_then(Told::parse) else {
            // It was refused, or stored before: what was counted on for it is not so.
            if asked.is_some() || transition.hint.is_some() {
                self.senders.remove(&who);
            }
            return;
        };
        sender.learn(told, asked);
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

    /// Learns what the answer to one of their messages said; of themselves only what nothing behind it has changed.
    fn learn(&mut self, told: Told, asked: Option<Asked>) {
        if let Some(Asked { client, n, .. }) = asked {
            make_room(&mut self.taken);
            self.taken.push((client, n));
            (self.since_ms, self.old, self.ids) = (told.since_ms, told.old, told.ids);
            self.learned = Some(Instant::now());
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
