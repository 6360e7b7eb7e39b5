//! Deliveries in Redis: the calls of `lua/hooks`. Late, twice or not at all, no call of these loses one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use frontdesk_shared::{
    ids::Shard,
    keys,
    redis::{Redis, expect_primary},
};
use redis::{FromRedisValue, ParsingError, RedisResult, Value, aio::MultiplexedConnection};

use super::HookName;
use crate::library::Library;

/// The calls, on a connection that all hooks share.
pub(crate) struct Queue {
    redis: Redis,
    library: Arc<Library>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What there is to do in a shard.
#[derive(Debug)]
pub(crate) struct Due {
    /// Whether it has hooks at all.
    pub(crate) has_hooks: bool,
    /// When there is more to do.
    pub(crate) later: Option<Duration>,
    /// Hooks that have something now.
    pub(crate) hooks: Vec<HookName>,
}

/// What was taken for a hook.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Deliveries dropped since somebody asked last.
    pub(crate) dropped: i64,
    /// Deliveries that wait in the queue still.
    pub(crate) waiting: usize,
    /// What to deliver, in order.
    pub(crate) deliveries: Vec<Delivery>,
}

/// One delivery.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// How Redis knows it.
    pub(crate) member: String,
    /// Attempts, with this one.
    pub(crate) attempts: usize,
    /// Its id for the receiver.
    pub(crate) id: String,
    /// The conversation that it tells of.
    pub(crate) conversation: String,
}

/// What is sent, and where to.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The hook's JSON.
    pub(crate) config: String,
    /// Its secrets.
    pub(crate) secrets: String,
    /// What is sent.
    pub(crate) body: String,
}

/// What a page of a shard's sites holds.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where to go on; 0: that was all.
    pub(crate) next: u64,
    /// There was more to forget than one call does.
    pub(crate) full: bool,
    /// Deliveries that wait, are tried again, are parked, were dropped, were forgotten.
    pub(crate) held: [i64; 5],
    /// How many were forgotten now of those that were parked.
    pub(crate) parked_forgotten: u64,
    /// And of those that waited.
    pub(crate) waiting_forgotten: u64,
}

/// What became of an attempt.
#[derive(Debug)]
pub(crate) struct Report {
    /// How Redis knows the delivery.
    pub(crate) member: String,
    /// What is to be done with it.
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// It goes on: nobody else shall take it for so long.
    Hold(Duration),
    /// The attempt was not made, and does not count; it is due again then.
    Back(Duration),
    /// It has arrived.
    Delivered,
    /// It is to be tried again.
    Retry(Duration, String),
    /// It is not to be tried again.
    Park(String),
}

impl Queue {
    pub(crate) fn new(redis: Redis, library: Arc<Library>) -> Self {
        Self {
            redis,
            library,
            connection: Mutex::new(None),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        // Nothing under this lock can panic.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let new = self.redis.connect().await?;
        Ok(self.kept().insert(new).clone())
    }

    /// After any failure the next call connects again: to whoever is the primary then.
    fn judged<T>(&self, result: RedisResult<T>) -> RedisResult<T> {
        if result.is_err() {
            *self.kept() = None;
        }
        result
    }

    /// What there is to do in these shards.
    pub(crate) async fn due(&self, shards: &[Shard]) -> RedisResult<Vec<Due>> {
        let asking = async {
            let mut connection = self.connection().await?;
            // A demoted primary answers reads for ever.
            expect_primary(&mut connection).await?;
            let calls = shards.iter().map(|shard| {
                let names = [keys::hooked(*shard), keys::wanted_hooks(*shard)];
                self.library.call("hooks_due", &names)
            });
            let calls = calls.collect();
            self.library.run_pipeline(&mut connection, calls).await
        };
        self.judged(asking.await)
    }

    /// Takes up to `most` deliveries of a hook for `claim`, beside those that are `held`. `None` if the hook is not
    /// there, or off.
    pub(crate) async fn take(
        &self,
        hook: &HookName,
        most: usize,
        claim: Duration,
        attempts: usize,
        held: usize,
    ) -> RedisResult<Option<Taken>> {
        let mut call = self.call("hook_take", hook);
        call.arg(most).arg(millis(claim)).arg(attempts).arg(held);
        let asking = async {
            let mut connection = self.connection().await?;
            self.library.run(&mut connection, &call).await
        };
        let reply: Vec<Value> = self.judged(asking.await)?;
        if reply.is_empty() {
            return Ok(None);
        }
        Ok(Some(Taken::read(reply)?))
    }

    /// What a delivery that was taken says now. `None` if it is not to be sent any more.
    pub(crate) async fn body(&self, hook: &HookName, member: &str) -> RedisResult<Option<Ready>> {
        let mut call = self.call("hook_body", hook);
        call.arg(member);
        let asking = async {
            let mut connection = self.connection().await?;
            self.library.run(&mut connection, &call).await
        };
        let reply: Vec<String> = self.judged(asking.await)?;
        let Ok([config, secrets, body]) = <[String; 3]>::try_from(reply) else {
            return Ok(None);
        };
        Ok(Some(Ready {
            config,
            secrets,
            body,
        }))
    }

    /// Says what became of attempts, and for how long others are held still.
    pub(crate) async fn done(
        &self,
        hook: &HookName,
        held: Duration,
        reports: &[Report],
    ) -> RedisResult<()> {
        let mut call = self.call("hook_done", hook);
        call.arg(millis(held));
        for Report { member, what } in reports {
            let (word, pause, why) = match what {
                What::Hold(claim) => ("hold", *claim, ""),
                What::Back(pause) => ("back", *pause, ""),
                What::Delivered => ("delivered", Duration::ZERO, ""),
                What::Retry(pause, why) => ("retry", *pause, why.as_str()),
                What::Park(why) => ("park", Duration::ZERO, why.as_str()),
            };
            call.arg(member).arg(word).arg(millis(pause)).arg(why);
        }
        let asking = async {
            let mut connection = self.connection().await?;
            let _: Value = self.library.run(&mut connection, &call).await?;
            Ok(())
        };
        self.judged(asking.await)
    }

    /// Looks at a page of a shard's sites, and forgets what was kept for longer than `keep`, if that is given.
    pub(crate) async fn sweep(
        &self,
        shard: Shard,
        cursor: u64,
        keep: Option<Duration>,
    ) -> RedisResult<Page> {
        let names = [keys::wanted_hooks(shard)];
        let mut call = self.library.call("hooks_sweep", &names);
        call.arg(keys::shard_prefix(shard)).arg(cursor);
        call.arg(keep.map_or(0, millis));
        let asking = async {
            let mut connection = self.connection().await?;
            self.library.run(&mut connection, &call).await
        };
        self.judged(asking.await)
    }

    fn call(&self, function: &str, hook: &HookName) -> redis::Cmd {
        let mut call = self.library.call(function, &[keys::hooks(&hook.site)]);
        call.arg(keys::shard_prefix(hook.shard()))
            .arg(keys::site_prefix(&hook.site))
            .arg(hook.site.as_str())
            .arg(hook.id.as_str());
        call
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl FromRedisValue for Page {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut values: Vec<Value> = Vec::from_redis_value(value)?;
        if values.len() != 9 {
            return Err("hooks_sweep gave too much or too little".into());
        }
        let forgotten = FromRedisValue::from_redis_value(Value::Array(values.split_off(7)))?;
        let held = FromRedisValue::from_redis_value(Value::Array(values.split_off(2)))?;
        let (next, full) = FromRedisValue::from_redis_value(Value::Array(values))?;
        let (parked_forgotten, waiting_forgotten) = forgotten;
        Ok(Self {
            next,
            full,
            held,
            parked_forgotten,
            waiting_forgotten,
        })
    }
}

impl FromRedisValue for Due {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut values: Vec<Value> = Vec::from_redis_value(value)?;
        if values.len() < 2 {
            return Err("hooks_due gave too little".into());
        }
        let names = Vec::<String>::from_redis_value(Value::Array(values.split_off(2)))?;
        let later = i64::from_redis_value(values.remove(1))?;
        Ok(Self {
            has_hooks: values.remove(0) == Value::Int(1),
            later: u64::try_from(later).ok().map(Duration::from_millis),
            hooks: names.iter().filter_map(|it| HookName::parse(it)).collect(),
        })
    }
}

impl Taken {
    fn read(mut reply: Vec<Value>) -> Result<Self, ParsingError> {
        if reply.len() < 2 {
            return Err("hook_take gave too little".into());
        }
        let deliveries = reply.split_off(2).into_iter().map(Delivery::read);
        let deliveries = deliveries.collect::<Result<_, _>>()?;
        let (dropped, waiting) = FromRedisValue::from_redis_value(Value::Array(reply))?;
        Ok(Self {
            dropped,
            waiting,
            deliveries,
        })
    }
}

impl Delivery {
    fn read(value: Value) -> Result<Self, ParsingError> {
        let (member, attempts, id, conversation) = FromRedisValue::from_redis_value(value)?;
        Ok(Self {
            member,
            attempts,
            id,
            conversation,
        })
    }
}
