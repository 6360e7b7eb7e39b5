//! The WebSocket under a connection: its bounds, which error means which close code, and the
//! goodbye. `handshake` comes before it.
//!
//! The goodbye is why this is tungstenite on hyper's upgrade and not axum's wrapper. A TCP socket
//! that is closed while bytes of the client are unread answers with RST, and the RST overtakes the
//! close frame: a client that sent too much would never learn why it was cut. So after the close
//! frame we end our half, then read and throw away until the client has ended its own.

use std::time::Duration;

use frontdesk_shared::protocol::{
    MAX_FRAME_BYTES,
    close::{CloseCode, INVALID_TEXT, PROTOCOL_ERROR, SLOW_CONSUMER, TOO_BIG},
};
use futures_util::{SinkExt as _, StreamExt as _};
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
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::outbox::MAX_QUEUED_BYTES;

/// Bytes read from a socket at a time. Each idle socket holds so much.
const READ_BUFFER: usize = 2048;
/// Frames are joined up to so many bytes before they are written.
const WRITE_BUFFER: usize = 4096;
/// How long a client may take to read what is under way, take the close frame and end its side.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a client that are thrown away after a close before it is cut.
const MAX_LINGER_BYTES: usize = 4 * 1024 * 1024;

/// An upgraded socket with its framing.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
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
    fn by_client(frame: Option<&CloseFrame>) -> Self {
        Self::ByClient {
            clean: frame.is_none_or(|frame| u16::from(frame.code) == 1000),
        }
    }

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

/// What a socket may hold in memory.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a message that is read, in one frame or in several.
    pub message: usize,
    /// Bytes of frames that are written before their client has read them.
    pub queued: usize,
}

impl Default for Bounds {
    /// The gateway's own. Conformance tests need larger ones to see big messages come back.
    fn default() -> Self {
        Self {
            message: MAX_FRAME_BYTES,
            queued: MAX_QUEUED_BYTES,
        }
    }
}

/// Waits for the answer to be out, then frames the bytes, with every buffer bounded.
pub async fn upgrade(upgrading: OnUpgrade, bounds: Bounds) -> Result<Socket, hyper::Error> {
    let io = TokioIo::new(upgrading.await?);
    // Hard bound of the write buffer: what the outbox lets through must fit, with room for a close.
    let max_write_buffer = WRITE_BUFFER + bounds.queued + 1024;
    let bounds = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(max_write_buffer)
        .max_message_size(Some(bounds.message))
        .max_frame_size(Some(bounds.message));
    Ok(WebSocketStream::from_raw_socket(io, Role::Server, Some(bounds)).await)
}

/// The next message, or how the socket ends. May be cancelled; pings are answered on the way.
pub async fn receive(socket: &mut Socket) -> Result<Message, End> {
    match socket.next().await {
        Some(Ok(Message::Close(frame))) => Err(End::by_client(frame.as_ref())),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(error.into()),
        None => Err(End::Lost),
    }
}

/// Ends the socket so that the client learns why, within [`GOODBYE_TIMEOUT`].
pub async fn goodbye(mut socket: Socket, end: End) {
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
