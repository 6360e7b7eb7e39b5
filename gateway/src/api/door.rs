//! The way in and out of every request: whose pages may ask, how many and how fast an address may, and that a page
//! of another origin that may ask may also read the answer.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::debug;

use super::{caller::Held, problem::Problem};
use crate::{
    front::{Front, NoPlace, Place},
    metrics::METRICS,
    origin, server,
};

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_AGE_S: &str = "600";

/// Around each request. One that is under way when the gateway drains is answered, new ones are refused.
pub(crate) async fn guard(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let asking = request.headers().clone();
    let lang = front.auth.language(request.uri(), &asking);
    let mut answer = if may_ask(&front, &asking) {
        readable_by(&asking, enter(&front, request, next).await)
    } else {
        let sentence = "Pages of this origin may not ask; see --allow-origin.";
        Problem::of("forbidden").detail(sentence).into_response()
    };
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        *answer.body_mut() = problem.in_lang(lang).body().into();
    }
    let vary = HeaderValue::from_static("origin");
    answer.headers_mut().append(header::VARY, vary);
    let status = answer.status();
    let labels = [status.as_str()];
    METRICS.api_requests.with_label_values(&labels).inc();
    debug!(%status, "asked the API");
    answer
}

async fn enter(front: &Front, mut request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    if front.is_draining() {
        return super::not_now().into_response();
    }
    let held = match place(front, &request) {
        Ok(place) => Held::new(front, place),
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(held.clone());
    let answer = next.run(request).await;
    drop(held);
    answer
}

/// `OPTIONS`: may a page of this origin ask, and how?
fn preflight() -> Response {
    let headers = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, DELETE",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, idempotency-key",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn may_ask(front: &Front, headers: &HeaderMap) -> bool {
    let config = &front.config;
    origin::may_enter(headers, &config.allow_origin, config.is_open_on_loopback())
}

/// A place for one more request of this address. Requests have limits of their own, or they would use up those of
/// the sockets that come from there.
fn place(front: &Front, request: &Request) -> Result<Place, Problem> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let client = server::client(front, peer.copied(), request.headers());
    let client = client.ok_or_else(|| Problem::of("internal"))?;
    front.reserve_request(client).map_err(|why| {
        let (code, sentence) = match why {
            NoPlace::Crowded => ("rate_limited", "Too many requests from this address."),
            NoPlace::Full => (
                "busy",
                "Too many requests at once; try again or try another gateway.",
            ),
        };
        Problem::of(code).detail(sentence).after(super::RETRY_AFTER)
    })
}

/// Lets the page that was let in read the answer, and when to come again.
fn readable_by(asking: &HeaderMap, mut answer: Response) -> Response {
    if let Some(origin) = asking.get(header::ORIGIN) {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static("retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    answer
}
