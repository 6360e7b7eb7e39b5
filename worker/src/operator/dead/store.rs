//! The dead letters of all shards in Redis.

use anyhow::{Context as _, bail};
use frontdesk_shared::{
    ids::{EventId, Lane, Shard, StreamId},
    keys,
    redis::{Redis, RedisSetupError},
    stream::Entries,
};
use redis::aio::MultiplexedConnection;

use super::letter::Letter;
use crate::{
    desk::{Desk, settings::DeskSettings},
    library::Library,
};

/// Letters read at once; each may hold the words of a message.
const PAGE: usize = 100;

/// The letters, by a connection.
pub struct Letters {
    connection: MultiplexedConnection,
    library: Library,
}

impl Letters {
    /// Connects.
    pub async fn connect(redis: &Redis) -> Result<Self, RedisSetupError> {
        Ok(Self {
            connection: redis.connect().await?,
            // Its name depends on its code alone, not on the settings.
            library: Library::new(&Desk::new(DeskSettings::default())),
        })
    }

    /// Redis's clock in ms.
    pub async fn time(&mut self) -> Result<u64, RedisSetupError> {
        let time = redis::cmd("TIME").query_async(&mut self.connection).await?;
        let (seconds, micros): (u64, u64) = time;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// How many there are.
    pub async fn count(&mut self) -> Result<u64, RedisSetupError> {
        let mut pipeline = redis::pipe();
        for shard in Shard::all() {
            pipeline.cmd("XLEN").arg(keys::dead(shard));
        }
        let counts: Vec<u64> = pipeline.query_async(&mut self.connection).await?;
        Ok(counts.iter().sum())
    }

    /// The newest of all shards.
    pub async fn newest(&mut self, limit: usize) -> Result<Vec<Letter>, RedisSetupError> {
        let mut newest: Vec<Letter> = Vec::new();
        for shard in Shard::all() {
            let mut before = "+".to_owned();
            let mut missing = limit;
            while missing > 0 {
                let mut range = redis::cmd("XREVRANGE");
                range.arg(keys::dead(shard)).arg(&before).arg("-");
                range.arg("COUNT").arg(missing.min(PAGE));
                let page: Entries = range.query_async(&mut self.connection).await?;
                newest.extend(page.0.iter().map(|entry| Letter::read(shard, entry)));
                missing -= page.0.len();
                match page.0.last().filter(|_| page.0.len() == PAGE) {
                    Some(last) => before = format!("({}", last.id),
                    None => break,
                }
            }
            newest
                .sort_by_key(|letter| std::cmp::Reverse((letter.time, letter.place, letter.shard)));
            newest.truncate(limit);
        }
        Ok(newest)
    }

    /// All that there are now, by shard, the oldest first; without their fields.
    pub async fn all(&mut self) -> Result<Vec<Letter>, RedisSetupError> {
        let mut all = Vec::new();
        for shard in Shard::all() {
            let mut last = redis::cmd("XREVRANGE");
            last.arg(keys::dead(shard))
                .arg("+")
                .arg("-")
                .arg("COUNT")
                .arg(1);
            let last: Entries = last.query_async(&mut self.connection).await?;
            let Some(last) = last.0.first().map(|entry| entry.id) else {
                continue;
            };
            let mut from = "-".to_owned();
            loop {
                let page = self.page(shard, &from, &last.to_string()).await?;
                let next = page.last().map(|letter| format!("({}", letter.place));
                let full = page.len() == PAGE;
                all.extend(page.into_iter().map(|letter| Letter {
                    fields: None,
                    ..letter
                }));
                match next.filter(|_| full) {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(all)
    }

    /// The letter of an event.
    pub async fn find(&mut self, event: EventId) -> anyhow::Result<Letter> {
        let id = event.to_string();
        // No letter is older than its event, unless Redis's clock was set back.
        let since = StreamId {
            seq: 0,
            ..event.stream
        };
        for from in [since.to_string(), "-".to_owned()] {
            let mut from = from;
            loop {
                let page = self.page(event.shard, &from, "+").await?;
                let (full, last) = (page.len() == PAGE, page.last().map(|letter| letter.place));
                if let Some(found) = page.into_iter().find(|letter| letter.event == id) {
                    return Ok(found);
                }
                match last.filter(|_| full) {
                    Some(last) => from = format!("({last}"),
                    None => break,
                }
            }
        }
        bail!("there is no dead letter of the event {event}: see `frontdesk-worker dead list`")
    }

    /// Letters of a shard from a place on, the oldest first.
    pub async fn page(
        &mut self,
        shard: Shard,
        from: &str,
        to: &str,
    ) -> Result<Vec<Letter>, RedisSetupError> {
        let mut range = redis::cmd("XRANGE");
        range.arg(keys::dead(shard)).arg(from).arg(to);
        range.arg("COUNT").arg(PAGE);
        let page: Entries = range.query_async(&mut self.connection).await?;
        Ok(page
            .0
            .iter()
            .map(|entry| Letter::read(shard, entry))
            .collect())
    }

    /// Forgets a letter; false if it is not there any more.
    pub async fn drop(&mut self, letter: &Letter) -> Result<bool, RedisSetupError> {
        let mut delete = redis::cmd("XDEL");
        delete
            .arg(keys::dead(letter.shard))
            .arg(letter.place.to_string());
        Ok(delete.query_async(&mut self.connection).await?)
    }

    /// Appends the letter's event again and forgets the letter. The new event, or `None` if the letter is not
    /// there any more.
    pub async fn replay(&mut self, letter: &Letter) -> anyhow::Result<Option<EventId>> {
        let event = EventId::parse(&letter.event).context("looked at before")?;
        let names = [
            keys::dead(event.shard),
            keys::events(event.shard, event.lane),
        ];
        let mut call = self.library.call("replay", &names);
        call.arg(letter.place.to_string()).arg(&letter.event);
        let place: Option<String> = self
            .library
            .run(&mut self.connection, &call)
            .await
            .map_err(RedisSetupError::from)?;
        let stream = place.map(|place| StreamId::parse(&place)).transpose();
        let stream = stream.context("Redis answers with the place of an entry")?;
        Ok(stream.map(|stream| EventId { stream, ..event }))
    }

    /// Up to where a lane is applied.
    pub async fn applied(&mut self, shard: Shard, lane: Lane) -> Result<StreamId, RedisSetupError> {
        let mut get = redis::cmd("HGET");
        get.arg(keys::applied(shard)).arg(lane.number());
        let applied: Option<String> = get.query_async(&mut self.connection).await?;
        let applied = applied.and_then(|id| StreamId::parse(&id).ok());
        Ok(applied.unwrap_or(StreamId::ZERO))
    }
}
