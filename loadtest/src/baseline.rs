//! The bare relay: what a chat server can do on this machine at most, with the same parts. Axum sockets
//! with a 4 KiB read buffer and one Redis channel per process; a frame is published as it came, with
//! the peer's name before it, and written to the peer's socket as it is. No storage, no parsing, no
//! acks, no order of business. It is measured in the same run as Frontdesk, so that figures are ratios.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use futures_util::StreamExt as _;
use redis::{Client, Pipeline, aio::MultiplexedConnection};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::config::Baseline;

const READ_BUFFER: usize = 4096;
/// Most messages in one pipeline.
const MAX_BATCH: usize = 1024;
const WELCOME: &str = r#"{"action":"welcome","payload":{"code":"welcome"}}"#;

type Sockets = Mutex<HashMap<String, UnboundedSender<Utf8Bytes>>>;

struct Relay {
    sockets: Sockets,
    publish: UnboundedSender<(String, String)>,
}

#[derive(Deserialize)]
struct Who {
    uid: String,
    #[serde(default)]
    peer: String,
    #[serde(default)]
    via: usize,
}

fn channel(index: usize) -> String {
    format!("frontdesk-loadtest:bare:{index}")
}

/// Serves until it is killed.
pub(crate) async fn serve(options: &Baseline) -> Result<()> {
    let client = Client::open(options.redis_url.as_str()).context("--redis-url")?;
    let connection = client.get_multiplexed_async_connection().await;
    let connection = connection.context("Redis does not answer")?;
    let (publish, queue) = unbounded_channel();
    let relay = Arc::new(Relay {
        sockets: Mutex::default(),
        publish,
    });
    tokio::spawn(publish_all(queue, connection));
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe(channel(options.index)).await?;
    tokio::spawn(deliver(subscription, relay.clone()));
    let app = Router::new()
        .route("/", get(enter))
        .route("/readyz", get(async || "ready\n"))
        .with_state(relay);
    let listener = TcpListener::bind(options.listen).await?;
    let listener = listener.tap_io(|stream| {
        // A socket that is gone already shows at its first read.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}

async fn enter(
    State(relay): State<Arc<Relay>>,
    Query(who): Query<Who>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| talk(relay, who, socket))
}

async fn talk(relay: Arc<Relay>, who: Who, mut socket: WebSocket) {
    let (sender, mut outgoing) = unbounded_channel();
    lock(&relay.sockets).insert(who.uid.clone(), sender);
    let welcome = Message::Text(Utf8Bytes::from_static(WELCOME));
    if socket.send(welcome).await.is_ok() {
        let to = channel(who.via);
        loop {
            tokio::select! {
                incoming = socket.recv() => match incoming {
                    Some(Ok(Message::Text(text))) => {
                        let _ = relay.publish.send((to.clone(), format!("{}\n{text}", who.peer)));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                Some(text) = outgoing.recv() => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
    lock(&relay.sockets).remove(&who.uid);
}

/// Publishes what has come meanwhile in one pipeline, again and again.
async fn publish_all(
    mut queue: UnboundedReceiver<(String, String)>,
    mut connection: MultiplexedConnection,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for (to, payload) in batch.drain(..) {
            pipeline.publish(to, payload).ignore();
        }
        // A bare relay promises nothing: what Redis does not take is gone.
        let _: Result<(), _> = pipeline.query_async(&mut connection).await;
    }
}

async fn deliver(mut subscription: redis::aio::PubSub, relay: Arc<Relay>) {
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        let payload = message.get_payload_bytes();
        let Ok(payload) = std::str::from_utf8(payload) else {
            continue;
        };
        let Some((to, text)) = payload.split_once('\n') else {
            continue;
        };
        if let Some(socket) = lock(&relay.sockets).get(to) {
            let _ = socket.send(text.into());
        }
    }
}

fn lock(
    sockets: &Sockets,
) -> std::sync::MutexGuard<'_, HashMap<String, UnboundedSender<Utf8Bytes>>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}
