//! Everything that is in a Redis, as values that can be compared and printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use redis::{Value, aio::MultiplexedConnection};

/// Every key with its value and TTL.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump(pub BTreeMap<String, Kept>);

/// A key's value and TTL.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What it holds.
    pub content: Content,
    /// Milliseconds to live, if it does not live for ever.
    pub ttl_ms: Option<i64>,
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

impl Dump {
    /// Reads everything. Not atomic: for a Redis that nobody writes to meanwhile.
    pub async fn read(connection: &mut MultiplexedConnection) -> Self {
        Self::read_some(connection, "*").await
    }

    /// Reads what fits a pattern of Redis.
    pub async fn read_some(connection: &mut MultiplexedConnection, pattern: &str) -> Self {
        let names: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(connection)
            .await
            .expect("keys are text");
        if names.is_empty() {
            return Self::default();
        }
        let mut about = redis::pipe();
        for name in &names {
            about.cmd("TYPE").arg(name).cmd("PTTL").arg(name);
        }
        let about: Vec<Value> = about.query_async(connection).await.expect("readable");
        let mut contents = redis::pipe();
        let mut kinds = Vec::new();
        for (name, pair) in names.iter().zip(about.chunks(2)) {
            let kind: String = read(&pair[0]);
            match kind.as_str() {
                "string" => contents.cmd("GET").arg(name),
                "hash" => contents.cmd("HGETALL").arg(name),
                "set" => contents.cmd("SMEMBERS").arg(name),
                "zset" => contents
                    .cmd("ZRANGE")
                    .arg(name)
                    .arg(0)
                    .arg(-1)
                    .arg("WITHSCORES"),
                "stream" => contents.cmd("XRANGE").arg(name).arg("-").arg("+"),
                "list" => contents.cmd("LRANGE").arg(name).arg(0).arg(-1),
                other => panic!("{name} is a {other}"),
            };
            kinds.push((kind, read::<i64>(&pair[1])));
        }
        let contents: Vec<Value> = contents.query_async(connection).await.expect("readable");
        let kept = contents.iter().zip(kinds).map(|(value, (kind, ttl))| Kept {
            content: content(&kind, value),
            ttl_ms: (ttl >= 0).then_some(ttl),
        });
        Self(names.into_iter().zip(kept).collect())
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
