//! `dead`: events that could not be applied. A worker has filed each, with its error, and has gone on; they
//! are looked at, replayed once the cause is mended, or dropped, here.

mod letter;
mod replay;
mod store;

use clap::{Args, Subcommand, builder::RangedU64ValueParser};
use frontdesk_shared::{config::RedisArgs, ids::EventId, redis::Redis};
use serde::Serialize;

use super::output::{self, Format, columns, duration, printable};
use letter::Letter;
use store::Letters;

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadCommand {
    /// Show them, the newest first
    ///
    /// Reads only, with the Redis users worker, viewer or operator.
    List(ListCommand),
    /// Append the event of a dead letter to its lane again, and forget the letter
    ///
    /// For when the cause is mended. The event counts as a new one, behind whatever has happened since; what
    /// becomes of it is told. If it fails again it is a dead letter again. The openings and frames of sockets
    /// are not replayed: they count only on their own socket, whose client has sent them again or was told.
    /// Needs the Redis user worker or operator. Ends with exit code 1 if not everything was applied.
    Replay(ReplayCommand),
    /// Forget a dead letter
    ///
    /// Needs the Redis user worker or operator.
    Drop(DropCommand),
}

/// `dead list`.
#[derive(Debug, Clone, Args)]
pub struct ListCommand {
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    format: Format,
    /// Most letters to show
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    limit: usize,
    /// Show all that the events say, what people wrote included
    #[arg(long)]
    fields: bool,
}

/// `dead replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayCommand {
    #[command(flatten)]
    target: Target,
}

/// `dead drop`.
#[derive(Debug, Clone, Args)]
pub struct DropCommand {
    #[command(flatten)]
    target: Target,
}

/// Which letters, and how.
#[derive(Debug, Clone, Args)]
struct Target {
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    format: Format,
    /// The event's id, as `dead list` and the workers' logs have it
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = EventId::parse)]
    event: Option<EventId>,
    /// All that there are now
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What `dead list --json` prints.
#[derive(Serialize)]
struct List<'l> {
    /// How many there are.
    total: u64,
    /// Those that are shown.
    dead_letters: &'l [Letter],
}

impl DeadCommand {
    /// Does it. False if not everything was done.
    pub async fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::List(command) => command.run().await,
            Self::Replay(ReplayCommand { target }) => target.replay().await,
            Self::Drop(DropCommand { target }) => target.drop().await,
        }
    }
}

impl ListCommand {
    async fn run(self) -> anyhow::Result<bool> {
        let redis = Redis::from_args(&self.redis)?;
        let mut letters = Letters::connect(&redis).await?;
        let total = letters.count().await?;
        let mut list = letters.newest(self.limit).await?;
        if !self.fields {
            for letter in &mut list {
                letter.fields = None;
            }
        }
        let text = if self.format.is_json() {
            serde_json::to_string(&List {
                total,
                dead_letters: &list,
            })?
        } else if total == 0 {
            "no dead letters".to_owned()
        } else {
            page(&list, total, letters.time().await?)
        };
        output::say(&text)?;
        Ok(true)
    }
}

/// A table, and under each line the fields if they are shown.
fn page(list: &[Letter], total: u64, now: u64) -> String {
    let rows: Vec<_> = list.iter().map(|letter| row(letter, now)).collect();
    let table = columns(&["EVENT", "AGE", "SITE", "UID", "KIND", "ERROR"], &rows);
    let mut lines: Vec<String> = Vec::new();
    let mut table = table.lines();
    lines.extend(table.next().map(str::to_owned));
    for (letter, line) in list.iter().zip(table) {
        lines.push(line.to_owned());
        for (name, value) in letter.fields.iter().flatten() {
            lines.push(format!("    {} = {}", printable(name), printable(value)));
        }
    }
    if total > list.len() as u64 {
        lines.push(format!("{} of {total}: see --limit", list.len()));
    }
    lines.join("\n")
}

fn row(letter: &Letter, now: u64) -> Vec<String> {
    let field = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    vec![
        printable(&letter.event),
        duration(now.saturating_sub(letter.time)),
        field(&letter.site),
        field(&letter.uid),
        field(&letter.kind),
        printable(&letter.error),
    ]
}

impl Target {
    /// The letters that are meant, and whether the operator agrees. `None`: nothing is to be done.
    async fn agreed(
        &self,
        letters: &mut Letters,
        verb: &str,
    ) -> anyhow::Result<Option<Vec<Letter>>> {
        let meant = match self.event {
            Some(event) => vec![letters.find(event).await?],
            None => letters.all().await?,
        };
        let question = match &meant[..] {
            [] => return Ok(Some(meant)),
            [one] => {
                let row = row(one, letters.time().await?).join("  ");
                format!("{row}\n{verb} this dead letter?")
            }
            many => format!("{verb} {} dead letters?", many.len()),
        };
        Ok(output::confirm(&question, self.yes)?.then_some(meant))
    }

    async fn drop(self) -> anyhow::Result<bool> {
        let redis = Redis::from_args(&self.redis)?;
        let mut letters = Letters::connect(&redis).await?;
        let Some(meant) = self.agreed(&mut letters, "Drop").await? else {
            return Ok(false);
        };
        let mut dropped = Vec::new();
        for letter in &meant {
            if letters.drop(letter).await? {
                dropped.push(letter.event.as_str());
            }
        }
        let text = if self.format.is_json() {
            serde_json::json!({ "dropped": dropped }).to_string()
        } else if let [event] = dropped[..] {
            format!("dropped {}", printable(event))
        } else {
            format!("dropped {} dead letters", dropped.len())
        };
        output::say(&text)?;
        Ok(true)
    }

    async fn replay(self) -> anyhow::Result<bool> {
        let redis = Redis::from_args(&self.redis)?;
        let mut letters = Letters::connect(&redis).await?;
        let Some(meant) = self.agreed(&mut letters, "Replay").await? else {
            return Ok(false);
        };
        let replayed = replay::run(&mut letters, &meant).await?;
        let text = if self.format.is_json() {
            serde_json::json!({ "replayed": replayed }).to_string()
        } else if replayed.is_empty() {
            "no dead letters".to_owned()
        } else {
            let lines: Vec<String> = replayed.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        output::say(&text)?;
        Ok(replayed.iter().all(replay::Replayed::is_applied))
    }
}
