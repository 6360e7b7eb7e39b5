//! The HTTP API, `/api/v1`: what programs ask without a socket.
//!
//! A request passes `door` (whose pages, how many, how fast), says in `caller` who asks and for what, and is answered by
//! one of `routes`. A write is an `act`: an event of the user's lane, whose answer comes with the pushes (`calls`). What
//! is not done is a `problem`. `openapi` describes all of it, from `schema` and from what stands over each route; `docs` makes
//! a page of that.

mod act;
mod caller;
mod calls;
mod docs;
mod door;
mod openapi;
mod problem;
mod routes;
mod schema;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::{Map, Value};

use crate::{front::Front, server};
pub(crate) use calls::Calls;
use problem::Problem;
use routes::{conversations, desk, identity, messages, webhooks};

/// When somebody may ask again who was turned away at the door, or for whom there was no room.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// What every address begins with.
pub(crate) const PREFIX: &str = "/api/v1";

/// What was asked for, or why not.
type Answer = Result<Response, Problem>;

/// All of it, below [`PREFIX`].
pub(crate) fn router(front: Arc<Front>) -> Router<Arc<Front>> {
    let pages = Router::new()
        .route("/openapi.json", get(openapi::file))
        .route("/docs", get(docs::page))
        .route("/problems", get(docs::problems));
    let all = table()
        .into_iter()
        .chain(webhooks::table())
        .fold(pages, |router, (path, methods)| router.route(path, methods));
    all.fallback(async || Problem::of("not_found"))
        .method_not_allowed_fallback(async || Problem::of("bad_method"))
        .layer(middleware::from_fn_with_state(front, door::guard))
}

/// Every route that `openapi.json` describes; a test holds the two against each other.
fn table() -> Vec<(&'static str, MethodRouter<Arc<Front>>)> {
    vec![
        ("/conversations", get(conversations::list)),
        ("/conversations/{conversation}", get(conversations::one)),
        (
            "/conversations/{conversation}/history",
            get(conversations::history),
        ),
        (
            "/conversations/{conversation}/transcript",
            get(conversations::transcript),
        ),
        (
            "/conversations/{conversation}/messages",
            post(messages::say),
        ),
        (
            "/conversations/{conversation}/messages/{seq}/recall",
            post(messages::recall),
        ),
        (
            "/conversations/{conversation}/read",
            post(conversations::read),
        ),
        (
            "/conversations/{conversation}/delivered",
            post(conversations::delivered),
        ),
        (
            "/conversations/{conversation}/close",
            post(conversations::close),
        ),
        ("/messages", post(messages::write)),
        ("/queues", get(desk::queues)),
        ("/staff", get(desk::staff)),
        ("/users/{uid}/revoke", post(desk::revoke)),
        ("/tickets", post(identity::tickets)),
        ("/visitors", post(identity::visitors)),
    ]
}

/// A JSON object as an answer.
fn json(status: StatusCode, body: Map<String, Value>) -> Response {
    (status, text(Value::Object(body).to_string())).into_response()
}

/// The same, joined already.
fn text(body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// Nobody is served now: Redis is away, or the gateway drains.
fn not_now() -> Problem {
    let sentence = server::NOT_NOW.trim_end();
    Problem::of("busy").detail(sentence).after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::SocketAddr};

    use axum::{
        body::Body,
        extract::{ConnectInfo, Request},
        http::Method,
    };
    use tower::ServiceExt as _;

    use super::*;

    /// Methods and paths as `openapi.json` has them, with names filled in.
    fn described() -> BTreeSet<(String, String)> {
        let described: Value = serde_json::from_str(&openapi::TEXT).expect("JSON");
        let paths = described["paths"].as_object().expect("paths");
        let of = |(path, methods): (&String, &Value)| {
            let path = path
                .strip_prefix(PREFIX)
                .expect("below the prefix")
                .to_owned();
            let methods = methods.as_object().expect("methods").clone();
            methods
                .into_iter()
                .map(move |(method, _)| (method.to_uppercase(), path.clone()))
        };
        paths.iter().flat_map(of).collect()
    }

    /// What is described is there, and what is there is described: by asking for every method of every path.
    #[tokio::test]
    async fn openapi_describes_every_route_and_no_other() {
        let front = Arc::new(crate::offline_front(&["frontdesk-gateway"]));
        let router = Router::new()
            .nest(PREFIX, router(front.clone()))
            .with_state(front);
        let described = described();
        let mut there = BTreeSet::new();
        let paths = table().into_iter().map(|(path, _)| path);
        let also = described.iter().map(|(_, path)| path.clone());
        let paths: BTreeSet<String> = paths.map(str::to_owned).chain(also).collect();
        for path in paths {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let at = format!("{PREFIX}{path}").replace(['{', '}'], "");
                let mut request = Request::new(Body::empty());
                *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
                *request.uri_mut() = at.parse().expect("an address");
                let peer = SocketAddr::from(([127, 0, 0, 1], 9));
                request.extensions_mut().insert(ConnectInfo(peer));
                let answer = router.clone().oneshot(request).await.expect("answers");
                let status = answer.status();
                assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
                if ![StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status) {
                    there.insert((method.to_owned(), path.clone()));
                }
            }
        }
        assert_eq!(there, described);
    }

    /// Every answer that is a problem is described as one, and the pages stand without a script.
    #[test]
    fn what_is_described_is_whole() {
        let described: Value = serde_json::from_str(&openapi::TEXT).expect("JSON");
        for methods in described["paths"].as_object().expect("paths").values() {
            for route in methods.as_object().expect("methods").values() {
                let problem = &route["responses"]["default"]["content"]["application/problem+json"];
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem");
            }
        }
    }
}
