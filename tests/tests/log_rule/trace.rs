//! Random traces of what users do, and what of two runs can be compared.

use std::collections::BTreeSet;

use frontdesk_shared::{event::Kind, ids::BootId, keys, protocol::frame::Verb};
use frontdesk_tests::{
    lane_driver::{LaneDriver, Pushed, Socket, on_duty, words, words_with_id},
    redis_dump::{Content, Dump},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::lane;

/// What users do, one after the other: each stage is several events of one user, and the next
/// begins when they are applied.
pub struct Trace {
    pub seed: u64,
    pub stages: Vec<(String, Vec<Kind>)>,
    pub sockets: Vec<Socket>,
}

impl Trace {
    pub fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let boots = [BootId::random(), BootId::random()];
        let users = ["sam", "sue", "alice", "bob", "carl", "dora"];
        let mut sockets: Vec<Socket> = users
            .iter()
            .enumerate()
            .map(|(n, uid)| Socket::new(uid, &boots[n % 2]))
            .collect();
        let open = |socket: &Socket| (socket.uid.to_string(), vec![socket.open()]);
        let mut stages: Vec<_> = sockets.iter().map(open).collect();
        for (n, socket) in sockets[..2].iter_mut().enumerate() {
            let max = u32::try_from(n + 1).expect("small");
            stages.push((socket.uid.to_string(), vec![socket.verb(on_duty(max))]));
        }
        for _ in 0..60 {
            let n = rng.random_range(0..sockets.len());
            let count = rng.random_range(1..8);
            let mut events = Vec::new();
            for _ in 0..count {
                let verb = match (n < 2, rng.random_range(0..20)) {
                    (true, 0) => on_duty(rng.random_range(1..4)),
                    (true, 1) if rng.random_bool(0.3) => Verb::StaffOffline,
                    (true, 2..=3) => Verb::Close { conversation: None },
                    (false, 0..=3) => Verb::CustomerConnect,
                    (false, 4) => Verb::CustomerLeave,
                    (_, m @ 5..=11) => words_with_id("same", &format!("m{m}")),
                    _ => words(&format!("w{}", stages.len())),
                };
                // Staff may get a customer by it: what they say next must come after that.
                let crosses = n < 2 && !matches!(verb, Verb::Message { .. });
                events.push(sockets[n].verb(verb));
                if crosses {
                    break;
                }
            }
            stages.push((sockets[n].uid.to_string(), events));
        }
        Self {
            seed,
            stages,
            sockets,
        }
    }

    /// Applies every event alone. Returns everything in Redis and all that was told, by names.
    pub async fn run_undisturbed(
        &self,
        driver: &mut LaneDriver,
    ) -> (BTreeSet<String>, Vec<String>) {
        let mut names = self.names(driver);
        for (uid, events) in &self.stages {
            for kind in events {
                let id = driver.append(uid, kind.clone()).await;
                names.event(driver.event_id(lane(uid), id));
                let settled = driver.apply_pending(lane(uid), 10).await;
                assert_eq!(settled.len(), 1);
            }
        }
        let pushes = driver.pushes().await;
        (names.state(&driver.dump().await), names.pushes(&pushes))
    }

    pub fn names(&self, driver: &LaneDriver) -> Names {
        let mut names = vec![(keys::shard_prefix(driver.shard), String::new())];
        for socket in &self.sockets {
            names.push((socket.client.to_string(), format!("{}.1", socket.uid)));
            names.push((socket.client.boot().to_owned(), "boot".into()));
        }
        Names { names, events: 0 }
    }
}

/// Names in the place of ids, so that two runs of one trace can be compared.
pub struct Names {
    pub names: Vec<(String, String)>,
    pub events: usize,
}

impl Names {
    pub fn event(&mut self, id: String) {
        self.events += 1;
        self.names.push((id, format!("<e{}>", self.events)));
    }

    pub fn short(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (id, name) in self.names.iter().rev() {
            line = line.replace(id, name);
        }
        let is_time = |text: &str| {
            let ms: Option<u64> = text.parse().ok();
            ms.is_some_and(|ms| (1_500_000_000_000..10_000_000_000_000).contains(&ms))
        };
        let mut out = String::new();
        let mut number = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_ascii_digit() {
                number.push(c);
            } else {
                out.push_str(if is_time(&number) { "T" } else { &number });
                number.clear();
                out.push(c);
            }
        }
        out
    }

    /// Everything that the desk keeps. What depends on when ticks came, and by whom entries were
    /// applied in how many calls, is left out.
    pub fn state(&self, dump: &Dump) -> BTreeSet<String> {
        let elsewhere = [
            "applied",
            "clock",
            "due",
            "events",
            "lease",
            "moved",
            "pushes",
            "frontdesk",
        ];
        let mut dump = dump.clone().without_ttls();
        dump.0.retain(|name, _| {
            let rest = name.split_once("}:").map_or(&**name, |(_, rest)| rest);
            !elsewhere.contains(&rest.split(':').next().unwrap_or(rest))
        });
        for kept in dump.0.values_mut() {
            if let Content::Hash(fields) = &mut kept.content {
                fields.remove("idle");
                fields.remove("place");
                fields.remove("b");
            }
        }
        dump.lines().iter().map(|line| self.short(line)).collect()
    }

    pub fn pushes(&self, pushes: &[Pushed]) -> Vec<String> {
        let mut lines: Vec<String> = pushes
            .iter()
            .map(|pushed| self.short(&format!("{} {}", pushed.client, pushed.text)))
            .collect();
        lines.sort();
        lines
    }
}

pub fn assert_same(
    what: &str,
    seed: u64,
    disturbed: &BTreeSet<String>,
    undisturbed: &BTreeSet<String>,
) {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> String {
        a.difference(b).cloned().collect::<Vec<_>>().join("\n")
    };
    assert!(
        disturbed == undisturbed,
        "seed {seed}, {what}\nonly in the disturbed run:\n{}\nonly in the undisturbed one:\n{}",
        only(disturbed, undisturbed),
        only(undisturbed, disturbed)
    );
}
