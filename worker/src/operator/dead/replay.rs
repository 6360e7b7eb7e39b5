//! Replays dead letters and looks what becomes of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    time::Duration,
};

use frontdesk_shared::ids::{EventId, Shard, StreamId};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{letter::Letter, store::Letters};
use crate::operator::output::printable;

/// How long workers may take to apply what was appended.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What became of a letter.
#[derive(Debug, Clone, Serialize)]
pub struct Replayed {
    /// Its event.
    event: String,
    /// The event that it is now.
    #[serde(rename = "as")]
    again: Option<String>,
    /// What became of that.
    outcome: Outcome,
    /// Why it was refused, or failed again.
    error: Option<String>,
}

/// What can become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It is applied.
    Applied,
    /// It is a dead letter again.
    Dead,
    /// It is in its lane, and no worker has come to it yet.
    Waiting,
    /// It was not replayed, and is still there.
    Refused,
    /// Somebody else was faster.
    Gone,
}

impl Replayed {
    /// Whether that is what was wanted.
    pub fn is_applied(&self) -> bool {
        self.outcome == Outcome::Applied
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event, error) = (
            printable(&self.event),
            printable(self.error.as_deref().unwrap_or_default()),
        );
        let again = self.again.as_deref().unwrap_or_default();
        match self.outcome {
            Outcome::Applied => write!(f, "{event} applied as {again}"),
            Outcome::Dead => write!(f, "{event} failed again as {again}: {error}"),
            Outcome::Waiting => write!(f, "{event} waits as {again}: no worker has come to it yet"),
            Outcome::Refused => write!(f, "{event} was not replayed: {error}"),
            Outcome::Gone => write!(f, "{event} is no dead letter any more"),
        }
    }
}

/// Replays these letters, in their order, and waits until workers have applied them.
pub async fn run(letters: &mut Letters, meant: &[Letter]) -> anyhow::Result<Vec<Replayed>> {
    let mut replayed = Vec::new();
    let mut appended: Vec<(usize, EventId)> = Vec::new();
    for letter in meant {
        let again = match letter.not_replayable {
            Some(_) => None,
            None => letters.replay(letter).await?,
        };
        appended.extend(again.map(|again| (replayed.len(), again)));
        replayed.push(Replayed {
            event: letter.event.clone(),
            again: again.map(|again| again.to_string()),
            outcome: match (letter.not_replayable, again) {
                (Some(_), _) => Outcome::Refused,
                (None, None) => Outcome::Gone,
                (None, Some(_)) => Outcome::Waiting,
            },
            error: letter.not_replayable.map(str::to_owned),
        });
    }
    let applied = wait(letters, &appended).await?;
    let failed = failures(letters, &applied).await?;
    for (at, again) in applied {
        let error = failed.get(&again.to_string()).cloned();
        replayed[at].outcome = match error {
            Some(_) => Outcome::Dead,
            None => Outcome::Applied,
        };
        replayed[at].error = error;
    }
    Ok(replayed)
}

/// Those of these events that workers have come to in time.
async fn wait(
    letters: &mut Letters,
    appended: &[(usize, EventId)],
) -> anyhow::Result<Vec<(usize, EventId)>> {
    let deadline = Instant::now() + APPLIED_WITHIN;
    let (mut done, mut waiting) = (Vec::new(), appended.to_vec());
    loop {
        let mut positions = HashMap::new();
        for (_, event) in &waiting {
            if let Entry::Vacant(unknown) = positions.entry((event.shard, event.lane)) {
                unknown.insert(letters.applied(event.shard, event.lane).await?);
            }
        }
        let is_applied = |event: &EventId| positions[&(event.shard, event.lane)] >= event.stream;
        done.extend(waiting.extract_if(.., |(_, event)| is_applied(event)));
        if waiting.is_empty() || Instant::now() >= deadline {
            return Ok(done);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Which of these events are dead letters, and why.
async fn failures(
    letters: &mut Letters,
    applied: &[(usize, EventId)],
) -> anyhow::Result<HashMap<String, String>> {
    let mut first: HashMap<Shard, StreamId> = HashMap::new();
    for (_, event) in applied {
        let since = first.entry(event.shard).or_insert(event.stream);
        *since = event.stream.min(*since);
    }
    let mut failed = HashMap::new();
    for (shard, since) in first {
        // A letter's place is a time of the same clock.
        let mut from = since.ms.to_string();
        loop {
            let page = letters.page(shard, &from, "+").await?;
            let Some(last) = page.last() else {
                break;
            };
            from = format!("({}", last.place);
            failed.extend(page.into_iter().map(|letter| (letter.event, letter.error)));
        }
    }
    Ok(failed)
}
