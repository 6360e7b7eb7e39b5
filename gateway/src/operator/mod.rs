//! What operators do by hand to a running cluster, with a gateway's rights: `send`, `webhooks`. (`token` and
//! `revoke` are in `auth/command`.)
//!
//! What changes something goes the way of the HTTP API's requests: an event in a user's lane, with a key by which it is
//! done once, and an address for the answer, which is this process's own channel.

pub(crate) mod send;
pub(crate) mod webhooks;

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use frontdesk_shared::{
    event::{Act, Event, Kind, Request},
    ids::{BootId, ClientId, Lane, MessageRef, Shard, Site, Uid},
    keys,
    protocol::{Lang, Role},
    push::{self, Kind as Record},
    redis::{Redis, RedisSetupError},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

/// How long a worker may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What an operator has done in somebody's name.
struct Order {
    site: Site,
    uid: Uid,
    role: Role,
    key: MessageRef,
    act: Act,
}

impl Order {
    /// Has it done. Returns the payload of the answer; `not_done` begins the sentence of a refusal.
    async fn carry_out(self, redis: &Redis, not_done: &str) -> anyhow::Result<Value> {
        let answer = self.ask(redis).await?;
        let payload = &answer["payload"];
        if answer["action"] == "error" {
            let text = |name: &str| payload[name].as_str().unwrap_or_default();
            bail!("{not_done}: {} ({})", text("message"), text("code"));
        }
        Ok(payload.clone())
    }

    /// Appends it and waits for the answer: a frame.
    async fn ask(self, redis: &Redis) -> anyhow::Result<Value> {
        let (boot, key) = (BootId::random(), self.key.clone());
        let event = self.event(&boot);
        redis.check_cluster(None).await?;
        // The answer may come at once, so who hears it is there before.
        let mut subscriber = redis.subscriber().await.map_err(RedisSetupError::from)?;
        let channel = keys::gateway_channel(&boot);
        let listening = subscriber.subscribe(&channel).await;
        listening.map_err(RedisSetupError::from)?;
        let mut append = redis::cmd("XADD");
        let (shard, lane) = (Shard::of(&event.site), Lane::of(&event.uid));
        append.arg(keys::events(shard, lane)).arg("*");
        append.arg(&event.pack());
        let mut connection = redis.connect().await.map_err(RedisSetupError::from)?;
        let appended: Result<String, _> = append.query_async(&mut connection).await;
        let id = appended
            .map_err(RedisSetupError::from)
            .with_context(|| format!("perhaps it was not done; repeat it with --key {key}"))?;
        let answer = timeout(ANSWERED_WITHIN, async {
            let mut messages = subscriber.on_message();
            while let Some(message) = messages.next().await {
                let answer = answer_in(&Bytes::copy_from_slice(message.get_payload_bytes()));
                if answer.is_some() {
                    return answer;
                }
            }
            None
        });
        let Ok(Some(answer)) = answer.await else {
            bail!(
                "it is in the log (event {}.{}.{id}), but no worker has answered in {} s: repeat it with --key {key}, it is done once",
                shard.number(),
                lane.number(),
                ANSWERED_WITHIN.as_secs()
            );
        };
        Ok(answer)
    }

    fn event(self, boot: &BootId) -> Event {
        let request = Request {
            client: ClientId::random(boot),
            by: None,
            role: self.role,
            lang: Lang::En,
            iat: None,
            key: self.key,
            act: self.act,
        };
        Event {
            site: self.site,
            uid: self.uid,
            kind: Kind::Request(Box::new(request)),
        }
    }
}

/// The key that was given, or a random one.
fn key_of(given: Option<&str>) -> anyhow::Result<MessageRef> {
    let Some(given) = given else {
        return Ok(MessageRef::random());
    };
    MessageRef::parse(given).map_err(|why| anyhow::anyhow!("--key {why}"))
}

/// The answer in a payload, if that is what it holds.
fn answer_in(payload: &Bytes) -> Option<Value> {
    let payload = push::decode(payload).ok()?;
    let mut records = payload.records.into_iter();
    let answer = records.find(|record| record.kind == Record::Answer)?;
    serde_json::from_slice(&answer.bytes).ok()
}
