//! The Lua library: put together from its files, named by its content's hash, called, and loaded
//! again when Redis has lost it.
//!
//! Versions coexist in a rolling upgrade, because the name of the library and of every function in
//! it carries the hash. A FUNCTION library persists and replicates with the data.

use std::fmt::Write as _;

use frontdesk_shared::{
    ids::{EventId, Lane, Shard, StreamId},
    keys,
    protocol::{
        Lang, MAX_CONNECTIONS_PER_USER, MAX_POSITIONS, MAX_WAITING_BYTES, MAX_WAITING_MESSAGES,
        notice::NOTICES,
    },
};
use redis::{
    FromRedisValue, ParsingError, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tracing::info;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    app::{App, Fields, Source, Transition},
    hooks,
};

/// Most users that one call may touch; what is more is finished by continuation events.
pub const MAX_TOUCHED_USERS: usize = 200;
/// About how many dead letters a shard keeps.
pub const MAX_DEAD_LETTERS: usize = 10_000;
/// Most fields of an entry that its dead letter keeps; no event has half as many.
pub const MAX_DEAD_LETTER_FIELDS: usize = 64;
/// Most timers that one tick of a shard turns into events.
pub const MAX_TIMERS_PER_TICK: usize = 100;
/// Most that a shard's clock advances in one tick, in ms.
pub const MAX_ADVANCE_MS: u64 = 2000;
/// Most sites of a shard that the metrics look at.
pub const MAX_SITES_IN_STATS: usize = 200;
/// Most packed texts whose meaning the apply script keeps: an App's transitions and the sites of a shard.
pub const MAX_KEPT: usize = 1000;
/// Whole numbers up to this one, and their texts, are not converted but looked up.
pub const SMALL_NUMBERS: u64 = 1000;
/// Most bytes of earlier words that staff who take a conversation over are sent.
pub const MAX_PUSHED_WORDS_BYTES: u64 = 64 * 1024;
/// Bytes of such words after which a call takes nobody over any more: they may all be for one socket.
pub const MAX_FILLED_BYTES: u64 = 256 * 1024;
/// Most conversations that a user's list holds.
pub const MAX_CONVERSATIONS_PER_USER: usize = 1000;
/// Most conversations of a list that are looked at, whether they are forgotten, when one is added.
pub const MAX_PRUNED_CONVERSATIONS: usize = 10;
/// Most conversations at either end of a full list that are looked at for one that is over.
pub const MAX_DROPPABLE: usize = 100;
/// How old the expiry of a direct conversation may be before a message renews it, in milliseconds; not
/// more than the retention.
pub const DIRECT_RENEW_MS: u64 = 60 * 60 * 1000;
/// Most earlier staff that a conversation remembers.
pub const MAX_PAST_STAFF: usize = 50;
/// Most conversations in the snapshot that answers a `resume`; `conversations` shows the others.
pub const MAX_SNAPSHOT: u64 = 50;
/// Most names of a user's list that are looked at for it: some may have expired.
pub const MAX_LOOKED_AT: u64 = 200;
/// Most entries of one conversation that a `resume` is answered with; `history` has the others.
pub const MAX_RESUMED_ENTRIES: u64 = 100;
/// Most bytes of them; one entry is given always.
pub const MAX_RESUMED_PAGE_BYTES: u64 = 64 * 1024;
/// Most bytes of entries of all conversations together, and what the last one is longer by: with all
/// else that a call pushes it must fit into a socket's queue.
pub const MAX_RESUMED_BYTES: u64 = 256 * 1024;
/// So many bytes of an answer to a `resume`, or of words for who takes over, count as one user touched: a call does
/// few of that.
pub const TOUCH_BYTES: u64 = 2048;
/// How long a chain of `queue_moved` events counts as under way without a sign of life, in ms.
pub const MOVING_MS: u64 = 5000;
/// How long a dead gateway is remembered, in milliseconds; by then nothing of it is on its way.
pub const FENCED_MS: u64 = 24 * 60 * 60 * 1000;
/// A sender's ids are kept in two generations of this many.
pub const SENT_IDS: usize = 256;
/// How long a sender's ids are kept, in milliseconds: a day after the last one, and [`SENT_RENEW_MS`].
pub const SENT_MS: u64 = 25 * 60 * 60 * 1000;
/// How much longer than until it is full the bucket of a user who is not here is kept, in milliseconds: events
/// may be applied late.
pub const BUCKET_MS: u64 = 60_000;
/// How old the TTL of a sender's ids may be before it is set again, in milliseconds.
pub const SENT_RENEW_MS: u64 = 60 * 60 * 1000;

/// Helpers before the App's files, in order.
const BEFORE: &[Source] = &[
    Source {
        name: "globals.lua",
        code: include_str!("../lua/globals.lua"),
    },
    Source {
        name: "prelude.lua",
        code: include_str!("../lua/prelude.lua"),
    },
    Source {
        name: "numbers.lua",
        code: include_str!("../lua/numbers.lua"),
    },
    Source {
        name: "push.lua",
        code: include_str!("../lua/push.lua"),
    },
    Source {
        name: "dead.lua",
        code: include_str!("../lua/dead.lua"),
    },
    Source {
        name: "outbox.lua",
        code: include_str!("../lua/outbox.lua"),
    },
];
/// The functions, after the App's files.
const AFTER: &[Source] = &[
    Source {
        name: "apply.lua",
        code: include_str!("../lua/apply.lua"),
    },
    Source {
        name: "lease.lua",
        code: include_str!("../lua/lease.lua"),
    },
    Source {
        name: "tick.lua",
        code: include_str!("../lua/tick.lua"),
    },
    Source {
        name: "declare.lua",
        code: include_str!("../lua/declare.lua"),
    },
    Source {
        name: "bury.lua",
        code: include_str!("../lua/bury.lua"),
    },
    Source {
        name: "beat.lua",
        code: include_str!("../lua/beat.lua"),
    },
    Source {
        name: "stats.lua",
        code: include_str!("../lua/stats.lua"),
    },
    Source {
        name: "hooks/claim.lua",
        code: include_str!("../lua/hooks/claim.lua"),
    },
    Source {
        name: "hooks/take.lua",
        code: include_str!("../lua/hooks/take.lua"),
    },
    Source {
        name: "hooks/body.lua",
        code: include_str!("../lua/hooks/body.lua"),
    },
    Source {
        name: "hooks/done.lua",
        code: include_str!("../lua/hooks/done.lua"),
    },
    Source {
        name: "hooks/look.lua",
        code: include_str!("../lua/hooks/look.lua"),
    },
    Source {
        name: "hooks/sweep.lua",
        code: include_str!("../lua/hooks/sweep.lua"),
    },
    Source {
        name: "replay.lua",
        code: include_str!("../lua/replay.lua"),
    },
];

/// The library of one App.
#[derive(Debug, Clone)]
pub struct Library {
    code: String,
    prefix: String,
    settings: Vec<u8>,
}

/// An entry of a lane, ready to be applied.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its place in the stream.
    pub id: StreamId,
    /// The place of the entry before it, as the stream was read: where reading began, for the first.
    pub before: StreamId,
    /// What applies it.
    pub transition: Transition,
}

/// What the apply script said of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Applied.
    Applied,
    /// Applied, or applied before: the sender gets this ack.
    Acked(Ack),
    /// Applied: who has asked by a request gets this answer.
    Said(Said),
    /// Not newer than what is applied; nothing changed.
    Duplicate,
    /// Not the next one; nothing changed and the call ended here.
    Gap,
    /// In the dead-letter stream, with this error.
    Dead(String),
}

/// What a sender is told of a stored message. Every field is a validated id or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The sender's connection.
    pub client: String,
    /// The sender's id of the message.
    pub reference: String,
    /// Where it was stored.
    pub conversation: String,
    /// Its place there.
    pub seq: String,
    /// Its id.
    pub id: String,
    /// When it was appended, in ms.
    pub time: String,
}

/// What somebody is told who has asked by a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The request's address.
    pub client: String,
    /// The frame that a connection would get.
    pub frame: String,
}

impl Library {
    /// Puts the library together.
    pub fn new(app: &dyn App) -> Self {
        let mut body = generated();
        for source in BEFORE.iter().chain(app.sources()).chain(AFTER) {
            let _ = writeln!(body, "-- {}", source.name);
            body.push_str(source.code);
        }
        let name = format!("frontdesk_{:016x}", xxh3_64(body.as_bytes()));
        let prefix = format!("{name}_");
        let code = format!("#!lua name={name}\nlocal PREFIX = \"{prefix}\"\n{body}");
        Self {
            code,
            prefix,
            settings: packed_settings(&app.settings()),
        }
    }

    /// Loads the library where Redis does not have it.
    pub async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let loaded: RedisResult<String> = redis::cmd("FUNCTION")
            .arg("LOAD")
            .arg(&self.code)
            .query_async(connection)
            .await;
        match loaded {
            Ok(name) => {
                info!(library = name, "loaded the Lua library");
                Ok(())
            }
            Err(error) if error.to_string().contains("already exists") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A call of one of the library's functions.
    pub fn call(&self, function: &str, keys: &[String]) -> redis::Cmd {
        let mut command = redis::cmd("FCALL");
        command
            .arg(format!("{}{function}", self.prefix))
            .arg(keys.len())
            .arg(keys);
        command
    }

    /// Runs a call, loading the library first if Redis has lost it.
    pub async fn run<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &redis::Cmd,
    ) -> RedisResult<T> {
        match command.query_async(connection).await {
            Err(error) if is_missing(&error) => {
                self.load(connection).await?;
                command.query_async(connection).await
            }
            result => result,
        }
    }

    /// Runs a call behind other commands, in the same write; their answers are not looked at. Loads the
    /// library if Redis has lost it, and then runs the call alone.
    pub async fn run_behind<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        ahead: &[redis::Cmd],
        call: redis::Cmd,
    ) -> RedisResult<T> {
        if ahead.is_empty() {
            return self.run(connection, &call).await;
        }
        let mut pipeline = redis::pipe();
        for command in ahead {
            pipeline.add_command(command.clone()).ignore();
        }
        pipeline.add_command(call.clone());
        match pipeline.query_async(connection).await {
            Ok((answer,)) => Ok(answer),
            Err(error) if is_missing(&error) => self.run(connection, &call).await,
            Err(error) => Err(error),
        }
    }

    /// Runs calls in one pipeline, loading the library first if Redis has lost it. A call that was
    /// run before another one was found missing is run again: only for calls that may be.
    pub async fn run_pipeline<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        calls: Vec<redis::Cmd>,
    ) -> RedisResult<T> {
        let mut pipeline = redis::pipe();
        for call in calls {
            pipeline.add_command(call);
        }
        match pipeline.query_async(connection).await {
            Err(error) if is_missing(&error) => {
                self.load(connection).await?;
                pipeline.query_async(connection).await
            }
            result => result,
        }
    }

    /// A call of the apply script for the next entries of some lanes of a shard.
    pub fn apply_call<'a>(
        &self,
        shard: Shard,
        lanes: impl Iterator<Item = (Lane, &'a [Prepared])> + Clone,
    ) -> redis::Cmd {
        let mut names = vec![keys::applied(shard)];
        names.extend(lanes.clone().map(|(lane, _)| keys::events(shard, lane)));
        let mut command = self.call("apply", &names);
        command
            .arg(keys::shard_prefix(shard))
            .arg(shard.number())
            .arg(keys::GATEWAY_CHANNEL_PREFIX);
        command.arg(&self.settings);
        let mut shapes: Vec<&Transition> = Vec::new();
        for entry in lanes.clone().flat_map(|(_, entries)| entries) {
            if shape_of(&entry.transition, &shapes).is_none() {
                shapes.push(&entry.transition);
            }
        }
        command.arg(shapes.len());
        for shape in &shapes {
            command.arg(packed_shape(shape));
        }
        for (lane, entries) in lanes.clone() {
            let newest = entries.last().map_or(StreamId::ZERO, |entry| entry.id);
            command.arg(lane.number()).arg(entries.len());
            command.arg(newest.to_string());
        }
        for entry in lanes.flat_map(|(_, entries)| entries) {
            let shape = shape_of(&entry.transition, &shapes).unwrap_or_default();
            command.arg(entry.id.to_string());
            command.arg(entry.before.to_string()).arg(shape + 1);
            let own = entry.transition.fields.iter();
            for (_, value) in own.filter(|(name, _)| !SHARED.contains(name)) {
                command.arg(value);
            }
        }
        command
    }

    /// Applies the next entries of one lane. The answer may be shorter than `entries`: after a
    /// [`Outcome::Gap`], or when the call has touched [`MAX_TOUCHED_USERS`].
    pub async fn apply(
        &self,
        connection: &mut MultiplexedConnection,
        shard: Shard,
        lane: Lane,
        entries: &[Prepared],
    ) -> RedisResult<Vec<Outcome>> {
        let call = self.apply_call(shard, std::iter::once((lane, entries)));
        let answers: Answers = self.run(connection, &call).await?;
        Ok(answers.0.into_iter().next().unwrap_or_default())
    }
}

/// What the apply script said: for each lane looked at, of each entry looked at.
#[derive(Debug)]
pub struct Answers(pub Vec<Vec<Outcome>>);

impl FromRedisValue for Answers {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let lanes: Vec<Vec<String>> = Vec::from_redis_value(value)?;
        let parse = |lane: Vec<String>| lane.iter().map(|text| Outcome::parse(text)).collect();
        Ok(Self(
            lanes.into_iter().map(parse).collect::<Result<_, _>>()?,
        ))
    }
}

/// Whether Redis does not have the function that was called.
fn is_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// Fields that are the same for many entries; a call says them once per shape.
const SHARED: [&str; 2] = ["prefix", "site"];

/// Which shape a transition has: the first with the same name, names of fields and shared values.
fn shape_of(transition: &Transition, shapes: &[&Transition]) -> Option<usize> {
    let same = |((a, x), (b, y)): (&(&str, String), &(&str, String))| {
        a == b && (x == y || !SHARED.contains(a))
    };
    shapes.iter().position(|shape| {
        shape.name == transition.name
            && shape.fields.len() == transition.fields.len()
            && shape.fields.iter().zip(&transition.fields).all(same)
    })
}

/// Texts as one argument, each with its length before it.
pub fn packed<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packed = Vec::new();
    for text in texts {
        packed.extend_from_slice(text.len().to_string().as_bytes());
        packed.push(b':');
        packed.extend_from_slice(text);
    }
    packed
}

/// An App's settings as the apply script takes them.
pub fn packed_settings(settings: &Fields) -> Vec<u8> {
    let texts = settings.iter().flat_map(|(name, value)| [*name, value]);
    packed(texts.map(str::as_bytes))
}

fn packed_shape(shape: &Transition) -> Vec<u8> {
    let value = |of: &str| {
        let field = shape.fields.iter().find(|(name, _)| *name == of);
        field.map_or("", |(_, value)| value)
    };
    let head = [shape.name, value("site"), value("prefix")];
    let names = shape.fields.iter().map(|(name, _)| *name);
    let names = names.filter(|name| !SHARED.contains(name));
    packed(head.into_iter().chain(names).map(str::as_bytes))
}

impl Outcome {
    fn parse(answer: &str) -> Result<Self, ParsingError> {
        let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        match word {
            "OK" => Ok(Self::Applied),
            "DUP" => Ok(Self::Duplicate),
            "GAP" => Ok(Self::Gap),
            "DEAD" => Ok(Self::Dead(rest.to_owned())),
            "ACK" => {
                let parts: Vec<&str> = rest.split(' ').collect();
                if let [client, reference, conversation, seq, id, time] = parts[..] {
                    return Ok(Self::Acked(Ack {
                        client: client.to_owned(),
                        reference: reference.to_owned(),
                        conversation: conversation.to_owned(),
                        seq: seq.to_owned(),
                        id: id.to_owned(),
                        time: time.to_owned(),
                    }));
                }
                Err(unexpected())
            }
            "SAY" => {
                let (client, frame) = rest.split_once(' ').ok_or_else(unexpected)?;
                Ok(Self::Said(Said {
                    client: client.to_owned(),
                    frame: frame.to_owned(),
                }))
            }
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> ParsingError {
    "the apply script gave an answer this program does not know".into()
}

impl Ack {
    /// The `ack` frame.
    pub fn frame(&self) -> String {
        format!(
            r#"{{"action":"ack","payload":{{"ref":"{}","conversation":"{}","seq":{},"id":"{}","time":{}}}}}"#,
            self.reference, self.conversation, self.seq, self.id, self.time
        )
    }
}

/// The tables `N` (texts) and `L` (limits), and the channel of hints in Lua.
fn generated() -> String {
    let mut lua = String::from("local N = {}\n");
    for lang in Lang::ALL {
        let _ = writeln!(lua, "N[{}] = {{", lua_string(lang.tag()));
        for notice in NOTICES {
            let head = notice.head(lang);
            let pieces: Vec<String> = head.split("{queue}").map(lua_string).collect();
            let _ = writeln!(
                lua,
                "[{}] = {{ {} }},",
                lua_string(notice.key),
                pieces.join(", ")
            );
        }
        lua.push_str("}\n");
    }
    let limits = [
        ("connections", MAX_CONNECTIONS_PER_USER as u64),
        ("words", MAX_WAITING_MESSAGES as u64),
        ("words_bytes", MAX_WAITING_BYTES as u64),
        ("touched", MAX_TOUCHED_USERS as u64),
        ("dead", MAX_DEAD_LETTERS as u64),
        ("dead_fields", MAX_DEAD_LETTER_FIELDS as u64),
        ("timers", MAX_TIMERS_PER_TICK as u64),
        ("advance_ms", MAX_ADVANCE_MS),
        ("sites", MAX_SITES_IN_STATS as u64),
        ("kept", MAX_KEPT as u64),
        ("small", SMALL_NUMBERS),
        ("push_bytes", MAX_PUSHED_WORDS_BYTES),
        ("fill_bytes", MAX_FILLED_BYTES),
        ("sent", SENT_IDS as u64),
        ("sent_ms", SENT_MS),
        ("sent_renew_ms", SENT_RENEW_MS),
        ("bucket_ms", BUCKET_MS),
        ("fenced_ms", FENCED_MS),
        ("moving_ms", MOVING_MS),
        ("snapshot", MAX_SNAPSHOT),
        ("looked", MAX_LOOKED_AT),
        ("page", MAX_RESUMED_ENTRIES),
        ("page_bytes", MAX_RESUMED_PAGE_BYTES),
        ("resume_bytes", MAX_RESUMED_BYTES),
        ("touch_bytes", TOUCH_BYTES),
        ("positions", MAX_POSITIONS as u64),
        ("conversations", MAX_CONVERSATIONS_PER_USER as u64),
        ("droppable", MAX_DROPPABLE as u64),
        ("pruned", MAX_PRUNED_CONVERSATIONS as u64),
        ("past", MAX_PAST_STAFF as u64),
        ("renew_ms", DIRECT_RENEW_MS),
    ];
    let limits = limits.into_iter().chain(hooks::LIMITS);
    let limits: Vec<String> = limits
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let _ = writeln!(lua, "local L = {{ {} }}", limits.join(", "));
    let channel = lua_string(keys::HOOKS_CHANNEL);
    let _ = writeln!(lua, "local HOOKS_CHANNEL = {channel}");
    lua
}

/// A Lua 5.1 string literal: bytes above 127 stand as they are.
fn lua_string(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

/// The id of an entry of a lane, as it appears in logs, messages and conversations.
pub fn event_id(shard: Shard, lane: Lane, stream: StreamId) -> EventId {
    EventId {
        shard,
        lane,
        stream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_script_are_read() {
        assert_eq!(Outcome::parse("OK").ok(), Some(Outcome::Applied));
        assert_eq!(
            Outcome::parse("DEAD a b").ok(),
            Some(Outcome::Dead("a b".into()))
        );
        assert!(Outcome::parse("ACK a b").is_err());
        assert!(Outcome::parse("").is_err());
        assert!(Outcome::parse("SAY c").is_err());
        let said = Said {
            client: "c".into(),
            frame: "{ }".into(),
        };
        assert_eq!(Outcome::parse("SAY c { }").ok(), Some(Outcome::Said(said)));
        let acked = Outcome::parse("ACK c m1 v 3 v.1 17").expect("well-formed");
        let Outcome::Acked(ack) = acked else {
            panic!("not an ack: {acked:?}")
        };
        assert_eq!(
            ack.frame(),
            r#"{"action":"ack","payload":{"ref":"m1","conversation":"v","seq":3,"id":"v.1","time":17}}"#
        );
    }

    /// A name that nobody defines is nil until somebody calls it, which is then a dead letter.
    #[test]
    fn every_helper_that_is_called_is_defined() {
        let desk = crate::desk::Desk::new(crate::desk::settings::DeskSettings::default());
        let code = Library::new(&desk).code;
        let lines = code
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default());
        let code: Vec<&str> = lines.collect();
        let code = code.join("\n");
        let name_at = |at: usize| -> &str {
            let rest = &code[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        };
        for (at, _) in code.match_indices("D.") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c)) {
                continue;
            }
            let name = name_at(at + 2);
            assert!(
                code.contains(&format!("\nD.{name} = ")),
                "D.{name} is nowhere"
            );
        }
    }
}
