//! One process of the load: takes its orders, runs the scenario, reports every second.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin, stdin},
    sync::{mpsc, watch},
    task::AbortHandle,
    time::sleep_until,
};

use super::{Order, Report, Tick};
use crate::{context::Context, latency::micros, sample::processes::own_cpu};

const SECOND: Duration = Duration::from_secs(1);

/// Lives the child's life.
pub(crate) async fn run() -> Result<()> {
    if let Err(error) = obey().await {
        say(&Report::Failed(format!("{error:#}")))?;
    }
    Ok(())
}

async fn obey() -> Result<()> {
    let mut orders = BufReader::new(stdin()).lines();
    let Some(Order::Plan(plan)) = next(&mut orders).await? else {
        bail!("the first order is no plan");
    };
    let (ready, mut prepared) = mpsc::unbounded_channel();
    let (go, going) = watch::channel(0);
    let context = Context::new(*plan, ready, going);
    let scenario = context.plan.scenario.clone();
    let load = scenario.run(&context);
    tokio::pin!(load);
    tokio::select! {
        Some(connections) = prepared.recv() => say(&Report::Ready(connections))?,
        failed = &mut load => return failed.context("it ended before it began"),
        // No order can come before the answer: the parent is gone.
        _ = next(&mut orders) => std::process::exit(0),
    }
    match next(&mut orders).await? {
        Some(Order::Go) => go.send_modify(|stages| *stages += 1),
        _ => return Ok(()),
    }
    let began = Instant::now();
    tokio::spawn(async move {
        while let Some(connections) = prepared.recv().await {
            if say(&Report::Ready(connections)).is_err() {
                return;
            }
        }
    });
    listen(orders, go, context.clone());
    let ticker = report_ticks(context.clone(), began);
    let result = load.await;
    ticker.abort();
    tick(&context, began, began.elapsed().as_secs())?;
    result?;
    say(&Report::Done)
}

/// Obeys later orders; ends the process when the parent is gone.
fn listen(mut orders: Lines<BufReader<Stdin>>, go: watch::Sender<u32>, context: Arc<Context>) {
    tokio::spawn(async move {
        while let Ok(Some(order)) = next(&mut orders).await {
            match order {
                Order::Go => go.send_modify(|stages| *stages += 1),
                Order::Stop => context.stop.cancel(),
                Order::Plan(_) => break,
            }
        }
        std::process::exit(0);
    });
}

fn report_ticks(context: Arc<Context>, began: Instant) -> AbortHandle {
    let ticking = async move {
        for second in 1.. {
            sleep_until((began + SECOND * second).into()).await;
            if tick(&context, began, u64::from(second) - 1).is_err() {
                std::process::exit(0); // nobody reads it
            }
        }
    };
    tokio::spawn(ticking).abort_handle()
}

/// Reports what happened since the last time; all of it, or the last of it, was in this second.
fn tick(context: &Context, began: Instant, second: u64) -> Result<()> {
    let (counts, latencies) = {
        let mut record = context.record();
        (record.counts, std::mem::take(&mut record.latencies))
    };
    let elapsed = began.elapsed();
    say(&Report::Tick(Box::new(Tick {
        second,
        elapsed_us: micros(elapsed),
        counts,
        latencies,
        cpu_us: micros(own_cpu()),
    })))
}

async fn next(orders: &mut Lines<BufReader<Stdin>>) -> Result<Option<Order>> {
    let Some(line) = orders.next_line().await? else {
        return Ok(None);
    };
    serde_json::from_str(&line)
        .map(Some)
        .context("an order does not decode")
}

fn say(report: &Report) -> Result<()> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}
