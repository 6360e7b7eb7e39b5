//! Registration and heartbeat: one counter per boot in one hash, moved by `lua/heartbeat.lua`.
//! A clean stop takes the registration out.

use std::{sync::Arc, time::Duration};

use frontdesk_shared::{ids::BootId, keys, redis::Redis};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{Error, status::Status};

/// A beat that takes longer has failed: readiness must notice a stalled Redis soon.
const BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// Beats until `stop`, then takes the registration out.
pub(crate) async fn run(
    redis: Redis,
    boot: BootId,
    every: Duration,
    status: Arc<Status>,
    stop: CancellationToken,
) {
    let script = redis::Script::new(include_str!("../lua/heartbeat.lua"));
    let mut ticks = interval(every);
    // After a stall the missed beats are worth nothing; one is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let beat = bounded(beat(&redis, &script, &boot)).await;
        let was_well = status.set_heartbeat(beat.is_ok());
        match beat {
            Ok(counter) if !was_well => info!(counter, "Redis answers heartbeats"),
            Ok(counter) => debug!(counter, "heartbeat"),
            Err(error) if was_well => warn!(%error, "heartbeat failed; not ready"),
            Err(error) => debug!(%error, "heartbeat failed again"),
        }
    }
    status.set_heartbeat(false);
    if let Err(error) = bounded(unregister(&redis, &boot)).await {
        warn!(%error, "the registration could not be taken out; the reaper will find it");
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(BEAT_TIMEOUT, work)
        .await
        .unwrap_or(Err(Error::Slow))
}

async fn beat(redis: &Redis, script: &redis::Script, boot: &BootId) -> Result<u64, Error> {
    let mut connection = redis.pool().get().await?;
    let mut call = script.key(keys::GATEWAYS);
    Ok(call
        .arg(boot.as_str())
        .invoke_async(&mut connection)
        .await?)
}

async fn unregister(redis: &Redis, boot: &BootId) -> Result<(), Error> {
    let mut connection = redis.pool().get().await?;
    let mut command = redis::cmd("HDEL");
    command.arg(keys::GATEWAYS).arg(boot.as_str());
    Ok(command.query_async(&mut connection).await?)
}
