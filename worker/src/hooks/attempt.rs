//! One attempt to deliver: it waits for its turn, then asks what is to be said now, and sends that.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use super::{
    HookName,
    health::Health,
    metrics::METRICS,
    queue::{Delivery, Ready},
    role::Shared,
    schedule::breather,
    sender::{Failure, Receiver},
};

/// How often Redis is asked what a delivery says, and how long between.
const ASKED: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

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

/// What a delivery says now; nothing if it is not to be sent. Redis is asked again if it fails: what comes after in
/// the same conversation waits meanwhile.
async fn ask(shared: &Shared, hook: &HookName, member: &str) -> Option<Ready> {
    for _ in 0..ASKED {
        match shared.queue.body(hook, member).await {
            Ok(ready) => return ready,
            Err(error) => {
                warn!(%error, site = %hook.site, hook = %hook.id, "cannot read what a webhook says");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
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
        let Some(ready) = ask(&shared, &hook, &member).await else {
            return (Err(NotDelivered::NotSent), Duration::ZERO);
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
