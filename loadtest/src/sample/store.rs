//! Redis, by INFO.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result};
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to Redis.
#[derive(Debug)]
pub(crate) struct Store {
    connection: MultiplexedConnection,
    /// Its process, if it is on this machine.
    pub(crate) local_pid: Option<i32>,
}

/// Figures of one moment.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Bytes that Redis has allocated.
    pub(crate) used_memory: u64,
    /// Commands since its start, those of scripts included.
    pub(crate) commands: u64,
    /// Calls of functions (FCALL) since its start.
    pub(crate) fcalls: u64,
    /// Microseconds in those.
    pub(crate) fcall_us: u64,
    /// Clients connected.
    pub(crate) clients: u64,
}

impl Store {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let client = Client::open(url).context("--redis is no address of a Redis")?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(TIMEOUT))
            .set_connection_timeout(Some(TIMEOUT));
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("--redis does not answer")?;
        let info = info(&mut connection).await.context("--redis: no INFO")?;
        let host = url.rsplit('@').next().unwrap_or_default();
        let host = host.trim_start_matches("redis://");
        let local = ["127.", "localhost", "[::1]"];
        let local = local.iter().any(|name| host.starts_with(name));
        let pid = number(&info, "process_id").and_then(|pid| i32::try_from(pid).ok());
        Ok(Self {
            connection,
            local_pid: pid.filter(|_| local),
        })
    }

    /// `None`: it does not answer now.
    pub(crate) async fn figures(&mut self) -> Option<Figures> {
        let info = info(&mut self.connection).await.ok()?;
        let fcall = info.get("cmdstat_fcall");
        let part = |name: &str| {
            let part = fcall?.split(',').find_map(|part| part.strip_prefix(name))?;
            part.parse().ok()
        };
        Some(Figures {
            used_memory: number(&info, "used_memory").unwrap_or(0),
            commands: number(&info, "total_commands_processed").unwrap_or(0),
            fcalls: part("calls=").unwrap_or(0),
            fcall_us: part("usec=").unwrap_or(0),
            clients: number(&info, "connected_clients").unwrap_or(0),
        })
    }
}

async fn info(
    connection: &mut MultiplexedConnection,
) -> redis::RedisResult<HashMap<String, String>> {
    let mut ask = redis::cmd("INFO");
    ask.arg(&["server", "clients", "memory", "stats", "commandstats"]);
    let text: String = ask.query_async(connection).await?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn number(info: &HashMap<String, String>, name: &str) -> Option<u64> {
    info.get(name)?.parse().ok()
}
