//! One run from the parent's side: prepare → go → gather ticks and samples → put it together.

use std::{
    io::Write as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

use crate::{
    config::{Load, Output, Run, Thresholds, Watch},
    context::Plan,
    count::Counts,
    latency::Kind,
    live::Live,
    outcome::Outcome,
    probe::Probe,
    process::{Order, Report, crew::Crew},
    report,
    sample::{Sample, Sampler},
    scenario::Scenario,
    summary::Summing,
    tally::Tally,
    target::{self, Gateway},
};

/// Files that a process needs besides its sockets.
const OTHER_FILES: u64 = 200;
const SECOND: Duration = Duration::from_secs(1);

/// Runs a scenario as the command line says; gives the exit code.
pub(crate) async fn run<O: Args>(run: Run<O>, scenario: impl FnOnce(O) -> Scenario) -> Result<u8> {
    let scenario = scenario(run.own);
    let outcome = measure(scenario, run.load, &run.watch, run.output.quiet).await?;
    finish(outcome, &run.output, &run.thresholds)
}

/// Judges and writes what was found; gives the exit code.
pub(crate) fn finish(mut outcome: Outcome, output: &Output, thresholds: &Thresholds) -> Result<u8> {
    outcome.judge(thresholds);
    let mut line = serde_json::to_string(&outcome)?;
    line.push('\n');
    if let Some(file) = &output.json {
        std::fs::write(file, &line).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &output.html {
        let page = report::html::page(&outcome);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if !output.quiet {
        eprint!("{}", outcome.text());
    }
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(outcome.exit_code())
}

/// Makes the plan for all processes.
fn plan(scenario: Scenario, load: Load) -> Result<Plan> {
    scenario.check(&load)?;
    let gateways: Result<Vec<Gateway>> =
        load.gateway.iter().map(|url| Gateway::parse(url)).collect();
    let run = load
        .run
        .clone()
        .unwrap_or_else(|| format!("load-{:08x}", rand::random::<u32>()));
    let files = raise_file_limit();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let needed = scenario
        .sockets()
        .div_ceil(files.saturating_sub(OTHER_FILES).max(1));
    let processes = match load.processes {
        0 => threads.max(needed).min(scenario.sockets().max(1)),
        count => u64::from(count),
    };
    Ok(Plan {
        sites: target::sites(&run, load.sites),
        gateways: gateways?,
        index: 0,
        processes: u32::try_from(processes)?,
        scenario,
        load,
        run,
    })
}

/// As many open files as this user may have; gives that number. Children inherit it.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused: then what there is must do.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Runs a scenario and puts together what it found.
pub(crate) async fn measure(
    scenario: Scenario,
    load: Load,
    watch: &Watch,
    quiet: bool,
) -> Result<Outcome> {
    let plan = plan(scenario, load)?;
    let mut watcher = Sampler::new(watch, &plan.gateways).await?;
    let mut samples = vec![watcher.take().await];
    let mut live = Live::new(&plan, quiet);
    live.say("preparing");
    let preparing = Instant::now();
    let mut crew = Crew::start(plan.processes)?;
    let connections = crew
        .prepare(&plan, plan.scenario.prepares_in_turn())
        .await
        .context("the load could not begin")?;
    let prepared_in = preparing.elapsed();
    let probe = (!watch.no_probe && plan.scenario.is_timed() && !plan.load.bare)
        .then(|| Probe::start(&plan));
    let began_at = SystemTime::now().duration_since(UNIX_EPOCH)?;
    watcher.begin(Instant::now());
    crew.order_all(&Order::Go).await?;
    let mut tally = Tally::new(crew.len(), plan.scenario.latency());
    gather(
        &mut crew,
        &mut watcher,
        &mut samples,
        probe.as_ref(),
        &mut tally,
        &mut live,
    )
    .await
    .context(crate::Late)?;
    let (mut quiet_pair, mut warnings) = (Counts::default(), Vec::new());
    if let Some(probe) = probe {
        match probe.finish().await {
            Ok(counts) => quiet_pair = counts,
            Err(error) => warnings.push(format!("{error:#}")),
        }
    }
    live.end();
    let summing = Summing {
        plan: &plan,
        tally: &tally,
        samples,
        watched: watcher.names(),
        connections,
        prepared_in,
        quiet_pair,
        warnings,
    };
    Ok(summing.outcome(u64::try_from(began_at.as_millis())?))
}

/// Takes what the processes report until all are done.
async fn gather(
    crew: &mut Crew,
    watcher: &mut Sampler,
    samples: &mut Vec<Sample>,
    probe: Option<&Probe>,
    tally: &mut Tally,
    live: &mut Live,
) -> Result<()> {
    let mut seconds = interval(SECOND);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (mut done, mut ready, mut second) = (0, 0, 0);
    let mut stopping = false;
    while done < crew.len() {
        tokio::select! {
            report = crew.report() => match report? {
                (member, Report::Tick(tick)) => tally.add(member, &tick),
                (_, Report::Done) => done += 1,
                (_, Report::Ready(_)) => {
                    ready += 1;
                    if ready == crew.len() {
                        ready = 0;
                        crew.order_all(&Order::Go).await?;
                    }
                }
                (_, Report::Failed(reason)) => anyhow::bail!(reason),
            },
            _ = seconds.tick() => {
                samples.push(watcher.take().await);
                if let Some(probe) = probe {
                    let latencies = probe.take();
                    if latencies.0.contains_key(&Kind::Probe) {
                        tally.add_probe(u64::saturating_sub(second, 1), &latencies);
                    }
                }
                second += 1;
                live.show(tally, samples.last());
            }
            _ = interrupt.recv() => {
                anyhow::ensure!(!stopping, "interrupted");
                stopping = true;
                live.say("stopping: what is under way may finish; Ctrl-C again ends it at once");
                crew.order_all(&Order::Stop).await?;
            }
        }
    }
    Ok(())
}
