//! What shards hold of webhooks, for the metrics, and what they have held for so long that it is forgotten. A
//! shard may have any number of sites, so it is looked at page by page: one at each look, and shown when all are seen.

use std::time::Duration;

use frontdesk_shared::ids::Shard;
use redis::RedisResult;
use tokio::time::Instant;
use tracing::info;

use super::queue::{Page, Queue};

/// How often what was kept for long is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// What is held, by the names of [`super::metrics`].
pub(super) type Held = [i64; 5];

/// The sweep of one shard.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where to go on; 0: at the beginning.
    cursor: u64,
    /// What was seen since the beginning.
    sum: Held,
    /// What was seen of all at last.
    held: Held,
    /// When to forget again.
    forget: Instant,
    /// Whether this pass forgets, and whether it has left something.
    forgets: bool,
    left: bool,
}

impl Sweep {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            cursor: 0,
            sum: Held::default(),
            held: Held::default(),
            forget: now,
            forgets: false,
            left: false,
        }
    }

    /// What was seen of all at last.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// There is nothing to look at.
    pub(super) fn skip(&mut self) {
        let forget = self.forget;
        *self = Self::new(forget);
    }

    /// Looks at one page; deliveries are kept for `keep`.
    pub(super) async fn step(
        &mut self,
        queue: &Queue,
        shard: Shard,
        keep: Duration,
        now: Instant,
    ) -> RedisResult<()> {
        if self.cursor == 0 {
            (self.forgets, self.left) = (self.forget <= now, false);
        }
        let keep = self.forgets.then_some(keep);
        let page = queue.sweep(shard, self.cursor, keep).await?;
        if page.parked_forgotten + page.waiting_forgotten > 0 {
            info!(
                shard = shard.number(),
                parked = page.parked_forgotten,
                waiting = page.waiting_forgotten,
                "webhooks that were kept for longer than --hook-keep-s were forgotten"
            );
        }
        self.note(&page, now);
        Ok(())
    }

    fn note(&mut self, page: &Page, now: Instant) {
        for (sum, part) in self.sum.iter_mut().zip(page.held) {
            *sum += part;
        }
        (self.cursor, self.left) = (page.next, self.left || page.full);
        if self.cursor == 0 {
            self.held = std::mem::take(&mut self.sum);
            if self.forgets && !self.left {
                self.forget = now + FORGET_EVERY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(next: u64, full: bool) -> Page {
        Page {
            next,
            full,
            held: [1, 2, 3, 4, 5],
            parked_forgotten: 0,
            waiting_forgotten: 0,
        }
    }

    #[test]
    fn all_pages_are_shown_together_and_what_is_left_is_forgotten_soon() {
        let now = Instant::now();
        let mut sweep = Sweep::new(now);
        sweep.forgets = true;
        sweep.note(&page(7, true), now);
        assert_eq!(sweep.held(), [0; 5]);
        sweep.note(&page(0, false), now);
        assert_eq!(sweep.held(), [2, 4, 6, 8, 10]);
        assert_eq!(sweep.forget, now, "there was more than one call does");
        sweep.left = false;
        sweep.note(&page(0, false), now);
        assert_eq!(sweep.held(), [1, 2, 3, 4, 5]);
        assert_eq!(sweep.forget, now + FORGET_EVERY);
        sweep.skip();
        assert_eq!((sweep.held(), sweep.forget), ([0; 5], now + FORGET_EVERY));
    }
}
