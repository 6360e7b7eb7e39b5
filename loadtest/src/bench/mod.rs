//! Frontdesk against the bare relay, on this machine, in one run: rounds alternate between the two,
//! ratios are taken round by round, and medians with their spread go into a table. Everything is
//! started here and ends here.

mod crowd;
mod figures;
mod full;
mod measures;
mod server;
mod servers;
mod soak;
mod table;

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{BROKEN, latency::Kind, outcome::Outcome};
use figures::Figures;
use measures::{Size, at_rest, customer_connect, idle, relay, storm};
use servers::{Servers, Setup, System};
use table::markdown;

/// Options of `bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Rounds; medians and spreads are over these
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Also: 1, 2 and 4 gateways and workers, appendfsync everysec, and a long soak with kills
    #[arg(long)]
    full: bool,
    /// Minutes of the soak with --full
    #[arg(long, default_value_t = 30)]
    soak_minutes: u64,
    /// Where frontdesk-gateway and frontdesk-worker are; beside this program if not given
    #[arg(long, env = "FRONTDESK_BIN_DIR")]
    bin_dir: Option<PathBuf>,
    /// The configuration of Redis
    #[arg(long, default_value = "deploy/redis.conf")]
    redis_conf: PathBuf,
    /// Where Redis keeps its data meanwhile. A disk shows what fsync costs there, /dev/shm what all
    /// the rest costs
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// Write the table to this file, too
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// A hundredth of everything, to see that it works: the figures mean nothing
    #[arg(long)]
    tiny: bool,
}

impl Options {
    fn setup(&self) -> Result<Setup> {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.to_owned());
        let bin_dir = self
            .bin_dir
            .clone()
            .or_else(beside)
            .context("no --bin-dir")?;
        for program in ["frontdesk-gateway", "frontdesk-worker"] {
            ensure!(
                bin_dir.join(program).is_file(),
                "{program} is not in {}: build it (make build), or name --bin-dir",
                bin_dir.display()
            );
        }
        let redis_conf = self.redis_conf.canonicalize();
        Ok(Setup {
            bin_dir,
            redis_conf: redis_conf.context("--redis-conf cannot be found")?,
            dir: self.dir.clone(),
            gateways: 2,
            workers: 2,
            redis: Vec::new(),
            worker: Vec::new(),
        })
    }

    fn size(&self) -> Size {
        let part = if self.tiny { 100 } else { 1 };
        Size {
            pairs: 1000 / part,
            rate: if self.tiny { 100.0 } else { 2000.0 },
            connections: 10_000 / part,
            staff: 1000 / part,
            waiting: 100_000 / part,
        }
    }
}

/// Measures everything; gives the exit code.
pub(crate) async fn run(options: Options) -> Result<u8> {
    let mut bench = Bench {
        setup: options.setup()?,
        size: options.size(),
        figures: Figures::default(),
        broken: Vec::new(),
    };
    for round in 1..=options.rounds {
        note(&format!("round {round} of {}", options.rounds));
        // Whoever comes first finds the machine cooler: they take turns.
        let order = if round % 2 == 1 {
            [System::Frontdesk, System::Bare]
        } else {
            [System::Bare, System::Frontdesk]
        };
        for system in order {
            bench.round(system).await?;
        }
    }
    bench.once().await?;
    let mut rows = bench.figures.rows();
    if options.full {
        // The rest takes long: what there is already must not be lost with it.
        note(&markdown(&rows));
        rows.extend(full::run(&mut bench, options.soak_minutes).await?);
    }
    let text = format!("{}\n{}", bench.conditions(&options), markdown(&rows));
    if let Some(file) = &options.markdown {
        std::fs::write(file, &text)?;
    }
    writeln!(std::io::stdout(), "{text}")?;
    for sentence in &bench.broken {
        eprintln!("BROKEN: {sentence}");
    }
    Ok(if bench.broken.is_empty() { 0 } else { BROKEN })
}

/// Says how far it is.
fn note(text: &str) {
    eprintln!("bench: {text}");
}

#[derive(Debug)]
struct Bench {
    setup: Setup,
    size: Size,
    figures: Figures,
    /// Broken promises, wherever they showed.
    broken: Vec<String>,
}

impl Bench {
    async fn round(&mut self, system: System) -> Result<()> {
        let servers = Servers::start(&self.setup, system).await?;
        let closed = relay(&servers, &self.size, 1, None).await?;
        self.look("relay, closed loop", &closed);
        self.figures.rate.put(system, Some(closed.rate));
        let cpu = closed.servers.cpu_s_per_100k;
        self.figures.cpu.put(system, cpu);
        if system == System::Frontdesk {
            let spread = relay(&servers, &self.size, 16, None).await?;
            self.look("relay, closed loop, 16 sites", &spread);
            self.figures.rate_spread.put(system, Some(spread.rate));
        } else {
            self.figures.rate_spread.put(system, Some(closed.rate));
        }
        let open = relay(&servers, &self.size, 1, Some(self.size.rate)).await?;
        self.look("relay, open loop", &open);
        let latency = open.latency();
        self.figures.p50.put(system, Some(latency.p50));
        self.figures.p99.put(system, Some(latency.p99));
        let ack = open.latency_ms.get(&Kind::Ack).map(|ms| ms.p99);
        // The bare relay acknowledges nothing: its delivery is what there is to compare with.
        self.figures.ack_p99.put(system, ack.or(Some(latency.p99)));
        drop(servers);
        let idle = idle(&self.setup, system, &self.size).await?;
        self.look("idle", &idle);
        let each = idle.servers.gateway_bytes_per_connection;
        self.figures.gateway_memory.put(system, each);
        if system == System::Frontdesk {
            let each = idle.servers.redis_bytes_per_connection;
            self.figures.redis_memory.0.extend(each);
        }
        let storm = storm(&self.setup, system, &self.size).await?;
        self.look("storm", &storm);
        self.figures.storm.put(system, Some(storm.rate));
        Ok(())
    }

    /// What has no counterpart to alternate with.
    async fn once(&mut self) -> Result<()> {
        note("a cluster at rest");
        let servers = Servers::start(&self.setup, System::Frontdesk).await?;
        let rest = at_rest(&servers).await?;
        drop(servers);
        self.figures.at_rest_commands.0.push(rest.commands_per_s);
        self.figures.at_rest_cpu.0.push(rest.most_cpu_percent);
        let Size { staff, waiting, .. } = self.size;
        for (waiting, figure) in [
            (waiting, &mut self.figures.connect_many),
            (100, &mut self.figures.connect_few),
        ] {
            note(&format!(
                "customerConnect with {staff} staff and {waiting} waiting"
            ));
            let us = customer_connect(&self.setup, staff, waiting).await?;
            figure.0.push(us);
        }
        Ok(())
    }

    /// Shows a result, and keeps what is broken in it.
    fn look(&mut self, what: &str, outcome: &Outcome) {
        eprint!("{}", outcome.text());
        for (name, count) in &outcome.broken {
            self.broken.push(format!("{what}: {name} {count}"));
        }
        let busiest = outcome.own_cpu_percent.iter().copied();
        self.figures.tool_cpu = busiest.fold(self.figures.tool_cpu, f64::max);
    }

    fn conditions(&self, options: &Options) -> String {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        format!(
            "{processors} processors, shared by servers, Redis and load; Redis's data in {}; {} rounds; median (lowest–highest); ratios round by round. The busiest process of the load tool used {:.0} % of a processor.\n",
            options.dir.display(),
            options.rounds,
            self.figures.tool_cpu
        )
    }
}
