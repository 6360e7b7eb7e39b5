//! The WebSocket under a connection: the upgrade, its bounds, which error means which close code,
//! and the goodbye.
//!
//! The goodbye is why this is tungstenite on hyper's upgrade and not axum's wrapper. A TCP socket
//! that is closed while bytes of the client are unread answers with RST, and the RST overtakes the
//! close frame: a client that sent too much would never learn why it was cut. So after the close
//! frame we end our half, then read and throw away until the client has ended its own.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use frontdesk_shared::protocol::{
    MAX_FRAME_BYTES,
    close::{CloseCode, INVALID_TEXT, PROTOCOL_ERROR, SLOW_CONSUMER, TOO_BIG},
};
use futures_util::SinkExt as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        error::ProtocolError,
        handshake::server::create_response_with_body,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::outbox::MAX_QUEUED_BYTES;

/// Bytes read from a socket at a time. Each idle socket holds so much.
const READ_BUFFER: usize = 4096;
/// Frames are joined up to so many bytes before they are written.
const WRITE_BUFFER: usize = 4096;
/// Hard bound of the write buffer: what the outbox lets through must fit, with room for a close.
const MAX_WRITE_BUFFER: usize = WRITE_BUFFER + MAX_QUEUED_BYTES + 1024;
/// How long a client may take to read what is under way, take the close frame and end its side.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a client that are thrown away after a close before it is cut.
const MAX_LINGER_BYTES: usize = 4 * 1024 * 1024;

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client sent a close frame; `clean` with 1000 or without a code.
    ByClient {
        /// Whether it left on purpose.
        clean: bool,
    },
    /// We close it.
    Close(CloseCode),
    /// It broke.
    Lost,
}

impl End {
    /// The label in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ByClient { clean: true } => "client",
            Self::ByClient { clean: false } => "client_unclean",
            Self::Close(code) => code.name,
            Self::Lost => "lost",
        }
    }
}

impl From<WsError> for End {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => Self::Lost,
            WsError::Protocol(_) | WsError::AttackAttempt => Self::Close(PROTOCOL_ERROR),
            WsError::Capacity(_) => Self::Close(TOO_BIG),
            WsError::Utf8(_) => Self::Close(INVALID_TEXT),
            WsError::WriteBufferFull(_) => Self::Close(SLOW_CONSUMER),
            _ => Self::Lost,
        }
    }
}

/// Whether a request asks for a WebSocket at all, well or badly.
pub(crate) fn wants_upgrade(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Checks the handshake (RFC 6455 §4.2.1): the answer to give, and the socket that follows it.
#[allow(clippy::result_large_err)] // a refusal is an answer, too
pub(crate) fn handshake(request: &mut Request) -> Result<(Response, OnUpgrade), Response> {
    const VERSION: HeaderValue = HeaderValue::from_static("13");
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_some_and(|version| version != VERSION) {
        let wanted = [(header::SEC_WEBSOCKET_VERSION, VERSION)];
        let sentence = "This server speaks version 13 of the WebSocket protocol.\n";
        return Err((StatusCode::UPGRADE_REQUIRED, wanted, sentence).into_response());
    }
    let answer = create_response_with_body(request, Body::empty).map_err(|error| {
        let sentence = format!("This is not a WebSocket handshake: {error}.\n");
        (StatusCode::BAD_REQUEST, sentence).into_response()
    })?;
    Ok((answer, hyper::upgrade::on(request)))
}

/// Waits for the answer to be out, then frames the bytes, with every buffer bounded.
pub(crate) async fn upgrade(upgrading: OnUpgrade) -> Result<Socket, hyper::Error> {
    let io = TokioIo::new(upgrading.await?);
    let bounds = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    Ok(WebSocketStream::from_raw_socket(io, Role::Server, Some(bounds)).await)
}

/// Ends the socket so that the client learns why, within [`GOODBYE_TIMEOUT`].
pub(crate) async fn goodbye(mut socket: Socket, end: End) {
    let leave = async {
        match end {
            End::Close(code) => {
                let frame = CloseFrame {
                    code: code.code.into(),
                    reason: Utf8Bytes::from_static(code.name),
                };
                socket.send(Message::Close(Some(frame))).await?;
            }
            End::ByClient { .. } => socket.flush().await?, // the answer to its close frame
            End::Lost => return Ok(()),
        }
        let io = socket.get_mut();
        io.shutdown().await?;
        let mut thrown = [0; READ_BUFFER];
        let mut total = 0;
        while total < MAX_LINGER_BYTES {
            match io.read(&mut thrown).await? {
                0 => break,
                length => total += length,
            }
        }
        Ok::<(), WsError>(())
    };
    // Late or broken, there is nobody left to tell.
    let _ = timeout(GOODBYE_TIMEOUT, leave).await;
}
