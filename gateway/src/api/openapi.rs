//! `GET /api/v1/openapi.json`: the API for programs, from what stands over each route.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{routes, schema};

/// All of it.
#[derive(OpenApi)]
#[openapi(
    info(title = "Frontdesk", description = "The HTTP API of a Frontdesk gateway. See docs/API.md."),
    paths(
        routes::conversations::list,
        routes::conversations::one,
        routes::conversations::history,
        routes::conversations::transcript,
        routes::conversations::read,
        routes::conversations::delivered,
        routes::conversations::close,
        routes::messages::say,
        routes::messages::write,
        routes::messages::recall,
        routes::desk::staff,
        routes::desk::queues,
        routes::desk::revoke,
        routes::webhooks::list,
        routes::webhooks::one,
        routes::webhooks::create,
        routes::webhooks::change,
        routes::webhooks::rotate,
        routes::webhooks::delete,
        routes::webhooks::parked,
        routes::webhooks::redeliver,
        routes::webhooks::park,
        routes::identity::tickets,
        routes::identity::visitors,
    ),
    components(schemas(schema::ProblemDetails)),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, described: &mut openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = described.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
    }
}

/// As text, made once.
pub(super) static TEXT: LazyLock<String> =
    LazyLock::new(|| Described::openapi().to_json().unwrap_or_default());

/// The file.
pub(super) async fn file() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, TEXT.as_str()).into_response()
}
