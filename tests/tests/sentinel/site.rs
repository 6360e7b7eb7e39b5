//! Servers, Sentinels and programs.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use frontdesk_shared::{ids::Shard, keys};
use frontdesk_tests::{
    child::Child,
    http,
    ports::Port,
    process::{Program, Settings},
    redis_server::{Options, RedisServer, find_program},
    redis_users::{GATEWAY, REPLICA, SENTINEL, WORKER, password},
    wait,
};
use redis::Commands as _;
use tempfile::TempDir;

use crate::talk::Pair;

const SENTINEL_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/sentinel");
/// Everything that a failover takes: noticing, electing, demoting, and the programs' own limits.
pub const HEALED: Duration = Duration::from_secs(90);

/// Three servers, three Sentinels, two gateways, two workers. Programs end before their Redis.
pub struct Site {
    pub gateways: Vec<Program>,
    pub workers: Vec<Program>,
    sentinels: Vec<(Child, Port)>,
    pub servers: Vec<RedisServer>,
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
    pub async fn start() -> Self {
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
    pub async fn start_servers() -> Self {
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
            site.replicaof(replica, "127.0.0.1", &primary.port().to_string());
        }
        wait::until("both replicas follow", async || {
            site.replicas(0).await.filter(|count| *count == 2)
        })
        .await;
        site
    }

    pub fn replicaof(&self, server: usize, host: &str, port: &str) {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port);
        let () = command
            .query(&mut self.servers[server].connection())
            .unwrap();
    }

    pub fn start_programs(&mut self, settings: &Settings, worker: &str, gateway: &str) {
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

    pub fn start_sentinel(&mut self) {
        let port = Port::lease();
        let primary = self.servers[0].addr();
        let mut config = format!("dir {}\nbind 127.0.0.1\n", self.dir.path().display());
        for (name, value) in directives("sentinel.conf") {
            let value = value
                .replace("26379", &port.number().to_string())
                .replace("10.0.0.1 6379", &format!("127.0.0.1 {}", primary.port()))
                .replace("SENTINEL_PASSWORD", &password(SENTINEL))
                .replace("OWN_PASSWORD", "own");
            config.extend([&name, " ", &value, "\n"]);
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
    pub fn url(&self, user: &str) -> String {
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

    pub fn sentinel(&self, index: usize) -> redis::RedisResult<redis::Connection> {
        let port = self.sentinels[index].1.number();
        redis::Client::open(format!("redis://:own@127.0.0.1:{port}/"))?.get_connection()
    }

    /// Each knows the two others and the two replicas.
    pub async fn sentinels_agree(&self) {
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
    pub async fn replicas(&self, server: usize) -> Option<usize> {
        let mut redis = self.servers[server].connect().await;
        let info: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(&mut redis)
            .await
            .ok()?;
        Some(info.matches("state=online").count())
    }

    /// Which server the Sentinels call the primary.
    pub fn primary(&self) -> Option<usize> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg("frontdesk");
        let (_, port): (String, u16) = ask.query(&mut self.sentinel(0).ok()?).ok()?;
        self.servers
            .iter()
            .position(|server| server.addr().port() == port)
    }

    pub async fn fails_over(&self) -> usize {
        let moved = wait::within("another primary", HEALED, async || {
            self.primary().filter(|index| *index != 0)
        });
        moved.await.0
    }

    pub async fn ready(&mut self) {
        for program in self.workers.iter_mut().chain(&mut self.gateways) {
            let name = program.child.name().to_owned();
            wait::within(&format!("{name} is ready"), HEALED, async || {
                assert!(program.child.exited().is_none(), "{}", program.child.log());
                let page = http::get(program.listen, "/readyz").await;
                (page.ok()?.status == 200).then_some(())
            })
            .await;
        }
    }

    /// A pair on a site of their own who talk; in the middle of a failover it takes several tries.
    pub async fn pair(&self, name: &str) -> Pair {
        let mut tries = 0;
        let what = format!("{name} come together");
        let pair = wait::within(&what, HEALED, async || {
            tries += 1;
            let mut pair = Pair::try_connect(self, format!("{name}-{tries}")).await?;
            for _ in 0..10 {
                pair.exchange().await?;
            }
            Some(pair)
        });
        pair.await.0
    }

    /// How many gateways the reaper has declared dead.
    pub fn dead_gateways(&self, server: usize) -> usize {
        let mut redis = self.servers[server].connection();
        let all: HashMap<String, String> = redis.hgetall(keys::GATEWAYS).unwrap();
        all.values().filter(|it| it.starts_with("dead")).count()
    }

    pub fn dead_letters(&self, server: usize) -> usize {
        let mut redis = self.servers[server].connection();
        let count = |shard| redis.xlen::<_, usize>(keys::dead(shard)).unwrap();
        Shard::all().map(count).sum()
    }
}
