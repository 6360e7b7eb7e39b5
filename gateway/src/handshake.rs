//! The opening handshake (RFC 6455 §4.2): what is no WebSocket, what is a bad one, and the answer
//! to a good one.
//!
//! tungstenite's own check takes any key and only the first line of a list, so the rules are here.
//! No extension and no subprotocol is ever agreed on, whatever is offered.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Whether a request asks for a WebSocket at all, well or badly.
pub fn wants_upgrade(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks the handshake: the answer to give and the socket that follows it, or the refusal.
#[allow(clippy::result_large_err)] // a refusal is an answer, too
pub fn agree(request: &mut Request) -> Result<(Response, OnUpgrade), Response> {
    if !wants_upgrade(request) {
        let upgrade = [(header::UPGRADE, WEBSOCKET), (header::CONNECTION, UPGRADE)];
        let sentence = "This address speaks WebSocket.\n";
        return Err((StatusCode::UPGRADE_REQUIRED, upgrade, sentence).into_response());
    }
    let headers = request.headers();
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version != VERSION)
    {
        let wanted = [(header::SEC_WEBSOCKET_VERSION, VERSION)];
        let sentence = "This server speaks version 13 of the WebSocket protocol.\n";
        return Err((StatusCode::UPGRADE_REQUIRED, wanted, sentence).into_response());
    }
    let key = key(request).map_err(|fault| {
        let sentence = format!("This is not a WebSocket handshake: {fault}.\n");
        (StatusCode::BAD_REQUEST, sentence).into_response()
    })?;
    let agreed = [
        (header::UPGRADE, WEBSOCKET),
        (header::CONNECTION, UPGRADE),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ];
    let answer = (StatusCode::SWITCHING_PROTOCOLS, agreed, Body::empty()).into_response();
    Ok((answer, hyper::upgrade::on(request)))
}

/// The answer to the client's key, or the first rule of §4.2.1 that the request breaks.
fn key(request: &Request) -> Result<HeaderValue, &'static str> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err("the method must be GET");
    }
    if request.version() < Version::HTTP_11 {
        return Err("it needs HTTP/1.1");
    }
    if only(headers, &header::HOST).is_none() {
        return Err("one Host header is needed");
    }
    if !connection_names_upgrade(headers) {
        return Err("the Connection header must name Upgrade");
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none() {
        return Err("one Sec-WebSocket-Version header is needed");
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_a_key(key.as_bytes()));
    let key = key.ok_or("one Sec-WebSocket-Key header is needed, of 16 bytes in base64")?;
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::try_from(accept).map_err(|_| "its key cannot be answered") // base64 always can
}

/// The value of a header that may come only once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The list may be spread over several lines, as some proxies do.
fn connection_names_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|line| {
        let mut tokens = line.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

/// 16 bytes in base64 are 22 characters and the padding.
fn is_a_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.strip_suffix(b"=="), Some(digits) if digits.len() == 22 && digits.iter().all(is_base64))
}
