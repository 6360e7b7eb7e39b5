//! A WebSocket client as a customer or a member of staff uses it. It reads all the time, so it
//! answers pings; what it was told waits for [`Client::expect`] and its relatives, which take
//! exactly the next frame and compare action, code and text with [`crate::table`].

use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Duration};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::{
    table::{self, Lang, Row},
    wait::DEADLINE,
};

/// A conversation that cannot exist, in the form that ids have.
const NOWHERE: &str = "0.0.1-0.1";

/// What came over the socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A JSON frame.
    Frame(Value),
    /// Another text frame.
    Text(String),
    /// The server closed with this code (1005: with none).
    Closed(u16),
    /// The socket ended without a close frame.
    Lost(String),
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "{frame}"),
            Self::Text(text) => write!(f, "{text}"),
            Self::Closed(code) => write!(f, "(closed with {code})"),
            Self::Lost(error) => write!(f, "(lost: {error})"),
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Who it is in messages: the query it connected with.
    pub name: String,
    /// The language its texts are in.
    pub lang: Lang,
    /// The payload of its `welcome`.
    pub welcome: Value,
    /// Rows of the table that it was told.
    pub told: BTreeSet<&'static Row>,
    sink: SplitSink<Socket, Message>,
    incoming: UnboundedReceiver<Incoming>,
    transcript: Vec<String>,
    reader: JoinHandle<()>,
    barriers: u32,
}

impl Client {
    /// Connects to `ws://addr/?query` and takes the `welcome`.
    pub async fn connect(addr: SocketAddr, query: &str) -> Self {
        let mut client = Self::connect_unwelcomed(addr, query).await;
        client.welcome = client.expect("welcome", "welcome").await;
        client
    }

    /// Connects and takes nothing.
    pub async fn connect_unwelcomed(addr: SocketAddr, query: &str) -> Self {
        match Self::try_connect(addr, query).await {
            Ok(client) => client,
            Err(error) => panic!("{query} cannot connect to {addr}: {error}"),
        }
    }

    /// Connects, if the server lets it.
    pub async fn try_connect(addr: SocketAddr, query: &str) -> Result<Self, Error> {
        Self::try_connect_with(addr, query, None).await
    }

    /// Connects with a token and takes the `welcome`.
    pub async fn connect_with(addr: SocketAddr, token: &str) -> Self {
        let connecting = Self::try_connect_with(addr, "lang=en", Some(token)).await;
        let mut client =
            connecting.unwrap_or_else(|error| panic!("a token is refused by {addr}: {error}"));
        client.welcome = client.expect("welcome", "welcome").await;
        client
    }

    /// Connects, with a token or not, if the server lets it.
    pub async fn try_connect_with(
        addr: SocketAddr,
        query: &str,
        token: Option<&str>,
    ) -> Result<Self, Error> {
        let url = format!("ws://{addr}/?{query}");
        let mut request = url.into_client_request()?;
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert("authorization", bearer);
        }
        let connecting = timeout(DEADLINE, connect_async(request)).await;
        let (socket, _) = connecting.unwrap_or_else(|_| panic!("{query}: handshake hangs"))?;
        let (sink, stream) = socket.split();
        let (sender, incoming) = unbounded_channel();
        let reader = tokio::spawn(read(stream, sender));
        let english = query.split('&').any(|pair| pair == "lang=en");
        Ok(Self {
            name: query.to_owned(),
            lang: if english { Lang::En } else { Lang::Zh },
            welcome: Value::Null,
            told: BTreeSet::new(),
            sink,
            incoming,
            transcript: Vec::new(),
            reader,
            barriers: 0,
        })
    }

    /// Sends any frame.
    pub async fn send_raw(&mut self, message: Message) -> Result<(), Error> {
        self.transcript
            .push(format!("> {}", shorten(&message.to_string())));
        self.sink.send(message).await
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) {
        if let Err(error) = self.send_raw(Message::text(text)).await {
            self.fail(&format!("cannot send: {error}"));
        }
    }

    /// Sends a JSON frame.
    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends an action without a payload.
    pub async fn act(&mut self, action: &str) {
        self.send(json!({ "action": action })).await;
    }

    /// Says something in the only conversation.
    pub async fn say(&mut self, text: &str) {
        self.send(json!({"action": "message", "payload": {"message": text}}))
            .await;
    }

    /// Says something with an id of its own.
    pub async fn say_with_id(&mut self, text: &str, id: &str) {
        self.send(json!({"action": "message", "payload": {"message": text, "id": id}}))
            .await;
    }

    /// Says something in one conversation.
    pub async fn say_in(&mut self, conversation: &str, text: &str) {
        let payload = json!({"message": text, "conversation": conversation});
        self.send(json!({"action": "message", "payload": payload}))
            .await;
    }

    /// What comes next, within the deadline.
    pub async fn next(&mut self) -> Incoming {
        match timeout(DEADLINE, self.incoming.recv()).await {
            Ok(Some(incoming)) => self.note(incoming),
            Ok(None) => Incoming::Lost("ended before".into()),
            Err(_) => self.fail("nothing came"),
        }
    }

    /// What comes next, if anything does in this time. Not kept for messages of panics.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Incoming> {
        timeout(limit, self.incoming.recv()).await.ok()?
    }

    /// What has come already, if anything has.
    pub fn heard(&mut self) -> Option<Incoming> {
        let incoming = self.incoming.try_recv().ok()?;
        Some(self.note(incoming))
    }

    fn note(&mut self, incoming: Incoming) -> Incoming {
        self.transcript
            .push(format!("< {}", shorten(&incoming.to_string())));
        incoming
    }

    /// The next frame is this notice, in the right words. Returns its payload.
    pub async fn expect(&mut self, action: &str, code: &str) -> Value {
        let wanted = format!("{action}/{code}");
        let payload = self.next_payload(action, &wanted).await;
        self.check_notice(action, code, &payload);
        payload
    }

    /// Like [`Client::expect`], but changes of the place in the queue may come before it.
    pub async fn expect_after_moves(&mut self, action: &str, code: &str) -> Value {
        loop {
            let Incoming::Frame(frame) = self.next().await else {
                self.fail(&format!("wanted {action}/{code}"));
            };
            if frame["payload"]["code"] == "queue_moved" && code != "queue_moved" {
                self.check_notice("message", "queue_moved", &frame["payload"]);
                continue;
            }
            if frame["action"] != action {
                self.fail(&format!("wanted {action}/{code}"));
            }
            self.check_notice(action, code, &frame["payload"]);
            return frame["payload"].clone();
        }
    }

    fn check_notice(&mut self, action: &str, code: &str, payload: &Value) {
        let row = table::row(action, code);
        let text = row.text(self.lang, payload["queue"].as_u64());
        if payload["code"] != code || payload["message"] != text {
            self.fail(&format!("wanted {action}/{code} with the text {text:?}"));
        }
        self.told.insert(row);
    }

    /// The next frame is these words. Returns its payload.
    pub async fn expect_words(&mut self, from: &str, text: &str) -> Value {
        let wanted = format!("the words {text:?} from {from}");
        let payload = self.next_payload("message", &wanted).await;
        if payload["from"] != from || payload["message"] != text {
            self.fail(&format!("wanted {wanted}"));
        }
        payload
    }

    /// The next frame acknowledges the message with this id. Returns its payload.
    pub async fn expect_ack(&mut self, reference: &str) -> Value {
        let wanted = format!("the ack of {reference}");
        let payload = self.next_payload("ack", &wanted).await;
        if payload["ref"] != reference {
            self.fail(&format!("wanted {wanted}"));
        }
        for field in ["conversation", "seq", "id", "time"] {
            if payload[field].is_null() {
                self.fail(&format!("the ack lacks {field}"));
            }
        }
        payload
    }

    /// The server closes next. Returns the code (1005: none).
    pub async fn expect_close(&mut self) -> u16 {
        match self.next().await {
            Incoming::Closed(code) => code,
            _ => self.fail("wanted a close frame"),
        }
    }

    /// The next frame has this action. Returns its payload.
    pub async fn expect_action(&mut self, action: &str) -> Value {
        self.next_payload(action, action).await
    }

    /// Sends an action with a payload.
    pub async fn ask(&mut self, action: &str, payload: Value) {
        self.send(json!({"action": action, "payload": payload}))
            .await;
    }

    async fn next_payload(&mut self, action: &str, wanted: &str) -> Value {
        match self.next().await {
            Incoming::Frame(mut frame) if frame["action"] == action => frame["payload"].take(),
            _ => self.fail(&format!("wanted {wanted}")),
        }
    }

    /// Proves that the gateway has sent nothing more: `PING` is answered by the very next frame.
    pub async fn ping(&mut self) {
        self.send_text("PING").await;
        if self.next().await != Incoming::Text("PONG".into()) {
            self.fail("wanted PONG");
        }
    }

    /// Proves that the cluster has nothing more to tell: a message into a conversation that cannot
    /// exist goes through the user's lane, and its refusal is the very next frame. What another
    /// user did is covered if the caller knows (by an ack, say) that it was applied before.
    pub async fn expect_nothing(&mut self) {
        self.barriers += 1;
        let id = format!("barrier-{}", self.barriers);
        let payload = json!({"message": "?", "id": id, "conversation": NOWHERE});
        self.send(json!({"action": "message", "payload": payload}))
            .await;
        let refused = self.expect("error", "no_conversation").await;
        if refused["ref"] != *id {
            self.fail("wanted the barrier's own refusal");
        }
    }

    /// Closes with a code (or none) and waits until the server has answered.
    pub async fn close(mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame {
            code: code.into(),
            reason: "".into(),
        });
        // An error means that it is closed already.
        let _ = self.send_raw(Message::Close(frame)).await;
        while !matches!(self.next().await, Incoming::Closed(_) | Incoming::Lost(_)) {}
    }

    /// Ends the socket without a close frame.
    pub fn lose(self) {
        drop(self);
    }

    /// Panics with the whole exchange.
    pub fn fail(&self, why: &str) -> ! {
        let transcript = self.transcript.join("\n  ");
        panic!("{}: {why}. The exchange so far:\n  {transcript}", self.name);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut stream: SplitStream<Socket>, sender: UnboundedSender<Incoming>) {
    loop {
        let incoming = match stream.next().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text)
                .map_or_else(|_| Incoming::Text(text.to_string()), Incoming::Frame),
            Some(Ok(Message::Close(frame))) => {
                Incoming::Closed(frame.map_or(1005, |frame| frame.code.into()))
            }
            Some(Ok(Message::Binary(_))) => Incoming::Lost("a binary frame came".into()),
            Some(Ok(_)) => continue,
            Some(Err(error)) => Incoming::Lost(error.to_string()),
            None => return,
        };
        let last = matches!(incoming, Incoming::Lost(_));
        if sender.send(incoming).is_err() || last {
            return;
        }
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 400;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}… ({} bytes)", text.len())
}
