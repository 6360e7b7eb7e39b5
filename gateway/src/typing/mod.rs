//! Who is typing: told to the other side at most once, kept nowhere, and never in the way of a message.
//!
//! ```text
//! connection ─▶ slots (the latest per connection and conversation) ─▶ run: who is told? ─▶ PUBLISH
//! ```
//! A role of its own with a connection of its own. What it cannot tell in time is dropped and counted:
//! a client lets "typing" fade by itself when nothing more is heard.

mod slots;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use frontdesk_shared::{
    ids::{BOOT_ID_BYTES, BootId, ClientId, ConversationId, Shard, Site, Uid},
    keys,
    protocol::{
        Lang,
        notice::{self, error_frame, json_string},
    },
    push,
    redis::text,
};
use futures_util::future::join_all;
use redis::{RedisError, Value};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    Gateway,
    link::ReadScript,
    metrics::METRICS,
    outbox::Outgoing,
    pace::{Pace, Rate},
};
pub(crate) use slots::Typing;

/// Tellings per second of this gateway on average, and at once after a quiet time.
const PER_SECOND: f64 = 500.0;
const AT_ONCE: f64 = 100.0;
/// Most tellings under way at once.
const BATCH: usize = 32;
/// What takes Redis longer is dropped.
const DEADLINE: Duration = Duration::from_secs(1);
/// What stands in a push in the place of an event's id.
const EVENT: &str = "typing";

/// Somebody types, or has stopped.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) site: Site,
    pub(crate) uid: Uid,
    pub(crate) lang: Lang,
    pub(crate) client: ClientId,
    /// `None`: the only one.
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) on: bool,
}

/// Tells until `stop`.
pub(crate) async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let teller = Teller {
        script: ReadScript::new(&[include_str!("../../lua/typing.lua")]),
        gateway,
    };
    stop.run_until_cancelled(teller.tell_all()).await;
}

struct Teller {
    script: ReadScript,
    gateway: Arc<Gateway>,
}

impl Teller {
    async fn tell_all(&self) {
        let pace = Pace::new(Rate::new(PER_SECOND, AT_ONCE));
        loop {
            let batch = self.gateway.typing.next(BATCH).await;
            for _ in &batch {
                let now = Instant::now();
                if let Some(turn) = pace.turn(now, now + DEADLINE) {
                    sleep_until(turn).await;
                }
            }
            let count = batch.len() as u64;
            let told = match timeout(DEADLINE, self.tell(&batch)).await {
                Ok(Ok(told)) => told,
                Ok(Err(error)) => {
                    debug!(%error, "cannot tell who is typing");
                    0
                }
                Err(_late) => 0,
            };
            METRICS.typing.told.inc_by(told);
            METRICS.typing.dropped.inc_by(count - told);
        }
    }

    /// Returns for how many all is done, which may be nothing.
    async fn tell(&self, batch: &[Said]) -> Result<u64, RedisError> {
        let answers = join_all(batch.iter().map(|said| self.whom(said))).await;
        let mut payloads = Payloads::default();
        let mut done = 0;
        let mut failure = None;
        for (said, answer) in batch.iter().zip(answers) {
            match answer {
                Ok(Whom::Nobody) => {}
                Ok(Whom::Refused(code)) => self.refuse(said, code),
                Ok(Whom::These(conversation, connections)) => {
                    payloads.add(said, &conversation, &connections);
                }
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            }
            done += 1;
        }
        self.publish(payloads).await?;
        match failure {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    async fn whom(&self, said: &Said) -> Result<Whom, RedisError> {
        let keys = [keys::user(&said.site, &said.uid)];
        let prefix = keys::site_prefix(&said.site);
        let conversation = said.conversation.as_ref();
        let args = [
            prefix.as_str(),
            said.uid.as_str(),
            said.client.as_str(),
            conversation.map_or("", ConversationId::as_str),
        ];
        let answer = self
            .script
            .call(&self.gateway.typing.link, &keys, &args)
            .await?;
        Ok(Whom::read(&answer))
    }

    fn refuse(&self, said: &Said, code: &'static str) {
        METRICS.refused.with_label_values(&[code]).inc();
        let frame = error_frame(code, said.lang, None, None, None);
        let registry = &self.gateway.registry;
        let shard = Shard::of(&said.site);
        registry.for_each(shard, [said.client.as_str()].into_iter(), |outbox| {
            outbox.push(Outgoing::Text(frame.as_str().into()));
        });
    }

    async fn publish(&self, payloads: Payloads) -> Result<(), RedisError> {
        if payloads.0.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for ((_shard, boot), payload) in payloads.0 {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(keys::gateway_channel(&boot));
            pipeline
                .add_command(publish.arg(payload.finish()).clone())
                .ignore();
        }
        let mut held = self.gateway.typing.link.hold().await?;
        let published = pipeline.query_async(&mut held.connection).await;
        held.judge(&published);
        published
    }
}

/// What `lua/typing.lua` answers.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Nobody,
    /// A code of the notices.
    Refused(&'static str),
    /// A conversation, and connections with a space after each.
    These(String, String),
}

impl Whom {
    fn read(answer: &Value) -> Self {
        let Value::Array(answer) = answer else {
            return Self::Nobody;
        };
        let words: Vec<&str> = answer.iter().filter_map(text).collect();
        match words[..] {
            ["ok", conversation, connections] => {
                Self::These(conversation.to_owned(), connections.to_owned())
            }
            [code] if code != "ok" => {
                Self::Refused(notice::by_key(code).map_or("internal", |row| row.code))
            }
            _ => Self::Nobody,
        }
    }
}

/// What is published: one payload for each gateway and shard, outside of the workers' numbering.
#[derive(Debug, Default)]
struct Payloads(HashMap<(Shard, BootId), push::Builder>);

impl Payloads {
    fn add(&mut self, said: &Said, conversation: &str, connections: &str) {
        let frame = format!(
            r#"{{"action":"typing","payload":{{"conversation":{},"uid":{},"on":{}}}}}"#,
            json_string(conversation),
            json_string(said.uid.as_str()),
            said.on
        );
        let shard = Shard::of(&said.site);
        let mut by_boot: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for client in connections.split_whitespace() {
            if let Some(boot) = client.get(..BOOT_ID_BYTES) {
                by_boot.entry(boot).or_default().push(client);
            }
        }
        for (boot, clients) in by_boot {
            let Ok(boot) = BootId::parse(boot) else {
                continue; // written by `open`, which takes none that is not well-formed
            };
            let payload = self.0.entry((shard, boot));
            let payload = payload.or_insert_with(|| push::Builder::new(shard.number()));
            payload.frame(EVENT, &clients.join(","), &frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_payload_goes_to_each_gateway() {
        let boots = [BootId::random(), BootId::random()];
        let clients: Vec<_> = [0, 1, 0]
            .iter()
            .map(|at| ClientId::random(&boots[*at]))
            .collect();
        let said = Said {
            site: Site::parse("default").expect("valid"),
            uid: Uid::parse("alice").expect("valid"),
            lang: Lang::En,
            client: clients[0].clone(),
            conversation: None,
            on: true,
        };
        let mut payloads = Payloads::default();
        let connections = format!("{} {} {} ", clients[0], clients[1], clients[2]);
        payloads.add(&said, "7.3.1-0.1", &connections);
        payloads.add(&Said { on: false, ..said }, "7.3.1-0.1", &connections);
        assert_eq!(payloads.0.len(), 2);
        for ((shard, boot), payload) in payloads.0 {
            let payload = push::decode(&payload.finish().into()).expect("well-formed");
            assert_eq!((payload.shard, payload.counter), (shard.number(), 0));
            assert_eq!(payload.records.len(), 2);
            let on = r#"{"action":"typing","payload":{"conversation":"7.3.1-0.1","uid":"alice","on":true}}"#;
            assert_eq!(payload.records[0].bytes, on);
            let targets = payload.records[0].targets().count();
            assert_eq!(targets, if boot == boots[0] { 2 } else { 1 });
        }
    }

    #[test]
    fn an_answer_that_nobody_understands_is_told_to_nobody() {
        assert_eq!(Whom::read(&Value::Nil), Whom::Nobody);
        let text = |text: &str| Value::BulkString(text.into());
        assert_eq!(Whom::read(&Value::Array(vec![text("ok")])), Whom::Nobody);
        let refused = Value::Array(vec![text("forbidden")]);
        assert_eq!(Whom::read(&refused), Whom::Refused("forbidden"));
        let these = Value::Array(vec![text("ok"), text("c"), text("x ")]);
        assert_eq!(Whom::read(&these), Whom::These("c".into(), "x ".into()));
    }
}
