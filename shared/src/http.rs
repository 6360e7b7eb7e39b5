//! An HTTP listener that waits for nobody without a bound. `axum::serve` waits for a request's headers for ever, and for
//! ever that an answer is read; here a client that does not finish either in time is cut.

mod reader;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use reader::{Answer, Answering, Reader};
pub use reader::{Cut, Reading};

/// How long a client may take to send its request's headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of its answer.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to read its answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Most bytes of request headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most TCP connections that have not become a WebSocket (yet); more are ended at once, since clients
/// that never finish their request must not use up the process's files.
pub const MAX_PENDING: usize = 1024;
/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long [`serve`] finishes answers that are under way at its shutdown.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To send a request's headers.
    pub headers: Duration,
    /// To read its answer.
    pub reading: Reading,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            headers: HEADER_TIMEOUT,
            reading: Reading {
                stall: STALL_TIMEOUT,
                whole: ANSWER_TIMEOUT,
                told: |_| (),
            },
        }
    }
}

/// Serves `router` until `shutdown`, and then for a moment who is being answered. Upgraded sockets live on; their owner
/// closes them. Handlers may extract `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let ending = shutdown.clone();
    let served = serve_with(listener, router, Patience::default(), shutdown);
    let late = async {
        ending.cancelled().await;
        tokio::time::sleep(FINISH_TIMEOUT).await;
    };
    tokio::select! {
        () = served => (),
        () = late => debug!("answers were not read in time"),
    }
}

/// [`serve`] with other times. It ends when all answers that were under way at the shutdown are sent: how long that
/// may take is its caller's to bound, by dropping it.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, peer)) if connections.len() >= MAX_PENDING => {
                debug!(%peer, "too many connections without a finished handshake");
            }
            Ok((stream, peer)) => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(connection(stream, peer, router, patience, shutdown));
            }
            Err(error) => {
                warn!(%error, "accept failed; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener); // nobody waits for an answer who will not get one
    while connections.join_next().await.is_some() {}
    // Dropping the set ends plain HTTP connections; upgraded ones have left it.
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "nodelay was refused");
    }
    let answering = Arc::new(Answering::default());
    let socket = Reader::new(stream, Arc::clone(&answering), patience.reading);
    let asked = Arc::clone(&answering);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        asked.begins();
        request.extensions_mut().insert(ConnectInfo(peer));
        let (router, asked) = (router.clone(), Arc::clone(&asked));
        async move { tower_call(router, request, &asked, &patience.reading).await }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.headers)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            if !answering.is_under_way() {
                return;
            }
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}

async fn tower_call(
    router: Router,
    request: hyper::Request<Incoming>,
    answering: &Arc<Answering>,
    reading: &Reading,
) -> Result<hyper::Response<Answer>, std::convert::Infallible> {
    use tower::ServiceExt as _;
    let answer = router.oneshot(request.map(axum::body::Body::new)).await?;
    Ok(answering.answers(answer, reading))
}

#[cfg(test)]
mod tests;
