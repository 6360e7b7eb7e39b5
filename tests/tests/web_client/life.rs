//! Clients in Node and in Chromium live on a cluster by chance while it is killed, drained, cut off, and their pages
//! are loaded again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use frontdesk_tests::{
    child::Child,
    cluster::Cluster,
    drill::{
        Cast, Drill,
        faults::{Kind, Network},
    },
    proxy::Proxy,
    wait,
};
use rand::seq::SliceRandom as _;

use crate::{
    programs::{Chromium, node},
    stage::{Person, Stage},
};

/// The client's longest pause before it comes back (docs/CLIENT.md), with the time in which it finds out that a socket is
/// dead, and for a handshake.
const BACK: Duration = Duration::from_secs(30 + 35 + 20);

const fn staff(uid: &'static str, max: usize) -> Person {
    Person {
        uid,
        role: "staff",
        max,
    }
}

const fn customer(uid: &'static str) -> Person {
    Person {
        uid,
        role: "customer",
        max: 0,
    }
}

/// A cluster with clients on it. Each gateway is behind a proxy whose address stays.
struct World {
    // These end before the drill, which has their logs.
    _node: Child,
    chromium: Chromium,
    fronts: Vec<Proxy>,
    stage: Stage,
    drill: Drill,
}

impl World {
    async fn start() -> Self {
        let stage = Stage::start().await;
        let cluster = Cluster::builder()
            .signed()
            .proxies()
            .gateway_setting("allow-origin", stage.origin())
            .gateway_setting("max-connections-per-ip", 100_000)
            .gateway_setting("connection-rate-per-ip", 100_000)
            .gateway_setting("request-rate-per-ip", 100_000)
            // Who is cut off for a while is not silent on purpose.
            .worker_setting("idle-s", 600)
            .worker_setting("lease-ms", 3000)
            .worker_setting("heartbeat-ms", 300)
            .worker_setting("gateway-ttl-ms", 3000)
            .gateway_setting("heartbeat-ms", 300)
            .gateway_setting("gateway-ttl-ms", 3000);
        let nobody = Cast {
            customers: 0,
            staff: 0,
            resuming: 1,
            devices: 1,
        };
        let mut drill = Drill::start(cluster, nobody).await;
        let fronts: Vec<_> = (0..2)
            .map(|n| Proxy::start(drill.cluster.addr(n)))
            .collect();
        let urls: Vec<_> = fronts
            .iter()
            .map(|front| format!("http://{}", front.addr()))
            .collect();
        let script = format!("{}/client.js", urls[0]);
        stage.open(drill.guests(), urls);
        let in_node = [
            staff("nina", 2),
            customer("nick"),
            customer("noah"),
            customer("nora"),
        ];
        let in_chromium = [
            staff("cora", 2),
            customer("carl"),
            customer("chen"),
            customer("nick"),
        ];
        for (page, people) in [("node", in_node), ("chromium", in_chromium)] {
            let settled = stage.cast(page, &people);
            drill.enter_guests(settled, stage.gone(page));
        }
        let (origin, logs) = (stage.origin(), drill.cluster.logs().to_owned());
        let page = format!("{origin}/?page=chromium&client={script}");
        let world = Self {
            _node: node("node", &origin, &logs),
            chromium: Chromium::start("chromium", &page, &logs),
            drill,
            stage,
            fronts,
        };
        world.live("everybody is here").await;
        world.drill.progress(20).await;
        world
    }

    /// Waits until everybody is live again, by the client's own bounds.
    async fn live(&self, what: &str) {
        self.stage.ask_again();
        let began = Instant::now();
        let all = async || {
            let late = began.elapsed() > BACK;
            assert!(
                !late,
                "{what}: not within {BACK:?}: {:?}",
                self.stage.states()
            );
            self.stage.all_live().then_some(())
        };
        wait::within(what, 2 * BACK, all).await;
    }

    /// Something ends; then all are live again and are heard.
    async fn outage(&mut self, what: &str) {
        self.lead();
        self.live(&format!("everybody is live again after {what}"))
            .await;
        self.drill.progress(20).await;
    }

    /// The proxies follow gateways that were started anew.
    fn lead(&self) {
        for (n, front) in self.fronts.iter().enumerate() {
            let gateway: SocketAddr = self.drill.cluster.addr(n);
            front.lead_to(gateway);
        }
    }

    async fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::KillGateway => self.drill.kill(Kind::Gateway).await,
            Fault::KillWorker => self.drill.kill(Kind::Worker).await,
            Fault::DrainGateway => self.drill.restart(Kind::Gateway, 0).await,
            Fault::DrainWorker => self.drill.restart(Kind::Worker, 1).await,
            Fault::KillRedis => self.drill.kill_redis(),
            Fault::LosePushes => self.drill.kill_subscriptions().await,
            Fault::CutOff => {
                let away = Network::Partition(Duration::from_millis(2500));
                self.drill.disturb(Kind::Gateway, away).await;
            }
            Fault::BreakSockets => self.fronts.iter().for_each(|front| front.cut_after(500)),
            Fault::HalfOpen => self.fronts[1].freeze(),
            Fault::Reload => self.stage.reload("chromium").await,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    KillGateway,
    KillWorker,
    DrainGateway,
    DrainWorker,
    KillRedis,
    LosePushes,
    CutOff,
    BreakSockets,
    HalfOpen,
    Reload,
}

const FAULTS: [Fault; 12] = [
    Fault::KillGateway,
    Fault::KillGateway,
    Fault::KillWorker,
    Fault::DrainGateway,
    Fault::DrainWorker,
    Fault::KillRedis,
    Fault::LosePushes,
    Fault::CutOff,
    Fault::BreakSockets,
    Fault::HalfOpen,
    Fault::Reload,
    Fault::Reload,
];

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered_whatever_dies() {
    let mut world = World::start().await;
    let mut faults = FAULTS;
    faults.shuffle(&mut world.drill.chance);
    for fault in faults {
        world.drill.history.fault(format!("{fault:?}"));
        world.fault(fault).await;
        world.outage(&format!("{fault:?}")).await;
    }
    let World {
        drill,
        stage,
        chromium,
        fronts,
        ..
    } = world;
    let evidence = drill.finish().await;
    drop(fronts);
    assert_eq!(
        evidence.resets(),
        0,
        "nothing was lost, so nobody begins anew"
    );
    assert!(evidence.acknowledged() > 20 * FAULTS.len(), "a dull drill");
    // What is not reached during an outage is told; a client that stumbles over itself is not that.
    let console = chromium.console();
    let wrong = |line: &&String| line.contains("Uncaught") || line.contains("listener");
    let wrong: Vec<_> = console.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    for problem in stage.problems() {
        let code = problem.split(':').next().unwrap_or_default();
        assert!(EXPECTED.contains(&code), "{problem}");
    }
}

/// What clients may be told as an error while things die and people talk at once.
const EXPECTED: [&str; 9] = [
    "unreachable",
    "http_503",
    "no_conversation",
    "no_token",
    "refresh_failed",
    "busy",
    "rate_limited",
    "forbidden",
    "timeout",
];
