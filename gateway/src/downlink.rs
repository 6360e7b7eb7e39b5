//! Pub/sub → socket. One task: connect, subscribe, be confirmed, then serve.
//!
//! Pushes are hints and the log is the truth, so a push that may be missing only has to be
//! *noticed*: a hole in the numbering (see `counters`), a lost subscription or a payload that does
//! not decode. The sockets concerned are told to resume (see `resync`), or closed retryably if their
//! clients do not know how: they come back and see the truth.
//! Delivery never waits, since the redis crate buffers without bound: what a slow socket cannot
//! take closes that socket.
//!
//! A subscription can die without a word. So the gateway publishes a probe on its own channel every
//! two seconds, on the connection of the appends; when nothing at all has been heard for two
//! intervals both connections are given up. The first probe is what confirms a subscription.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use frontdesk_shared::{
    ids::Shard,
    keys,
    protocol::close::{CloseCode, RESYNC},
    push::{self, Kind, Record},
    redis::Redis,
};
use futures_util::{Stream, StreamExt as _};
use redis::{Msg, aio::MultiplexedConnection};
use tokio::{
    pin, select,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    Error, Gateway,
    backoff::Backoff,
    counters::{self, Counters, Numbers},
    metrics::METRICS,
    outbox::Outgoing,
};

/// How long Redis may take to confirm a subscription.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// A subscription that is silent for longer is lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(4);
/// Time between two comparisons with the stored numbers.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);
/// A comparison that takes longer is given up.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(5);

/// The subscriber.
pub(crate) struct Downlink {
    redis: Redis,
    channel: String,
    gateway: Arc<Gateway>,
    counters: Counters,
    /// The number of the last probe.
    probes: u64,
}

/// How a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The connection ended.
    Cut,
    /// Not even a probe came back.
    Silent,
}

impl Downlink {
    pub(crate) fn new(redis: Redis, gateway: Arc<Gateway>) -> Self {
        Self {
            redis,
            channel: keys::gateway_channel(&gateway.boot),
            gateway,
            counters: Counters::since(Numbers::default()),
            probes: 0,
        }
    }

    /// Serves until `stop`, reconnecting for ever.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.serve()).await;
        self.gateway.status.set_subscriber(false);
    }

    async fn serve(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.subscribe().await {
                Ok((messages, connection)) => {
                    let (redis, gateway) = (self.redis.clone(), Arc::clone(&self.gateway));
                    let (readings, stored) = mpsc::channel(1);
                    let loss = select! {
                        loss = self.hear(messages, stored) => loss,
                        () = compare(&redis, connection, &gateway, readings) => Loss::Cut, // never
                    };
                    if self.lost(loss) {
                        backoff.reset();
                    }
                }
                Err(error) => warn!(%error, "cannot subscribe; trying again"),
            }
            backoff.wait().await;
        }
    }

    /// A subscription, and the numbers from which it counts: read after Redis has confirmed it, so
    /// whatever is published beyond them will be heard.
    async fn subscribe(
        &mut self,
    ) -> Result<(impl Stream<Item = Msg> + use<>, MultiplexedConnection), Error> {
        let subscribed = async {
            let mut subscription = self.redis.subscriber().await?;
            subscription.subscribe(&self.channel).await?;
            // Not from the pool: its connections may be as dead as the subscription was.
            let mut connection = self.redis.connect().await?;
            let base = counters::stored(&mut connection, &self.gateway.boot, |_| true).await?;
            Ok((subscription, connection, base))
        };
        let (subscription, connection, base) = timeout(CONFIRM_TIMEOUT, subscribed)
            .await
            .unwrap_or(Err(Error::Slow))?;
        self.counters = Counters::since(base);
        Ok((subscription.into_on_message(), connection))
    }

    /// Delivers until the subscription is lost.
    async fn hear(
        &mut self,
        messages: impl Stream<Item = Msg>,
        mut stored: mpsc::Receiver<Numbers>,
    ) -> Loss {
        let mut heard = Instant::now();
        let mut probe = interval(PROBE_INTERVAL);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence = sleep_until(heard + SILENCE_LIMIT);
        pin!(messages, silence);
        loop {
            select! {
                biased; // what has arrived counts before anything is said to be missing
                message = messages.next() => match message {
                    Some(message) => {
                        heard = Instant::now();
                        self.take(message);
                    }
                    None => return Loss::Cut,
                },
                Some(numbers) = stored.recv() => self.compare(numbers),
                _ = probe.tick() => {
                    self.probes += 1;
                    self.gateway.uplink.probe(self.probes);
                }
                () = &mut silence => {
                    if heard.elapsed() >= SILENCE_LIMIT {
                        return Loss::Silent;
                    }
                    silence.as_mut().reset(heard + SILENCE_LIMIT);
                }
            }
        }
    }

    /// What was published from now on is gone: say so first, then to all that are registered.
    /// Returns whether the subscription had been confirmed.
    fn lost(&mut self, loss: Loss) -> bool {
        let confirmed = self.gateway.status.set_subscriber(false);
        if loss == Loss::Silent {
            // The probes went out on the other connection, which may be the dead one.
            self.gateway.uplink.reconnect();
        }
        METRICS.subscriber_losses.inc();
        let (told, closed) = self.resync_all();
        warn!(
            ?loss,
            told, closed, "subscription lost; all sockets are to resync"
        );
        confirmed
    }

    /// A close may be among what is missing: the roll call finds sockets that the state has closed.
    fn resync_all(&self) -> (usize, usize) {
        self.gateway.bell.now();
        self.gateway.registry.resync_all(&self.gateway.resync)
    }

    /// As [`Self::resync_all`], for the sockets of one shard.
    fn resync_shard(&self, shard: Shard) -> (usize, usize) {
        METRICS.holes.inc();
        self.gateway.bell.now();
        let registry = &self.gateway.registry;
        registry.resync_shard(shard, &self.gateway.resync)
    }

    fn take(&mut self, message: Msg) {
        if push::read_probe(message.get_payload_bytes()).is_none() {
            self.deliver(message);
        } else if !self.gateway.status.set_subscriber(true) {
            info!(
                channel = self.channel,
                "subscribed, and a probe has come back"
            );
        }
    }

    fn compare(&mut self, stored: Numbers) {
        for shard in self.counters.compare(stored) {
            let (told, closed) = self.resync_shard(shard);
            warn!(
                shard = shard.number(),
                told, closed, "published pushes did not arrive; the shard's sockets are to resync"
            );
        }
    }

    fn deliver(&mut self, message: Msg) {
        METRICS.push_payloads.inc();
        let payload = Bytes::from_owner(Raw(message));
        let payload_bytes = payload.len();
        let decoded = push::decode(&payload)
            .ok()
            .and_then(|payload| Some((Shard::new(payload.shard)?, payload)));
        let Some((shard, payload)) = decoded else {
            // It does not even say whom it was for.
            METRICS.malformed_payloads.inc();
            let (told, closed) = self.resync_all();
            error!(
                told,
                closed,
                bytes = payload.len(),
                "payload does not decode; all sockets are to resync"
            );
            return;
        };
        if !self.counters.is_next(&payload) {
            let (told, closed) = self.resync_shard(shard);
            warn!(
                shard = payload.shard,
                counter = payload.counter,
                told,
                closed,
                "hole in the pushes; the shard's sockets are to resync"
            );
        }
        for record in payload.records {
            self.hand_out(shard, &record, payload_bytes);
        }
    }

    fn hand_out(&self, shard: Shard, record: &Record, payload_bytes: usize) {
        let event = String::from_utf8_lossy(&record.event);
        if record.kind == Kind::Answer {
            let frame = own_memory(&record.bytes, payload_bytes);
            let calls = &self.gateway.calls;
            let waited = record.targets().any(|to| calls.answer(to, frame.clone()));
            debug!(%event, waited, "answered");
            return;
        }
        let outgoing = match record.kind {
            Kind::Frame | Kind::Welcome => {
                let bytes = own_memory(&record.bytes, payload_bytes);
                match (Utf8Bytes::try_from(bytes), record.kind) {
                    (Ok(text), Kind::Welcome) => Outgoing::Welcome(text),
                    (Ok(text), _) => Outgoing::Text(text),
                    (Err(_), _) => {
                        error!(%event, "push is not UTF-8; closing its sockets to resync");
                        METRICS.malformed_payloads.inc();
                        Outgoing::Close(RESYNC)
                    }
                }
            }
            Kind::Close | Kind::Answer => Outgoing::Close(close_code(&record.bytes)),
        };
        let mut delivered = 0;
        let unknown = self
            .gateway
            .registry
            .for_each(shard, record.targets(), |outbox| {
                if record.kind == Kind::Welcome {
                    outbox.welcome();
                }
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

/// A frame that waits for a slow socket must not hold a payload of many others: unless it is at
/// least half of its payload, it gets a copy of its own, one for all its sockets.
fn own_memory(frame: &Bytes, payload_bytes: usize) -> Bytes {
    if frame.len() * 2 < payload_bytes {
        Bytes::copy_from_slice(frame)
    } else {
        frame.clone()
    }
}

/// Lets frames share the memory of the message they came in.
struct Raw(Msg);

impl AsRef<[u8]> for Raw {
    fn as_ref(&self) -> &[u8] {
        self.0.get_payload_bytes()
    }
}

/// Reads the stored numbers every two seconds, for ever, of the shards that have sockets here: nobody
/// misses what does not arrive for another. A reading that fails is left out.
async fn compare(
    redis: &Redis,
    connection: MultiplexedConnection,
    gateway: &Gateway,
    readings: mpsc::Sender<Numbers>,
) {
    let mut connection = Some(connection);
    let mut ticks = interval(COMPARE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reading = async {
            let mut fresh = match connection.take() {
                Some(connection) => connection,
                None => redis.connect().await?,
            };
            let of = |shard| !gateway.registry.is_empty(shard);
            let numbers = counters::stored(&mut fresh, &gateway.boot, of).await?;
            connection = Some(fresh);
            Ok(numbers)
        };
        let reading = timeout(COMPARE_TIMEOUT, reading).await;
        match reading.unwrap_or(Err(Error::Slow)) {
            Ok(numbers) => {
                let _ = readings.send(numbers).await; // heard as long as this runs
            }
            Err(error) => debug!(%error, "cannot compare the numbers of pushes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::protocol::close::TOO_MANY_CONNECTIONS;

    #[test]
    fn a_queued_frame_holds_at_most_twice_its_size() {
        let payload = Bytes::from(vec![b'x'; 1000]);
        let shares = |frame: &Bytes| payload.as_ptr_range().contains(&frame.as_ptr());
        assert!(!shares(&own_memory(&payload.slice(0..499), payload.len())));
        assert!(shares(&own_memory(&payload.slice(0..500), payload.len())));
    }

    #[test]
    fn close_codes_are_read_from_text() {
        assert_eq!(close_code(b"4500"), TOO_MANY_CONNECTIONS);
        assert_eq!(close_code(b"4321"), RESYNC);
        assert_eq!(close_code(b"\xff"), RESYNC);
    }
}
