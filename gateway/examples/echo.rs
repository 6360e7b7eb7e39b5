//! An echo server on the gateway's own handshake, framing, bounds and goodbye, without what comes
//! after them (users, Redis): what `tests/conformance` lets Autobahn's fuzzingclient talk to.
//!
//!     cargo run -p frontdesk-gateway --example echo -- --listen 127.0.0.1:9001
//!
//! It sends binary messages back, too, so that the cases about framing can use them; the gateway
//! itself closes with 1003 instead.

use std::net::SocketAddr;

use axum::{Router, extract::Request, response::Response, routing::any};
use clap::Parser;
use frontdesk_gateway::{
    handshake,
    socket::{self, Bounds, End, Socket},
};
use frontdesk_shared::http;
use futures_util::SinkExt as _;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// Sends each message back.
#[derive(Debug, Parser)]
struct Settings {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Largest message in bytes [default: the gateway's]
    #[arg(long)]
    max_message: Option<usize>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::parse();
    let mut bounds = Bounds::default();
    if let Some(message) = settings.max_message {
        bounds.message = message;
        // An echo holds what it has read, and a pong.
        bounds.queued = bounds.queued.max(message + 1024);
    }
    let listener = TcpListener::bind(settings.listen).await?;
    #[allow(clippy::print_stdout)] // who starts it must learn the port
    {
        println!("{}", listener.local_addr()?);
    }
    let router = Router::new().fallback(any(async move |request| enter(request, bounds)));
    http::serve(listener, router, CancellationToken::new()).await;
    Ok(())
}

fn enter(mut request: Request, bounds: Bounds) -> Response {
    match handshake::agree(&mut request) {
        Ok((answer, upgrading)) => {
            tokio::spawn(async move {
                if let Ok(mut socket) = socket::upgrade(upgrading, bounds).await {
                    let end = echo(&mut socket).await;
                    socket::goodbye(socket, end).await;
                }
            });
            answer
        }
        Err(refusal) => refusal,
    }
}

/// Like the gateway's connection: one loop that reads and writes, until something ends it.
async fn echo(socket: &mut Socket) -> End {
    loop {
        let written = match socket::receive(socket).await {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await,
            Ok(_) => Ok(()),
            Err(end) => return end,
        };
        if let Err(error) = written {
            return error.into();
        }
    }
}
