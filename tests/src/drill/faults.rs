//! What may be done to a cluster while people live on it. Each fault ends before its function
//! returns: what was killed is started again, what was stopped goes on, what was cut is mended.

use std::time::Duration;

use rand::Rng as _;

use super::{Drill, Forgotten};
use crate::{process::Program, proxy::Proxy};

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A gateway.
    Gateway,
    /// A worker.
    Worker,
}

/// What a network does to the connections between a program and Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// They end.
    Cut,
    /// They end somewhere in a message.
    CutInside,
    /// They carry nothing any more and nobody is told.
    HalfOpen,
    /// The same, only towards Redis.
    DeafUp,
    /// The same, only from Redis.
    DeafDown,
    /// Nothing flows for a while, then everything does.
    Stall(Duration),
    /// There is no way to Redis for a while.
    Partition(Duration),
    /// Everything takes up to so long, for ten times as long.
    Slow(Duration),
}

impl Drill {
    /// Ends a process without warning and starts another.
    pub async fn kill(&mut self, kind: Kind) {
        let index = self.any(kind);
        self.history
            .fault(format!("kill -9 {}", self.name(kind, index)));
        match kind {
            Kind::Gateway => {
                self.cluster.replace_gateway(index);
                self.gateways_changed();
            }
            Kind::Worker => self.cluster.replace_worker(index),
        }
        self.program(kind, index).ready().await;
    }

    /// Asks a process to end, waits until it has, and starts another: what a deployment does.
    pub async fn restart(&mut self, kind: Kind, index: usize) {
        self.history
            .fault(format!("restart {}", self.name(kind, index)));
        let program = self.program(kind, index);
        program.child.term();
        let code = program.child.wait_exit().await;
        assert_eq!(code, Ok(0), "{}", program.child.log());
        match kind {
            Kind::Gateway => {
                self.cluster.replace_gateway(index);
                self.gateways_changed();
            }
            Kind::Worker => self.cluster.replace_worker(index),
        }
        self.program(kind, index).ready().await;
    }

    /// Stops a process for a while. Returns which.
    pub async fn pause(&mut self, kind: Kind, time: Duration) -> usize {
        let index = self.any(kind);
        let name = self.name(kind, index);
        self.history.fault(format!("stop {name} for {time:?}"));
        self.program(kind, index).child.pause();
        self.live(time).await;
        self.history.fault(format!("continue {name}"));
        self.program(kind, index).child.unpause();
        index
    }

    /// Ends Redis without warning and starts it again.
    pub fn kill_redis(&mut self) {
        self.history.fault("kill -9 Redis");
        self.cluster.redis.kill9();
        self.cluster.redis.restart();
    }

    /// Stops Redis for a while.
    pub async fn pause_redis(&mut self, time: Duration) {
        self.history.fault(format!("stop Redis for {time:?}"));
        self.cluster.redis.pause();
        self.live(time).await;
        self.history.fault("continue Redis");
        self.cluster.redis.unpause();
    }

    /// What a loss of power does: Redis ends, and of what was written in the last `window` (and was not on
    /// disk yet, says the caller) only a part is left, cut anywhere. Zero for `appendfsync always`:
    /// what was answered before is on disk.
    pub async fn cut_power(&mut self, window: Duration) {
        // In this order: what was acknowledged up to here is within the length measured next.
        let from = self.history.len();
        let safe = self.cluster.redis.log_length();
        self.live(window).await;
        self.cluster.redis.kill9();
        let (sockets, end) = (self.sockets(), self.cluster.redis.log_length());
        let keep = self.chance.random_range(safe..=end);
        self.history.fault(format!(
            "power lost: {} of the last {} bytes are left",
            keep - safe,
            end - safe
        ));
        self.cluster.redis.cut_log(keep);
        self.forgotten.push(Forgotten { from, sockets });
        self.cluster.redis.restart();
    }

    /// Disturbs the way between a program and Redis.
    pub async fn disturb(&mut self, kind: Kind, network: Network) {
        let index = self.any(kind);
        let name = self.name(kind, index);
        self.history
            .fault(format!("{network:?} between {name} and Redis"));
        let bytes = self.chance.random_range(0..4096);
        let program = self.program(kind, index);
        let proxy = program.proxy.as_ref().expect("the drill has proxies");
        if let Some(time) = begin(proxy, network, bytes) {
            self.live(time).await;
            let proxy = self.program(kind, index).proxy.as_ref();
            end(proxy.expect("as before"));
            self.history.fault(format!("{network:?} ends"));
        }
    }

    /// Forgets the library of functions, as a restart without a file would.
    pub async fn flush_functions(&mut self) {
        self.history.fault("FUNCTION FLUSH");
        self.redis_does(&["FUNCTION", "FLUSH", "SYNC"]).await;
    }

    /// Ends all subscriptions.
    pub async fn kill_subscriptions(&mut self) {
        self.history.fault("CLIENT KILL TYPE pubsub");
        self.redis_does(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }

    /// Any of these, by chance; for mixes.
    pub async fn anything(&mut self) {
        let ms = Duration::from_millis;
        let kind = if self.chance.random() {
            Kind::Gateway
        } else {
            Kind::Worker
        };
        match self.chance.random_range(0..16) {
            0..=2 => self.kill(Kind::Gateway).await,
            3..=4 => self.kill(Kind::Worker).await,
            5 => drop(self.pause(kind, ms(700)).await),
            6 => drop(self.pause(Kind::Worker, ms(6000)).await),
            7 => self.kill_redis(),
            8 => self.pause_redis(ms(1500)).await,
            9 => self.cut_power(Duration::ZERO).await,
            10 => self.flush_functions().await,
            11 => self.kill_subscriptions().await,
            12 => self.disturb(kind, Network::CutInside).await,
            13 => self.disturb(kind, Network::HalfOpen).await,
            14 => self.disturb(kind, Network::Stall(ms(1200))).await,
            _ => self.disturb(kind, Network::Partition(ms(2500))).await,
        }
    }

    async fn redis_does(&self, words: &[&str]) {
        let mut redis = self.cluster.redis.connect().await;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let done: redis::RedisResult<redis::Value> = redis.send_packed_command(&command).await;
        done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// A metric summed over the present programs of a kind.
    pub async fn metric(&self, kind: Kind, name: &str, labels: &str) -> f64 {
        let mut sum = 0.0;
        for program in self.programs(kind) {
            sum += program.metric_where(name, labels).await;
        }
        sum
    }

    /// Prints how much memory the programs of a kind hold.
    pub fn print_memory(&self, kind: Kind) {
        for program in self.programs(kind) {
            let mib = program.memory() / (1024 * 1024);
            super::print(&format!("{}: {mib} MiB", program.child.name()));
        }
    }

    /// Waits until every program is ready.
    pub async fn all_ready(&mut self) {
        for program in self
            .cluster
            .gateways
            .iter_mut()
            .chain(&mut self.cluster.workers)
        {
            program.ready().await;
        }
    }

    fn any(&mut self, kind: Kind) -> usize {
        let count = self.programs(kind).len();
        self.chance.random_range(0..count)
    }

    fn programs(&self, kind: Kind) -> &[Program] {
        match kind {
            Kind::Gateway => &self.cluster.gateways,
            Kind::Worker => &self.cluster.workers,
        }
    }

    fn program(&mut self, kind: Kind, index: usize) -> &mut Program {
        match kind {
            Kind::Gateway => &mut self.cluster.gateways[index],
            Kind::Worker => &mut self.cluster.workers[index],
        }
    }

    fn name(&self, kind: Kind, index: usize) -> String {
        self.programs(kind)[index].child.name().to_owned()
    }
}

/// Begins a disturbance. Returns how long it lasts if it has to be ended.
fn begin(proxy: &Proxy, network: Network, bytes: u64) -> Option<Duration> {
    match network {
        Network::Cut => proxy.cut(),
        Network::CutInside => proxy.cut_after(bytes),
        Network::HalfOpen => proxy.freeze(),
        Network::DeafUp => proxy.freeze_up(),
        Network::DeafDown => proxy.freeze_down(),
        Network::Stall(time) => {
            proxy.stall();
            return Some(time);
        }
        Network::Partition(time) => {
            proxy.partition();
            return Some(time);
        }
        Network::Slow(most) => {
            proxy.delay(most);
            return Some(most * 10);
        }
    }
    None
}

fn end(proxy: &Proxy) {
    proxy.flow();
    proxy.mend();
    proxy.delay(Duration::ZERO);
}
