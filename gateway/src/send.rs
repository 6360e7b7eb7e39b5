//! `frontdesk-gateway send`: an operator says something in a user's name, into a conversation or to a user. It goes
//! the way of the HTTP API's requests: an event in the user's lane, with a key by which it is done once, and an
//! address for the answer, which is this process's own channel.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use frontdesk_shared::{
    config::RedisArgs,
    event::{Act, Event, Kind, Request},
    ids::{BootId, ClientId, ConversationId, IdError, Lane, MessageRef, Shard, Uid},
    keys,
    protocol::{
        Lang, Role,
        frame::{Verb, is_words},
        notice::json_string,
    },
    push::{self, Kind as Record},
    redis::{Redis, RedisSetupError},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use crate::auth::command::{named_role, user};

/// How long a worker may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// `send`: says something in a user's name.
#[derive(Debug, Clone, Args)]
pub struct SendCommand {
    #[command(flatten)]
    redis: RedisArgs,
    /// The user who says it
    #[arg(long)]
    uid: String,
    /// The user's site
    #[arg(long, default_value = "default")]
    site: String,
    /// The user's role: customer, staff or supervisor
    #[arg(long)]
    role: String,
    /// The conversation it is said in: one in which the user may write
    #[arg(long, required_unless_present = "to", conflicts_with = "to")]
    conversation: Option<String>,
    /// Or the user it is said to directly
    #[arg(long)]
    to: Option<String>,
    /// Key of this message: with the same key and the same words it is sent once, however often the command is
    /// repeated within a day. Random if not given
    #[arg(long)]
    key: Option<String>,
    /// Print the answer as JSON; this is so, too, where the output is no terminal
    #[arg(long)]
    json: bool,
    /// What is said; - takes it from standard input, which nobody on this machine can see in a list of processes
    words: String,
}

impl SendCommand {
    /// Sends it and waits for the answer. Returns what to tell.
    pub async fn run(&self) -> anyhow::Result<String> {
        let words = match self.words.as_str() {
            "-" => {
                std::io::read_to_string(std::io::stdin()).context("standard input is no text")?
            }
            words => words.to_owned(),
        };
        let boot = BootId::random();
        let (event, key) = self.event(words.trim_end_matches(['\r', '\n']), &boot)?;
        let redis = Redis::from_args(&self.redis)?;
        redis.check_cluster(None).await?;
        // The answer may come at once, so who hears it is there before.
        let mut subscriber = redis.subscriber().await.map_err(RedisSetupError::from)?;
        let channel = keys::gateway_channel(&boot);
        let listening = subscriber.subscribe(&channel).await;
        listening.map_err(RedisSetupError::from)?;
        let mut append = redis::cmd("XADD");
        let (shard, lane) = (Shard::of(&event.site), Lane::of(&event.uid));
        append.arg(keys::events(shard, lane)).arg("*");
        event.write(|name, value| {
            append.arg(name).arg(value);
        });
        let mut connection = redis.connect().await.map_err(RedisSetupError::from)?;
        let appended: Result<String, _> = append.query_async(&mut connection).await;
        let id = appended
            .map_err(RedisSetupError::from)
            .with_context(|| format!("perhaps it was not sent; repeat it with --key {key}"))?;
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
                "it is in the log (event {}.{}.{id}), but no worker has answered in {} s: repeat it with --key {key}, it is sent once",
                shard.number(),
                lane.number(),
                ANSWERED_WITHIN.as_secs()
            );
        };
        self.told(&answer, &key)
    }

    /// What is appended.
    fn event(&self, words: &str, boot: &BootId) -> anyhow::Result<(Event, MessageRef)> {
        let (uid, site) = user(&self.uid, &self.site)?;
        let role = named_role(&self.role).filter(|role| *role != Role::Service);
        let role = role.context("--role must be customer, staff or supervisor")?;
        let wrong = |name: &'static str| move |why: IdError| anyhow::anyhow!("{name} {why}");
        let key = match &self.key {
            Some(key) => MessageRef::parse(key).map_err(wrong("--key"))?,
            None => MessageRef::random(),
        };
        ensure!(is_words(words), "what is said must have 1 byte to 16 KiB");
        let (body, id) = (json_string(words), Some(key.clone()));
        let verb = match (&self.conversation, &self.to) {
            (Some(conversation), _) => Verb::Message {
                body,
                id,
                conversation: Some(
                    ConversationId::parse(conversation).map_err(wrong("--conversation"))?,
                ),
            },
            (None, Some(to)) => Verb::Direct {
                to: Uid::parse(to).map_err(wrong("--to"))?,
                body,
                id,
            },
            (None, None) => bail!("--conversation or --to must say where to"),
        };
        let request = Request {
            client: ClientId::random(boot),
            by: None,
            role,
            lang: Lang::En,
            iat: None,
            key: key.clone(),
            act: Act::Verb(verb),
        };
        let kind = Kind::Request(Box::new(request));
        Ok((Event { site, uid, kind }, key))
    }

    fn told(&self, answer: &Value, key: &MessageRef) -> anyhow::Result<String> {
        let payload = &answer["payload"];
        let text = |name: &str| payload[name].as_str().unwrap_or_default();
        if answer["action"] != "ack" {
            bail!("not sent: {} ({})", text("message"), text("code"));
        }
        if self.json || !std::io::stdout().is_terminal() {
            let mut payload = payload.clone();
            payload["key"] = Value::from(key.as_str());
            return Ok(payload.to_string());
        }
        let waits = if payload["waiting"] == true {
            "; it is kept until staff take the customer"
        } else {
            ""
        };
        let (conversation, seq) = (text("conversation"), &payload["seq"]);
        Ok(format!("stored as {seq} of {conversation}{waits}"))
    }
}

/// The answer in a payload, if that is what it holds.
fn answer_in(payload: &Bytes) -> Option<Value> {
    let payload = push::decode(payload).ok()?;
    let mut records = payload.records.into_iter();
    let answer = records.find(|record| record.kind == Record::Answer)?;
    serde_json::from_slice(&answer.bytes).ok()
}
