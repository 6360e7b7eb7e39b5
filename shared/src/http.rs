//! An HTTP listener with a bounded handshake. `axum::serve` waits for a request's headers for
//! ever; here a client that does not finish them in time is cut.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long a client may take to send its request's headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of request headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most TCP connections that have not become a WebSocket (yet); more are ended at once, since clients
/// that never finish their request must not use up the process's files.
pub const MAX_PENDING: usize = 1024;
/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown`. Upgraded sockets live on; their owner closes them.
/// Handlers may extract `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_with(listener, router, HEADER_TIMEOUT, shutdown).await;
}

/// [`serve`] with another time for a request's headers than [`HEADER_TIMEOUT`].
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    header_timeout: Duration,
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
                connections.spawn(connection(stream, peer, router.clone(), header_timeout));
            }
            Err(error) => {
                warn!(%error, "accept failed; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Dropping the set ends plain HTTP connections; upgraded ones have left it.
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, header_timeout: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "nodelay was refused");
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { tower_call(router, request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%peer, %error, "connection ended");
    }
}

async fn tower_call(
    router: Router,
    request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    use tower::ServiceExt as _;
    router.oneshot(request.map(axum::body::Body::new)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Whoever comes while all places are taken is cut, and served once they are free.
    #[tokio::test]
    async fn clients_that_never_finish_their_request_are_bounded() -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let _at_the_end = shutdown.clone().drop_guard();
        tokio::spawn(serve(listener, Router::new(), shutdown));
        let mut silent = Vec::new();
        for _ in 0..MAX_PENDING {
            silent.push(TcpStream::connect(address).await?);
        }
        let ask = async || -> std::io::Result<usize> {
            let mut client = TcpStream::connect(address).await?;
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
            client.read(&mut [0; 64]).await
        };
        assert!(!matches!(ask().await, Ok(1..)), "cut without an answer");
        silent.clear();
        let served = async {
            while !matches!(ask().await, Ok(1..)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HEADER_TIMEOUT, served).await?;
        Ok(())
    }
}
