//! What the servers use meanwhile: processor time and memory of their processes on this machine,
//! Redis's own figures, and what gateways and workers tell Prometheus.

pub(crate) mod metrics;
pub(crate) mod processes;
pub(crate) mod store;

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{config::Watch, target::Gateway};
use processes::Process;

/// What is watched, and how to ask it.
#[derive(Debug)]
pub(crate) struct Sampler {
    processes: Vec<Process>,
    store: Option<store::Store>,
    metrics: Vec<String>,
    began: Instant,
}

/// One look at everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Seconds since the load began; negative before.
    pub(crate) t: f64,
    /// By process, in the order of the names.
    pub(crate) processes: Vec<Usage>,
    pub(crate) redis: Option<store::Figures>,
    /// Sums over all listeners, by metric.
    pub(crate) metrics: BTreeMap<String, f64>,
}

/// What a process has used, and uses.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Processor time so far, in seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
}

impl Sampler {
    /// Finds what is to be watched. Gateways, and whoever serves metrics, are found by their
    /// ports if they are on this machine.
    pub(crate) async fn new(watch: &Watch, gateways: &[Gateway]) -> Result<Self> {
        let store = match &watch.redis {
            Some(url) => Some(store::Store::connect(url).await?),
            None => None,
        };
        let mut found = processes::named(&watch.servers)?;
        let local = |addr: &SocketAddr| addr.ip().is_loopback();
        let metrics = watch.metrics.iter().filter_map(|addr| addr.parse().ok());
        let listeners = gateways.iter().map(|gateway| gateway.addr).chain(metrics);
        let ports: Vec<u16> = listeners.filter(local).map(|addr| addr.port()).collect();
        found.extend(processes::listening_on(&ports));
        if watch.find_servers {
            found.extend(processes::servers());
        }
        if let Some(store) = &store
            && let Some(pid) = store.local_pid
        {
            found.extend(Process::of("redis", pid));
        }
        Ok(Self {
            processes: processes::distinct(found),
            store,
            metrics: watch.metrics.clone(),
            began: Instant::now(),
        })
    }

    /// The names of the watched processes, in the order of the samples.
    pub(crate) fn names(&self) -> Vec<String> {
        self.processes
            .iter()
            .map(|process| process.name.clone())
            .collect()
    }

    /// From when on time counts.
    pub(crate) fn begin(&mut self, began: Instant) {
        self.began = began;
    }

    /// Looks at everything now.
    pub(crate) async fn take(&mut self) -> Sample {
        let now = Instant::now();
        let t = if now >= self.began {
            (now - self.began).as_secs_f64()
        } else {
            -(self.began - now).as_secs_f64()
        };
        let processes = self.processes.iter().map(Process::usage).collect();
        let redis = match &mut self.store {
            Some(store) => store.figures().await,
            None => None,
        };
        Sample {
            t,
            processes,
            redis,
            metrics: metrics::read_all(&self.metrics).await,
        }
    }
}
