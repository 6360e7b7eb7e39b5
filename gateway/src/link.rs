//! One connection to Redis that many short calls share at once, for roles whose calls may come at
//! any time. It is made when it is first needed, and anew after a failure.
//!
//! Not from the pool: that pings each connection before it is handed out, which doubles the commands,
//! and behind Sentinels it makes a new connection each time.

use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_shared::redis::{Redis, is_displaced};
use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::sync::OnceCell;

/// A connection, once it is there.
type Cell = Arc<OnceCell<MultiplexedConnection>>;

/// A shared connection.
pub(crate) struct Link {
    redis: Redis,
    cell: Mutex<Cell>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// A connection taken from the link for one call. Unless the call has [`Held::succeeded`] the link
/// trusts it no more: also when the call was given up half way.
pub(crate) struct Held<'link> {
    pub(crate) connection: MultiplexedConnection,
    link: &'link Link,
    cell: Cell,
    good: bool,
}

impl Link {
    pub(crate) fn new(redis: Redis) -> Self {
        Self {
            redis,
            cell: Mutex::default(),
        }
    }

    /// The connection. Whoever comes first makes it, the others wait for that.
    pub(crate) async fn hold(&self) -> Result<Held<'_>, RedisError> {
        let cell = Arc::clone(&self.lock());
        let connection = cell.get_or_try_init(|| self.redis.connect()).await?.clone();
        Ok(Held {
            connection,
            link: self,
            cell,
            good: false,
        })
    }

    /// The next call makes a new connection; what is under way on this one goes on.
    pub(crate) fn renew(&self) {
        *self.lock() = Cell::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner) // one pointer is whole
    }
}

impl Held<'_> {
    /// Judges an answer: one that Redis has given shows that the connection is good.
    pub(crate) fn judge<T>(&mut self, answer: &Result<T, RedisError>) {
        self.good = match answer {
            Ok(_) => true,
            Err(error) => error.code().is_some() && !is_displaced(error),
        };
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.good {
            return;
        }
        let mut cell = self.link.lock();
        if Arc::ptr_eq(&cell, &self.cell) {
            *cell = Cell::default();
        }
    }
}

/// The worker's own: keys have one builder in Lua, and there is one rule of who belongs to a
/// conversation.
const SHARED_PARTS: &[&str] = &[
    include_str!("../../worker/lua/prelude.lua"),
    include_str!("../../worker/lua/desk/members.lua"),
];

/// A script that reads, by the hash of its text.
#[derive(Debug)]
pub(crate) struct ReadScript {
    code: String,
    hash: String,
}

impl ReadScript {
    /// A script of parts without a `#!` line, behind `D` with its helpers.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let parts = [SHARED_PARTS, parts].concat().join("\n");
        let code = format!("#!lua flags=no-writes\n{parts}");
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    /// Runs it; loads it where Redis does not have it.
    pub(crate) async fn call(
        &self,
        link: &Link,
        keys: &[String],
        args: &[&str],
    ) -> Result<Value, RedisError> {
        let mut held = link.hold().await?;
        let mut command = redis::cmd("EVALSHA_RO");
        command.arg(&self.hash).arg(keys.len()).arg(keys).arg(args);
        let mut answer: Result<Value, RedisError> = command.query_async(&mut held.connection).await;
        if matches!(&answer, Err(error) if error.code() == Some("NOSCRIPT")) {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(&self.code);
            answer = match load.query_async::<Value>(&mut held.connection).await {
                Ok(_) => command.query_async(&mut held.connection).await,
                Err(error) => Err(error),
            };
        }
        held.judge(&answer);
        answer
    }
}
