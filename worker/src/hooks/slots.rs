//! How many requests are under way at once. Receivers whose last delivery has failed share a quarter of
//! them, so however many hang there are always requests for those that answer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits for requests.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    sick: Arc<Semaphore>,
}

/// One request's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _one: Option<OwnedSemaphorePermit>,
    _of_sick: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            sick: Arc::new(Semaphore::new((at_once / 4).max(1))),
        }
    }

    /// Waits for a place.
    pub(crate) async fn take(&self, sick: bool) -> Slot {
        // The semaphores are never closed.
        let of_sick = if sick {
            Arc::clone(&self.sick).acquire_owned().await.ok()
        } else {
            None
        };
        Slot {
            _one: Arc::clone(&self.all).acquire_owned().await.ok(),
            _of_sick: of_sick,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_sick_never_have_all() {
        let slots = Slots::new(8);
        let sick = [slots.take(true).await, slots.take(true).await];
        assert!(slots.take(true).now_or_never().is_none());
        let mut well = Vec::new();
        for _ in 0..6 {
            well.push(slots.take(false).await);
        }
        assert!(slots.take(false).now_or_never().is_none());
        drop(sick);
        assert!(slots.take(true).now_or_never().is_some());
    }
}
