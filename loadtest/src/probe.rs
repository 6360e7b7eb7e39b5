//! The quiet pair: one customer and one staff member who speak five times a second, whatever the load
//! does. They live in a thread of their own, so what they measure is the cluster and not how busy
//! the tool is; their site shares the shard of the load's first site.

use std::{sync::Arc, thread, time::Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    context::{Context, Plan},
    count::Counts,
    latency::Latencies,
    scenario::{
        Scenario,
        open_loop::Schedule,
        pair::Pace,
        relay::{self, Options},
    },
    target,
};

/// Messages per second.
const RATE: f64 = 5.0;

/// The running pair.
#[derive(Debug)]
pub(crate) struct Probe {
    context: Arc<Context>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Probe {
    /// Starts it; it talks at once.
    pub(crate) fn start(plan: &Plan) -> Self {
        let run = format!("{}-probe", plan.run);
        let plan = Plan {
            scenario: Scenario::Relay(options()),
            sites: vec![target::probe_site(&plan.run)],
            index: 0,
            processes: 1,
            run,
            ..plan.clone()
        };
        // Nobody waits for it to be ready, and nobody tells it to begin.
        let (ready, _) = mpsc::unbounded_channel();
        let (_, go) = watch::channel(0);
        let context = Context::new(plan, ready, go);
        let own = context.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(talk(&own))
        });
        Self { context, thread }
    }

    /// What it has measured since the last time.
    pub(crate) fn take(&self) -> Latencies {
        std::mem::take(&mut self.context.record().latencies)
    }

    /// Ends it; gives what it counted. An error is its own: it came to nothing, or its socket was lost.
    pub(crate) async fn finish(self) -> Result<Counts> {
        self.context.stop.cancel();
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        ended.map_err(|_| anyhow!("the quiet pair panicked"))??;
        Ok(self.context.record().counts)
    }
}

fn options() -> Options {
    Options {
        pairs: 1,
        rate: Some(RATE),
        window: 1,
        bytes: 100,
    }
}

async fn talk(context: &Arc<Context>) -> Result<()> {
    let mut pairs = relay::gather(&options(), context, &[0])
        .await
        .context("the quiet pair does not come together; leave it out with --no-probe")?;
    let pair = pairs.pop().context("one pair was asked for")?.into_probe();
    let wake = Arc::new(Notify::new());
    let schedule = Schedule {
        begin: Instant::now(),
        rate: RATE,
        pairs: 1,
    };
    schedule.start(vec![wake.clone()], context.stop.clone());
    let pace = Pace::Open {
        schedule,
        place: 0,
        wake,
    };
    pair.talk(pace).await;
    Ok(())
}
