//! How the cluster is: what `status --json` prints, and what of it is not as it should be.
//!
//! The names of the fields are part of docs/OPERATIONS.md: fields may come, none may go or change.

mod ask;
mod lanes;
pub mod read;
pub mod table;

use serde::Serialize;

use super::{output::duration, pulse::Pulse};

/// The age of an unapplied event from which on a lane lags, in milliseconds: gateways answer `busy` then.
const LAGS_FROM_MS: u64 = 10_000;
/// The part of its memory from which on gateways refuse messages, in percent.
const FULL_FROM_PERCENT: u64 = 80;

/// The cluster at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Redis's clock, in ms since 1970.
    pub time: u64,
    /// The Redis that was asked.
    pub redis: RedisState,
    /// Boots of gateways, those that have ended within a day, too.
    pub gateways: Vec<Gateway>,
    /// Workers.
    pub workers: Vec<Worker>,
    /// All lanes.
    pub lanes: Vec<LaneState>,
    /// Sites with staff on duty or customers waiting.
    pub sites: Vec<SiteState>,
    /// Whether there are more sites than that.
    pub more_sites: bool,
    /// Events that could not be applied and are kept.
    pub dead_letters: u64,
    /// What is not as it should be, as sentences.
    pub problems: Vec<String>,
}

/// A Redis.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RedisState {
    /// Its version.
    pub version: String,
    /// `master` or `slave`, as Redis calls it.
    pub role: String,
    /// Replicas that are connected to it.
    pub replicas: u64,
    /// Since when it runs, in seconds.
    pub uptime_s: u64,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory it may use; `null`: no limit.
    pub memory_max_bytes: Option<u64>,
    /// Whether it keeps an append-only file.
    pub appendonly: bool,
    /// Whether the last write to that has succeeded.
    pub appendonly_ok: bool,
}

/// One boot of a gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Gateway {
    /// Its boot id.
    pub boot: String,
    /// Whether it lives.
    pub state: Pulse,
    /// Since when it is dead, in ms since 1970.
    pub dead_since: Option<u64>,
    /// Its connections in the state.
    pub connections: u64,
}

/// A worker.
#[derive(Debug, Clone, Serialize)]
pub struct Worker {
    /// Its name.
    pub id: String,
    /// Whether it lives.
    pub state: Pulse,
    /// Lanes whose lease it holds.
    pub lanes: usize,
}

/// One lane of a shard.
#[derive(Debug, Clone, Serialize)]
pub struct LaneState {
    /// The shard.
    pub shard: u8,
    /// The lane.
    pub lane: u8,
    /// The worker that holds its lease.
    pub owner: Option<String>,
    /// Events that are not applied.
    pub backlog: usize,
    /// Whether there may be more than were counted.
    pub more_backlog: bool,
    /// Age of the oldest of them.
    pub oldest_ms: Option<u64>,
}

/// What happens in one site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteState {
    /// Its name.
    pub site: String,
    /// Its shard.
    pub shard: u8,
    /// Staff on duty.
    pub staff_on_duty: u64,
    /// Those with a free place.
    pub staff_free: u64,
    /// Customers who wait.
    pub customers_waiting: u64,
    /// Customers whose place in a queue is kept for their return.
    pub customers_away: u64,
}

impl Status {
    /// The same with its problems told.
    fn judged(mut self) -> Self {
        let mut problems = Vec::new();
        self.judge_redis(&mut problems);
        self.judge_lanes(&mut problems);
        for gateway in self.gateways.iter().filter(|g| g.state == Pulse::Silent) {
            problems.push(format!("gateway {} is silent", gateway.boot));
        }
        for worker in self.workers.iter().filter(|w| w.state == Pulse::Silent) {
            problems.push(format!("worker {} is silent", worker.id));
        }
        match self.dead_letters {
            0 => {}
            1 => problems.push("1 dead letter: see `frontdesk-worker dead list`".to_owned()),
            n => problems.push(format!(
                "{n} dead letters: see `frontdesk-worker dead list`"
            )),
        }
        self.problems = problems;
        self
    }

    fn judge_redis(&self, problems: &mut Vec<String>) {
        let redis = &self.redis;
        if redis.role != "master" {
            problems.push("this Redis is a replica".to_owned());
        }
        if !redis.appendonly {
            problems.push("Redis keeps no append-only file: a restart loses everything".to_owned());
        } else if !redis.appendonly_ok {
            problems.push("Redis cannot write its append-only file".to_owned());
        }
        let used = u128::from(redis.memory_used_bytes) * 100;
        if let Some(most) = redis.memory_max_bytes
            && used >= u128::from(most) * u128::from(FULL_FROM_PERCENT)
        {
            problems.push(format!(
                "Redis has used {FULL_FROM_PERCENT} % of its memory or more"
            ));
        }
    }

    fn judge_lanes(&self, problems: &mut Vec<String>) {
        if !self.gateways.iter().any(|g| g.state == Pulse::Alive) {
            problems.push("no gateway runs".to_owned());
        }
        if !self.workers.iter().any(|w| w.state == Pulse::Alive) {
            problems.push("no worker runs: events wait".to_owned());
        }
        let orphans = self.lanes.iter().filter(|lane| lane.owner.is_none());
        match orphans.count() {
            0 => {}
            1 => problems.push("1 lane has no worker".to_owned()),
            n => problems.push(format!("{n} lanes have no worker")),
        }
        let ages = self.lanes.iter().filter_map(|lane| lane.oldest_ms);
        if let Some(oldest) = ages.max().filter(|age| *age >= LAGS_FROM_MS) {
            problems.push(format!(
                "the oldest event has waited for {}",
                duration(oldest)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fault = fn(&mut Status);

    fn sound() -> Status {
        Status {
            redis: RedisState {
                role: "master".to_owned(),
                memory_used_bytes: 79,
                memory_max_bytes: Some(100),
                appendonly: true,
                appendonly_ok: true,
                ..RedisState::default()
            },
            gateways: vec![Gateway {
                boot: "g".to_owned(),
                state: Pulse::Alive,
                dead_since: None,
                connections: 1,
            }],
            workers: vec![Worker {
                id: "w".to_owned(),
                state: Pulse::Alive,
                lanes: 1,
            }],
            lanes: vec![LaneState {
                shard: 0,
                lane: 0,
                owner: Some("w".to_owned()),
                backlog: 1,
                more_backlog: false,
                oldest_ms: Some(9999),
            }],
            ..Status::default()
        }
    }

    #[test]
    fn what_is_sound_has_no_problem_and_each_fault_has_one() {
        assert_eq!(sound().judged().problems, [""; 0]);
        let faults: [(Fault, &str); 10] = [
            (|s| s.redis.role = "slave".into(), "replica"),
            (|s| s.redis.appendonly = false, "append-only"),
            (|s| s.redis.appendonly_ok = false, "cannot write"),
            (|s| s.redis.memory_used_bytes = 80, "80 %"),
            (|s| s.gateways[0].state = Pulse::Dead, "no gateway"),
            (|s| s.workers.clear(), "no worker"),
            (|s| s.lanes[0].owner = None, "1 lane has no worker"),
            (|s| s.lanes[0].oldest_ms = Some(10_000), "10.0 s"),
            (|s| s.dead_letters = 1, "1 dead letter:"),
            (|s| s.dead_letters = 2, "2 dead letters:"),
        ];
        for (fault, says) in faults {
            let mut status = sound();
            fault(&mut status);
            let problems = status.judged().problems;
            assert!(
                problems.len() == 1 && problems[0].contains(says),
                "{says}: {problems:?}"
            );
        }
        let mut status = sound();
        status.workers[0].state = Pulse::Silent;
        assert_eq!(status.judged().problems.len(), 2, "silent, and nobody runs");
    }
}
