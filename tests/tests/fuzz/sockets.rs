//! The same inputs against real processes: hostile frames over sockets and hostile entries in the
//! lanes, while two people next door talk.

use frontdesk_shared::{
    ids::{Lane, Shard, Site, StreamId},
    keys,
    stream::Entries,
};
use frontdesk_tests::{
    bystanders::{self, Bystanders},
    client::{Client, Incoming},
    cluster::Cluster,
    fuzz::{Case, Subject},
    hostile::{bytes, text},
    process::Program,
    wait,
};
use rand::Rng as _;
use redis::aio::MultiplexedConnection;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    actors::{Actors, Fields},
    bounds::is_id,
    frames::frame_text,
    share,
};

const INPUTS: usize = 20;
const HOSTILE_SOCKETS: usize = 6;
const MIB: u64 = 1024 * 1024;
/// A worker holds up to 64 MiB of entries besides what it prepares from them.
const MOST_GROWTH: u64 = 192 * MIB;

struct Attack {
    cluster: Cluster,
    bystanders: Bystanders,
    sockets: Vec<Option<Client>>,
    redis: MultiplexedConnection,
    actors: [Actors; 2],
    shards: [Shard; 2],
}

#[tokio::test]
async fn hostile_frames_and_entries_disturb_no_neighbour_and_end_no_process() {
    let mut subject = Subject::new("sockets", share::SOCKETS, INPUTS as u64);
    let cluster = Cluster::builder().workers(1).start().await;
    let mut attack = Attack::on(cluster).await;
    let before = attack.memory();
    for number in subject.numbers() {
        let mut case = subject.case(number);
        for _ in 0..INPUTS / 4 {
            attack.append(&mut case).await;
            attack.send(&mut subject, &mut case).await;
            attack.append(&mut case).await;
            attack.send(&mut subject, &mut case).await;
        }
        attack.knock(&mut subject, &mut case).await;
        attack.bystanders.talk().await;
    }
    attack.every_lane_is_done().await;
    attack.bystanders.talk().await;
    for (after, before) in attack.memory().into_iter().zip(before) {
        let grown = after.saturating_sub(before);
        assert!(grown < MOST_GROWTH, "{} MiB more", grown / MIB);
    }
    let letters = attack.cluster.dead_letters().await;
    subject.count("dead letters", letters);
    attack.nobody_ended().await;
    subject.report(&["dead letters", "answers", "handshakes refused"]);
}

impl Attack {
    async fn on(cluster: Cluster) -> Self {
        let home = Site::parse(bystanders::SITE).expect("well-formed");
        let shard = Shard::of(&home);
        let mut names = (0..1000).map(|n| Site::parse(&format!("b{n}")).expect("well-formed"));
        let sibling = names.find(|site| Shard::of(site) == shard).expect("one");
        let default = Site::parse("default").expect("well-formed");
        let mut attack = Self {
            bystanders: Bystanders::start(&cluster, 1, 0).await,
            redis: cluster.redis.connect().await,
            sockets: (0..HOSTILE_SOCKETS).map(|_| None).collect(),
            shards: [shard, Shard::of(&default)],
            actors: [sibling, default].map(Actors::new),
            cluster,
        };
        // What once stopped a lane, first.
        let many = (0..5000).map(|n| (format!("x{n}").into_bytes(), Vec::new()));
        for fields in [
            vec![(b"\xff\xfe".to_vec(), b"\xff".to_vec())],
            many.collect(),
        ] {
            for lane in Lane::all() {
                attack.xadd(shard, lane, &fields).await;
            }
        }
        attack
    }

    async fn append(&mut self, case: &mut Case) {
        let which = case.rng.random_range(0..2);
        let (lane, fields) = self.actors[which].entry(&mut case.rng);
        self.xadd(self.shards[which], lane, &fields).await;
    }

    async fn xadd(&mut self, shard: Shard, lane: Lane, fields: &Fields) {
        let mut command = redis::cmd("XADD");
        command.arg(keys::events(shard, lane)).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        let appended = command.exec_async(&mut self.redis).await;
        appended.expect("appended");
    }

    /// A frame on some socket, which is opened if it is not there.
    async fn send(&mut self, subject: &mut Subject, case: &mut Case) {
        let at = case.rng.random_range(0..HOSTILE_SOCKETS);
        let mut client = match self.sockets[at].take() {
            Some(client) => client,
            None => self.cluster.connect(at % 2, &format!("uid=h{at}")).await,
        };
        let frame = match case.rng.random_range(0..20) {
            0 => Message::binary(bytes(&mut case.rng)),
            1 => Message::Ping(bytes(&mut case.rng).into_iter().take(125).collect()),
            _ => Message::text(frame_text(&mut case.rng)),
        };
        if client.send_raw(frame).await.is_err() {
            return;
        }
        let mut lives = true;
        while let Some(heard) = client.heard() {
            subject.count("answers", 1);
            match heard {
                Incoming::Frame(frame) => assert!(frame["action"].is_string(), "{frame}"),
                Incoming::Text(text) => assert_eq!(text, "PONG"),
                Incoming::Closed(_) | Incoming::Lost(_) => lives = false,
            }
        }
        self.sockets[at] = lives.then_some(client);
    }

    /// A handshake of somebody with an impossible name, or a possible one.
    async fn knock(&self, subject: &mut Subject, case: &mut Case) {
        let uid = text(&mut case.rng);
        if uid.len() > 1000 {
            return;
        }
        let encoded = uid.bytes().fold(String::new(), |encoded, byte| {
            format!("{encoded}%{byte:02X}")
        });
        let knocked = Client::try_connect(self.cluster.addr(0), &format!("uid={encoded}")).await;
        let what = match knocked {
            Ok(_) => "handshakes",
            Err(Error::Http(answer)) if answer.status() == 400 => "handshakes refused",
            Err(error) => panic!("{uid:?}: {error}"),
        };
        assert_eq!(what == "handshakes", is_id(&uid, "._@-"), "{uid:?}");
        subject.count(what, 1);
    }

    /// Nothing waits in the lanes of both shards.
    async fn every_lane_is_done(&mut self) {
        for (shard, lane) in self
            .shards
            .iter()
            .flat_map(|s| Lane::all().map(move |l| (*s, l)))
        {
            let what = format!("lane {} of shard {} is done", lane.number(), shard.number());
            wait::until(&what, async || {
                let mut both = redis::pipe();
                both.cmd("XREVRANGE").arg(keys::events(shard, lane));
                both.arg("+").arg("-").arg("COUNT").arg(1);
                both.cmd("HGET").arg(keys::applied(shard));
                both.arg(lane.number().to_string());
                let (last, applied): (Entries, Option<String>) =
                    both.query_async(&mut self.redis).await.expect("both");
                let applied = applied.and_then(|id| StreamId::parse(&id).ok());
                (last.0.last().map(|entry| entry.id) == applied).then_some(())
            })
            .await;
        }
    }

    fn programs(&self) -> impl Iterator<Item = &Program> {
        self.cluster.gateways.iter().chain(&self.cluster.workers)
    }

    fn memory(&self) -> Vec<u64> {
        self.programs().map(Program::memory).collect()
    }

    /// No program has ended, panicked, or had to begin again on a lane.
    async fn nobody_ended(&mut self) {
        let worker = &self.cluster.workers[0];
        let failed = worker
            .metric("frontdesk_worker_sessions_failed_total")
            .await;
        assert!(failed < 1.0, "{failed} sessions failed");
        for program in self
            .cluster
            .gateways
            .iter_mut()
            .chain(&mut self.cluster.workers)
        {
            assert_eq!(program.child.exited(), None, "{}", program.child.name());
            let log = program.child.log();
            let panicked = log.lines().find(|line| line.contains("panicked at"));
            assert_eq!(panicked, None, "{}", program.child.name());
        }
    }
}
