//! The gateway's process: settings → logs → checks → [`run`] → drain. See the library for the map.

use std::process::ExitCode;

use clap::Parser as _;
use frontdesk_gateway::{Config, Error, listen, prepare, run};
use frontdesk_shared::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A wrong setting, or a Redis that cannot be used.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(answer) if !answer.use_stderr() => answer.exit(), // --help, --version
        Err(error) => return refuse(&first_sentence(&error.to_string())),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::from);
    match runtime.and_then(|runtime| runtime.block_on(live(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::RoleEnded) => {
            error!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error.to_string()),
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

/// clap explains at length; what is wrong is in its first paragraph.
fn first_sentence(error: &str) -> String {
    let paragraph = error.split("\n\n").next().unwrap_or(error);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned() + "; see --help"
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("frontdesk-gateway: {sentence}");
    ExitCode::from(CANNOT_START)
}
