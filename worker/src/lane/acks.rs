//! Publishes acks, batched per gateway: once the script's reply is here the message is on disk
//! (appendfsync always), so now its sender may be told.

use std::collections::HashMap;

use frontdesk_shared::{
    ids::{BOOT_ID_BYTES, Shard},
    keys,
    push::Builder,
};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tracing::warn;

use crate::metrics::METRICS;

/// Most acks in one round of publishing.
const MAX_BATCH: usize = 512;

/// An ack on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// The event that is acknowledged.
    pub event: String,
    /// The sender's connection.
    pub client: String,
    /// The `ack` frame.
    pub frame: String,
}

/// Publishes until the senders are gone. An ack that cannot be published is counted; its sender
/// sends the message again after a while and gets the same ack.
pub async fn publish(
    shard: Shard,
    mut connection: MultiplexedConnection,
    mut acks: mpsc::Receiver<Outgoing>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while acks.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let mut payloads: HashMap<String, Builder> = HashMap::new();
        for ack in &batch {
            let Some(boot) = ack.client.get(..BOOT_ID_BYTES) else {
                continue;
            };
            let payload = payloads
                .entry(boot.to_owned())
                .or_insert_with(|| Builder::new(shard.number()));
            payload.frame(&ack.event, &ack.client, &ack.frame);
        }
        let mut pipeline = redis::pipe();
        for (boot, payload) in payloads {
            let channel = format!("{}{boot}", keys::GATEWAY_CHANNEL_PREFIX);
            pipeline
                .cmd("PUBLISH")
                .arg(channel)
                .arg(payload.finish())
                .ignore();
        }
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match pipeline.exec_async(&mut connection).await {
            Ok(()) => METRICS.acks.inc_by(count),
            Err(error) => {
                METRICS.acks_lost.inc_by(count);
                warn!(count, %error, "acks not published; their senders will ask again");
            }
        }
        batch.clear();
    }
}
