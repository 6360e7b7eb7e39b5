//! The shard's clock and Redis's.

use frontdesk_shared::{ids::StreamId, keys};

use super::LaneDriver;

impl LaneDriver {
    /// The time on the shard's clock.
    pub async fn clock(&mut self) -> u64 {
        let now: Option<u64> = redis::cmd("HGET")
            .arg(keys::clock(self.shard))
            .arg("now")
            .query_async(&mut self.connection)
            .await
            .expect("a number");
        now.unwrap_or(0)
    }

    /// Moves the shard's clock on and ticks once, without regard to the wall clock.
    /// Returns how many timers became events.
    pub async fn tick_after(&mut self, ms: u64) -> u64 {
        let () = redis::cmd("HINCRBY")
            .arg(keys::clock(self.shard))
            .arg("now")
            .arg(ms)
            .query_async(&mut self.connection)
            .await
            .expect("a number");
        let (fired, _) = self.tick(0).await;
        let () = redis::cmd("HDEL")
            .arg(keys::clock(self.shard))
            .arg("seen")
            .query_async(&mut self.connection)
            .await
            .expect("a number");
        fired
    }

    /// Ticks; the clock moves on by the time since the last tick, at most `most_ms`.
    /// Returns how many timers became events, and the clock.
    pub async fn tick(&mut self, most_ms: u64) -> (u64, u64) {
        self.try_tick(most_ms).await.expect("the script runs")
    }

    /// [`LaneDriver::tick`] where it may fail.
    pub async fn try_tick(&mut self, most_ms: u64) -> redis::RedisResult<(u64, u64)> {
        let (shard, names) = (self.shard, [keys::clock, keys::due, keys::moved]);
        let mut call = self.library.call("tick", &names.map(|key| key(shard)));
        call.arg(keys::shard_prefix(shard)).arg(most_ms);
        self.library.run(&mut self.connection, &call).await
    }

    /// Redis's clock in ms.
    pub async fn time_ms(&mut self) -> u64 {
        let (s, us): (u64, u64) = redis::cmd("TIME")
            .query_async(&mut self.connection)
            .await
            .expect("Redis knows the time");
        s * 1000 + us / 1000
    }

    /// Waits until Redis's clock is past the millisecond of an entry. Returns the time.
    pub async fn pass(&mut self, id: StreamId) -> u64 {
        loop {
            let now = self.time_ms().await;
            if now > id.ms {
                return now;
            }
        }
    }
}
