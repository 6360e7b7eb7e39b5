//! Finds dead gateways and has them buried.
//!
//! Every worker watches the registrations with its own monotonic clock. Death is decided once, by
//! compare-and-set on the counter that stood still (lua/declare.lua); reads that fail reset the
//! watch, so an outage of Redis kills nobody. The owner of a shard's lane 0 then appends
//! `gateway_dead` there until the shard has applied it (lua/bury.lua).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use frontdesk_shared::{
    ids::{BootId, Lane, Shard, Site},
    keys,
    redis::expect_primary,
};
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    lane::{Context, Lanes, reads_lane_0},
    membership::Observer,
    metrics::METRICS,
};

/// Who an event of a shard, not of a user, names as its user.
const NOBODY: &str = "reaper";
/// Every how many rounds the long dead are looked at.
const FORGET_EVERY: u64 = 600;

/// Watches gateways until `shutdown`.
pub struct Reaper {
    context: Context,
    active: BTreeMap<Shard, watch::Receiver<Lanes>>,
    observer: Observer,
    buried: BTreeSet<(Shard, String)>,
    /// A site of each shard, since every event names one.
    sites: BTreeMap<Shard, Site>,
    connection: Option<MultiplexedConnection>,
    rounds: u64,
}

impl Reaper {
    /// A reaper that calls gateways dead after `ttl`.
    pub fn new(
        context: Context,
        active: BTreeMap<Shard, watch::Receiver<Lanes>>,
        ttl: Duration,
    ) -> Self {
        Self {
            context,
            active,
            observer: Observer::new(ttl),
            buried: BTreeSet::new(),
            sites: a_site_of_each_shard(),
            connection: None,
            rounds: 1, // in its first round it reads no lanes yet, so nobody is buried
        }
    }

    /// Looks every `interval` until `shutdown`.
    pub async fn run(mut self, interval: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.round().await {
                warn!(%error, "gateways cannot be watched; nobody is declared dead");
                self.observer.interrupted();
                self.connection = None;
            }
        }
    }

    async fn round(&mut self) -> RedisResult<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.context.redis.connect().await?,
        };
        expect_primary(&mut connection).await?; // a replica lags, or has stopped
        let registrations: HashMap<String, String> = redis::cmd("HGETALL")
            .arg(keys::GATEWAYS)
            .query_async(&mut connection)
            .await?;
        let counters: HashMap<String, u64> = registrations
            .iter()
            .filter_map(|(boot, value)| Some((boot.clone(), value.parse().ok()?)))
            .collect();
        METRICS
            .gateways
            .set(i64::try_from(counters.len()).unwrap_or(i64::MAX));
        let (_, silent) = self.observer.observe(Instant::now(), &counters);
        for boot in silent {
            let counter = counters.get(&boot).map(u64::to_string).unwrap_or_default();
            if self.declare(&mut connection, &boot, &counter).await? {
                METRICS.gateways_dead.inc();
                warn!(boot, "gateway is dead: its counter stands still");
            }
        }
        let dead: Vec<&String> = registrations
            .keys()
            .filter(|boot| !counters.contains_key(*boot) && BootId::parse(boot).is_ok())
            .collect();
        self.buried
            .retain(|(_, boot)| registrations.contains_key(boot));
        for boot in &dead {
            self.bury(&mut connection, boot).await?;
            if self.rounds.is_multiple_of(FORGET_EVERY) {
                self.declare(&mut connection, boot, "").await?;
            }
        }
        self.rounds += 1;
        self.connection = Some(connection);
        Ok(())
    }

    async fn declare(
        &self,
        connection: &mut MultiplexedConnection,
        boot: &str,
        counter: &str,
    ) -> RedisResult<bool> {
        let mut call = self
            .context
            .library
            .call("declare", &[keys::GATEWAYS.to_owned()]);
        call.arg(boot).arg(counter);
        self.context.library.run(connection, &call).await
    }

    /// Has a dead gateway's connections closed in the shards whose lane 0 we read.
    async fn bury(
        &mut self,
        connection: &mut MultiplexedConnection,
        boot: &str,
    ) -> RedisResult<()> {
        let Some(lane) = Lane::new(0) else {
            return Ok(());
        };
        for (shard, lanes) in &self.active {
            let known = self.buried.contains(&(*shard, boot.to_owned()));
            let Some(site) = self
                .sites
                .get(shard)
                .filter(|_| !known && reads_lane_0(lanes))
            else {
                continue;
            };
            let names = [
                keys::fenced(*shard),
                keys::events(*shard, lane),
                keys::pushes(*shard),
            ];
            let mut call = self.context.library.call("bury", &names);
            call.arg(site.as_str()).arg(NOBODY).arg(boot);
            let appended: bool = self.context.library.run(connection, &call).await?;
            if appended {
                info!(shard = shard.number(), boot, "gateway_dead appended");
            } else {
                self.buried.insert((*shard, boot.to_owned()));
            }
        }
        Ok(())
    }
}

/// Names that hash to every shard.
fn a_site_of_each_shard() -> BTreeMap<Shard, Site> {
    let mut sites = BTreeMap::new();
    for n in 0..10_000 {
        if let Ok(site) = Site::parse(&format!("shard{n}")) {
            sites.entry(Shard::of(&site)).or_insert(site);
        }
        if sites.len() == Shard::all().count() {
            break;
        }
    }
    sites
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_site_for_every_shard() {
        assert_eq!(a_site_of_each_shard().len(), Shard::all().count());
    }
}
