//! A Redis, a gateway and clients for one test. All of it ends with the test, also when it panics.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use clap::Parser as _;
use frontdesk_gateway::{Config, Error, listen, prepare, run};
use frontdesk_shared::{
    event::Event,
    ids::{Lane, Shard, Site, Uid},
    keys,
    stream::Entries,
};
use frontdesk_tests::{proxy::Proxy, redis_server::RedisServer, redis_users::GATEWAY};
use futures_util::{SinkExt as _, StreamExt as _};
use redis::{aio::MultiplexedConnection, streams::StreamRangeReply};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, protocol::CloseFrame},
};
use tokio_util::sync::CancellationToken;

/// Nothing a test waits for takes longer, unless something is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(done.expect("kill runs").success());
}

/// The fields of events that tests look at.
const EVENT_FIELDS: [&str; 13] = [
    "v",
    "site",
    "uid",
    "kind",
    "client",
    "n",
    "body",
    "id",
    "clean",
    "lang",
    "role",
    "positions",
    "replaces",
];

/// A Redis with one gateway on it.
pub struct Bench {
    pub redis: RedisServer,
    pub connection: MultiplexedConnection,
    pub address: SocketAddr,
    pub boot: String,
    pub shutdown: CancellationToken,
    running: Option<JoinHandle<Result<(), Error>>>,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[&str]) -> Self {
        let redis = RedisServer::start();
        let url = redis.url_for(GATEWAY);
        Self::start_on(redis, &url, settings).await
    }

    /// A gateway that reaches its Redis through a proxy; the bench reaches it directly.
    pub async fn start_behind_a_proxy(settings: &[&str]) -> (Self, Proxy) {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.addr());
        let url = redis.url_at(GATEWAY, proxy.addr());
        (Self::start_on(redis, &url, settings).await, proxy)
    }

    async fn start_on(redis: RedisServer, url: &str, settings: &[&str]) -> Self {
        let connection = redis.connect().await;
        let defaults = [
            "--listen=127.0.0.1:0",
            "--metrics-listen=off",
            "--heartbeat-ms=50",
            // No worker runs, so every lane is a backlog from its first event on.
            "--backlog-limit-ms=600000",
        ];
        let name = |setting: &str| setting.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = settings.iter().map(|setting| name(setting)).collect();
        let mut line = vec!["frontdesk-gateway", "--open", "--redis-url", url];
        line.extend(defaults.iter().filter(|one| !given.contains(&name(one))));
        line.extend(settings);
        let config = Config::try_parse_from(line).expect("good settings");
        let client = prepare(&config).await.expect("this Redis is fit");
        let (listener, metrics) = listen(&config).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(run(config, listener, metrics, client, shutdown.clone()));
        let mut bench = Self {
            redis,
            connection,
            address,
            boot: String::new(),
            shutdown,
            running: Some(running),
        };
        bench.until_ready().await;
        let boots = bench.boots().await;
        bench.boot = boots.into_iter().next().expect("registered");
        bench
    }

    pub async fn until_ready(&self) {
        eventually("the gateway is ready", async || {
            self.get("/readyz").await.starts_with("HTTP/1.1 200")
        })
        .await;
    }

    /// What a boot's registration says.
    pub async fn registration(&mut self, boot: &str) -> Option<String> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::GATEWAYS).arg(boot);
        let value = command.query_async(&mut self.connection).await;
        value.expect("HGET")
    }

    /// Runs a command for its effect.
    pub async fn redis_does(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let done: redis::RedisResult<redis::Value> =
            command.query_async(&mut self.connection).await;
        done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// The worker's part: everything in a user's lane is applied.
    pub async fn apply_all(&mut self, uid: &str) {
        let lane = lane_key(uid);
        let last: StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(&lane)
            .arg(&["+", "-", "COUNT", "1"])
            .query_async(&mut self.connection)
            .await
            .expect("XREVRANGE");
        let applied = keys::applied(Shard::new(shard()).expect("valid"));
        let number = lane.rsplit(':').next().expect("a lane");
        self.redis_does(&["HSET", &applied, number, &last.ids[0].id])
            .await;
    }

    /// Waits until a boot that is not `boot` serves, and makes it the bench's.
    pub async fn until_another_boot(&mut self) {
        let before = self.boot.clone();
        eventually("another boot is registered", async || {
            let mut boots = self.boots().await;
            boots.retain(|boot| *boot != before);
            boots.pop().is_some_and(|boot| {
                self.boot = boot;
                true
            })
        })
        .await;
        self.until_ready().await;
    }

    pub async fn boots(&mut self) -> Vec<String> {
        let mut command = redis::cmd("HKEYS");
        command
            .arg(keys::GATEWAYS)
            .query_async(&mut self.connection)
            .await
            .expect("HKEYS")
    }

    /// Waits for the end of `run`.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let running = self.running.take().expect("ended once");
        let done = within_deadline("the gateway ends", running).await;
        done.expect("no panic")
    }

    /// The whole answer to a plain GET.
    pub async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        self.raw(request.as_bytes()).await
    }

    /// The whole answer to these bytes.
    pub async fn raw(&self, request: &[u8]) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(self.address).await.expect("listening");
        stream.write_all(request).await.expect("sent");
        let mut answer = Vec::new();
        let _ = within_deadline("an answer ends", stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A client that comes again as long as it is answered 503, as the protocol asks for.
    pub async fn client(&self, query: &str) -> Client {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.try_client(query).await {
                Ok(client) => return client,
                Err(WsError::Http(answer)) if answer.status() == 503 && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{query} is not let in: {error}"),
            }
        }
    }

    pub async fn try_client(&self, query: &str) -> Result<Client, WsError> {
        let connecting = connect_async(format!("ws://{}/ws?{query}", self.address));
        let (socket, _) = within_deadline("a handshake is answered", connecting).await?;
        Ok(Client { socket })
    }

    /// A client of this user whose `open` is in the log, and its client_id. The `close` of an earlier
    /// client of theirs may come to the log meanwhile.
    pub async fn opened(&mut self, uid: &str) -> (Client, String) {
        let before = opens(&self.events(uid).await).len();
        let client = self.client(&format!("uid={uid}")).await;
        let mut id = None;
        eventually("its open is in the log", async || {
            id = opens(&self.events(uid).await).get(before).cloned();
            id.is_some()
        })
        .await;
        (client, id.expect("open names its client"))
    }

    /// All entries of a user (site `default`), oldest first, as pairs. Others may share the lane.
    pub async fn events(&mut self, uid: &str) -> Vec<Vec<(String, String)>> {
        let site = Site::parse("default").expect("valid");
        let lane = Lane::of(&Uid::parse(uid).expect("valid"));
        let mut command = redis::cmd("XRANGE");
        command
            .arg(keys::events(Shard::of(&site), lane))
            .arg("-")
            .arg("+");
        let entries: Entries = command
            .query_async(&mut self.connection)
            .await
            .expect("XRANGE");
        let entries = entries.0.iter().map(|entry| {
            let text =
                |name: &&str| Some(((*name).to_owned(), entry.fields.text(name)?.to_owned()));
            EVENT_FIELDS.iter().filter_map(text).collect()
        });
        let of_the_user = |event: &Vec<_>| field(event, "uid").as_deref() == Some(uid);
        entries.filter(of_the_user).collect()
    }

    /// Waits until the lane holds at least so many entries.
    pub async fn until_events(&mut self, uid: &str, count: usize) -> Vec<Vec<(String, String)>> {
        let until = Instant::now() + DEADLINE;
        loop {
            let events = self.events(uid).await;
            if events.len() >= count {
                return events;
            }
            assert!(Instant::now() < until, "{} of {count} events", events.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes on the gateway's channel; returns how many heard it.
    pub async fn publish(&mut self, payload: &[u8]) -> u64 {
        let mut command = redis::cmd("PUBLISH");
        command
            .arg(format!("{}{}", keys::GATEWAY_CHANNEL_PREFIX, self.boot))
            .arg(payload);
        command
            .query_async(&mut self.connection)
            .await
            .expect("PUBLISH")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The shard of the site `default`.
pub fn shard() -> u8 {
    Shard::of(&Site::parse("default").expect("valid")).number()
}

/// The stream of a user of the site `default`.
pub fn lane_key(uid: &str) -> String {
    let shard = Shard::new(shard()).expect("valid");
    keys::events(shard, Lane::of(&Uid::parse(uid).expect("valid")))
}

/// A payload as the scripts write it, with one record.
pub fn payload(counter: u64, kind: char, targets: &str, bytes: &str) -> Vec<u8> {
    let length = bytes.len();
    format!(
        "1 {} {counter}\n{kind} 6.1.5-0 {length} {targets}\n{bytes}\n",
        shard()
    )
    .into_bytes()
}

/// The client_ids of those that opened, oldest first.
fn opens(events: &[Vec<(String, String)>]) -> Vec<String> {
    let opens = events
        .iter()
        .filter(|event| field(event, "kind").as_deref() == Some("open"));
    opens.filter_map(|event| field(event, "client")).collect()
}

pub fn field(event: &[(String, String)], name: &str) -> Option<String> {
    event
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.clone())
}

/// The entry as the worker will see it.
pub fn decode(event: &[(String, String)]) -> Event {
    let get = |name: &str| {
        event
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    Event::decode(get).expect("what a gateway writes decodes")
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An independent WebSocket client.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    /// The next text frame.
    pub async fn text(&mut self) -> String {
        match self.next().await.expect("still open").expect("no error") {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} instead of text"),
        }
    }

    /// Reads to the end: the close code, or `None` if the socket broke without one.
    pub async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        let end = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Close(frame) = message {
                    code = frame.map(|frame: CloseFrame| frame.code.into());
                }
            }
        };
        within_deadline("the socket ends", end).await;
        code
    }

    /// What comes next. Pings do not count: they come for ever.
    pub async fn next(&mut self) -> Option<Result<Message, WsError>> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return other,
                }
            }
        };
        within_deadline("something arrives", next).await
    }
}

async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, future).await;
    done.unwrap_or_else(|_| panic!("not in time: {what}"))
}
