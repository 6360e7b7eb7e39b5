//! A whole cluster: one Redis, gateways and workers, each as its own user of Redis.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use frontdesk_shared::{
    ids::{Lane, Shard, Site, Uid},
    keys,
};
use redis::AsyncCommands as _;
use tempfile::TempDir;

use crate::{
    client::Client,
    process::{Program, Settings},
    proxy::Proxy,
    redis_server::{self, Options, RedisServer},
    redis_users::{GATEWAY, WORKER},
    tokens, wait,
};

/// The site of users who name none.
pub const DEFAULT_SITE: &str = "default";
/// Pairs of shard and lane.
pub const PAIRS: usize = 128;

/// What to start.
#[derive(Debug, Clone)]
pub struct Builder {
    gateways: usize,
    workers: usize,
    gateway: Settings,
    worker: Settings,
    redis: Options,
    proxies: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            gateways: 2,
            workers: 2,
            // Many talk faster here than people; places in queues move by the tick. Everything else
            // keeps its default.
            gateway: unhurried(),
            worker: unhurried().set("tick-ms", 200),
            redis: Options::default(),
            proxies: false,
        }
    }
}

impl Builder {
    /// How many gateways; 2 unless said.
    #[must_use]
    pub fn gateways(mut self, count: usize) -> Self {
        self.gateways = count;
        self
    }

    /// How many workers; 2 unless said.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// A setting of all gateways.
    #[must_use]
    pub fn gateway_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.gateway = self.gateway.set(name, value);
        self
    }

    /// No open mode: the gateways read tokens signed with [`tokens::SECRET`].
    #[must_use]
    pub fn signed(mut self) -> Self {
        let secret = ("FRONTDESK_SECRET".to_owned(), tokens::SECRET.to_owned());
        self.gateway = self.gateway.unset("open").env(vec![secret]);
        self
    }

    /// A setting of all workers.
    #[must_use]
    pub fn worker_setting(mut self, name: &str, value: impl ToString) -> Self {
        self.worker = self.worker.set(name, value);
        self
    }

    /// Another Redis than the shipped one.
    #[must_use]
    pub fn redis(mut self, options: Options) -> Self {
        self.redis = options;
        self
    }

    /// Puts a proxy between each program and Redis: [`Program::proxy`].
    #[must_use]
    pub fn proxies(mut self) -> Self {
        self.proxies = true;
        self
    }

    /// Starts everything; returns when all are ready and the workers hold every lane, each some.
    pub async fn start(self) -> Cluster {
        let logs = tempfile::Builder::new()
            .prefix("frontdesk-logs-")
            .tempdir()
            .expect("the temporary directory is writable");
        let mut cluster = Cluster {
            gateways: Vec::new(),
            workers: Vec::new(),
            redis: self.redis.clone().start(),
            logs,
            settings: self,
        };
        for _ in 0..cluster.settings.workers {
            cluster.launch_worker();
        }
        for _ in 0..cluster.settings.gateways {
            cluster.launch_gateway();
        }
        for program in cluster.workers.iter_mut().chain(&mut cluster.gateways) {
            program.ready().await;
        }
        cluster.settled().await;
        cluster
    }
}

/// A running cluster. Programs end before their Redis.
#[derive(Debug)]
pub struct Cluster {
    /// Its gateways.
    pub gateways: Vec<Program>,
    /// Its workers.
    pub workers: Vec<Program>,
    /// Its Redis.
    pub redis: RedisServer,
    logs: TempDir,
    settings: Builder,
}

impl Cluster {
    /// Two gateways and two workers.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Something else.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where the programs' logs are.
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// Starts one more worker without waiting. Its name, which is its id, is returned.
    pub fn launch_worker(&mut self) -> String {
        let worker = self.new_worker();
        let name = worker.child.name().to_owned();
        self.workers.push(worker);
        name
    }

    /// Starts one more gateway without waiting.
    pub fn launch_gateway(&mut self) {
        let gateway = self.new_gateway();
        self.gateways.push(gateway);
    }

    /// Ends a worker without warning and starts another in its place, without waiting.
    pub fn replace_worker(&mut self, index: usize) {
        self.workers[index] = self.new_worker();
    }

    /// The same, and the other one's wall clock is so many seconds off.
    pub fn replace_worker_with_clock(&mut self, index: usize, seconds: i64) {
        self.replace_worker_with(index, redis_server::clock(seconds));
    }

    /// The same, and the other one has this in its environment too.
    pub fn replace_worker_with(&mut self, index: usize, env: Vec<(String, String)>) {
        let settings = self.settings.worker.clone();
        self.settings.worker = settings.clone().env(env);
        self.replace_worker(index);
        self.settings.worker = settings;
    }

    /// Ends a gateway without warning and starts another in its place, without waiting.
    pub fn replace_gateway(&mut self, index: usize) {
        self.gateways[index] = self.new_gateway();
    }

    fn new_worker(&self) -> Program {
        let (url, proxy) = self.way_to_redis(WORKER);
        let logs = self.logs.path();
        Program::worker(&unique("w"), &url, &self.settings.worker, logs).behind(proxy)
    }

    fn new_gateway(&self) -> Program {
        let (url, proxy) = self.way_to_redis(GATEWAY);
        let logs = self.logs.path();
        Program::gateway(&unique("g"), &url, &self.settings.gateway, logs).behind(proxy)
    }

    fn way_to_redis(&self, user: &str) -> (String, Option<Proxy>) {
        let proxy = self
            .settings
            .proxies
            .then(|| Proxy::start(self.redis.addr()));
        let addr = proxy.as_ref().map_or(self.redis.addr(), Proxy::addr);
        let url = self.redis.url_at(user, addr);
        (url, proxy)
    }

    /// Connects to a gateway and takes the `welcome`.
    pub async fn connect(&self, gateway: usize, query: &str) -> Client {
        Client::connect(self.gateways[gateway].listen, query).await
    }

    /// Where a gateway listens.
    pub fn addr(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].listen
    }

    /// How many lanes each worker holds, by name.
    pub async fn shares(&self) -> HashMap<String, usize> {
        let mut shares = HashMap::new();
        for owner in self.leases().await.into_values() {
            let name = self.owner_name(&owner);
            *shares.entry(name).or_default() += 1;
        }
        shares
    }

    /// Every lease there is: (shard, lane) to the owner's token.
    pub async fn leases(&self) -> HashMap<(u8, u8), String> {
        let pairs: Vec<_> = Shard::all()
            .flat_map(|shard| Lane::all().map(move |lane| (shard, lane)))
            .collect();
        let names: Vec<_> = pairs
            .iter()
            .map(|(shard, lane)| format!("{}lease:{}", keys::shard_prefix(*shard), lane.number()))
            .collect();
        let mut connection = self.redis.connect().await;
        let owners: Vec<Option<String>> = connection.mget(&names).await.expect("leases are text");
        pairs
            .into_iter()
            .zip(owners)
            .filter_map(|((shard, lane), owner)| Some(((shard.number(), lane.number()), owner?)))
            .collect()
    }

    /// How many events could not be applied.
    pub async fn dead_letters(&self) -> usize {
        let mut connection = self.redis.connect().await;
        let mut count = 0;
        for shard in Shard::all() {
            let length: usize = connection.xlen(keys::dead(shard)).await.expect("a stream");
            count += length;
        }
        count
    }

    fn owner_name(&self, token: &str) -> String {
        // Names have one length in a cluster, so none is the beginning of another.
        let names = self.workers.iter().map(|worker| worker.child.name());
        names
            .filter(|name| token.starts_with(*name))
            .max_by_key(|name| name.len())
            .unwrap_or(token)
            .to_owned()
    }

    /// Waits until every lane is held and every running worker holds a fair part of them.
    pub async fn settled(&mut self) {
        let names = self.running_workers();
        let what = format!("{names:?} share the lanes");
        wait::until(&what, async || self.shared_by(&names).await.then_some(())).await;
    }

    /// Whether exactly these workers hold all lanes, each at least half of an equal share: chance
    /// leaves rendezvous hashing far inside that.
    pub async fn shared_by(&self, names: &[String]) -> bool {
        let shares = self.shares().await;
        let fair = PAIRS / names.len().max(1) / 2;
        shares.values().sum::<usize>() == PAIRS
            && shares.len() == names.len()
            && names
                .iter()
                .all(|name| shares.get(name).is_some_and(|share| *share >= fair))
    }

    /// The names of the workers that have not ended.
    pub fn running_workers(&mut self) -> Vec<String> {
        self.workers
            .iter_mut()
            .filter_map(|worker| match worker.child.exited() {
                None => Some(worker.child.name().to_owned()),
                Some(_) => None,
            })
            .collect()
    }

    /// A user id whose lane the worker at `index` holds now, on the default site.
    pub async fn uid_at(&self, prefix: &str, index: usize) -> String {
        let site = Site::parse(DEFAULT_SITE).expect("well-formed");
        let shard = Shard::of(&site).number();
        let leases = self.leases().await;
        let name = self.workers[index].child.name();
        (0..1000)
            .map(|n| format!("{prefix}{n}"))
            .find(|uid| {
                let lane = Lane::of(&Uid::parse(uid).expect("well-formed")).number();
                leases
                    .get(&(shard, lane))
                    .is_some_and(|owner| owner.starts_with(name))
            })
            .unwrap_or_else(|| panic!("{name} holds no lane of the site {DEFAULT_SITE}"))
    }
}

fn unhurried() -> Settings {
    Settings::default()
        .set("rate-per-user", 100_000)
        .set("rate-burst", 100_000)
}

fn unique(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(100);
    format!("{kind}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
