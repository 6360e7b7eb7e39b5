//! Redis Sentinel with real processes: three servers and three Sentinels from the shipped files in
//! deploy/sentinel, gateways and workers that know the Sentinels only, and people who talk while
//! the primary is asked to go, is killed, or sleeps.
//!
//! Replication is asynchronous, so what was acknowledged last may be gone. Held is the rest: the
//! cluster heals by itself; log and state go back together, so what is missing of a conversation is
//! its end, and nothing is doubled or out of order; no gateway is declared dead; and whoever was
//! connected is told to come again. How much was lost is printed.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use frontdesk_shared::{ids::Shard, keys};
use frontdesk_tests::{
    child::Child,
    client::{Client, Incoming},
    conversation_log,
    ports::Port,
    process::{Program, Settings},
    proxy::Proxy,
    redis_server::{Options, RedisServer, find_program},
    redis_users::{GATEWAY, REPLICA, SENTINEL, WORKER, password},
    wait,
};
use redis::Commands as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

const SENTINEL_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/sentinel");
/// Everything that a failover takes: noticing, electing, demoting, and the programs' own limits.
const HEALED: Duration = Duration::from_secs(90);

/// A message without an ack is sent again after so long.
const RESEND: Duration = Duration::from_secs(5);
/// Conversations at once.
const PAIRS: usize = 3;

/// Three servers, three Sentinels, two gateways, two workers. Programs end before their Redis.
struct Site {
    gateways: Vec<Program>,
    workers: Vec<Program>,
    sentinels: Vec<(Child, Port)>,
    servers: Vec<RedisServer>,
    dir: TempDir,
}

/// `directive value` lines of a shipped file.
fn directives(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(SENTINEL_DIR).join(file)).expect("it is shipped");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Site {
    async fn start() -> Self {
        let mut site = Self::start_servers().await;
        for _ in 0..3 {
            site.start_sentinel();
        }
        site.sentinels_agree().await;
        let (worker, gateway) = (site.url(WORKER), site.url(GATEWAY));
        let own = Settings::default().set("redis-sentinel-password", "own");
        site.start_programs(&own, &worker, &gateway);
        site.ready().await;
        site
    }

    /// A primary and two replicas.
    async fn start_servers() -> Self {
        let mut options = Options::default();
        for (name, value) in directives("redis.conf") {
            let value = value.replace("REPLICA_PASSWORD", &password(REPLICA));
            options = options.set(&name, &value);
        }
        let servers: Vec<RedisServer> = (0..3).map(|_| options.clone().start()).collect();
        let site = Self {
            gateways: Vec::new(),
            workers: Vec::new(),
            sentinels: Vec::new(),
            servers,
            dir: tempfile::tempdir().expect("the temporary directory is writable"),
        };
        let primary = site.servers[0].addr();
        for replica in [1, 2] {
            site.replicaof(replica, &primary.ip().to_string(), primary.port());
        }
        wait::until("both replicas follow", async || {
            site.replicas(0).await.filter(|count| *count == 2)
        })
        .await;
        site
    }

    fn replicaof(&self, server: usize, host: &str, port: impl ToString) {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port.to_string());
        let () = command
            .query(&mut self.servers[server].connection())
            .unwrap();
    }

    fn start_programs(&mut self, settings: &Settings, worker: &str, gateway: &str) {
        let logs = self.dir.path();
        for n in 0..2 {
            let ticking = settings.clone().set("tick-ms", 200);
            let name = format!("w{n}");
            self.workers
                .push(Program::worker(&name, worker, &ticking, logs));
            let name = format!("g{n}");
            self.gateways
                .push(Program::gateway(&name, gateway, settings, logs));
        }
    }

    fn start_sentinel(&mut self) {
        let port = Port::lease();
        let primary = self.servers[0].addr();
        let mut config = format!("dir {}\nbind 127.0.0.1\n", self.dir.path().display());
        for (name, value) in directives("sentinel.conf") {
            let value = value
                .replace("26379", &port.number().to_string())
                .replace("10.0.0.1 6379", &format!("127.0.0.1 {}", primary.port()))
                .replace("SENTINEL_PASSWORD", &password(SENTINEL))
                .replace("OWN_PASSWORD", "own");
            config += &format!("{name} {value}\n");
        }
        let file = self.dir.path().join(format!("{}.conf", port.number()));
        fs::write(&file, config).unwrap();
        let args = [file.display().to_string(), "--sentinel".to_owned()];
        let program = find_program("redis-server");
        let log = file.with_extension("log");
        let child = Child::start("sentinel", &program, &args, &[], &log);
        self.sentinels.push((child, port));
    }

    /// The setting of the programs.
    fn url(&self, user: &str) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|(_, port)| format!("127.0.0.1:{}", port.number()))
            .collect();
        let password = password(user);
        format!(
            "redis+sentinel://{user}:{password}@{}/frontdesk",
            hosts.join(",")
        )
    }

    fn sentinel(&self, index: usize) -> redis::RedisResult<redis::Connection> {
        let port = self.sentinels[index].1.number();
        redis::Client::open(format!("redis://:own@127.0.0.1:{port}/"))?.get_connection()
    }

    /// Each knows the two others and the two replicas.
    async fn sentinels_agree(&self) {
        wait::within("the Sentinels know each other", HEALED, async || {
            for index in 0..3 {
                let mut master = redis::cmd("SENTINEL");
                master.arg("MASTER").arg("frontdesk");
                let facts: HashMap<String, String> =
                    master.query(&mut self.sentinel(index).ok()?).ok()?;
                let known = |name: &str| facts.get(name).map(String::as_str) == Some("2");
                if !known("num-other-sentinels") || !known("num-slaves") {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// The replicas that a server says it has, online and with all that was written.
    async fn replicas(&self, server: usize) -> Option<usize> {
        let mut redis = self.servers[server].connect().await;
        let info: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(&mut redis)
            .await
            .ok()?;
        Some(info.matches("state=online").count())
    }

    /// Which server the Sentinels call the primary.
    fn primary(&self) -> Option<usize> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg("frontdesk");
        let (_, port): (String, u16) = ask.query(&mut self.sentinel(0).ok()?).ok()?;
        self.servers
            .iter()
            .position(|server| server.addr().port() == port)
    }

    async fn fails_over(&self) -> usize {
        let moved = wait::within("another primary", HEALED, async || {
            self.primary().filter(|index| *index != 0)
        });
        moved.await.0
    }

    async fn ready(&mut self) {
        for program in self.workers.iter_mut().chain(&mut self.gateways) {
            let name = program.child.name().to_owned();
            wait::within(&format!("{name} is ready"), HEALED, async || {
                assert!(program.child.exited().is_none(), "{}", program.child.log());
                let page = frontdesk_tests::http::get(program.listen, "/readyz").await;
                (page.ok()?.status == 200).then_some(())
            })
            .await;
        }
    }

    /// A pair on a site of their own who talk; in the middle of a failover it takes several tries.
    async fn pair(&self, name: &str) -> Pair {
        let mut tries = 0;
        let what = format!("{name} come together");
        let tried = wait::within(&what, HEALED, async || {
            tries += 1;
            let mut pair = Pair::try_connect(self, format!("{name}-{tries}")).await?;
            for _ in 0..10 {
                pair.exchange().await?;
            }
            Some(pair)
        });
        tried.await.0
    }

    /// How many gateways the reaper has declared dead.
    fn dead_gateways(&self, server: usize) -> usize {
        let mut redis = self.servers[server].connection();
        let all: HashMap<String, String> = redis.hgetall(keys::GATEWAYS).unwrap();
        all.values().filter(|it| it.starts_with("dead")).count()
    }

    fn dead_letters(&self, server: usize) -> usize {
        let mut redis = self.servers[server].connection();
        let count = |shard| redis.xlen::<_, usize>(keys::dead(shard)).unwrap();
        Shard::all().map(count).sum()
    }
}

/// Sends a frame, if the socket still takes it.
async fn send(client: &mut Client, action: &str, payload: Value) -> Option<()> {
    let frame = json!({"action": action, "payload": payload});
    client.send_raw(Message::text(frame.to_string())).await.ok()
}

/// The next frame with this action and code; `None` if the socket ends or asks to come later.
async fn answer(client: &mut Client, action: &str, code: &str) -> Option<Value> {
    loop {
        let Incoming::Frame(mut frame) = client.next_within(wait::DEADLINE).await? else {
            return None;
        };
        if frame["action"] == action && frame["payload"]["code"] == code {
            return Some(frame["payload"].take());
        }
        if frame["action"] == "error" {
            return None;
        }
    }
}

/// A customer and staff in conversation, and what they were told is stored.
struct Pair {
    staff: Client,
    customer: Client,
    conversation: String,
    site: String,
    sent: u64,
    acked: Vec<Value>,
    cut_off: bool,
}

impl Pair {
    /// Staff on one gateway, a customer on the other; `None` where a failover comes in between.
    async fn try_connect(site: &Site, name: String) -> Option<Self> {
        let enter = async |gateway: usize, query: String| {
            let client = Client::try_connect(site.gateways[gateway].listen, &query).await;
            let mut client = client.ok()?;
            answer(&mut client, "welcome", "welcome").await?;
            Some(client)
        };
        let mut staff = enter(0, format!("uid=staff&site={name}")).await?;
        send(&mut staff, "staffOnline", json!({})).await?;
        answer(&mut staff, "message", "on_duty").await?;
        let mut customer = enter(1, format!("uid=customer&site={name}")).await?;
        send(&mut customer, "customerConnect", json!({})).await?;
        let connected = answer(&mut customer, "message", "connected").await?;
        answer(&mut staff, "message", "new_customer").await?;
        Some(Self {
            staff,
            customer,
            conversation: connected["conversation"].as_str()?.to_owned(),
            site: name,
            sent: 0,
            acked: Vec::new(),
            cut_off: false,
        })
    }

    /// Each says one thing, has it acknowledged, and is heard. `None` once a socket has ended.
    async fn exchange(&mut self) -> Option<()> {
        for customer_speaks in [true, false] {
            let (speaker, listener) = if customer_speaks {
                (&mut self.customer, &mut self.staff)
            } else {
                (&mut self.staff, &mut self.customer)
            };
            self.sent += 1;
            let (words, id) = (format!("words {}", self.sent), format!("m{}", self.sent));
            let acked = loop {
                send(speaker, "message", json!({"message": words, "id": id})).await?;
                // An ack that was lost with the primary comes when the message is sent again.
                let ack = async {
                    loop {
                        let frame = match speaker.next_within(RESEND).await {
                            Some(Incoming::Frame(frame)) => frame,
                            Some(_closed) => return Err(()),
                            None => return Ok(None),
                        };
                        if frame["action"] == "ack" && frame["payload"]["ref"] == id {
                            return Ok(Some(frame["payload"].clone()));
                        }
                    }
                };
                if let Some(ack) = ack.await.ok()? {
                    break ack;
                }
            };
            self.acked.push(acked);
            loop {
                let Incoming::Frame(frame) = listener.next_within(wait::DEADLINE).await? else {
                    return None;
                };
                if frame["action"] == "message" && frame["payload"]["message"] == words {
                    break;
                }
            }
        }
        Some(())
    }

    /// Talks until a socket ends, or `until` says so.
    async fn talk(mut self, until: Arc<AtomicBool>) -> Self {
        while !until.load(Ordering::Relaxed) && !self.cut_off {
            self.cut_off = self.exchange().await.is_none();
        }
        self
    }

    /// How many acknowledged messages the primary does not have. They are the last ones; what it has
    /// is what was acknowledged, once each and in order.
    async fn lost(&self, primary: &RedisServer) -> usize {
        let mut redis = primary.connect().await;
        let log = conversation_log::read(&mut redis, &self.site, &self.conversation).await;
        let seqs: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
        let said: Vec<u64> = log
            .iter()
            .filter_map(|entry| entry.reference.as_ref()?[1..].parse().ok())
            .collect();
        // In order, each once; a single one without an ack may be there.
        assert!(said.iter().copied().eq(1..=said.len() as u64), "{said:?}");
        let stored: HashMap<&str, _> = log.iter().map(|it| (it.id.as_str(), it)).collect();
        let mut lost = 0;
        for ack in &self.acked {
            let found = stored.get(ack["id"].as_str().unwrap());
            assert!(found.is_none() || lost == 0, "a hole before {ack}");
            match found {
                Some(entry) => assert_eq!(ack["seq"], entry.seq),
                None => lost += 1,
            }
        }
        println!(
            "{}: {} acknowledged, {lost} of them lost",
            self.site,
            self.acked.len()
        );
        lost
    }
}

/// Pairs that talk in the background.
struct Talk {
    pairs: Vec<JoinHandle<Pair>>,
    stop: Arc<AtomicBool>,
}

impl Talk {
    async fn start(site: &Site, name: &str) -> Self {
        let (stop, mut pairs) = (Arc::new(AtomicBool::new(false)), Vec::new());
        for n in 0..PAIRS {
            let pair = site.pair(&format!("{name}{n}")).await;
            pairs.push(tokio::spawn(pair.talk(Arc::clone(&stop))));
        }
        Self { pairs, stop }
    }

    /// Waits for their end. How many acknowledged messages are lost, and how many pairs were cut off.
    async fn end(self, primary: &RedisServer) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut lost, mut cut_off) = (0, 0);
        for pair in self.pairs {
            let pair = pair.await.unwrap();
            lost += pair.lost(primary).await;
            cut_off += usize::from(pair.cut_off);
        }
        (lost, cut_off)
    }
}

/// What holds after every failover.
async fn healed(site: &mut Site, primary: usize, before: Talk) -> usize {
    site.ready().await;
    let after = Talk::start(site, "after").await;
    let (lost, _) = after.end(&site.servers[primary]).await;
    assert_eq!(lost, 0, "nothing has failed any more");
    assert_eq!(site.dead_gateways(primary), 0, "a gateway was reaped");
    assert_eq!(site.dead_letters(primary), 0);
    let (lost, cut_off) = before.end(&site.servers[primary]).await;
    assert!(cut_off == PAIRS || lost == 0, "lost without a word");
    lost
}

/// Asked to, Sentinel promotes a replica first and demotes the old primary seconds later: what that one
/// acknowledges in between is lost.
#[tokio::test]
async fn a_planned_failover_heals() {
    let mut site = Site::start().await;
    let lost = planned(&mut site).await;
    println!("a planned failover: {lost} acknowledged messages lost");
}

/// As docs/OPERATIONS.md has it.
#[tokio::test]
async fn a_planned_failover_with_writes_paused_loses_nothing() {
    let mut site = Site::start().await;
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(20_000).arg("WRITE");
    let before = Talk::start(&site, "before").await;
    let () = pause.query(&mut site.servers[0].connection()).unwrap();
    failover(&site);
    let primary = site.fails_over().await;
    assert_eq!(healed(&mut site, primary, before).await, 0);
}

fn failover(site: &Site) {
    let mut failover = redis::cmd("SENTINEL");
    failover.arg("FAILOVER").arg("frontdesk");
    let () = failover.query(&mut site.sentinel(0).unwrap()).unwrap();
}

async fn planned(site: &mut Site) -> usize {
    let before = Talk::start(site, "before").await;
    failover(site);
    let primary = site.fails_over().await;
    let lost = healed(site, primary, before).await;
    wait::within("both others follow", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
    lost
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut site = Site::start().await;
    let before = Talk::start(&site, "before").await;
    site.servers[0].kill9();
    let primary = site.fails_over().await;
    let lost = healed(&mut site, primary, before).await;
    println!("a killed primary: {lost} acknowledged messages lost");
    // It comes back as the primary that it was, for the Sentinels to demote.
    let undisturbed = Talk::start(&site, "undisturbed").await;
    site.servers[0].restart();
    wait::within("it follows", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
    assert_eq!(undisturbed.end(&site.servers[primary]).await, (0, 0));
}

/// Split brain: the old primary wakes, does not know that it was replaced, and still has the
/// connections of everybody who knew it.
#[tokio::test]
async fn a_primary_that_sleeps_through_its_replacement_takes_nobody_along() {
    let mut site = Site::start().await;
    let before = Talk::start(&site, "before").await;
    site.servers[0].pause();
    let primary = site.fails_over().await;
    site.ready().await;
    let undisturbed = Talk::start(&site, "undisturbed").await;
    site.servers[0].unpause();
    wait::within("the old one follows", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
    assert_eq!(undisturbed.end(&site.servers[primary]).await, (0, 0));
    let lost = healed(&mut site, primary, before).await;
    println!("a primary that slept: {lost} acknowledged messages lost");
}

/// Without Sentinels, by an address that follows the primary: nobody ends the connections to the old
/// one, which goes on answering.
#[tokio::test]
async fn a_primary_demoted_by_hand_is_left_by_everybody() {
    let mut site = Site::start_servers().await;
    let proxy = Proxy::start(site.servers[0].addr());
    let url = |user| format!("redis://{user}:{}@{}/", password(user), proxy.addr());
    site.start_programs(&Settings::default(), &url(WORKER), &url(GATEWAY));
    site.ready().await;
    let before = Talk::start(&site, "before").await;
    let new = site.servers[1].addr();
    site.replicaof(1, "NO", "ONE");
    proxy.lead_to(new);
    for other in [0, 2] {
        site.replicaof(other, "127.0.0.1", new.port());
    }
    healed(&mut site, 1, before).await;
    // Subscriptions may stay: a primary's publishes reach its replicas.
    wait::within("the old one is left alone", HEALED, async || {
        let mut redis = site.servers[0].connect().await;
        let mut list = redis::cmd("CLIENT");
        let list: String = list.arg("LIST").query_async(&mut redis).await.ok()?;
        let ours = |line: &&str| line.contains("user=gateway") || line.contains("user=worker");
        let mut ours = list.lines().filter(ours);
        ours.all(|line| line.contains(" sub=1 ")).then_some(())
    })
    .await;
}
