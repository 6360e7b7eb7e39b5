//! The HTTP API, `/api/v1`: what programs ask without a socket.
//!
//! A request passes `door` (whose pages, how many, how fast), says in `caller` who asks and for what, and is answered by
//! one of `routes`. A write is an `act`: an event of the user's lane, whose answer comes with the pushes (`calls`). What
//! is not done is a `problem`.

mod act;
mod caller;
mod calls;
mod door;
mod problem;
mod routes;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::{Map, Value};

use crate::{front::Front, server};
pub(crate) use calls::Calls;
use problem::Problem;

/// When somebody may ask again who was turned away at the door, or for whom there was no room.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What was asked for, or why not.
type Answer = Result<Response, Problem>;

/// All of it, below `/api/v1`.
pub(crate) fn router(front: Arc<Front>) -> Router<Arc<Front>> {
    Router::new()
        .route(
            "/conversations/{conversation}/messages",
            post(routes::messages::say),
        )
        .merge(routes::webhooks::router())
        .fallback(async || Problem::of("not_found"))
        .method_not_allowed_fallback(async || Problem::of("bad_method"))
        .layer(middleware::from_fn_with_state(front, door::guard))
}

/// A JSON object as an answer.
fn json(status: StatusCode, body: Map<String, Value>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Value::Object(body).to_string()).into_response()
}

/// Nobody is served now: Redis is away, or the gateway drains.
fn not_now() -> Problem {
    let sentence = server::NOT_NOW.trim_end();
    Problem::of("busy").detail(sentence).after(RETRY_AFTER)
}
