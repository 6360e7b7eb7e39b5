//! Delivers webhooks: what scripts have put out (`lua/outbox.lua`) goes to the sites' receivers.
//!
//! ```text
//! apply ─▶ S hook:<id>:queue ─▶ [role] who has something ─▶ [runner] one hook: take, [attempt], done
//!            (same script)          ▲ hints, and a look          │ [queue] hook_take, hook_body, hook_done
//!                                     now and then               ▼ [sender] one request, signed ([signature])
//!                                                            receiver, if [address] permits
//! ```
//! The worker that drives a shard's clock delivers for its sites. Nothing here is waited for by anybody:
//! it has a thread, connections and a Redis connection of its own, and what it does not manage stays in Redis,
//! bounded. A receiver that fails is tried one at a time, and that and one that is slow from a share of the requests that
//! all such receivers have together ([`slots`]), so it takes nothing from those that answer.

pub mod address;
mod attempt;
mod health;
mod hints;
pub mod metrics;
mod names;
mod queue;
mod role;
mod runner;
pub mod schedule;
pub mod sender;
pub mod settings;
pub mod signature;
mod slots;
mod sweep;

use std::{collections::BTreeMap, sync::Arc};

use frontdesk_shared::{
    hooks::OLD_SECRET_MS,
    ids::{HookId, Shard, Site},
    runtime::runtime,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::lane::{Context, Lanes};
pub use hints::Hints;
use queue::Queue;
use role::{Role, Shared};
use sender::Sender;
use settings::Settings;
use slots::Slots;

/// Most deliveries of one hook that wait, for a first attempt or another one; what is more is dropped.
pub const MAX_HOOK_QUEUE: u64 = 10_000;
/// Most deliveries that wait for all hooks of a site, which share it evenly.
pub const MAX_SITE_QUEUE: u64 = 20_000;
/// Most deliveries of one hook that are kept when they are not tried any more; the oldest give way.
pub const MAX_HOOK_PARKED: u64 = 1000;
/// Most hooks of one site.
pub const MAX_HOOKS_PER_SITE: u64 = 10;
/// Most hooks of one shard that one look finds something to do for.
pub const MAX_DUE_HOOKS: u64 = 1000;
/// Most deliveries that one call forgets since they were kept for long.
pub const MAX_FORGOTTEN: u64 = 1000;
/// For how long a worker that falls silent keeps what it was delivering, in milliseconds.
pub const CLAIM_MS: u64 = 15_000;

/// The same, by their names in Lua.
pub(crate) const LIMITS: [(&str, u64); 8] = [
    ("hook_queue", MAX_HOOK_QUEUE),
    ("site_queue", MAX_SITE_QUEUE),
    ("hook_parked", MAX_HOOK_PARKED),
    ("hooks", MAX_HOOKS_PER_SITE),
    ("hooks_due", MAX_DUE_HOOKS),
    ("hook_claim_ms", CLAIM_MS),
    ("hooks_forgotten", MAX_FORGOTTEN),
    ("old_secret_ms", OLD_SECRET_MS),
];

/// A hook, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HookName {
    pub(crate) site: Site,
    pub(crate) id: HookId,
}

impl HookName {
    /// Reads `<site>|<hook>`.
    fn parse(text: &str) -> Option<Self> {
        let (site, id) = text.split_once('|')?;
        let site = Site::parse(site).ok()?;
        let id = HookId::parse(id).ok()?;
        Some(Self { site, id })
    }

    fn shard(&self) -> Shard {
        Shard::of(&self.site)
    }
}

/// Delivers until `shutdown`, on a thread of its own. What it returns is ready when that has ended.
pub fn start(
    context: Context,
    active: BTreeMap<Shard, watch::Receiver<Lanes>>,
    settings: Settings,
    hints: Arc<Hints>,
    shutdown: CancellationToken,
) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    let life = move || {
        let result = (|| {
            let runtime = runtime(1)?;
            let shared = Shared {
                queue: Queue::new(context.redis, context.library),
                sender: Sender::new(&settings)?,
                slots: Slots::new(settings.at_once),
                schedule: settings.schedule,
                keep: settings.keep,
            };
            runtime.block_on(Role::new(shared, active, hints).run(shutdown));
            // A look-up of a name may hang for long after who asked has given up.
            runtime.shutdown_background();
            anyhow::Ok(())
        })();
        if let Err(error) = result {
            error!(%error, "webhooks cannot be delivered");
        }
        drop(ended);
    };
    if let Err(error) = std::thread::Builder::new().name("hooks".into()).spawn(life) {
        error!(%error, "no thread for webhooks");
    }
    end
}
