//! What a session sends ahead of its next call or read, in the same write: acks and trims. A write of
//! their own would cost Redis several times as much as the commands do.

use frontdesk_shared::{
    ids::{Lane, Shard, StreamId},
    keys,
};
use redis::RedisResult;
use tracing::warn;

use super::acks::Acks;
use crate::metrics::METRICS;

/// What goes ahead of the next command.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Acks to publish.
    pub acks: Acks,
    trims: Vec<redis::Cmd>,
}

/// Commands that are being sent.
#[derive(Debug)]
pub struct Sent {
    /// They themselves.
    pub commands: Vec<redis::Cmd>,
    acks: u64,
}

impl Ahead {
    /// Removes a lane's entries before `last`, which is applied.
    pub fn trim(&mut self, shard: Shard, lane: Lane, last: StreamId) {
        let mut command = redis::cmd("XTRIM");
        command
            .arg(keys::events(shard, lane))
            .arg("MINID")
            .arg(last.to_string());
        self.trims.push(command);
    }

    /// Drops the trims: after a failure nobody knows whether what they say is still applied.
    pub fn keep_entries(&mut self) {
        self.trims.clear();
    }

    /// All of it; nothing is left.
    pub fn take(&mut self) -> Sent {
        let (mut commands, acks) = self.acks.take();
        commands.append(&mut self.trims);
        Sent { commands, acks }
    }
}

impl Sent {
    /// Counts the acks by whether they were published. The sender of one that was not sends the
    /// message again after a while and gets the same ack.
    pub fn count<T>(&self, answer: &RedisResult<T>) {
        match answer {
            Ok(_) => METRICS.acks.inc_by(self.acks),
            Err(error) if self.acks > 0 => {
                METRICS.acks_lost.inc_by(self.acks);
                warn!(count = self.acks, %error, "acks not published; their senders will ask again");
            }
            Err(_) => {}
        }
    }
}
