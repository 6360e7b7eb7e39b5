//! One attempt to deliver: it waits for its turn, then asks what is to be said now, and sends that.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use super::{
    HookName,
    health::Health,
    metrics::METRICS,
    queue::Delivery,
    role::Shared,
    schedule::breather,
    sender::{Failure, Receiver},
};

/// What became of an attempt.
pub(super) struct Outcome {
    pub(super) delivery: Delivery,
    pub(super) result: Result<(), NotDelivered>,
    /// How long the request took.
    pub(super) took: Duration,
}

/// Why it has not arrived.
#[derive(Debug, Clone, Copy)]
pub(super) enum NotDelivered {
    /// It was not sent: it is not ours any more, the hook is off, or Redis did not say what it says.
    NotSent,
    /// It was not taken.
    Failed(Failure),
}

/// Begins an attempt; `outcomes` hears of it.
pub(super) fn begin(
    shared: Arc<Shared>,
    hook: HookName,
    health: Health,
    delivery: Delivery,
    outcomes: mpsc::UnboundedSender<Outcome>,
) {
    let (member, id) = (delivery.member.clone(), delivery.id.clone());
    let sending = async move {
        tokio::time::sleep(breather(health.failures())).await;
        let _slot = shared.slots.take(&hook.site, health.has_to_share()).await;
        let ready = match shared.queue.body(&hook, &member).await {
            Ok(ready) => ready.ok_or(NotDelivered::NotSent),
            Err(error) => {
                warn!(%error, site = %hook.site, hook = %hook.id, "cannot read what a webhook says");
                Err(NotDelivered::NotSent)
            }
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(why) => return (Err(why), Duration::ZERO),
        };
        let (_timer, begun) = (METRICS.seconds.start_timer(), Instant::now());
        let result = match Receiver::parse(&ready.config, &ready.secrets) {
            Some(to) => shared.sender.send(&to, &id, ready.body).await,
            None => Err(Failure::Unusable),
        };
        (result.map_err(NotDelivered::Failed), begun.elapsed())
    };
    tokio::spawn(async move {
        METRICS.sending.inc();
        // In a task of its own: if it breaks, the delivery is not held for ever.
        let result = tokio::spawn(sending).await;
        METRICS.sending.dec();
        let broken = (Err(NotDelivered::Failed(Failure::Broken)), Duration::ZERO);
        let (result, took) = result.unwrap_or(broken);
        // Nobody listens any more when the program ends.
        let _ = outcomes.send(Outcome {
            delivery,
            result,
            took,
        });
    });
}
