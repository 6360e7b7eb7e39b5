//! What the gateways of the shard's users are told.

use bytes::Bytes;
use frontdesk_shared::{keys, push};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::{LaneDriver, Socket};

/// One record of a push, for one connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// The connection.
    pub client: String,
    /// Frame, welcome or close.
    pub kind: push::Kind,
    /// The event that made it.
    pub event: String,
    /// The frame, or the close code.
    pub text: String,
}

impl Pushed {
    /// The frame as JSON.
    pub fn frame(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// `action/code`, `action/from` of words, or `close/<number>`.
    pub fn short(&self) -> String {
        if self.kind == push::Kind::Close {
            return format!("close/{}", self.text);
        }
        let frame = self.frame();
        let word = |name: &str| frame["payload"][name].as_str().unwrap_or("-").to_owned();
        let about = if frame["payload"]["code"].is_string() {
            word("code")
        } else {
            word("from")
        };
        format!("{}/{about}", frame["action"].as_str().unwrap_or("-"))
    }
}

impl LaneDriver {
    /// Everything published since the last call, by channel and as it is: for scripts that were
    /// given what makes no payload.
    pub async fn pushes_unchecked(&mut self) -> Vec<(String, Bytes)> {
        let () = redis::cmd("PUBLISH")
            .arg(&self.marker)
            .arg("")
            .query_async(&mut self.connection)
            .await
            .expect("published");
        let mut all = Vec::new();
        loop {
            let message = self.pushed.next().await.expect("the subscription lives");
            let channel = message.get_channel_name().to_owned();
            if channel == self.marker {
                return all;
            }
            let payload = Bytes::copy_from_slice(message.get_payload_bytes());
            all.push((channel, payload));
        }
    }

    /// Everything pushed since the last call. Checks that the payloads of each gateway are numbered
    /// without a hole.
    pub async fn pushes(&mut self) -> Vec<Pushed> {
        let mut all = Vec::new();
        for (channel, payload) in self.pushes_unchecked().await {
            let boot = channel
                .strip_prefix(keys::GATEWAY_CHANNEL_PREFIX)
                .expect("a gateway's channel")
                .to_owned();
            let payload = push::decode(&payload).expect("well-formed");
            if payload.counter > 0 {
                let last = self
                    .counters
                    .entry((payload.shard, boot.clone()))
                    .or_default();
                assert_eq!(payload.counter, *last + 1, "a hole in the pushes to {boot}");
                *last = payload.counter;
            }
            for record in payload.records {
                let text =
                    |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("pushes are text");
                for client in record.targets() {
                    assert!(client.starts_with(&boot), "{client} is not of {boot}");
                    all.push(Pushed {
                        client: client.to_owned(),
                        kind: record.kind,
                        event: text(&record.event),
                        text: text(&record.bytes),
                    });
                }
            }
        }
        all
    }

    /// Everything pushed since the last call to one connection, in short.
    pub async fn pushes_to(&mut self, socket: &Socket) -> Vec<String> {
        let pushes = self.pushes().await;
        let client = socket.client.as_str();
        pushes
            .iter()
            .filter(|pushed| pushed.client == client)
            .map(Pushed::short)
            .collect()
    }
}
