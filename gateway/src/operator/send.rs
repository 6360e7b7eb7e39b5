//! `frontdesk-gateway send`: an operator says something in a user's name, into a conversation or to a user.

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use frontdesk_shared::{
    config::RedisArgs,
    event::Act,
    ids::{ConversationId, IdError, Uid},
    protocol::{
        Role,
        frame::{Verb, is_words},
        notice::json_string,
    },
    redis::Redis,
};
use serde_json::Value;

use super::{Order, key_of};
use crate::auth::command::{named_role, user};

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
        let order = self.order(words.trim_end_matches(['\r', '\n']))?;
        let key = order.key.clone();
        let redis = Redis::from_args(&self.redis)?;
        let mut payload = order.carry_out(&redis, "not sent").await?;
        if self.json || !std::io::stdout().is_terminal() {
            payload["key"] = Value::from(key.as_str());
            return Ok(payload.to_string());
        }
        let waits = if payload["waiting"] == true {
            "; it is kept until staff take the customer"
        } else {
            ""
        };
        let conversation = payload["conversation"].as_str().unwrap_or_default();
        let seq = &payload["seq"];
        Ok(format!("stored as {seq} of {conversation}{waits}"))
    }

    /// What is done.
    fn order(&self, words: &str) -> anyhow::Result<Order> {
        let (uid, site) = user(&self.uid, &self.site)?;
        let role = named_role(&self.role).filter(|role| *role != Role::Service);
        let role = role.context("--role must be customer, staff or supervisor")?;
        let wrong = |name: &'static str| move |why: IdError| anyhow::anyhow!("{name} {why}");
        let key = key_of(self.key.as_deref())?;
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
        Ok(Order {
            site,
            uid,
            role,
            key,
            act: Act::Verb(verb),
        })
    }
}
