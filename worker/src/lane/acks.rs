//! Acks, and answers to requests, on their way, one payload per gateway: once the script's reply is here the message is on disk
//! (appendfsync always), so now its sender may be told.

use std::collections::HashMap;

use frontdesk_shared::{
    ids::{BOOT_ID_BYTES, Shard},
    keys,
    push::Builder,
};

use crate::library::{Ack, Said};

/// Acks that are not published yet.
#[derive(Debug, Default)]
pub struct Acks {
    payloads: HashMap<String, Builder>,
    count: u64,
}

impl Acks {
    /// Adds the ack of an event.
    pub fn put(&mut self, shard: Shard, event: &str, ack: &Ack) {
        if let Some(payload) = self.payload(shard, &ack.client) {
            payload.frame(event, &ack.client, &ack.frame());
            self.count += 1;
        }
    }

    /// Adds the answer to a request.
    pub fn say(&mut self, shard: Shard, event: &str, said: &Said) {
        if let Some(payload) = self.payload(shard, &said.client) {
            payload.answer(event, &said.client, &said.frame);
            self.count += 1;
        }
    }

    /// What goes to the gateway of a connection.
    fn payload(&mut self, shard: Shard, client: &str) -> Option<&mut Builder> {
        let boot = client.get(..BOOT_ID_BYTES)?;
        if !self.payloads.contains_key(boot) {
            let payload = Builder::new(shard.number());
            self.payloads.insert(boot.to_owned(), payload);
        }
        self.payloads.get_mut(boot)
    }

    /// The commands that publish them, and how many acks that is; none are left.
    pub fn take(&mut self) -> (Vec<redis::Cmd>, u64) {
        let publish = |(boot, payload): (String, Builder)| {
            let mut command = redis::cmd("PUBLISH");
            command
                .arg(format!("{}{boot}", keys::GATEWAY_CHANNEL_PREFIX))
                .arg(payload.finish());
            command
        };
        let commands = self.payloads.drain().map(publish).collect();
        (commands, std::mem::take(&mut self.count))
    }
}
