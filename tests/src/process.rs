//! One frontdesk-gateway or frontdesk-worker as a real process.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{child::Child, http, ports::Port, proxy::Proxy, wait};

/// Command-line settings by name without the dashes; `""` makes a bare flag. A later value replaces
/// an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    args: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    removed: Vec<String>,
}

impl Settings {
    /// Sets one.
    #[must_use]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "so that numbers, texts and addresses can be written as they are"
    )]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.args.insert(name.to_owned(), value.to_string());
        self
    }

    /// Takes one away.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    /// Adds to the environment.
    #[must_use]
    pub fn env(mut self, variables: Vec<(String, String)>) -> Self {
        self.env.extend(variables);
        self
    }

    /// These, with `over` on top.
    #[must_use]
    pub fn with(mut self, over: &Self) -> Self {
        self.args.extend(over.args.clone());
        self.env.extend(over.env.clone());
        self.args.retain(|name, _| !over.removed.contains(name));
        self
    }

    fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        for (name, value) in &self.args {
            args.push(format!("--{name}"));
            if !value.is_empty() {
                args.push(value.clone());
            }
        }
        args
    }
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    /// The process.
    pub child: Child,
    /// Where it serves `/readyz`: a gateway's sockets, a worker's metrics.
    pub listen: SocketAddr,
    /// Where it serves `/metrics`.
    pub metrics: SocketAddr,
    /// What lies between it and Redis, in a cluster that was asked for that.
    pub proxy: Option<Proxy>,
    _ports: Vec<Port>,
}

impl Program {
    /// Starts a gateway in open mode on loopback.
    pub fn gateway(name: &str, redis_url: &str, settings: &Settings, dir: &Path) -> Self {
        Self::gateway_at(
            Ipv4Addr::LOCALHOST.into(),
            Port::lease(),
            name,
            redis_url,
            settings,
            dir,
        )
    }

    /// Starts a gateway in open mode on an address of its own.
    pub fn gateway_at(
        ip: IpAddr,
        port: Port,
        name: &str,
        redis_url: &str,
        settings: &Settings,
        dir: &Path,
    ) -> Self {
        let (listen, metrics_port) = (SocketAddr::new(ip, port.number()), Port::lease());
        let metrics = local(&metrics_port);
        let settings = common(redis_url, metrics)
            .set("open", "")
            .set("listen", listen)
            .with(settings);
        Self {
            child: start(name, "frontdesk-gateway", &settings, dir),
            listen,
            metrics,
            proxy: None,
            _ports: vec![port, metrics_port],
        }
    }

    /// Starts a worker whose id is its name.
    pub fn worker(name: &str, redis_url: &str, settings: &Settings, dir: &Path) -> Self {
        let port = Port::lease();
        let metrics = local(&port);
        let settings = common(redis_url, metrics)
            .set("worker-id", name)
            .with(settings);
        Self {
            child: start(name, "frontdesk-worker", &settings, dir),
            listen: metrics,
            metrics,
            proxy: None,
            _ports: vec![port],
        }
    }

    /// With what lies between it and Redis.
    #[must_use]
    pub fn behind(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&mut self) {
        let what = format!("{} is ready", self.child.name());
        wait::until(&what, async || {
            if let Some(status) = self.child.exited() {
                panic!("{} ended ({status})", self.child.name());
            }
            let response = http::get(self.listen, "/readyz").await.ok()?;
            (response.status == 200).then_some(())
        })
        .await;
    }

    /// The sum of a metric over all its labels; 0 if there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        self.metric_where(name, "").await
    }

    /// The sum of a metric over the series whose labels contain this text.
    pub async fn metric_where(&self, name: &str, labels: &str) -> f64 {
        let page = http::get(self.metrics, "/metrics").await;
        let page = page.expect("metrics are served");
        let mut sum = 0.0;
        for line in page.body.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let rest = series.strip_prefix(name);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
                && series.contains(labels)
            {
                sum += value.parse::<f64>().unwrap_or_default();
            }
        }
        sum
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid()))
            .expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("the kernel reports VmRSS") * 1024
    }
}

fn local(port: &Port) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))
}

fn common(redis_url: &str, metrics: SocketAddr) -> Settings {
    Settings::default()
        .set("redis-url", redis_url)
        .set("metrics-listen", metrics)
        .set("log", "info")
        .set("log-format", "text")
}

fn start(name: &str, program: &str, settings: &Settings, dir: &Path) -> Child {
    let log = dir.join(format!("{name}.log"));
    Child::start(
        name,
        &binary(program),
        &settings.args(),
        &settings.env,
        &log,
    )
}

/// Where a program of this workspace is: in `FRONTDESK_BIN_DIR`, or beside the tests, built once.
pub fn binary(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| std::env::var_os("FRONTDESK_BIN_DIR").map_or_else(build, PathBuf::from))
        .join(name)
}

fn build() -> PathBuf {
    // target/<profile>/deps/<this test>
    let here = std::env::current_exe().expect("a running program has a path");
    let dir = here
        .ancestors()
        .nth(2)
        .expect("tests are built into target/<profile>/deps")
        .to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo says of this test's package must not reach the build: ring's build script looks at
    // it, so everything above ring would be compiled again at each change between the two.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(variable);
        }
    }
    if dir.file_name() == Some(OsStr::new("release")) {
        command.arg("--release");
    }
    // Some build scripts look at these; with those of the running test they would run again, and what
    // depends on them would be built anew, here and in the next `cargo test`.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "the programs do not build");
    dir
}
