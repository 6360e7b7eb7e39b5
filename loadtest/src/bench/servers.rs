//! The servers of one measurement: a Redis with the shipped configuration in a directory of its own,
//! and either Frontdesk or the bare relay on it. All are killed when this is dropped, so on panic too,
//! and by the kernel should this program itself be killed.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

use super::server::{START_WITHIN, Server};
use crate::config::{Load, Watch};

/// How long after the last worker is ready the lanes may still change hands.
const SETTLE: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Where the programs and deploy/redis.conf are, and where data goes.
    pub(super) bin_dir: PathBuf,
    pub(super) redis_conf: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) gateways: usize,
    pub(super) workers: usize,
    /// Directives of redis.conf to set otherwise.
    pub(super) redis: Vec<String>,
    /// Further settings of the workers.
    pub(super) worker: Vec<String>,
}

/// What runs on the Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Frontdesk,
    Bare,
}

/// All of one system. Fields end in this order: Redis last.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) gateways: Vec<Server>,
    pub(super) workers: Vec<Server>,
    redis: Server,
    pub(super) redis_url: String,
    addresses: Vec<SocketAddr>,
    metrics: Vec<String>,
    system: System,
    _dir: TempDir,
}

impl Servers {
    /// Starts everything and waits until it serves.
    pub(super) async fn start(setup: &Setup, system: System) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("frontdesk-bench-")
            .tempdir_in(&setup.dir)?;
        let path = dir.path().to_owned();
        let redis_at = free_port()?;
        let mut args = vec![setup.redis_conf.display().to_string()];
        args.extend(["--port".into(), redis_at.port().to_string()]);
        args.extend(["--bind".into(), "127.0.0.1".into()]);
        args.extend(["--dir".into(), path.display().to_string()]);
        args.extend(setup.redis.clone());
        let redis_url = format!("redis://{redis_at}/");
        let redis = Server::start("redis", Path::new("redis-server"), args, &path, redis_at)?;
        let mut servers = Self {
            gateways: Vec::new(),
            workers: Vec::new(),
            redis,
            redis_url,
            addresses: Vec::new(),
            metrics: Vec::new(),
            system,
            _dir: dir,
        };
        wait_for_redis(&mut servers.redis).await?;
        match system {
            System::Frontdesk => servers.frontdesk(setup, &path)?,
            System::Bare => servers.bare(setup, &path)?,
        }
        for server in servers.workers.iter_mut().chain(&mut servers.gateways) {
            server.ready().await?;
        }
        if system == System::Frontdesk {
            sleep(SETTLE).await;
        }
        Ok(servers)
    }

    fn frontdesk(&mut self, setup: &Setup, dir: &Path) -> Result<()> {
        let common = |metrics: SocketAddr| {
            let mut args = vec!["--log-format".to_owned(), "text".into()];
            args.extend(["--redis-url".into(), self.redis_url.clone()]);
            args.extend(["--metrics-listen".into(), metrics.to_string()]);
            // A closed loop says as much as it can.
            args.extend(["--rate-per-user".into(), "1000000".into()]);
            args
        };
        for n in 1..=setup.workers {
            let at = free_port()?;
            let mut args = common(at);
            args.extend(setup.worker.clone());
            let program = setup.bin_dir.join("frontdesk-worker");
            let worker = Server::start(&format!("worker{n}"), &program, args, dir, at)?;
            self.workers.push(worker);
            self.metrics.push(at.to_string());
        }
        for n in 1..=setup.gateways {
            let (at, metrics) = (free_port()?, free_port()?);
            let mut args = common(metrics);
            args.extend(["--open".into(), "--listen".into(), at.to_string()]);
            let program = setup.bin_dir.join("frontdesk-gateway");
            let gateway = Server::start(&format!("gateway{n}"), &program, args, dir, at)?;
            self.gateways.push(gateway);
            self.addresses.push(at);
            self.metrics.push(metrics.to_string());
        }
        Ok(())
    }

    fn bare(&mut self, setup: &Setup, dir: &Path) -> Result<()> {
        let program = std::env::current_exe()?;
        for n in 0..setup.gateways {
            let at = free_port()?;
            let mut args = vec!["baseline".to_owned(), "--listen".into(), at.to_string()];
            args.extend(["--redis-url".into(), self.redis_url.clone()]);
            args.extend(["--index".into(), n.to_string()]);
            let name = format!("baseline{}", n + 1);
            self.gateways
                .push(Server::start(&name, &program, args, dir, at)?);
            self.addresses.push(at);
        }
        Ok(())
    }

    /// The load that goes to them.
    pub(super) fn load(&self, sites: u32, warmup_s: u64, duration_s: u64) -> Load {
        Load {
            gateway: self
                .addresses
                .iter()
                .map(|at| format!("ws://{at}/"))
                .collect(),
            sites,
            run: None,
            duration_s,
            warmup_s,
            processes: 0,
            bare: self.system == System::Bare,
            secret_env: None,
            jwt_issuer: String::new(),
            jwt_audience: String::new(),
        }
    }

    /// Everything there is to watch. Without a quiet pair: the bare relay has none either.
    pub(super) fn watch(&self) -> Watch {
        let servers = self
            .gateways
            .iter()
            .chain(&self.workers)
            .chain([&self.redis]);
        Watch {
            redis: Some(self.redis_url.clone()),
            servers: servers.map(|s| format!("{}={}", s.name, s.pid())).collect(),
            find_servers: false,
            metrics: self.metrics.clone(),
            no_probe: true,
        }
    }

    /// A connection to its Redis.
    pub(super) async fn redis(&self) -> Result<redis::aio::MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(START_WITHIN))
            .set_connection_timeout(Some(START_WITHIN));
        let client = redis::Client::open(self.redis_url.as_str())?;
        Ok(client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }
}

async fn wait_for_redis(redis: &mut Server) -> Result<()> {
    let client = redis::Client::open(format!("redis://{}/", redis.ready))?;
    let deadline = Instant::now() + START_WITHIN;
    loop {
        ensure!(
            redis.process.try_wait()?.is_none(),
            "redis-server has ended: {}",
            std::fs::read_to_string(&redis.log).unwrap_or_default()
        );
        if let Ok(mut connection) = client.get_multiplexed_async_connection().await
            && redis::cmd("PING")
                .query_async::<String>(&mut connection)
                .await
                .is_ok()
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "redis-server does not answer");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A port that nothing listens on now, below those that the kernel gives to outgoing connections.
fn free_port() -> Result<SocketAddr> {
    for _ in 0..1000 {
        let port = rand::random_range(10_000..20_000_u16);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
        }
    }
    bail!("no free port between 10000 and 20000")
}
