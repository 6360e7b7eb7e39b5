//! Hints that shards have something to deliver: a bit each, so that any number of them is one look.

use std::sync::atomic::{AtomicU32, Ordering};

use frontdesk_shared::ids::Shard;
use tokio::sync::Notify;

/// The shards that were hinted at since the last look.
#[derive(Debug, Default)]
pub struct Hints {
    shards: AtomicU32,
    news: Notify,
}

impl Hints {
    /// A script has put something out in this shard.
    pub fn put(&self, shard: Shard) {
        self.shards.fetch_or(1 << shard.number(), Ordering::AcqRel);
        self.news.notify_one();
    }

    /// Hints may have been missed.
    pub fn put_all(&self) {
        self.shards.fetch_or(u32::MAX, Ordering::AcqRel);
        self.news.notify_one();
    }

    /// Waits until there is one. Loses nothing when cancelled.
    pub(crate) async fn wait(&self) {
        self.news.notified().await;
    }

    /// The shards hinted at; none are left.
    pub(crate) fn take(&self) -> Vec<Shard> {
        let bits = self.shards.swap(0, Ordering::AcqRel);
        let hinted = |shard: &Shard| bits & (1 << shard.number()) != 0;
        Shard::all().filter(hinted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hints_are_taken_once() {
        let (hints, shard) = (Hints::default(), Shard::new(7).expect("below SHARDS"));
        hints.put(shard);
        hints.put(shard);
        hints.wait().await;
        assert_eq!(hints.take(), [shard]);
        assert_eq!(hints.take(), []);
        hints.put_all();
        assert_eq!(hints.take().len(), Shard::all().count());
    }
}
