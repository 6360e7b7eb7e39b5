//! One socket of the load: as cheap as it can be, since the tool must not be what is measured.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message, Utf8Bytes,
        client::IntoClientRequest as _,
        handshake::client::Request,
        http::header::AUTHORIZATION,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    frame::Frame,
    target::{Gateway, Side},
    tokens::Tokens,
};

/// Bytes read at a time, kept by each socket.
const READ_BUFFER: usize = 4096;
/// How long a connection attempt may take, handshake included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer that must come may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a socket did not open.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The server answered with this status instead of 101.
    Refused(u16),
    /// It did not get so far.
    Failed(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "the gateway answered with HTTP {status}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OpenError {}

/// What came over a socket.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    /// Closed by the server with this code; 1006 without one.
    Closed(u16),
}

/// Who connects, and to what.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) gateway: Gateway,
    pub(crate) site: String,
    pub(crate) uid: String,
    pub(crate) side: Side,
    /// What it comes with, unless the gateways are in open mode.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// For the bare relay: `place of the gateway, uid` of the peer.
    pub(crate) peer: Option<(usize, String)>,
}

impl Identity {
    fn url(&self) -> String {
        let Self {
            gateway, site, uid, ..
        } = self;
        let mut url = format!(
            "{gateway}?site={site}&uid={uid}&role={}&lang=en",
            self.side.role()
        );
        if let Some((via, peer)) = &self.peer {
            url = format!("{url}&via={via}&peer={peer}");
        }
        url
    }

    /// The handshake: with a new token each time, where tokens are needed.
    fn request(&self) -> Result<Request, Error> {
        let mut request = self.url().into_client_request()?;
        if let Some(tokens) = &self.tokens {
            let bearer = tokens.bearer(&self.site, &self.uid, self.side);
            request.headers_mut().insert(AUTHORIZATION, bearer.parse()?);
        }
        Ok(request)
    }
}

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    ws: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects and shakes hands.
    pub(crate) async fn open(who: &Identity) -> Result<Self, OpenError> {
        let failed =
            |error: &dyn std::fmt::Display| OpenError::Failed(format!("{}: {error}", who.gateway));
        let opening = async {
            let stream = TcpStream::connect(who.gateway.addr)
                .await
                .map_err(|error| failed(&error))?;
            stream.set_nodelay(true).map_err(|error| failed(&error))?;
            let request = who.request().map_err(|error| failed(&error))?;
            let bounds = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
            match client_async_with_config(request, stream, Some(bounds)).await {
                Ok((ws, _)) => Ok(Self { ws }),
                Err(Error::Http(answer)) => Err(OpenError::Refused(answer.status().as_u16())),
                Err(error) => Err(failed(&error)),
            }
        };
        match timeout(OPEN_TIMEOUT, opening).await {
            Ok(result) => result,
            Err(_) => Err(failed(&"no handshake in time")),
        }
    }

    /// Connects and takes the `welcome`.
    pub(crate) async fn enter(who: &Identity) -> Result<Self, OpenError> {
        let mut socket = Self::open(who).await?;
        socket.expect("welcome").await?;
        Ok(socket)
    }

    /// Waits for a frame with this action or code, and passes over others; gives its text.
    pub(crate) async fn expect(&mut self, what: &str) -> Result<Utf8Bytes, OpenError> {
        let waiting = async {
            loop {
                let text = match self.next().await {
                    Incoming::Text(text) => text,
                    Incoming::Closed(code) => {
                        return Err(OpenError::Failed(format!(
                            "closed with {code} instead of {what}"
                        )));
                    }
                };
                let Some(frame) = Frame::parse(&text) else {
                    continue;
                };
                if frame.is(what) {
                    return Ok(text);
                }
                if frame.is("error") {
                    return Err(OpenError::Failed(format!("{text} instead of {what}")));
                }
            }
        };
        match timeout(ANSWER_TIMEOUT, waiting).await {
            Ok(result) => result,
            Err(_) => Err(OpenError::Failed(format!("no {what} within 30 s"))),
        }
    }

    /// Sends a text frame. A broken socket shows at the next read.
    pub(crate) async fn send(&mut self, text: String) {
        let _ = self.ws.send(Message::Text(text.into())).await;
    }

    /// The next text, or the end. Pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text),
                Some(Ok(Message::Close(frame))) => {
                    return Incoming::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Incoming::Closed(1006),
            }
        }
    }

    /// Leaves on purpose.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static(""),
        };
        let leaving = async {
            let _ = self.ws.close(Some(frame)).await;
            while let Some(Ok(_)) = self.ws.next().await {}
        };
        // Late or broken, there is nobody left to tell.
        let _ = timeout(CLOSE_TIMEOUT, leaving).await;
    }
}
