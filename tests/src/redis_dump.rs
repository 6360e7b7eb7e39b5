//! Everything that is in a Redis, as values that can be compared and printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use redis::{RedisResult, Value, aio::MultiplexedConnection};

/// Every key with its value and TTL.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump(pub BTreeMap<String, Kept>);

/// A key's value and TTL.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it holds.
    pub content: Content,
    /// Milliseconds to live, if it does not live for ever.
    pub ttl_ms: Option<i64>,
}

/// Two readings of one TTL differ by the time between them, which is less than this.
const TTL_RUNS_MS: u64 = 120_000;

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        let same_ttl = match (self.ttl_ms, other.ttl_ms) {
            (Some(one), Some(other)) => one.abs_diff(other) < TTL_RUNS_MS,
            (one, other) => one == other,
        };
        same_ttl && self.content == other.content
    }
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A string.
    Text(String),
    /// A hash.
    Hash(BTreeMap<String, String>),
    /// A set.
    Set(BTreeSet<String>),
    /// A sorted set, in order.
    Sorted(Vec<(String, f64)>),
    /// A stream: id and fields in order.
    Stream(Vec<StreamEntry>),
}

/// An entry of a stream: its id and its fields in order.
pub type StreamEntry = (String, Vec<(String, String)>);

/// Every key with its kind, TTL and value. No `#!lua` line, so that it may read all slots of a
/// one-node Cluster.
const READ: &str = r#"
local read = {
  string = function(key) return redis.call("GET", key) end,
  hash = function(key) return redis.call("HGETALL", key) end,
  set = function(key) return redis.call("SMEMBERS", key) end,
  zset = function(key) return redis.call("ZRANGE", key, 0, -1, "WITHSCORES") end,
  stream = function(key) return redis.call("XRANGE", key, "-", "+") end,
}
local everything = {}
for i, key in ipairs(redis.call("KEYS", ARGV[1])) do
  local kind = redis.call("TYPE", key).ok
  everything[i] = { key, kind, redis.call("PTTL", key), read[kind](key) }
end
return everything
"#;

impl Dump {
    /// Reads everything in one moment: also while others write.
    pub async fn read(connection: &mut MultiplexedConnection) -> Self {
        Self::try_read(connection, "*").await.expect("readable")
    }

    /// Reads what fits a pattern of Redis, from a Redis that may be gone.
    pub async fn try_read(
        connection: &mut MultiplexedConnection,
        pattern: &str,
    ) -> RedisResult<Self> {
        let everything: Vec<(String, String, i64, Value)> = redis::cmd("EVAL")
            .arg(READ)
            .arg(0)
            .arg(pattern)
            .query_async(connection)
            .await?;
        let kept = everything.into_iter().map(|(name, kind, ttl, value)| {
            let content = content(&kind, &value);
            let ttl_ms = (ttl >= 0).then_some(ttl);
            (name, Kept { content, ttl_ms })
        });
        let mut dump = Self(kept.collect());
        dump.move_talks_back();
        dump.put_taken_back();
        Ok(dump)
    }

    /// What messages change of an open conversation stands in the hash of its site's talks while nothing else happens
    /// to it: here it is shown in the conversation's own, wherever it is. What belongs to no open conversation stays.
    fn move_talks_back(&mut self) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        for name in names.iter().filter(|name| name.ends_with(":talks")) {
            let site = name.strip_suffix("talks").unwrap_or_default();
            let mut talks = self.hash(name);
            talks.retain(|conv, text| {
                let key = format!("{site}conv:{conv}");
                let Some(Content::Hash(hash)) = self.0.get_mut(&key).map(|it| &mut it.content)
                else {
                    return true;
                };
                let words: Vec<&str> = text.split(' ').collect();
                let [_mark, seq, last, a, b, idle] = words[..] else {
                    return true;
                };
                if hash.get("state").is_none_or(|state| state != "open") || hash.contains_key("seq")
                {
                    return true;
                }
                let counts = format!("{a} {b}");
                let fields = [
                    ("seq", seq),
                    ("last", last),
                    ("counts", &counts),
                    ("idle", idle),
                ];
                let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
                hash.extend(fields.into_iter().filter(|(_, value)| value != "-"));
                false
            });
            match self.0.get_mut(name) {
                Some(kept) if !talks.is_empty() => kept.content = Content::Hash(talks),
                _ => drop(self.0.remove(name)),
            }
        }
    }

    /// The same of the numbers and buckets of senders.
    fn put_taken_back(&mut self) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        for name in names.iter().filter(|name| name.ends_with(":taken")) {
            let site = name.strip_suffix("taken").unwrap_or_default();
            let mut taken = self.hash(name);
            taken.retain(|uid, text| {
                let key = format!("{site}u:{uid}");
                let Some(Content::Hash(hash)) = self.0.get_mut(&key).map(|it| &mut it.content)
                else {
                    return true;
                };
                let mut words: Vec<&str> = text.split(' ').collect();
                hash.insert("b".to_owned(), words.remove(2).to_owned());
                for pair in words.chunks_exact(2) {
                    hash.insert(format!("n:{}", pair[0]), pair[1].to_owned());
                }
                false
            });
            match self.0.get_mut(name) {
                Some(kept) if !taken.is_empty() => kept.content = Content::Hash(taken),
                _ => drop(self.0.remove(name)),
            }
        }
    }

    /// The same without TTLs, which run down between two looks.
    #[must_use]
    pub fn without_ttls(mut self) -> Self {
        for kept in self.0.values_mut() {
            kept.ttl_ms = None;
        }
        self
    }

    /// A hash; empty where there is no such key.
    pub fn hash(&self, name: &str) -> BTreeMap<String, String> {
        match self.0.get(name).map(|kept| &kept.content) {
            Some(Content::Hash(hash)) => hash.clone(),
            None => BTreeMap::new(),
            Some(other) => panic!("{name} is no hash: {other:?}"),
        }
    }

    /// A text, if there is such a key.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.0.get(name)?.content {
            Content::Text(text) => Some(text),
            other => panic!("{name} is no text: {other:?}"),
        }
    }

    /// A sorted set; empty where there is no such key.
    pub fn sorted(&self, name: &str) -> Vec<(String, f64)> {
        match self.0.get(name).map(|kept| &kept.content) {
            Some(Content::Sorted(members)) => members.clone(),
            None => Vec::new(),
            Some(other) => panic!("{name} is no sorted set: {other:?}"),
        }
    }

    /// A stream; empty where there is no such key.
    pub fn stream(&self, name: &str) -> Vec<StreamEntry> {
        match self.0.get(name).map(|kept| &kept.content) {
            Some(Content::Stream(entries)) => entries.clone(),
            None => Vec::new(),
            Some(other) => panic!("{name} is no stream: {other:?}"),
        }
    }

    /// The names that begin with `prefix`, without it.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .filter_map(move |name| name.strip_prefix(prefix))
    }

    /// What differs from an earlier dump, one line for each value: `-` what was, `+` what is.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let (old, new) = (before.lines(), self.lines());
        let gone = old.difference(&new).map(|line| format!("- {line}"));
        let come = new.difference(&old).map(|line| format!("+ {line}"));
        gone.chain(come).collect()
    }

    /// One line for each value.
    pub fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (name, kept) in &self.0 {
            for line in kept.content.lines() {
                lines.insert(format!("{name} {line}"));
            }
            if let Some(ttl) = kept.ttl_ms {
                lines.insert(format!("{name} TTL {ttl}"));
            }
        }
        lines
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Content {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::Hash(hash) => hash.iter().map(|(k, v)| format!("{k}={v}")).collect(),
            Self::Set(set) => set.iter().cloned().collect(),
            Self::Sorted(members) => members.iter().map(|(m, s)| format!("{m} {s}")).collect(),
            Self::Stream(entries) => entries
                .iter()
                .map(|(id, fields)| {
                    let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    format!("{id} {}", fields.join(" "))
                })
                .collect(),
        }
    }
}

fn content(kind: &str, value: &Value) -> Content {
    match kind {
        "string" => Content::Text(read(value)),
        "hash" => Content::Hash(read(value)),
        "zset" => Content::Sorted(read(value)),
        "stream" => Content::Stream(read::<Vec<(String, Vec<(String, String)>)>>(value)),
        _ => Content::Set(read(value)),
    }
}

fn read<T: redis::FromRedisValue>(value: &Value) -> T {
    T::from_redis_value(value.clone()).expect("Redis answers in the form of the command")
}
