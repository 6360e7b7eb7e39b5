//! `GET /client.js`: the JavaScript client (`gateway/web`), so that a page needs no copy of its own and has the
//! one that fits its cluster.
//!
//! It is public and the same for everybody: pages of any origin may load it as a module, which browsers ask of
//! another origin with CORS. What a page may do with it is decided where it connects.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ring::digest;

const SCRIPT: &str = include_str!("../web/client.js");
/// A browser asks again after a while: an upgraded cluster may need an upgraded client.
const CACHE: &str = "public, max-age=600";

/// Names the content.
static ETAG: LazyLock<String> = LazyLock::new(|| {
    let digest = digest::digest(&digest::SHA256, SCRIPT.as_bytes());
    let mut etag = "\"".to_owned();
    for byte in digest.as_ref().iter().take(12) {
        let _ = write!(etag, "{byte:02x}"); // writing into a String cannot fail
    }
    etag + "\""
});

pub(crate) async fn serve(headers: HeaderMap) -> Response {
    let about = [
        (header::ETAG, ETAG.as_str()),
        (header::CACHE_CONTROL, CACHE),
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    if is_known(&headers) {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, SCRIPT).into_response()
    }
}

/// Whether the browser has it already (RFC 9110 §13.1.2). Proxies that compress mark an `ETag` as weak.
fn is_known(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *ETAG
    })
}
