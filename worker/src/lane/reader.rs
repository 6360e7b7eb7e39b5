//! Reads the granted lanes of one shard with one blocking XREAD on a connection of its own, and
//! hands each lane's entries to that lane's applier.
//!
//! No consumer groups: a position is memory only. It is read from `applied` whenever a lane is
//! taken up, and any failure (a lost connection, another Redis, a GAP) ends the session and starts
//! a new one, so there is one way to recover. A blocking read is never cancelled: to add or drop a
//! lane it is woken with CLIENT UNBLOCK and awaited.

use std::{collections::BTreeMap, time::Duration};

use frontdesk_shared::{
    ids::{Lane, Shard, StreamId},
    keys,
    redis::info_field,
    stream::Streams,
};
use rand::Rng as _;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::{
    Context, Lanes, acks,
    apply::{Applier, Entry, LaneEnd},
};
use crate::metrics::METRICS;

/// How long one XREAD waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// Most entries of one lane that one XREAD brings.
const READ_COUNT: usize = 32;
/// Most entries of one lane that wait in memory; beyond, reading pauses.
const LANE_BUFFER: usize = 128;
/// Most acks of one shard that wait to be published; beyond, applying pauses.
const ACK_BUFFER: usize = 4096;
/// How often a blocked read is told to wake up until it does.
const UNBLOCK_EVERY: Duration = Duration::from_millis(20);
/// Least and most pause after a session that failed.
const BACKOFF: std::ops::Range<u64> = 50..300;

/// The reader of one shard.
pub struct Reader {
    /// What it needs.
    pub context: Context,
    /// Its shard.
    pub shard: Shard,
    /// What it may read; a closed channel ends it.
    pub granted: watch::Receiver<Lanes>,
    /// What it reads.
    pub active: watch::Sender<Lanes>,
}

struct Session {
    reading: MultiplexedConnection,
    reader_id: i64,
    commands: MultiplexedConnection,
    acks: mpsc::Sender<acks::Outgoing>,
    publisher: AbortOnDropHandle<()>,
    appliers: JoinSet<Result<(), LaneEnd>>,
    lanes: BTreeMap<Lane, Position>,
}

struct Position {
    entries: mpsc::Sender<Entry>,
    last: StreamId,
}

impl Reader {
    /// Reads until the keeper is gone.
    pub async fn run(mut self) {
        loop {
            if self
                .granted
                .wait_for(|lanes| !lanes.is_empty())
                .await
                .is_err()
            {
                return;
            }
            // Said before the session opens: a keeper that takes lanes back meanwhile must wait for it.
            self.active.send_replace(self.granted.borrow().clone());
            let ended = self.session().await;
            self.active.send_replace(Lanes::new());
            let Err(end) = ended else { continue };
            METRICS.sessions_failed.inc();
            match &end {
                LaneEnd::Gap => self.context.signals.recheck.notify_one(),
                LaneEnd::UnknownVersion => self.context.signals.outdated.notify_one(),
                LaneEnd::Silent | LaneEnd::Redis(_) => {}
            }
            warn!(shard = self.shard.number(), reason = %end, "reading starts again");
            let pause = rand::rng().random_range(BACKOFF);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Reads until nothing is granted, or something fails. When connections have gone silent all that
    /// is under way is dropped with them: the log rule does not mind what becomes of it.
    async fn session(&mut self) -> Result<(), LaneEnd> {
        let mut renew = self.context.signals.renew.subscribe();
        let session = self.open().await?;
        tokio::select! {
            ended = self.serve(session) => ended,
            _ = renew.changed() => Err(LaneEnd::Silent),
        }
    }

    async fn serve(&mut self, mut session: Session) -> Result<(), LaneEnd> {
        let mut result = Ok(());
        while result.is_ok() && self.granted.has_changed().is_ok() {
            match self.follow_grants(&mut session).await {
                Ok(()) if session.lanes.is_empty() => break,
                Ok(()) => result = self.read_once(&mut session).await,
                Err(error) => result = Err(error),
            }
        }
        // Appliers end when their senders are gone, after the call they are in.
        session.lanes.clear();
        while let Some(ended) = session.appliers.join_next().await {
            if let (Ok(Err(end)), Ok(())) = (ended, &result) {
                result = Err(end);
            }
        }
        // The last acks go out before the session counts as ended.
        drop(session.acks);
        if let Err(error) = session.publisher.await {
            warn!(%error, "the publisher of acks broke");
        }
        result
    }

    async fn open(&self) -> RedisResult<Session> {
        let mut reading = self.context.redis.connect_blocking(BLOCK).await?;
        let reader_id = redis::cmd("CLIENT")
            .arg("ID")
            .query_async(&mut reading)
            .await?;
        let mut commands = self.context.redis.connect().await?;
        // In a failover the two may have come to different servers: what one reads in its stream
        // must not be applied to the other, whose entries may have the same ids.
        if run_id(&mut reading).await? != run_id(&mut commands).await? {
            let what = "two connections came to different runs of Redis";
            return Err((redis::ErrorKind::Client, what).into());
        }
        let (acks, outgoing) = mpsc::channel(ACK_BUFFER);
        let publisher = tokio::spawn(acks::publish(self.shard, commands.clone(), outgoing));
        Ok(Session {
            reading,
            reader_id,
            commands,
            acks,
            publisher: AbortOnDropHandle::new(publisher),
            appliers: JoinSet::new(),
            lanes: BTreeMap::new(),
        })
    }

    /// Takes up newly granted lanes at their applied position, drops the others.
    async fn follow_grants(&mut self, session: &mut Session) -> Result<(), LaneEnd> {
        let granted = self.granted.borrow_and_update().clone();
        let before = session.lanes.len();
        session.lanes.retain(|lane, _| granted.contains(lane));
        if session.lanes.len() < before {
            // A dropped lane's applier must have ended before its lease is released. Which one is
            // which the set does not tell, so all are ended; the others start again below.
            session.lanes.clear();
            while let Some(ended) = session.appliers.join_next().await {
                ended.unwrap_or_else(|panic| Err(LaneEnd::panicked(&panic)))?;
            }
        }
        let new: Vec<Lane> = granted
            .iter()
            .copied()
            .filter(|lane| !session.lanes.contains_key(lane))
            .collect();
        if !new.is_empty() {
            // As text: the client would send a vector of u8 as one string of bytes.
            let numbers: Vec<String> = new.iter().map(|lane| lane.number().to_string()).collect();
            let applied: Vec<Option<String>> = redis::cmd("HMGET")
                .arg(keys::applied(self.shard))
                .arg(&numbers)
                .query_async(&mut session.commands)
                .await?;
            for (lane, last) in new.into_iter().zip(applied) {
                let last = last
                    .and_then(|id| StreamId::parse(&id).ok())
                    .unwrap_or(StreamId::ZERO);
                self.take_up(session, lane, last);
            }
            info!(shard = self.shard.number(), lanes = ?granted.iter().map(|l| l.number()).collect::<Vec<_>>(), "reading");
        }
        self.active.send_if_modified(|active| {
            let changed = *active != granted;
            active.clone_from(&granted);
            changed
        });
        Ok(())
    }

    fn take_up(&self, session: &mut Session, lane: Lane, last: StreamId) {
        let (entries, inbox) = mpsc::channel(LANE_BUFFER);
        let applier = Applier {
            context: self.context.clone(),
            shard: self.shard,
            lane,
            connection: session.commands.clone(),
            acks: session.acks.clone(),
        };
        session.appliers.spawn(applier.run(inbox));
        session.lanes.insert(lane, Position { entries, last });
    }

    /// One XREAD over all lanes, and its entries on their way.
    async fn read_once(&mut self, session: &mut Session) -> Result<(), LaneEnd> {
        let reply = self.xread(session).await?;
        for (key, entries) in reply.unwrap_or_default().0 {
            let found = session
                .lanes
                .iter_mut()
                .find(|(lane, _)| keys::events(self.shard, **lane) == key);
            let Some((_, position)) = found else { continue };
            for entry in entries.0 {
                position.last = entry.id;
                let entry = Entry::new(entry, &self.context.room).await;
                if position.entries.send(entry).await.is_err() {
                    return self.why_ended(session).await;
                }
            }
        }
        Ok(())
    }

    /// The reason for which an applier has gone.
    async fn why_ended(&self, session: &mut Session) -> Result<(), LaneEnd> {
        match session.appliers.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(panic)) => Err(LaneEnd::panicked(&panic)),
            None => Ok(()),
        }
    }

    /// The blocking read, woken when grants change or an applier ends.
    async fn xread(&mut self, session: &mut Session) -> Result<Option<Streams>, LaneEnd> {
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(READ_COUNT)
            .arg("BLOCK")
            .arg(BLOCK.as_millis().to_string())
            .arg("STREAMS");
        for lane in session.lanes.keys() {
            command.arg(keys::events(self.shard, *lane));
        }
        for position in session.lanes.values() {
            command.arg(position.last.to_string());
        }
        let read = command.query_async::<Option<Streams>>(&mut session.reading);
        tokio::pin!(read);
        let mut failed = Ok(());
        let mut wake = tokio::select! {
            reply = &mut read => return Ok(reply?),
            changed = self.granted.changed() => {
                debug!(shard = self.shard.number(), gone = changed.is_err(), "grants changed");
                tokio::time::interval(UNBLOCK_EVERY)
            }
            Some(ended) = session.appliers.join_next() => {
                failed = ended.unwrap_or_else(|panic| Err(LaneEnd::panicked(&panic)));
                tokio::time::interval(UNBLOCK_EVERY)
            }
        };
        let reply = loop {
            tokio::select! {
                reply = &mut read => break reply?,
                _ = wake.tick() => {
                    let mut unblock = redis::cmd("CLIENT");
                    unblock.arg("UNBLOCK").arg(session.reader_id);
                    unblock.exec_async(&mut session.commands).await?;
                }
            }
        };
        failed?;
        Ok(reply)
    }
}

/// Which run of Redis a connection has come to.
async fn run_id(connection: &mut MultiplexedConnection) -> RedisResult<Option<String>> {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("server").query_async(connection).await?;
    Ok(info_field(&info, "run_id").map(str::to_owned))
}
