//! Connections for short commands that are rare: taken from a deadpool when needed, so that they need
//! not be made anew each time. Never block on one; blocking reads and subscriptions have their own.
//!
//! Behind Sentinels there is no pool: it would go on handing out connections to whoever was the
//! primary. Each is made anew there, by asking the Sentinels.

use std::ops::{Deref, DerefMut};

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::{Client, RedisError, aio::MultiplexedConnection};

use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT, RedisSetupError, connection_config};

/// Most connections in the pool.
pub const POOL_SIZE: usize = 8;

/// A connection for a short command.
#[allow(
    missing_debug_implementations,
    reason = "the pool's connections have none"
)]
pub enum Short {
    /// Goes back to the pool, which pings it before it is used again.
    Pooled(Connection),
    /// Made for this use.
    Own(MultiplexedConnection),
}

impl Deref for Short {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

impl DerefMut for Short {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

/// A pool of connections to where this client leads; connects to nothing yet.
pub(super) fn pool(client: &Client) -> Result<Pool, RedisSetupError> {
    // With the certificates that the client was given.
    let info = client.get_connection_info().clone();
    let manager = Manager::new_with_config(info, connection_config(RESPONSE_TIMEOUT))?;
    let pool = Pool::builder(manager)
        .max_size(POOL_SIZE)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(RESPONSE_TIMEOUT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .recycle_timeout(Some(RESPONSE_TIMEOUT));
    Ok(pool.build()?)
}

/// One of the pool's connections.
pub(super) async fn take(pool: &Pool) -> Result<Short, RedisError> {
    match pool.get().await {
        Ok(connection) => Ok(Short::Pooled(connection)),
        Err(PoolError::Backend(error)) => Err(error),
        Err(error) => Err(std::io::Error::other(error.to_string()).into()),
    }
}
