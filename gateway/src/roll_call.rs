//! The roll call: who is here against whom the state counts as here (`{sNN}:boot:<boot>`).
//!
//! A Redis that has lost the end of its log has forgotten sockets, or remembers some that were
//! gone; an append that was thought lost may arrive late and open a socket that has left. So after
//! each change of Redis's run, some time after appends of unknown outcome, and every few minutes,
//! the gateway compares. Both findings are made certain before anything follows:
//!
//! - *unknown*: the socket was welcomed before the reading began, is not in it, and not there at a
//!   second look. It is closed retryably.
//! - *missing*: the state has a connection whose socket is not here and whose `close` is not under
//!   way. A `close` that was confirmed may still wait to be applied, so everything that is in the
//!   lane now is first seen applied; what is in the state then is written off by a `close`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, Lane, Shard, Site, StreamId, Uid},
    keys,
    protocol::close::RESYNC,
    redis::Redis,
    stream::Entries,
};
use futures_util::future::join_all;
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{Gateway, backoff::Backoff, metrics::METRICS, presence::confirm_close};

/// Connections read per page.
const PAGE: usize = 500;
/// A socket is judged only when it was welcomed so long before.
const GRACE: Duration = Duration::from_secs(10);
/// After appends of unknown outcome: longer than a TCP connection to Redis can hold bytes back.
const AFTER_UNKNOWN: Duration = Duration::from_secs(20);
/// Most missing connections of a shard dealt with per call; the next one finds the others.
const MAX_MISSING: usize = 10_000;
/// Closes on their way at once.
const CLOSES_AT_ONCE: usize = 256;
/// Longest wait for what is in the lanes to be applied; without workers the next call looks again.
const APPLIED_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two looks at what is applied.
const APPLIED_PAUSE: Duration = Duration::from_millis(500);

/// Rung by whoever has a reason to doubt the state.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    now: Notify,
    later: Notify,
}

impl Bell {
    /// Calls the roll now.
    pub(crate) fn now(&self) {
        self.now.notify_one();
    }

    /// Calls the roll once nothing can arrive late any more.
    pub(crate) fn later(&self) {
        self.later.notify_one();
    }
}

/// Calls the roll until `stop`.
pub(crate) async fn run(redis: Redis, gateway: Arc<Gateway>, stop: CancellationToken) {
    let calls = async {
        let mut due = Instant::now() + jittered(gateway.config.roll_call());
        loop {
            select! {
                () = gateway.bell.now.notified() => {}
                () = gateway.bell.later.notified() => {
                    due = due.min(Instant::now() + AFTER_UNKNOWN);
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let mut backoff = Backoff::new();
            while let Err(error) = call(&redis, &gateway).await {
                warn!(%error, "roll call failed; trying again");
                backoff.wait().await;
            }
            METRICS.roll_calls.inc();
            due = Instant::now() + jittered(gateway.config.roll_call());
        }
    };
    stop.run_until_cancelled(calls).await;
}

/// Up to a quarter early, so that gateways which started together do not call together.
fn jittered(every: Duration) -> Duration {
    every.mul_f64(rand::random_range(0.75..1.0))
}

async fn call(redis: &Redis, gateway: &Gateway) -> Result<(), RedisError> {
    let mut connection = redis.short().await?;
    let mut missing = Vec::new();
    for shard in Shard::all() {
        missing.extend(look_at(&mut connection, gateway, shard).await?);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let patience = APPLIED_TIMEOUT.min(gateway.config.roll_call());
    if !all_applied(&mut connection, &missing, patience).await? {
        debug!(
            connections = missing.len(),
            "lanes are not being applied; the next call looks again"
        );
        return Ok(());
    }
    write_off(&mut connection, gateway, missing).await
}

/// A connection in the state whose socket is not here.
struct Missing {
    shard: Shard,
    lane: Lane,
    client: ClientId,
    site: Site,
    uid: Uid,
}

/// Closes the sockets that a shard does not know; returns the connections that only it knows.
async fn look_at(
    connection: &mut MultiplexedConnection,
    gateway: &Gateway,
    shard: Shard,
) -> Result<Vec<Missing>, RedisError> {
    let key = keys::connections(shard, &gateway.boot);
    let grace = GRACE.min(gateway.config.roll_call());
    let mut unknown = gateway.registry.welcomed_before(shard, grace);
    let mut missing = HashMap::new(); // a scan may show an entry twice
    let mut cursor = 0;
    loop {
        let (next, page): (u64, Vec<(String, String)>) = redis::cmd("HSCAN")
            .arg(&key)
            .arg(cursor)
            .arg("COUNT")
            .arg(PAGE)
            .query_async(connection)
            .await?;
        for (client, whose) in page {
            unknown.remove(client.as_str());
            if !gateway.registry.holds(shard, &client)
                && missing.len() < MAX_MISSING
                && let Some(found) = missing_one(shard, &client, &whose)
            {
                missing.insert(client, found);
            }
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    close_unknown(connection, gateway, shard, unknown).await?;
    Ok(missing.into_values().collect())
}

fn missing_one(shard: Shard, client: &str, whose: &str) -> Option<Missing> {
    let (site, uid) = whose.split_once(' ')?;
    let uid = Uid::parse(uid).ok()?;
    Some(Missing {
        shard,
        lane: Lane::of(&uid),
        client: ClientId::parse(client).ok()?,
        site: Site::parse(site).ok()?,
        uid,
    })
}

async fn close_unknown(
    connection: &mut MultiplexedConnection,
    gateway: &Gateway,
    shard: Shard,
    unknown: HashSet<ClientId>,
) -> Result<(), RedisError> {
    let unknown: Vec<ClientId> = unknown.into_iter().collect();
    for clients in unknown.chunks(PAGE) {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::connections(shard, &gateway.boot));
        for client in clients {
            command.arg(client.as_str());
        }
        let known: Vec<Option<String>> = command.query_async(connection).await?;
        let mut closed = 0;
        for (client, _) in clients
            .iter()
            .zip(known)
            .filter(|(_, known)| known.is_none())
        {
            closed += usize::from(gateway.registry.close(shard, client.as_str(), RESYNC));
        }
        if closed > 0 {
            METRICS
                .roll_call_findings
                .with_label_values(&["unknown"])
                .inc_by(closed as u64);
            warn!(
                shard = shard.number(),
                sockets = closed,
                "the state does not know these sockets; closed them to resync"
            );
        }
    }
    Ok(())
}

/// Waits until everything that is in the lanes of `missing` now has been applied; false if that
/// takes too long.
async fn all_applied(
    connection: &mut MultiplexedConnection,
    missing: &[Missing],
    patience: Duration,
) -> Result<bool, RedisError> {
    let mut lanes: Vec<(Shard, Lane)> = missing.iter().map(|one| (one.shard, one.lane)).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let mut pipeline = redis::pipe();
    for (shard, lane) in &lanes {
        let newest = pipeline.cmd("XREVRANGE").arg(keys::events(*shard, *lane));
        newest.arg("+").arg("-").arg("COUNT").arg(1);
    }
    let ends: Vec<Entries> = pipeline.query_async(connection).await?;
    let mut waiting: Vec<((Shard, Lane), StreamId)> = lanes
        .into_iter()
        .zip(&ends)
        .filter_map(|(lane, end)| Some((lane, end.0.first()?.id)))
        .collect();
    let deadline = Instant::now() + patience;
    loop {
        let mut pipeline = redis::pipe();
        for ((shard, lane), _) in &waiting {
            let applied = pipeline.cmd("HGET").arg(keys::applied(*shard));
            applied.arg(lane.number());
        }
        if !waiting.is_empty() {
            let applied: Vec<Option<String>> = pipeline.query_async(connection).await?;
            let mut applied = applied.into_iter();
            waiting.retain(|(_, end)| {
                let applied = applied.next().flatten();
                !applied.is_some_and(|id| StreamId::parse(&id).is_ok_and(|id| id >= *end))
            });
        }
        if waiting.is_empty() || Instant::now() >= deadline {
            return Ok(waiting.is_empty());
        }
        sleep(APPLIED_PAUSE).await;
    }
}

/// Appends a `close` for each that is still in the state and still not here.
async fn write_off(
    connection: &mut MultiplexedConnection,
    gateway: &Gateway,
    missing: Vec<Missing>,
) -> Result<(), RedisError> {
    for batch in missing.chunks(CLOSES_AT_ONCE) {
        let mut pipeline = redis::pipe();
        for Missing { shard, client, .. } in batch {
            let entry = pipeline.cmd("HEXISTS");
            entry
                .arg(keys::connections(*shard, &gateway.boot))
                .arg(client.as_str());
        }
        let there: Vec<bool> = pipeline.query_async(connection).await?;
        let closes = batch.iter().zip(there).filter_map(|(one, there)| {
            // From here on its close is under way, so nobody else starts one.
            let closing = gateway.registry.begin_closing(one.shard, &one.client)?;
            there.then_some(async move {
                let close = Event {
                    site: one.site.clone(),
                    uid: one.uid.clone(),
                    kind: Kind::Close {
                        client: one.client.clone(),
                        clean: false,
                    },
                };
                confirm_close(gateway, &close).await;
                drop(closing);
            })
        });
        let written = join_all(closes).await.len();
        METRICS
            .roll_call_findings
            .with_label_values(&["missing"])
            .inc_by(written as u64);
        info!(
            connections = written,
            "the state had connections whose sockets are gone; closed them there"
        );
    }
    Ok(())
}
