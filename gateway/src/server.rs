//! The routes: the handshake, the HTTP API (`api`), the JavaScript client, a small page for people, two probes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use frontdesk_shared::http::{self, Patience, Reading};
use tracing::debug;

use crate::{
    Config, address, api,
    auth::{Denied, Identity},
    client_js, connection,
    front::{Front, NoPlace, Place},
    handshake,
    metrics::METRICS,
    origin,
    socket::{self, Bounds},
};

/// When a client that was turned away may try again, in seconds.
const RETRY_AFTER_S: &str = "2";
/// Why somebody is turned away while Redis is away, or during a drain.
pub(crate) const NOT_NOW: &str = "This gateway cannot serve now; try again or try another one.\n";
/// The page may style itself and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All routes of the public listener.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/ws", get(enter))
        .nest(api::PREFIX, api::router(front.clone()))
        .route("/client.js", get(client_js::entry))
        .route("/client/{version}/{module}", get(client_js::module))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .layer(middleware::from_fn_with_state(front.clone(), farewell))
        .with_state(front)
}

/// How long clients may take.
pub(crate) fn patience(config: &Config) -> Patience {
    Patience {
        headers: config.handshake_timeout(),
        reading: Reading {
            stall: config.answer_stall(),
            whole: http::ANSWER_TIMEOUT,
            told: |cut| METRICS.answers_cut.with_label_values(&[cut.name()]).inc(),
        },
    }
}

/// During a drain every answer is the last one of its connection, so that its client goes to another gateway.
async fn farewell(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if front.is_draining() && !answer.status().is_informational() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

async fn root(state: State<Arc<Front>>, request: Request) -> Response {
    if handshake::wants_upgrade(&request) {
        return enter(state, request).await;
    }
    page(include_str!("../web/index.html"))
}

/// A page that does nothing but stand there.
pub(crate) fn page(text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(text)).into_response()
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
    let answer = admit(&front, &mut request).await;
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

async fn admit(front: &Front, request: &mut Request) -> Response {
    let (answer, upgrading) = match handshake::agree(request) {
        Ok(agreed) => agreed,
        Err(refusal) => return refusal,
    };
    let Some(gateway) = front.ready() else {
        return later(NOT_NOW);
    };
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .copied();
    let (identity, place) = match let_in(front, peer, &uri, &headers).await {
        Ok(somebody) => somebody,
        Err(refusal) => return refusal,
    };
    front.tasks.spawn(async move {
        match socket::upgrade(upgrading, Bounds::default()).await {
            Ok(socket) => connection::serve(gateway, socket, identity, place).await,
            Err(error) => debug!(%error, "the client left during the handshake"),
        }
    });
    answer
}

/// Who comes, and their place: an address that comes too often is turned away before its tokens
/// are looked at.
async fn let_in(
    front: &Front,
    peer: Option<ConnectInfo<SocketAddr>>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Identity, Place), Response> {
    check_origin(front, headers)?;
    let place = place(front, peer, headers)?;
    let identity = front.auth.identify(uri, headers).await;
    Ok((identity.map_err(denied)?, place))
}

/// Whether pages of this origin may ask anything.
#[allow(clippy::result_large_err, reason = "a refusal is an answer, too")]
fn check_origin(front: &Front, headers: &HeaderMap) -> Result<(), Response> {
    let config = &front.config;
    if origin::may_enter(headers, &config.allow_origin, config.is_open_on_loopback()) {
        return Ok(());
    }
    let sentence = "Pages of this origin may not connect; see --allow-origin.\n";
    Err((StatusCode::FORBIDDEN, sentence).into_response())
}

/// A place for one more client of this address.
#[allow(clippy::result_large_err, reason = "a refusal is an answer, too")]
fn place(
    front: &Front,
    peer: Option<ConnectInfo<SocketAddr>>,
    headers: &HeaderMap,
) -> Result<Place, Response> {
    let Some(client) = client(front, peer, headers) else {
        return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    front.reserve(client).map_err(|why| match why {
        NoPlace::Full => later("This gateway is full; try again or try another one.\n"),
        NoPlace::Crowded => {
            let retry = [(header::RETRY_AFTER, RETRY_AFTER_S)];
            let sentence = "Too many sockets from this address; try again later.\n";
            (StatusCode::TOO_MANY_REQUESTS, retry, sentence).into_response()
        }
    })
}

/// Where a client is; `None` if the listener does not say who the peer is, which it does.
pub(crate) fn client(
    front: &Front,
    peer: Option<ConnectInfo<SocketAddr>>,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let ConnectInfo(peer) = peer?;
    Some(address::of_client(
        peer.ip(),
        headers,
        &front.config.trusted_proxies,
    ))
}

/// A refusal as an answer.
fn denied(Denied { status, reason }: Denied) -> Response {
    let mut answer = (status, reason + "\n").into_response();
    let (name, value) = match status {
        StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
        StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, RETRY_AFTER_S),
        _ => return answer,
    };
    let value = HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
    answer
}

/// A refusal of one who may be served soon, here or elsewhere.
fn later(sentence: &'static str) -> Response {
    let retry = [(header::RETRY_AFTER, RETRY_AFTER_S)];
    (StatusCode::SERVICE_UNAVAILABLE, retry, sentence).into_response()
}
