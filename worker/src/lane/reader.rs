//! Reads the granted lanes of one shard with one blocking XREAD on a connection of its own, has what
//! came applied, then reads again: what arrives during a call is together in the next one.
//!
//! No consumer groups: a position is memory only. It is read from `applied` whenever a lane is
//! taken up, and any failure (a lost connection, another Redis, a GAP) ends the session and starts
//! a new one, so there is one way to recover. A blocking read is never cancelled: to add or drop a
//! lane it is woken with CLIENT UNBLOCK and awaited.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use frontdesk_shared::{
    ids::{Lane, Shard, StreamId},
    keys,
    redis::info_field,
    stream::{Entries, Streams},
};
use rand::Rng as _;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{
    Context, Lanes,
    ahead::Ahead,
    apply::{Applier, MAX_READ_BYTES, Read, SessionEnd},
};
use crate::metrics::METRICS;

/// How long one XREAD waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// Most entries of one lane that one XREAD brings.
const READ_COUNT: usize = 32;
/// After how many applied entries a lane's stream is trimmed.
const TRIM_EVERY: usize = 512;
/// How long a lane must be quiet to be trimmed earlier.
const TRIM_QUIET: Duration = Duration::from_secs(10);
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
    applier: Applier,
    lanes: BTreeMap<Lane, Position>,
}

/// How far a lane is read and applied.
struct Position {
    /// The lane's stream.
    key: String,
    last: StreamId,
    /// The same as XREAD takes it: most lanes bring nothing at most reads.
    text: String,
    /// Entries since the last trim.
    untrimmed: usize,
    /// When the last one came.
    busy: Instant,
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
                SessionEnd::Gap => self.context.signals.recheck.notify_one(),
                SessionEnd::UnknownVersion => self.context.signals.outdated.notify_one(),
                SessionEnd::Silent | SessionEnd::Redis(_) => {}
            }
            warn!(shard = self.shard.number(), reason = %end, "reading starts again");
            let pause = rand::rng().random_range(BACKOFF);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Reads until nothing is granted, or something fails. When connections have gone silent all that
    /// is under way is dropped with them: the log rule does not mind what becomes of it.
    async fn session(&mut self) -> Result<(), SessionEnd> {
        let mut renew = self.context.signals.renew.subscribe();
        let session = self.open().await?;
        tokio::select! {
            ended = self.serve(session) => ended,
            _ = renew.changed() => Err(SessionEnd::Silent),
        }
    }

    async fn serve(&mut self, mut session: Session) -> Result<(), SessionEnd> {
        let mut result = Ok(());
        while result.is_ok() && self.granted.has_changed().is_ok() {
            match self.follow_grants(&mut session).await {
                Ok(()) if session.lanes.is_empty() => break,
                Ok(()) => result = self.read_once(&mut session).await,
                Err(error) => result = Err(error),
            }
        }
        // The last acks go out before the session counts as ended.
        if result.is_err() {
            session.applier.ahead.keep_entries();
        }
        let ahead = session.applier.ahead.take();
        if !ahead.commands.is_empty() {
            let mut pipeline = redis::pipe();
            for command in &ahead.commands {
                pipeline.add_command(command.clone()).ignore();
            }
            ahead.count(&pipeline.exec_async(&mut session.commands).await);
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
        let applier = Applier {
            context: self.context.clone(),
            shard: self.shard,
            connection: commands.clone(),
            ahead: Ahead::default(),
            memory: self.context.app.memory(),
        };
        Ok(Session {
            reading,
            reader_id,
            commands,
            applier,
            lanes: BTreeMap::new(),
        })
    }

    /// Takes up newly granted lanes at their applied position, drops the others.
    async fn follow_grants(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        let granted = self.granted.borrow_and_update().clone();
        session.lanes.retain(|lane, _| granted.contains(lane));
        let new: Vec<Lane> = granted
            .iter()
            .copied()
            .filter(|lane| !session.lanes.contains_key(lane))
            .collect();
        if !new.is_empty() {
            session.applier.memory.forget(); // others may have applied entries of them since
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
                let position = Position {
                    key: keys::events(self.shard, lane),
                    last,
                    text: last.to_string(),
                    untrimmed: 0,
                    busy: Instant::now(),
                };
                session.lanes.insert(lane, position);
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

    /// One XREAD over all lanes, and its entries applied.
    async fn read_once(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        let reply = self.xread(session).await?;
        let (mut read, now): (Vec<Read>, _) = (Vec::new(), Instant::now());
        for (key, Entries(entries)) in reply.unwrap_or_default().0 {
            let mut lanes = session.lanes.iter_mut();
            let lane = lanes.find(|(_, position)| position.key == key);
            let (Some((lane, position)), Some(newest)) = (lane, entries.last()) else {
                continue;
            };
            let after = std::mem::replace(&mut position.last, newest.id);
            position.text = newest.id.to_string();
            position.untrimmed += entries.len();
            position.busy = now;
            let lane = *lane;
            read.push(Read {
                lane,
                after,
                entries,
            });
        }
        let entries = read.iter().flat_map(|it| &it.entries);
        let size: usize = entries.map(|entry| entry.fields.bytes()).sum();
        // More than all the room would wait for ever.
        let size = u32::try_from(size.min(MAX_READ_BYTES)).unwrap_or(u32::MAX);
        let _room = self.context.room.acquire_many(size).await.ok();
        if !read.is_empty() {
            session.applier.apply(read).await?;
        }
        self.trim(session, now);
        Ok(())
    }

    /// Has what is applied removed from the streams, save the last entry, now and then.
    fn trim(&self, session: &mut Session, now: Instant) {
        for (lane, position) in &mut session.lanes {
            let quiet = position.untrimmed > 0 && now - position.busy >= TRIM_QUIET;
            if quiet || position.untrimmed >= TRIM_EVERY {
                session.applier.ahead.trim(self.shard, *lane, position.last);
                position.untrimmed = 0;
            }
        }
    }

    /// The blocking read, woken when grants change or an applier ends.
    async fn xread(&mut self, session: &mut Session) -> Result<Option<Streams>, SessionEnd> {
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(READ_COUNT)
            .arg("BLOCK")
            .arg(BLOCK.as_millis().to_string())
            .arg("STREAMS");
        for position in session.lanes.values() {
            command.arg(&position.key);
        }
        for position in session.lanes.values() {
            command.arg(&position.text);
        }
        let ahead = session.applier.ahead.take();
        let mut pipeline = redis::pipe();
        for command in &ahead.commands {
            pipeline.add_command(command.clone()).ignore();
        }
        pipeline.add_command(command);
        let read = pipeline.query_async::<(Option<Streams>,)>(&mut session.reading);
        tokio::pin!(read);
        let woken = tokio::select! {
            reply = &mut read => Some(reply),
            changed = self.granted.changed() => {
                debug!(shard = self.shard.number(), gone = changed.is_err(), "grants changed");
                None
            }
        };
        let mut wake = tokio::time::interval(UNBLOCK_EVERY);
        let reply = match woken {
            Some(reply) => reply,
            None => loop {
                tokio::select! {
                    reply = &mut read => break reply,
                    _ = wake.tick() => {
                        let mut unblock = redis::cmd("CLIENT");
                        unblock.arg("UNBLOCK").arg(session.reader_id);
                        unblock.exec_async(&mut session.commands).await?;
                    }
                }
            },
        };
        ahead.count(&reply);
        Ok(reply?.0)
    }
}

/// Which run of Redis a connection has come to.
async fn run_id(connection: &mut MultiplexedConnection) -> RedisResult<Option<String>> {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("server").query_async(connection).await?;
    Ok(info_field(&info, "run_id").map(str::to_owned))
}
