//! Pub/sub → socket. One task: connect, subscribe, be confirmed, then serve.
//!
//! Pushes are hints and the log is the truth, so a push that may be missing only has to be
//! *noticed*: workers number their payloads per (shard, boot), and a hole, a lost subscription or a
//! payload that does not decode closes the sockets concerned retryably; their clients come back and
//! see the truth. Delivery never waits, since the redis crate buffers without bound: what a slow
//! socket cannot take closes that socket.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use frontdesk_shared::{
    ids::{BootId, SHARDS, Shard},
    keys,
    protocol::close::{CloseCode, RESYNC},
    push::{self, Kind, Payload, Record},
    redis::Redis,
};
use futures_util::StreamExt as _;
use redis::{Msg, RedisError, aio::PubSub};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    backoff::Backoff, metrics::METRICS, outbox::Outgoing, registry::Registry, status::Status,
};

/// How long Redis may take to confirm a subscription.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);

/// The subscriber.
pub(crate) struct Downlink {
    redis: Redis,
    channel: String,
    registry: Arc<Registry>,
    status: Arc<Status>,
    counters: Counters,
}

impl Downlink {
    pub(crate) fn new(
        redis: Redis,
        boot: &BootId,
        registry: Arc<Registry>,
        status: Arc<Status>,
    ) -> Self {
        Self {
            redis,
            channel: keys::gateway_channel(boot),
            registry,
            status,
            counters: Counters::new(),
        }
    }

    /// Serves until `stop`, reconnecting for ever.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.serve()).await;
        self.status.set_subscriber(false);
    }

    async fn serve(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.subscribe().await {
                Ok(subscription) => {
                    backoff.reset();
                    info!(channel = self.channel, "subscribed");
                    self.status.set_subscriber(true);
                    let mut messages = subscription.into_on_message();
                    while let Some(message) = messages.next().await {
                        self.deliver(message);
                    }
                    self.lost();
                }
                Err(error) => warn!(%error, "cannot subscribe; trying again"),
            }
            backoff.wait().await;
        }
    }

    async fn subscribe(&self) -> Result<PubSub, RedisError> {
        let mut connection = self.redis.subscriber().await?;
        timeout(CONFIRM_TIMEOUT, connection.subscribe(&self.channel))
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        Ok(connection)
    }

    /// What was published from now on is gone: say so first, then close all that are registered.
    fn lost(&mut self) {
        self.status.set_subscriber(false);
        self.counters = Counters::after_a_loss();
        METRICS.subscriber_losses.inc();
        let sockets = self.registry.close_all(RESYNC);
        warn!(sockets, "subscription lost; closed all sockets to resync");
    }

    fn deliver(&mut self, message: Msg) {
        METRICS.push_payloads.inc();
        let payload = Bytes::from_owner(Raw(message));
        let decoded = push::decode(&payload)
            .ok()
            .and_then(|payload| Some((Shard::new(payload.shard)?, payload)));
        let Some((shard, payload)) = decoded else {
            // It does not even say whom it was for.
            METRICS.malformed_payloads.inc();
            let sockets = self.registry.close_all(RESYNC);
            error!(
                sockets,
                bytes = payload.len(),
                "payload does not decode; closed all sockets to resync"
            );
            return;
        };
        if !self.counters.is_next(&payload) {
            METRICS.holes.inc();
            let sockets = self.registry.close_shard(shard, RESYNC);
            warn!(
                shard = payload.shard,
                counter = payload.counter,
                sockets,
                "hole in the pushes; closed the shard's sockets to resync"
            );
        }
        for record in payload.records {
            self.hand_out(shard, &record);
        }
    }

    fn hand_out(&self, shard: Shard, record: &Record) {
        let event = String::from_utf8_lossy(&record.event);
        let outgoing = match record.kind {
            Kind::Frame | Kind::Welcome => {
                if let Ok(text) = Utf8Bytes::try_from(record.bytes.clone()) {
                    Outgoing::Text(text)
                } else {
                    error!(%event, "push is not UTF-8; closing its sockets to resync");
                    METRICS.malformed_payloads.inc();
                    Outgoing::Close(RESYNC)
                }
            }
            Kind::Close => Outgoing::Close(close_code(&record.bytes)),
        };
        let mut delivered = 0;
        let unknown = self.registry.for_each(shard, record.targets(), |outbox| {
            delivered += u64::from(outbox.push(outgoing.clone()));
        });
        METRICS.pushes_out.inc_by(delivered);
        METRICS.unknown_targets.inc_by(unknown);
        debug!(%event, kind = ?record.kind, delivered, unknown, "pushed");
    }
}

/// A worker of a newer version may know codes that we do not; then the client comes back and learns
/// from there.
fn close_code(text: &[u8]) -> CloseCode {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| CloseCode::by_code(text.parse().ok()?))
        .unwrap_or(RESYNC)
}

/// Lets frames share the memory of the message they came in.
struct Raw(Msg);

impl AsRef<[u8]> for Raw {
    fn as_ref(&self) -> &[u8] {
        self.0.get_payload_bytes()
    }
}

/// The numbers seen last, by shard; `None` accepts any.
#[derive(Debug)]
struct Counters([Option<u64>; SHARDS as usize]);

impl Counters {
    /// A boot id is never reused, so its first payload has number 1.
    fn new() -> Self {
        Self([Some(0); SHARDS as usize])
    }

    /// Payloads have been missed, and all sockets that missed them are closed.
    fn after_a_loss() -> Self {
        Self([None; SHARDS as usize])
    }

    /// Whether the payload follows the one before. It is the one to follow from here on.
    fn is_next(&mut self, payload: &Payload) -> bool {
        if payload.counter == 0 {
            return true; // outside the numbering
        }
        let Some(last) = self.0.get_mut(usize::from(payload.shard)) else {
            return false;
        };
        let before = last.replace(payload.counter);
        before.is_none_or(|before| before + 1 == payload.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::protocol::close::TOO_MANY_CONNECTIONS;

    fn payload(shard: u8, counter: u64) -> Payload {
        Payload {
            shard,
            counter,
            records: Vec::new(),
        }
    }

    #[test]
    fn a_hole_is_seen_once_and_in_its_shard_only() {
        let mut counters = Counters::new();
        assert!(counters.is_next(&payload(3, 1)));
        assert!(counters.is_next(&payload(3, 0)), "acks are not numbered");
        assert!(counters.is_next(&payload(3, 2)));
        assert!(counters.is_next(&payload(4, 1)), "each shard counts alone");
        assert!(!counters.is_next(&payload(3, 4)));
        assert!(counters.is_next(&payload(3, 5)));
        assert!(!counters.is_next(&payload(3, 5)), "twice is wrong too");
    }

    #[test]
    fn the_first_payload_of_a_boot_is_one() {
        assert!(!Counters::new().is_next(&payload(0, 2)));
        let mut later = Counters::after_a_loss();
        assert!(later.is_next(&payload(0, 7)));
        assert!(!later.is_next(&payload(0, 9)));
    }

    #[test]
    fn close_codes_are_read_from_text() {
        assert_eq!(close_code(b"4500"), TOO_MANY_CONNECTIONS);
        assert_eq!(close_code(b"4321"), RESYNC);
        assert_eq!(close_code(b"\xff"), RESYNC);
    }
}
