//! A worker without processes, leases or time: appends events to the lanes of one shard, applies
//! them with the worker's own library when the test says so, and collects what the gateways of
//! that shard's users would be told.

mod clock;
mod pushes;

use std::collections::HashMap;

use frontdesk_shared::{
    config::RateArgs,
    event::Event,
    ids::{BootId, Lane, Shard, Site, StreamId, Uid},
    keys,
    protocol::frame::Verb,
    redis::Redis,
    stream::{Entries, StreamEntry},
};
use frontdesk_worker::{
    app::{App, Memory, Transition},
    desk::{Desk, settings::DeskSettings},
    lane::apply::prepare,
    library::{Answer, Answers, Library, Outcome, Prepared, event_id, packed, packed_settings},
};
use redis::aio::{MultiplexedConnection, PubSubStream};

use crate::{redis_dump::Dump, wait};

/// Settings with which nobody says too much: a test says in a second what people say in an hour.
pub fn unhurried() -> DeskSettings {
    let rate = RateArgs {
        rate_per_user: 100_000,
        rate_burst: 100_000,
    };
    DeskSettings {
        rate,
        ..DeskSettings::default()
    }
}

pub use self::pushes::Pushed;
pub use crate::socket::{
    Socket, on_duty, read_to, recall, resume, words, words_to, words_to_user, words_with_id,
};
pub use frontdesk_shared::event::Kind;

/// Applies the lanes of one site's shard.
pub struct LaneDriver {
    /// For everything the test asks Redis itself.
    pub connection: MultiplexedConnection,
    /// The site that the short forms mean.
    pub site: Site,
    /// Its shard.
    pub shard: Shard,
    library: Library,
    desk: Desk,
    /// How many entries went the quick way.
    pub quick: usize,
    /// What two workers would remember who share the lanes, and up to where these have been seen.
    memories: [Box<dyn Memory>; 2],
    seen: HashMap<Lane, StreamId>,
    pushed: PubSubStream,
    marker: String,
    counters: HashMap<(u8, String), u64>,
}

/// An entry that the apply script has looked at.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Its lane.
    pub lane: Lane,
    /// Its place there.
    pub id: StreamId,
    /// Its event, unless it does not decode.
    pub event: Option<Event>,
    /// What became of it.
    pub outcome: Outcome,
}

/// An entry that waits to be applied.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What the script is given.
    pub prepared: Prepared,
    /// Its event, unless it does not decode.
    pub event: Option<Event>,
}

impl LaneDriver {
    /// A driver of a site on the Redis at `url`.
    pub async fn connect(url: &str, site: &str, settings: DeskSettings) -> Self {
        let site = Site::parse(site).expect("well-formed");
        let redis = Redis::new(url).expect("the URL is well-formed");
        // As patient as everything else in tests: a worker would begin anew, a test would fail.
        let connecting = redis.connect_blocking(wait::DEADLINE).await;
        let mut connection = connecting.expect("Redis accepts");
        let mut subscriber = redis.subscriber().await.expect("Redis accepts");
        let marker = format!("frontdesk:test:{}", BootId::random());
        let all = format!("{}*", keys::GATEWAY_CHANNEL_PREFIX);
        subscriber.psubscribe(all).await.expect("subscribed");
        subscriber.subscribe(&marker).await.expect("subscribed");
        let desk = Desk::new(settings);
        let library = Library::new(&desk);
        library.load(&mut connection).await.expect("loaded");
        Self {
            connection,
            shard: Shard::of(&site),
            site,
            library,
            quick: 0,
            memories: [desk.memory(), desk.memory()],
            seen: HashMap::new(),
            desk,
            pushed: subscriber.into_on_message(),
            marker,
            counters: HashMap::new(),
        }
    }

    /// The library, for calls that this driver does not make.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Appends an event of the driver's site to the lane of its user.
    pub async fn append(&mut self, uid: &str, kind: Kind) -> StreamId {
        let event = Event {
            site: self.site.clone(),
            uid: Uid::parse(uid).expect("well-formed"),
            kind,
        };
        self.append_event(&event).await
    }

    /// Appends an event to the lane of its user.
    pub async fn append_event(&mut self, event: &Event) -> StreamId {
        assert_eq!(Shard::of(&event.site), self.shard, "a site of this shard");
        self.append_fields(Lane::of(&event.uid), &event.encode())
            .await
    }

    /// Appends an event of the driver's site as if Redis's clock said `ms`, later than it does.
    pub async fn append_later(&mut self, uid: &str, kind: Kind, ms: u64) -> StreamId {
        let event = Event {
            site: self.site.clone(),
            uid: Uid::parse(uid).expect("well-formed"),
            kind,
        };
        let lane = Lane::of(&event.uid);
        self.append_as(&format!("{ms}-0"), lane, &event.encode())
            .await
    }

    /// Appends anything.
    pub async fn append_fields(&mut self, lane: Lane, fields: &[(&str, String)]) -> StreamId {
        self.append_as("*", lane, fields).await
    }

    async fn append_as(&mut self, id: &str, lane: Lane, fields: &[(&str, String)]) -> StreamId {
        let id: String = redis::cmd("XADD")
            .arg(keys::events(self.shard, lane))
            .arg(id)
            .arg(fields)
            .query_async(&mut self.connection)
            .await
            .expect("appended");
        StreamId::parse(&id).expect("Redis makes stream ids")
    }

    /// Appends bytes of any kind.
    pub async fn append_bytes(&mut self, lane: Lane, fields: &[(Vec<u8>, Vec<u8>)]) -> StreamId {
        let mut command = redis::cmd("XADD");
        command.arg(keys::events(self.shard, lane)).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        let id: String = command
            .query_async(&mut self.connection)
            .await
            .expect("appended");
        StreamId::parse(&id).expect("Redis makes stream ids")
    }

    /// One call of the apply script for one entry, past everything that a worker checks: any
    /// transition with any fields. Returns what the script answers.
    pub async fn apply_unchecked(
        &mut self,
        lane: Lane,
        id: StreamId,
        transition: &[u8],
        fields: &[(Vec<u8>, Vec<u8>)],
    ) -> redis::RedisResult<Vec<Vec<u8>>> {
        let shard = self.shard;
        let names = [keys::applied(shard), keys::events(shard, lane)];
        let mut call = self.library.call("apply", &names);
        call.arg(keys::shard_prefix(shard))
            .arg(shard.number())
            .arg(keys::GATEWAY_CHANNEL_PREFIX);
        let settings = App::settings(&self.desk);
        call.arg(packed_settings(&settings));
        let value = |of: &[u8]| {
            let field = fields.iter().find(|(name, _)| name == of);
            field.map_or(&b""[..], |(_, value)| value)
        };
        let common = [value(b"site"), value(b"prefix"), b""];
        let own = fields.iter();
        let own = own.filter(|(name, _)| name != b"prefix" && name != b"site");
        let names = own.clone().map(|(name, _)| &name[..]);
        let shape = std::iter::once(transition).chain(common).chain(names);
        call.arg(1).arg(packed(shape)).arg(0);
        call.arg(lane.number()).arg(1).arg(id.to_string());
        let before = self.applied(lane).await.unwrap_or(StreamId::ZERO);
        call.arg(format!("{id}<{before}")).arg(1);
        for (_, value) in own {
            call.arg(value);
        }
        let mut lanes: Vec<Vec<Vec<u8>>> = self.library.run(&mut self.connection, &call).await?;
        Ok(lanes.pop().unwrap_or_default())
    }

    /// Appends an event and applies it alone. Everything before it must be applied.
    pub async fn act(&mut self, uid: &str, kind: Kind) -> Outcome {
        let id = self.append(uid, kind).await;
        let lane = Lane::of(&Uid::parse(uid).expect("well-formed"));
        let settled = self.apply_pending(lane, 1).await;
        assert_eq!(settled[0].id, id, "something before this was not applied");
        settled[0].outcome.clone()
    }

    /// Opens a connection of a new gateway.
    pub async fn open(&mut self, uid: &str) -> Socket {
        let socket = Socket::new(uid, &BootId::random());
        assert_eq!(self.act(uid, socket.open()).await, Outcome::Applied);
        socket
    }

    /// Sends a frame and applies it.
    pub async fn send(&mut self, socket: &mut Socket, verb: Verb) -> Outcome {
        let kind = socket.verb(verb);
        let uid = socket.uid.clone();
        self.act(uid.as_str(), kind).await
    }

    /// The id of the last entry applied.
    pub async fn applied(&mut self, lane: Lane) -> Option<StreamId> {
        let id: Option<String> = redis::cmd("HGET")
            .arg(keys::applied(self.shard))
            .arg(lane.number().to_string())
            .query_async(&mut self.connection)
            .await
            .expect("a hash");
        id.map(|id| StreamId::parse(&id).expect("a stream id"))
    }

    /// Up to `limit` entries that wait to be applied.
    pub async fn pending(&mut self, lane: Lane, limit: usize) -> Vec<Pending> {
        let from = self
            .applied(lane)
            .await
            .map_or("-".to_owned(), |id| format!("({id}"));
        self.entries(lane, &from, limit).await
    }

    /// Up to `limit` entries from a place on, applied or not.
    pub async fn entries(&mut self, lane: Lane, from: &str, limit: usize) -> Vec<Pending> {
        let reply: Entries = redis::cmd("XRANGE")
            .arg(keys::events(self.shard, lane))
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(limit)
            .query_async(&mut self.connection)
            .await
            .expect("a stream");
        let (shard, desk) = (self.shard, &self.desk);
        let after = from.strip_prefix('(').map(StreamId::parse);
        let after = after.and_then(Result::ok).unwrap_or(StreamId::ZERO);
        let ids: Vec<StreamId> = reply.0.iter().map(|entry| entry.id).collect();
        let befores = std::iter::once(after).chain(ids);
        let pending = |(StreamEntry { id, fields }, before)| {
            let get = |name: &str| fields.text(name);
            let prepared = |event: &Event| App::prepare(desk, event);
            let transition = prepare(event_id(shard, lane, id), get, prepared);
            Pending {
                event: Event::decode(get).ok(),
                prepared: Prepared {
                    id,
                    before,
                    transition: transition.expect("of a known version"),
                },
            }
        };
        reply.0.into_iter().zip(befores).map(pending).collect()
    }

    /// One call of the apply script.
    pub async fn apply(&mut self, lane: Lane, entries: &[Prepared]) -> Vec<Outcome> {
        let applied = self
            .library
            .apply(&mut self.connection, self.shard, lane, entries)
            .await;
        applied.expect("the script runs")
    }

    /// One call of the apply script for several lanes.
    pub async fn apply_lanes(&mut self, lanes: &[(Lane, &[Prepared])]) -> Vec<Vec<Outcome>> {
        let answers = self.answers(lanes).await.into_iter();
        let outcomes = |lane: Vec<Answer>| lane.into_iter().map(|it| it.outcome).collect();
        answers.map(outcomes).collect()
    }

    async fn answers(&mut self, lanes: &[(Lane, &[Prepared])]) -> Vec<Vec<Answer>> {
        let call = self.library.apply_call(self.shard, lanes.iter().copied());
        let answers = self.library.run::<Answers>(&mut self.connection, &call);
        let answers = answers.await.expect("the script runs").0;
        let shard = self.shard;
        let both = answers.into_iter().zip(lanes);
        let of = |(answers, (lane, entries)): (Vec<Answer>, &(Lane, &[Prepared]))| {
            let both = answers.into_iter().zip(*entries);
            let of = |(answer, entry): (Answer, &Prepared)| {
                answer.of(event_id(shard, *lane, entry.id), entry)
            };
            both.map(of).collect()
        };
        both.map(of).collect()
    }

    /// One call of the apply script with up to `limit` waiting entries, with the hints that a worker would give.
    pub async fn apply_pending(&mut self, lane: Lane, limit: usize) -> Vec<Settled> {
        let mut pending = self.pending(lane, limit).await;
        let Some(newest) = pending.last().map(|it| it.prepared.id) else {
            return Vec::new();
        };
        let memory = &mut self.memories[usize::from(lane.number() % 2)];
        // A worker would be told so by the script.
        let seen = self.seen.insert(lane, newest).unwrap_or(StreamId::ZERO);
        if seen != pending[0].prepared.before {
            memory.forget();
        }
        for Pending { prepared, event } in &mut pending {
            let poison = prepared.transition.name == "undecodable";
            if let (Some(event), false) = (event, poison) {
                let id = event_id(self.shard, lane, prepared.id);
                prepared.transition = memory.prepare(id, event);
            }
        }
        let prepared: Vec<_> = pending.iter().map(|p| p.prepared.clone()).collect();
        let answers = self.answers(&[(lane, &prepared)]).await.remove(0);
        if answers.len() < pending.len() {
            self.seen.remove(&lane);
        }
        let memory = &mut self.memories[usize::from(lane.number() % 2)];
        self.quick += answers.iter().filter(|it| it.placed.is_some()).count();
        let settle = |(pending, answer): (Pending, Answer)| {
            let (id, transition) = (pending.prepared.id, &pending.prepared.transition);
            let event = event_id(self.shard, lane, id);
            let outcome = &answer.outcome;
            if matches!(
                outcome,
                Outcome::Duplicate | Outcome::Gap | Outcome::Dead(_)
            ) {
                memory.forget();
            } else {
                memory.settle(event, transition, &answer);
            }
            let outcome = answer.outcome;
            let event = pending.event;
            Settled {
                lane,
                id,
                event,
                outcome,
            }
        };
        pending.into_iter().zip(answers).map(settle).collect()
    }

    /// Applies until every lane is done.
    pub async fn drain(&mut self) -> Vec<Settled> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            for lane in Lane::all() {
                let settled = self.apply_pending(lane, 32).await;
                let stands_still =
                    |entry: &Settled| matches!(entry.outcome, Outcome::Duplicate | Outcome::Gap);
                assert!(
                    settled.is_empty() || !settled.iter().all(stands_still),
                    "the lane stands still: {settled:?}"
                );
                all.extend(settled);
            }
            if all.len() == before {
                return all;
            }
        }
    }

    /// Everything in Redis.
    pub async fn dump(&mut self) -> Dump {
        Dump::read(&mut self.connection).await
    }

    /// An event's id.
    pub fn event_id(&self, lane: Lane, id: StreamId) -> String {
        event_id(self.shard, lane, id).to_string()
    }

    /// The conversation that a customer is in.
    pub async fn conversation_of(&mut self, uid: &str) -> Option<String> {
        redis::cmd("HGET")
            .arg(self.key(&format!("u:{uid}")))
            .arg("conv")
            .query_async(&mut self.connection)
            .await
            .expect("a hash")
    }

    /// The name of a key of the site.
    pub fn key(&self, rest: &str) -> String {
        format!("{}{rest}", keys::site_prefix(&self.site))
    }

    /// The fields that an event's transition is given.
    pub fn transition(&self, event: &Event) -> Transition {
        App::prepare(&self.desk, event)
    }
}
