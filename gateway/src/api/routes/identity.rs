//! Tickets and visitors' identities: what a page asks before it opens a socket.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use serde_json::Value;

use crate::{
    api::{Answer, caller::read_body, json, not_now, problem::Problem, schema},
    front::Front,
    metrics::METRICS,
};

/// Longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// A ticket for whoever has a token
///
/// Browsers cannot send a header with a handshake: they open their socket with `?ticket=…`.
#[utoipa::path(
    post,
    path = "/api/v1/tickets",
    operation_id = "issueTicket",
    tag = "identity",
    responses((status = 200, description = "A ticket", body = schema::Ticket),
        (status = "default", description = "None", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn tickets(State(front): State<Arc<Front>>, request: Request) -> Answer {
    let asked = async {
        let (headers, _) = taken(&front, request).await?;
        Ok(front.auth.ticket(&headers).await?)
    };
    counted("tickets", asked.await)
}

/// An identity for an anonymous customer
///
/// Or the same one again, for who sends the token that they got then.
#[utoipa::path(
    post,
    path = "/api/v1/visitors",
    operation_id = "identifyVisitor",
    tag = "identity",
    request_body(content = Option<schema::VisitorWishes>, content_type = "application/json"),
    responses((status = 200, description = "An identity and a ticket", body = schema::Visitor),
        (status = "default", description = "None", body = schema::ProblemDetails, content_type = "application/problem+json")),
    security((), ("bearer" = [])),
)]
pub(crate) async fn visitors(State(front): State<Arc<Front>>, request: Request) -> Answer {
    let asked = async {
        let (headers, body) = taken(&front, request).await?;
        Ok(front.auth.visitor(&headers, &body).await?)
    };
    counted("visitors", asked.await)
}

/// The request's headers and body, while tickets can be kept.
async fn taken(
    front: &Front,
    request: Request,
) -> Result<(axum::http::HeaderMap, axum::body::Bytes), Problem> {
    if front.ready().is_none() {
        return Err(not_now());
    }
    let (parts, body) = request.into_parts();
    let body = read_body(body, front, MAX_BODY_BYTES).await?;
    Ok((parts.headers, body))
}

fn counted(what: &'static str, asked: Result<Value, Problem>) -> Answer {
    let status = asked
        .as_ref()
        .map_or_else(Problem::status, |_| StatusCode::OK);
    let labels = [what, status.as_str()];
    METRICS.identity_requests.with_label_values(&labels).inc();
    match asked? {
        Value::Object(said) => Ok(json(StatusCode::OK, said)),
        _ => Err(Problem::of("internal")), // both say objects
    }
}
