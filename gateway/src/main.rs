//! The gateway's process: settings → logs → checks → [`run`] → drain. See the library for the map.
//! Or a command of an operator.

use std::{num::NonZero, process::ExitCode, thread::available_parallelism};

use frontdesk_gateway::{Cli, Command, Config, Error, listen, prepare, run};
use frontdesk_shared::{config, runtime::runtime, telemetry};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A message is some thirty short allocations, which the system's allocator takes longer for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A wrong setting, or a Redis that cannot be used.
const CANNOT_START: u8 = 2;
/// The rest is for the workers and Redis.
const PROCESSORS_PER_THREAD: usize = 2;

fn main() -> ExitCode {
    let Cli { command, config } = match config::parse::<Cli>() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error.to_string()),
    };
    if let Some(command) = command {
        return match obey(command) {
            Ok(answer) => say(&answer),
            Err(error) => refuse(&format!("{error:#}")),
        };
    }
    match start(config.threads).and_then(|runtime| runtime.block_on(live(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::RoleEnded) => {
            error!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error.to_string()),
    }
}

fn start(threads: usize) -> Result<Runtime, Error> {
    let processors = || available_parallelism().map_or(1, NonZero::get);
    let threads = match threads {
        0 => (processors() / PROCESSORS_PER_THREAD).max(1),
        threads => threads,
    };
    Ok(runtime(threads)?)
}

/// Does what an operator asked for, instead of serving.
fn obey(command: Command) -> anyhow::Result<String> {
    match command {
        Command::Token(command) => command.run(),
        Command::Revoke(command) => runtime(1)?.block_on(command.run()),
        Command::Send(command) => runtime(1)?.block_on(command.run()),
        Command::Webhooks(command) => runtime(1)?.block_on(command.run()),
    }
}

async fn live(config: Config) -> Result<(), Error> {
    telemetry::init(&config.telemetry)?;
    let shutdown = stop_on_signals()?;
    let redis = prepare(&config).await?;
    let (listener, metrics) = listen(&config)?;
    run(config, listener, metrics, redis, shutdown).await
}

/// A token that SIGTERM or SIGINT cancels.
fn stop_on_signals() -> Result<CancellationToken, Error> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: draining"),
            _ = interrupt.recv() => info!("SIGINT: draining"),
        }
        stop.cancel();
    });
    Ok(shutdown)
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn say(answer: &str) -> ExitCode {
    println!("{answer}");
    ExitCode::SUCCESS
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("frontdesk-gateway: {sentence}");
    ExitCode::from(CANNOT_START)
}
