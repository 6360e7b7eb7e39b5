//! Logs and the metrics endpoint. No message bodies and no tokens go into either.

use std::io::IsTerminal as _;

use axum::{Router, http::header, routing::get};
use prometheus::{Encoder as _, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::{ConfigError, LogFormat, TelemetryArgs},
    http,
};

/// Starts logging to standard error. Call once.
pub fn init(args: &TelemetryArgs) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        ConfigError(format!(
            "--log (FRONTDESK_LOG) is not a filter: {error}; use a level such as info"
        ))
    })?;
    let text = match args.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let done = if text {
        registry.with(layer).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    done.map_err(|error| ConfigError(format!("logging is set up already: {error}")))
}

/// Serves `GET /metrics` from the process's default registry until `shutdown`.
pub async fn serve_metrics(listener: TcpListener, shutdown: CancellationToken) {
    http::serve(listener, metrics_router(), shutdown).await;
}

/// The route `GET /metrics`, to be joined with a program's own.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", get(render))
}

async fn render() -> ([(header::HeaderName, &'static str); 1], Vec<u8>) {
    let mut body = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut body) {
        tracing::error!(%error, "metrics could not be encoded");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body)
}
