//! Who reads each lane, and what waits there.

use frontdesk_shared::{
    ids::{Lane, Shard, StreamId},
    keys,
    stream::Entries,
};
use redis::{RedisResult, aio::MultiplexedConnection};

use super::LaneState;

/// Backlogs are counted in so many lanes, those whose oldest event is oldest, since entries have words in them.
const MAX_COUNTED_LANES: usize = 16;
/// And up to this.
const MAX_COUNTED: usize = 100;

/// Every lane of every shard.
fn every_lane() -> impl Iterator<Item = (Shard, Lane)> {
    Shard::all().flat_map(|shard| Lane::all().map(move |lane| (shard, lane)))
}

/// All lanes; `time` is Redis's clock.
pub async fn read(
    connection: &mut MultiplexedConnection,
    time: u64,
) -> RedisResult<Vec<LaneState>> {
    let mut leases = redis::pipe();
    for (shard, lane) in every_lane() {
        leases.cmd("GET").arg(keys::lease(shard, lane));
    }
    let leases: Vec<Option<String>> = leases.query_async(connection).await?;
    let before = applied(connection).await?;
    let asked: Vec<_> = every_lane().zip(before).collect();
    let first = unapplied(connection, &asked, 1).await?;
    let after = applied(connection).await?;
    // What was applied meanwhile does not wait.
    let first = first.iter().zip(&after).map(|(entries, applied)| {
        let id = entries.0.first().map(|entry| entry.id);
        id.filter(|id| id > applied)
    });
    let mut lanes: Vec<LaneState> = every_lane()
        .zip(leases)
        .zip(first)
        .map(|(((shard, lane), lease), first)| LaneState {
            shard: shard.number(),
            lane: lane.number(),
            owner: lease.as_deref().map(owner),
            backlog: usize::from(first.is_some()),
            more_backlog: first.is_some(),
            oldest_ms: first.map(|id| time.saturating_sub(id.ms)),
        })
        .collect();
    count(connection, &mut lanes, &after).await?;
    Ok(lanes)
}

/// Counts what waits where it has waited longest.
async fn count(
    connection: &mut MultiplexedConnection,
    lanes: &mut [LaneState],
    applied: &[StreamId],
) -> RedisResult<()> {
    let mut lagging: Vec<usize> = (0..lanes.len())
        .filter(|at| lanes[*at].oldest_ms.is_some())
        .collect();
    lagging.sort_by_key(|at| std::cmp::Reverse(lanes[*at].oldest_ms));
    lagging.truncate(MAX_COUNTED_LANES);
    let places: Vec<_> = every_lane().zip(applied.iter().copied()).collect();
    let asked: Vec<_> = lagging.iter().map(|at| places[*at]).collect();
    let entries = unapplied(connection, &asked, MAX_COUNTED + 1).await?;
    for (at, entries) in lagging.into_iter().zip(entries) {
        let counted = entries.0.len();
        lanes[at].more_backlog = counted > MAX_COUNTED;
        // At least the one that was seen to wait.
        lanes[at].backlog = counted.clamp(1, MAX_COUNTED);
    }
    Ok(())
}

/// A lease's token is the worker's name and a random part.
fn owner(token: &str) -> String {
    let name = token.rsplit_once('.').map_or(token, |(name, _)| name);
    name.to_owned()
}

/// Up to where each lane is applied.
async fn applied(connection: &mut MultiplexedConnection) -> RedisResult<Vec<StreamId>> {
    let mut pipeline = redis::pipe();
    for shard in Shard::all() {
        let get = pipeline.cmd("HMGET").arg(keys::applied(shard));
        for lane in Lane::all() {
            get.arg(lane.number());
        }
    }
    let shards: Vec<Vec<Option<String>>> = pipeline.query_async(connection).await?;
    let id = |text: Option<String>| text.and_then(|id| StreamId::parse(&id).ok());
    Ok(shards
        .into_iter()
        .flatten()
        .map(|applied| id(applied).unwrap_or(StreamId::ZERO))
        .collect())
}

/// The first entries behind a place of each lane.
async fn unapplied(
    connection: &mut MultiplexedConnection,
    lanes: &[((Shard, Lane), StreamId)],
    most: usize,
) -> RedisResult<Vec<Entries>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for ((shard, lane), applied) in lanes {
        let range = pipeline.cmd("XRANGE").arg(keys::events(*shard, *lane));
        range
            .arg(format!("({applied}"))
            .arg("+")
            .arg("COUNT")
            .arg(most);
    }
    pipeline.query_async(connection).await
}
