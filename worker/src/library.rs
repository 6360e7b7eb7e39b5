//! The Lua library: put together from its files, named by its content's hash, called, and loaded
//! again when Redis has lost it.
//!
//! Versions coexist in a rolling upgrade, because the name of the library and of every function in
//! it carries the hash. A FUNCTION library persists and replicates with the data.

mod answer;
mod call;
mod limits;
mod sources;

use frontdesk_shared::ids::{EventId, Lane, Shard, StreamId};
use redis::{FromRedisValue, RedisError, RedisResult, aio::MultiplexedConnection};
use tracing::info;
use xxhash_rust::xxh3::xxh3_64;

use crate::app::{App, Transition};
pub use answer::{Ack, Answer, Answers, Outcome, Said};
pub use call::{packed, packed_settings};
pub use limits::*;

/// The library of one App.
#[derive(Debug, Clone)]
pub struct Library {
    code: String,
    prefix: String,
    settings: Vec<u8>,
}

/// An entry of a lane, ready to be applied.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its place in the stream.
    pub id: StreamId,
    /// The place of the entry before it, as the stream was read: where reading began, for the first.
    pub before: StreamId,
    /// What applies it.
    pub transition: Transition,
}

impl Library {
    /// Puts the library together.
    pub fn new(app: &dyn App) -> Self {
        let body = sources::joined(app);
        let name = format!("frontdesk_{:016x}", xxh3_64(body.as_bytes()));
        let prefix = format!("{name}_");
        let code = format!("#!lua name={name}\nlocal PREFIX = \"{prefix}\"\n{body}");
        Self {
            code,
            prefix,
            settings: packed_settings(&app.settings()),
        }
    }

    /// Loads the library where Redis does not have it.
    pub async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let loaded: RedisResult<String> = redis::cmd("FUNCTION")
            .arg("LOAD")
            .arg(&self.code)
            .query_async(connection)
            .await;
        match loaded {
            Ok(name) => {
                info!(library = name, "loaded the Lua library");
                Ok(())
            }
            Err(error) if error.to_string().contains("already exists") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A call of one of the library's functions.
    pub fn call(&self, function: &str, keys: &[String]) -> redis::Cmd {
        let mut command = redis::cmd("FCALL");
        command
            .arg(format!("{}{function}", self.prefix))
            .arg(keys.len())
            .arg(keys);
        command
    }

    /// Runs a call, loading the library first if Redis has lost it.
    pub async fn run<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &redis::Cmd,
    ) -> RedisResult<T> {
        match command.query_async(connection).await {
            Err(error) if is_missing(&error) => {
                self.load(connection).await?;
                command.query_async(connection).await
            }
            result => result,
        }
    }

    /// Runs a call behind other commands, in the same write; their answers are not looked at. Loads the
    /// library if Redis has lost it, and then runs the call alone.
    pub async fn run_behind<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        ahead: &[redis::Cmd],
        call: redis::Cmd,
    ) -> RedisResult<T> {
        if ahead.is_empty() {
            return self.run(connection, &call).await;
        }
        let mut pipeline = redis::pipe();
        for command in ahead {
            pipeline.add_command(command.clone()).ignore();
        }
        pipeline.add_command(call.clone());
        match pipeline.query_async(connection).await {
            Ok((answer,)) => Ok(answer),
            Err(error) if is_missing(&error) => self.run(connection, &call).await,
            Err(error) => Err(error),
        }
    }

    /// Runs calls in one pipeline, loading the library first if Redis has lost it. A call that was
    /// run before another one was found missing is run again: only for calls that may be.
    pub async fn run_pipeline<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        calls: Vec<redis::Cmd>,
    ) -> RedisResult<T> {
        let mut pipeline = redis::pipe();
        for call in calls {
            pipeline.add_command(call);
        }
        match pipeline.query_async(connection).await {
            Err(error) if is_missing(&error) => {
                self.load(connection).await?;
                pipeline.query_async(connection).await
            }
            result => result,
        }
    }

    /// Applies the next entries of one lane. The answer may be shorter than `entries`: after a
    /// [`Outcome::Gap`], or when the call has touched [`MAX_TOUCHED_USERS`].
    pub async fn apply(
        &self,
        connection: &mut MultiplexedConnection,
        shard: Shard,
        lane: Lane,
        entries: &[Prepared],
    ) -> RedisResult<Vec<Outcome>> {
        let call = self.apply_call(shard, std::iter::once((lane, entries)));
        let answers: Answers = self.run(connection, &call).await?;
        let answers = answers.0.into_iter().next().unwrap_or_default();
        let both = answers.into_iter().zip(entries);
        let outcome = |(answer, entry): (Answer, &Prepared)| {
            answer.of(event_id(shard, lane, entry.id), entry).outcome
        };
        Ok(both.map(outcome).collect())
    }
}

/// Whether Redis does not have the function that was called.
fn is_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// The id of an entry of a lane, as it appears in logs, messages and conversations.
pub fn event_id(shard: Shard, lane: Lane, stream: StreamId) -> EventId {
    EventId {
        shard,
        lane,
        stream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that nobody defines is nil until somebody calls it, which is then a dead letter.
    #[test]
    fn every_helper_that_is_called_is_defined() {
        let desk = crate::desk::Desk::new(crate::desk::settings::DeskSettings::default());
        let code = Library::new(&desk).code;
        let lines = code
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default());
        let code: Vec<&str> = lines.collect();
        let code = code.join("\n");
        let name_at = |at: usize| -> &str {
            let rest = &code[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        };
        for (at, _) in code.match_indices("D.") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c)) {
                continue;
            }
            let name = name_at(at + 2);
            assert!(
                code.contains(&format!("\nD.{name} = ")),
                "D.{name} is nowhere"
            );
        }
    }
}
