//! Somebody's server for webhooks, which does as it is told. It speaks HTTP by hand, so that it can also
//! speak it badly.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_tests::wait;
use ring::hmac;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What it does with a delivery.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with this status.
    Answer(u16),
    /// Answers with 503, and asks to be left alone for so many seconds.
    AskToWait(u64),
    /// Answers with 204 after this time.
    Late(Duration),
    /// Answers with 204 once it is told to.
    When(Arc<Notify>),
    /// Says nothing, for ever.
    Hang,
    /// Ends the connection without a word.
    Close,
    /// Ends it in the middle of the head of its answer.
    CloseInHead,
    /// Says 200, and ends it in the middle of the body.
    CloseInBody,
    /// Says 200 with a body that does not end.
    Endless,
    /// Says 200 and nothing more, for ever.
    HangInBody,
    /// Says what is no HTTP.
    Nonsense,
    /// Says 307 to somewhere else.
    Redirect(String),
}

/// A delivery as it came.
#[derive(Debug, Clone)]
pub struct Got {
    /// The request line.
    pub line: String,
    /// Its headers by names in lower case.
    headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Got {
    /// A header that must be there once.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert!(values.next().is_none(), "{name} twice");
        &value.1
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The delivery's id.
    pub fn id(&self) -> String {
        let id = self.header("webhook-id");
        assert_eq!(self.json()["id"], id);
        id.to_owned()
    }

    /// Whether one of its signatures was made with this secret: HMAC-SHA256 over id, timestamp and body.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let bytes = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes.expect("base64"));
        let timestamp = self.header("webhook-timestamp");
        let text = format!("{}.{timestamp}.{}", self.header("webhook-id"), self.body);
        let expected = format!("v1,{}", STANDARD.encode(hmac::sign(&key, text.as_bytes())));
        let signatures = self.header("webhook-signature");
        signatures.split(' ').any(|signature| signature == expected)
    }
}

#[derive(Debug)]
struct State {
    got: Vec<Got>,
    connections: usize,
    /// What it does with the next ones.
    next: VecDeque<Behaviour>,
    /// What it does with all others.
    always: Behaviour,
}

/// The server. Ends on drop.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// One that answers 204.
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    /// The same at an address.
    pub async fn at(addr: &str) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free address");
        let addr = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State {
            got: Vec::new(),
            connections: 0,
            next: VecDeque::new(),
            always: Behaviour::Answer(204),
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { addr, state, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// From now on it does this.
    pub fn always(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().always = behaviour;
    }

    /// It does these first.
    pub fn first(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state.lock().unwrap().next.extend(behaviours);
    }

    /// All that came.
    pub fn got(&self) -> Vec<Got> {
        self.state.lock().unwrap().got.clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits until so many have come.
    pub async fn wait(&self, count: usize) -> Vec<Got> {
        wait::until(&format!("{count} deliveries"), async || {
            let got = self.got();
            (got.len() >= count).then_some(got)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some(got) = read(&mut stream).await {
        let behaviour = {
            let mut state = state.lock().unwrap();
            state.got.push(got);
            let next = state.next.pop_front();
            next.unwrap_or_else(|| state.always.clone())
        };
        if behave(stream.get_mut(), behaviour).await.is_none() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let header = |line: &String| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_lowercase(), value.to_owned())
    };
    let headers: Vec<(String, String)> = lines.iter().map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.expect("a length").1.parse().expect("a number");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).expect("UTF-8");
    Some(Got {
        line,
        headers,
        body,
    })
}

/// `None`: the connection ends.
async fn behave(stream: &mut TcpStream, behaviour: Behaviour) -> Option<()> {
    const EMPTY: &str = "Content-Length: 0\r\n\r\n";
    const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let text = match &behaviour {
        Behaviour::Answer(status) => format!("HTTP/1.1 {status} x\r\n{EMPTY}"),
        Behaviour::AskToWait(s) => format!("HTTP/1.1 503 x\r\nRetry-After: {s}\r\n{EMPTY}"),
        Behaviour::Late(time) => {
            tokio::time::sleep(*time).await;
            format!("HTTP/1.1 204 x\r\n{EMPTY}")
        }
        Behaviour::When(told) => {
            told.notified().await;
            format!("HTTP/1.1 204 x\r\n{EMPTY}")
        }
        Behaviour::Redirect(to) => format!("HTTP/1.1 307 x\r\nLocation: {to}\r\n{EMPTY}"),
        Behaviour::Hang | Behaviour::Close => String::new(),
        Behaviour::CloseInHead => "HTTP/1.1 200 OK\r\nContent-Le".into(),
        Behaviour::CloseInBody => format!("{LONG}some"),
        Behaviour::Endless | Behaviour::HangInBody => LONG.into(),
        Behaviour::Nonsense => "what?\r\n\r\n".into(),
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    match behaviour {
        Behaviour::Hang | Behaviour::HangInBody => std::future::pending().await,
        Behaviour::Endless => loop {
            stream.write_all(&[b'x'; 8 * 1024]).await.ok()?;
        },
        Behaviour::Close
        | Behaviour::CloseInHead
        | Behaviour::CloseInBody
        | Behaviour::Nonsense => None,
        _ => Some(()),
    }
}
