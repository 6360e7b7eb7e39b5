//! The routes: the handshake, a small page for people, and the two probes.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tracing::debug;

use crate::{
    address,
    auth::{self, Denied},
    connection,
    front::{Front, NoPlace},
    handshake,
    metrics::METRICS,
    origin,
    socket::{self, Bounds},
};

/// When a client that was turned away may try again, in seconds.
const RETRY_AFTER_S: &str = "2";
/// The page may style itself and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All routes of the public listener.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/ws", get(enter))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(front)
}

async fn root(state: State<Arc<Front>>, request: Request) -> Response {
    if handshake::wants_upgrade(&request) {
        return enter(state, request).await;
    }
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(include_str!("../web/index.html"))).into_response()
}

/// Readiness is for load balancers; liveness does not depend on it, since a restart heals no Redis.
async fn readyz(State(front): State<Arc<Front>>) -> Response {
    if front.ready().is_some() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

/// The handshake: well-formed, welcome now, by somebody, and one of not too many.
async fn enter(State(front): State<Arc<Front>>, mut request: Request) -> Response {
    let answer = admit(&front, &mut request);
    if !answer.status().is_informational() {
        let status = answer.status();
        METRICS
            .handshakes_refused
            .with_label_values(&[status.as_str()])
            .inc();
        debug!(%status, "handshake refused");
    }
    answer
}

fn admit(front: &Front, request: &mut Request) -> Response {
    let (answer, upgrading) = match handshake::agree(request) {
        Ok(agreed) => agreed,
        Err(refusal) => return refusal,
    };
    let Some(gateway) = front.ready() else {
        return later("This gateway cannot serve now; try again or try another one.\n");
    };
    let config = &front.config;
    if !origin::may_enter(
        request.headers(),
        &config.allow_origin,
        config.is_open_on_loopback(),
    ) {
        let sentence = "Pages of this origin may not connect; see --allow-origin.\n";
        return (StatusCode::FORBIDDEN, sentence).into_response();
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let Some(ConnectInfo(peer)) = peer else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response(); // the listener puts it there
    };
    let client = address::of_client(peer.ip(), request.headers(), &config.trusted_proxies);
    let identity = match auth::identify(config, request.uri(), request.headers()) {
        Ok(identity) => identity,
        Err(Denied { status, reason }) => return (status, reason + "\n").into_response(),
    };
    let place = match front.reserve(client) {
        Ok(place) => place,
        Err(NoPlace::Full) => {
            return later("This gateway is full; try again or try another one.\n");
        }
        Err(NoPlace::Crowded) => {
            let retry = [(header::RETRY_AFTER, RETRY_AFTER_S)];
            let sentence = "Too many sockets from this address; try again later.\n";
            return (StatusCode::TOO_MANY_REQUESTS, retry, sentence).into_response();
        }
    };
    front.tasks.spawn(async move {
        match socket::upgrade(upgrading, Bounds::default()).await {
            Ok(socket) => connection::serve(gateway, socket, identity, place).await,
            Err(error) => debug!(%error, "the client left during the handshake"),
        }
    });
    answer
}

fn later(sentence: &'static str) -> Response {
    let retry = [(header::RETRY_AFTER, RETRY_AFTER_S)];
    (StatusCode::SERVICE_UNAVAILABLE, retry, sentence).into_response()
}
