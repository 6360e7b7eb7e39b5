//! Registration and heartbeat: one counter per boot in one hash, moved by `lua/heartbeat.lua`.
//!
//! Three ends: a clean stop marks the registration dead at once; a boot that hears FENCED closes
//! its sockets and is given up (the process goes on under another one, see `lib.rs`); one that
//! hears nothing for two thirds of the TTL closes its sockets and waits. All closes are retryable.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_shared::{
    keys,
    protocol::close::RESYNC,
    redis::{Redis, info_field, is_displaced},
};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{Error, Gateway, metrics::METRICS};

/// A beat that takes longer has failed: readiness must notice a stalled Redis soon.
const BEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Failed beats that must fit into the time for which one is good.
const BEATS_PER_FENCE: u32 = 3;

/// Beats until `stop`, then marks the registration dead.
pub(crate) async fn run(redis: Redis, gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut heart = Heart {
        script: redis::Script::new(include_str!("../lua/heartbeat.lua")),
        patience: BEAT_TIMEOUT.min(gateway.config.fence_after() / BEATS_PER_FENCE),
        redis,
        gateway: gateway.clone(),
        connection: None,
        run_id: None,
        registered: false,
        counter: 0,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = guard(&gateway) => {}
        () = heart.beats() => {}
    }
    gateway.status.beat_failed();
    heart.leave().await;
}

/// Closes the sockets whenever no heartbeat has succeeded for too long.
async fn guard(gateway: &Gateway) {
    let mut changed = gateway.status.watch();
    loop {
        match gateway.status.lapses_at() {
            Some(end) if end > Instant::now() => sleep_until(end.into()).await,
            _ => {
                close_after_a_lapse(gateway);
                if changed.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn close_after_a_lapse(gateway: &Gateway) {
    if gateway.status.take_lapse() {
        METRICS.self_fenced.inc();
        let sockets = gateway.registry.close_all(RESYNC);
        warn!(
            sockets,
            "no heartbeat has succeeded for two thirds of --gateway-ttl-ms; closed all sockets, since others may count this gateway as dead"
        );
    }
}

struct Heart {
    script: redis::Script,
    patience: Duration,
    redis: Redis,
    gateway: Arc<Gateway>,
    connection: Option<MultiplexedConnection>,
    /// Which Redis answered last: another one may have lost the end of the log.
    run_id: Option<String>,
    registered: bool,
    /// What Redis counted at the last beat.
    counter: u64,
}

impl Heart {
    /// Beats until FENCED.
    async fn beats(&mut self) {
        let mut ticks = interval(self.gateway.config.heartbeat());
        // After a stall the missed beats are worth nothing; one is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let sent = Instant::now();
            let mode = if self.registered { "beat" } else { "first" };
            let answer = self.call::<u64>(mode).await;
            if let Ok(counter) = answer {
                self.compare(counter);
            }
            let status = &self.gateway.status;
            match answer {
                Ok(counter) => {
                    // Also when this task woke up too late to see it lapse.
                    close_after_a_lapse(&self.gateway);
                    self.registered = true;
                    if status.beat_succeeded(sent) {
                        debug!(counter, "heartbeat");
                    } else {
                        info!(counter, "Redis answers heartbeats");
                    }
                }
                Err(Error::Redis(reason)) if reason.code() == Some("FENCED") => {
                    status.fence();
                    METRICS.fenced.inc();
                    let sockets = self.gateway.registry.close_all(RESYNC);
                    error!(boot = %self.gateway.boot, sockets, "FENCED: this boot was declared dead, or Redis has lost it; closed all sockets");
                    return;
                }
                Err(error) if status.beat_failed() => warn!(%error, "heartbeat failed; not ready"),
                Err(error) => debug!(%error, "heartbeat failed again"),
            }
        }
    }

    /// A counter that falls shows that Redis has lost writes that it had confirmed.
    fn compare(&mut self, counter: u64) {
        if counter <= self.counter {
            METRICS.data_losses.inc();
            error!(
                counter,
                before = self.counter,
                "Redis has lost writes that it had confirmed (docs/OPERATIONS.md, loss windows)"
            );
        }
        self.counter = counter;
    }

    /// One call of the script. The connection is kept only after an answer.
    async fn call<T: redis::FromRedisValue>(&mut self, mode: &str) -> Result<T, Error> {
        let patience = self.patience;
        let work = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let mut call = self.script.key(keys::GATEWAYS);
            call.arg(self.gateway.boot.as_str()).arg(mode);
            let answer: Result<redis::Value, RedisError> = call.invoke_async(&mut connection).await;
            let usable = |error: &RedisError| error.code().is_some() && !is_displaced(error);
            if answer.as_ref().err().is_none_or(usable) {
                self.connection = Some(connection);
            }
            Ok(redis::from_redis_value(answer?).map_err(RedisError::from)?)
        };
        timeout(patience, work).await.unwrap_or(Err(Error::Slow))
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.redis.connect().await?;
        let info: Result<String, _> = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await;
        let run_id = match info {
            Ok(info) => info_field(&info, "run_id").map(str::to_owned),
            Err(error) if error.is_io_error() => return Err(error),
            Err(error) => {
                warn!(%error, "cannot tell one Redis from another; allow INFO");
                None
            }
        };
        if self.run_id.is_some() && self.run_id != run_id {
            info!(run_id, "another run of Redis; calling the roll");
            // The one before may still be there, demoted, and answer probes.
            self.gateway.uplink.reconnect();
            self.gateway.reads.renew();
            self.gateway.typing.renew();
            self.gateway.bell.now();
        }
        self.run_id = run_id;
        Ok(connection)
    }

    /// A clean stop. Only reached when every `close` is in the log.
    async fn leave(&mut self) {
        if self.gateway.status.fenced().is_cancelled() || !self.registered {
            return;
        }
        if let Err(error) = self.call::<String>("stop").await {
            warn!(%error, "the registration could not be ended; the reaper will find it");
        }
    }
}
