//! What is asked of Redis beside the lanes.

use std::collections::HashMap;

use anyhow::bail;
use frontdesk_shared::{
    ids::{BootId, LANES, SHARDS, Shard, Site},
    keys,
    redis::{RedisSetupError, SCHEMA},
};
use redis::{RedisResult, aio::MultiplexedConnection};

use super::SiteState;
use crate::library::MAX_SITES_IN_STATS;

/// Refuses a Redis that holds no cluster, or one of another shape. Unlike a program's start it writes nothing.
pub async fn check_shape(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let facts = [
        ("schema", SCHEMA.to_string()),
        ("shards", SHARDS.to_string()),
        ("lanes", LANES.to_string()),
    ];
    let mut get = redis::cmd("HMGET");
    get.arg(keys::META)
        .arg(&facts.each_ref().map(|(fact, _)| *fact));
    let found: Vec<Option<String>> = get
        .query_async(connection)
        .await
        .map_err(RedisSetupError::from)?;
    if found.iter().all(Option::is_none) {
        bail!("this Redis holds no cluster: no gateway or worker has started with it yet");
    }
    for ((fact, ours), found) in facts.into_iter().zip(found) {
        let found = found.unwrap_or_default();
        if found != ours {
            return Err(RedisSetupError::OtherCluster { fact, found, ours }.into());
        }
    }
    Ok(())
}

/// The counters of gateways and of workers.
pub async fn counters(
    connection: &mut MultiplexedConnection,
) -> RedisResult<[HashMap<String, String>; 2]> {
    let (gateways, workers) = redis::pipe()
        .cmd("HGETALL")
        .arg(keys::GATEWAYS)
        .cmd("HGETALL")
        .arg(keys::WORKERS)
        .query_async(connection)
        .await?;
    Ok([gateways, workers])
}

/// What happens in each site, and whether there are more.
pub async fn sites(connection: &mut MultiplexedConnection) -> RedisResult<(Vec<SiteState>, bool)> {
    let mut pipeline = redis::pipe();
    for shard in Shard::all() {
        pipeline.cmd("SMEMBERS").arg(keys::sites(shard));
    }
    let names: Vec<Vec<String>> = pipeline.query_async(connection).await?;
    let more = names.iter().any(|names| names.len() > MAX_SITES_IN_STATS);
    let mut sites: Vec<Site> = names
        .into_iter()
        .flat_map(|names| names.into_iter().take(MAX_SITES_IN_STATS))
        .filter_map(|name| Site::parse(&name).ok())
        .collect();
    sites.sort();
    if sites.is_empty() {
        return Ok((Vec::new(), more));
    }
    let mut pipeline = redis::pipe();
    for site in &sites {
        for list in ["duty", "free", "waiting", "away"] {
            let key = format!("{}{list}", keys::site_prefix(site));
            pipeline.cmd("ZCARD").arg(key);
        }
    }
    let counts: Vec<[u64; 4]> = pipeline
        .query_async::<Vec<u64>>(connection)
        .await?
        .chunks_exact(4)
        .map(|four| [four[0], four[1], four[2], four[3]])
        .collect();
    let state = |(site, [duty, free, waiting, away]): (Site, [u64; 4])| SiteState {
        shard: Shard::of(&site).number(),
        site: site.to_string(),
        staff_on_duty: duty,
        staff_free: free,
        customers_waiting: waiting,
        customers_away: away,
    };
    Ok((sites.into_iter().zip(counts).map(state).collect(), more))
}

/// How many connections of each gateway the state knows.
pub async fn connections(
    connection: &mut MultiplexedConnection,
    gateways: &HashMap<String, String>,
) -> RedisResult<HashMap<String, u64>> {
    let boots = gateways.keys().filter_map(|boot| BootId::parse(boot).ok());
    let boots: Vec<BootId> = boots.collect();
    if boots.is_empty() {
        return Ok(HashMap::new());
    }
    let mut pipeline = redis::pipe();
    for boot in &boots {
        for shard in Shard::all() {
            pipeline.cmd("HLEN").arg(keys::connections(shard, boot));
        }
    }
    let counts: Vec<u64> = pipeline.query_async(connection).await?;
    let sums = counts.chunks(usize::from(SHARDS));
    let sums = sums.map(|shards| shards.iter().sum());
    Ok(boots.iter().map(BootId::to_string).zip(sums).collect())
}

/// How many dead letters there are.
pub async fn dead_letters(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    let mut pipeline = redis::pipe();
    for shard in Shard::all() {
        pipeline.cmd("XLEN").arg(keys::dead(shard));
    }
    let counts: Vec<u64> = pipeline.query_async(connection).await?;
    Ok(counts.iter().sum())
}
