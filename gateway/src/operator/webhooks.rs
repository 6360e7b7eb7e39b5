//! `frontdesk-gateway webhooks`: an operator sees a site's webhooks, has deliveries sent again, and parks them. What is
//! seen comes from the scripts that the HTTP API reads with, what is done is one of its requests.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, builder::RangedU64ValueParser};
use frontdesk_shared::{
    config::RedisArgs,
    event::{Act, HookAct},
    ids::{HookId, MessageId, Site, StreamId, Uid},
    output::{Format, columns, duration, printable},
    protocol::{Lang, Role, notice},
    redis::Redis,
};
use serde_json::{Value, json};

use super::{Order, key_of};
use crate::{
    auth::Identity,
    reads::{Asker, Reads},
};

/// In whose name: in this user's lane it is done, and under this name its keys are remembered.
const OPERATOR: &str = "operator";

/// What to do with a site's webhooks.
#[derive(Debug, Clone, Subcommand)]
pub enum WebhooksCommand {
    /// Show a site's webhooks, and how many deliveries of each wait, are tried again, are parked
    List(ListCommand),
    /// Show deliveries of a webhook that are not tried any more, the last parked first, and why
    Parked(ParkedCommand),
    /// Send deliveries of a webhook now: parked ones, and those that wait for another attempt
    ///
    /// What is under way, or was tried and is due within 15 s, comes by itself. Needs a worker that runs.
    Redeliver(RedeliverCommand),
    /// Park deliveries of a webhook: they are not tried any more until somebody has them sent
    ///
    /// What is under way, or was tried and is due within 15 s, is left as it is. Needs a worker that runs.
    Park(ParkCommand),
}

/// What all of them take.
#[derive(Debug, Clone, Args)]
struct Common {
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    format: Format,
    /// The webhook's site
    #[arg(long, default_value = "default", value_parser = Site::parse)]
    site: Site,
}

/// `webhooks list`.
#[derive(Debug, Clone, Args)]
pub struct ListCommand {
    #[command(flatten)]
    common: Common,
}

/// `webhooks parked`.
#[derive(Debug, Clone, Args)]
pub struct ParkedCommand {
    #[command(flatten)]
    common: Common,
    /// Most deliveries to show
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<u64>::new().range(1..=1000))]
    limit: u64,
    /// Go on from there: what the answer before has said as `before`
    #[arg(long, value_parser = StreamId::parse)]
    before: Option<StreamId>,
    /// The webhook
    #[arg(value_parser = HookId::parse)]
    webhook: HookId,
}

/// `webhooks redeliver`.
#[derive(Debug, Clone, Args)]
pub struct RedeliverCommand {
    #[command(flatten)]
    which: Which,
}

/// `webhooks park`.
#[derive(Debug, Clone, Args)]
pub struct ParkCommand {
    #[command(flatten)]
    which: Which,
}

/// Which deliveries.
#[derive(Debug, Clone, Args)]
struct Which {
    #[command(flatten)]
    common: Common,
    /// Key of this command: with the same key it is done once, however often it is repeated within a day.
    /// Random if not given
    #[arg(long)]
    key: Option<String>,
    /// The webhook
    #[arg(value_parser = HookId::parse)]
    webhook: HookId,
    /// The delivery, by the id of its event
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = MessageId::parse)]
    delivery: Option<MessageId>,
    /// All deliveries of the webhook that there is room for
    #[arg(long)]
    all: bool,
}

impl WebhooksCommand {
    /// Does it. Returns what to tell.
    pub async fn run(self) -> anyhow::Result<String> {
        match self {
            Self::List(ListCommand { common }) => common.list().await,
            Self::Parked(command) => command.run().await,
            Self::Redeliver(RedeliverCommand { which }) => which.redeliver().await,
            Self::Park(ParkCommand { which }) => which.park().await,
        }
    }
}

impl Common {
    /// Who asks, and what answers.
    async fn reads(&self) -> anyhow::Result<(Reads, Asker)> {
        let redis = Redis::from_args(&self.redis)?;
        redis.check_cluster(None).await?;
        let identity = Identity {
            site: self.site.clone(),
            uid: operator()?,
            role: Role::Service,
            lang: Lang::En,
            proof: None,
        };
        let asker = Asker {
            identity,
            client: None,
        };
        Ok((Reads::new(redis, false), asker))
    }

    async fn list(self) -> anyhow::Result<String> {
        let (reads, asker) = self.reads().await?;
        let read = reads.hooks(&asker, None).await.map_err(refusal)?;
        if self.format.is_json() {
            return Ok(read);
        }
        let read: Value = serde_json::from_str(&read)?;
        let rows = rows(&read["webhooks"], hook_row);
        if rows.is_empty() {
            return Ok(format!("site {} has no webhooks", self.site));
        }
        let heads = [
            "WEBHOOK",
            "STATE",
            "WAITING",
            "RETRYING",
            "PARKED",
            "DELIVERED",
            "DROPPED",
            "URL",
        ];
        Ok(columns(&heads, &rows).trim_end().to_owned())
    }
}

impl ParkedCommand {
    async fn run(self) -> anyhow::Result<String> {
        let (reads, asker) = self.common.reads().await?;
        let read = reads.parked(&asker, &self.webhook, self.before, self.limit);
        let read = read.await.map_err(refusal)?;
        if self.common.format.is_json() {
            return Ok(read);
        }
        let read: Value = serde_json::from_str(&read)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = u64::try_from(now)?;
        let rows = rows(&read["deliveries"], |it| parked_row(it, now));
        if rows.is_empty() {
            return Ok("nothing is parked".to_owned());
        }
        let heads = ["DELIVERY", "TYPE", "PARKED", "ATTEMPTS", "WHY"];
        let more = read["before"].as_str();
        let more = more.map(|place| format!("there are more: --before {place}"));
        let text = columns(&heads, &rows) + &more.unwrap_or_default();
        Ok(text.trim_end().to_owned())
    }
}

impl Which {
    async fn redeliver(self) -> anyhow::Result<String> {
        let act = HookAct::Redeliver {
            hook: self.webhook.clone(),
            delivery: self.delivery.clone(),
        };
        let told = self.does(act, "not sent again").await?;
        if self.common.format.is_json() {
            return Ok(told.to_string());
        }
        let (moved, hastened) = (&told["redelivered"], &told["hastened"]);
        Ok(format!(
            "sent again: {moved} that were parked, {hastened} that waited for another attempt"
        ))
    }

    async fn park(self) -> anyhow::Result<String> {
        let act = HookAct::Park {
            hook: self.webhook.clone(),
            delivery: self.delivery.clone(),
        };
        let told = self.does(act, "not parked").await?;
        if self.common.format.is_json() {
            return Ok(told.to_string());
        }
        Ok(format!("parked: {}", told["parked"]))
    }

    async fn does(&self, act: HookAct, not_done: &str) -> anyhow::Result<Value> {
        let key = key_of(self.key.as_deref())?;
        let order = Order {
            site: self.common.site.clone(),
            uid: operator()?,
            role: Role::Service,
            key: key.clone(),
            act: Act::Hook(act),
        };
        let redis = Redis::from_args(&self.common.redis)?;
        let mut told = order.carry_out(&redis, not_done).await?;
        told["key"] = json!(key.as_str());
        Ok(told)
    }
}

fn operator() -> anyhow::Result<Uid> {
    Uid::parse(OPERATOR).context("the operator's name is a uid")
}

/// A sentence for the code of an error.
fn refusal(code: &'static str) -> anyhow::Error {
    match notice::by_key(code) {
        Some(notice) => anyhow!("{} ({code})", notice.text(Lang::En)),
        None => anyhow!(code),
    }
}

fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list.as_array().into_iter().flatten().map(row).collect()
}

/// A field as people read it.
fn cell(of: &Value, name: &str) -> String {
    match &of[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn hook_row(hook: &Value) -> Vec<String> {
    let state = if hook["enabled"] == true { "on" } else { "off" };
    let counts = ["waiting", "retrying", "parked", "delivered", "dropped"];
    let counts = counts.map(|name| cell(hook, name));
    let mut row = vec![cell(hook, "id"), state.to_owned()];
    row.extend(counts);
    row.push(cell(hook, "url"));
    row
}

fn parked_row(delivery: &Value, now: u64) -> Vec<String> {
    let since = delivery["parked_at"].as_u64().unwrap_or(now);
    vec![
        cell(delivery, "delivery"),
        cell(delivery, "type"),
        format!("{} ago", duration(now.saturating_sub(since))),
        cell(delivery, "attempts"),
        cell(delivery, "why"),
    ]
}
