//! How many requests are under way at once. Receivers that fail or are slow share a quarter of them, so however many
//! hang there are always requests for those that answer. A site has half of either at most, so whatever its
//! receivers do there are some for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use frontdesk_shared::ids::Site;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One part of so many is for all receivers that fail or are slow.
const SICK_PART: usize = 4;
/// One part of so many is the most that one site has.
const SITE_PART: usize = 2;
/// So many sites are remembered before it is looked which of them have no request any more.
const MAX_SITES: usize = 1000;

/// Permits for requests.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Share,
    sites: Mutex<HashMap<Site, Weak<Share>>>,
    at_once: usize,
}

/// Permits that some have together.
#[derive(Debug)]
struct Share {
    all: Arc<Semaphore>,
    sick: Arc<Semaphore>,
}

impl Share {
    fn new(all: usize, sick: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            sick: Arc::new(Semaphore::new(sick)),
        }
    }

    /// Waits for a permit.
    async fn take(&self, sick: bool) -> [Option<OwnedSemaphorePermit>; 2] {
        // The semaphores are never closed.
        let of_sick = if sick {
            Arc::clone(&self.sick).acquire_owned().await.ok()
        } else {
            None
        };
        [of_sick, Arc::clone(&self.all).acquire_owned().await.ok()]
    }
}

/// One request's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permits: [[Option<OwnedSemaphorePermit>; 2]; 2],
    /// Remembered as long as somebody has a permit of it.
    _site: Arc<Share>,
}

impl Slots {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            all: Share::new(at_once, (at_once / SICK_PART).max(1)),
            sites: Mutex::default(),
            at_once,
        }
    }

    /// Waits for a place.
    pub(crate) async fn take(&self, site: &Site, sick: bool) -> Slot {
        let share = self.of_site(site);
        // First those of the site: who waits for them has none of the others'.
        let of_site = share.take(sick).await;
        Slot {
            _permits: [of_site, self.all.take(sick).await],
            _site: share,
        }
    }

    fn of_site(&self, site: &Site) -> Arc<Share> {
        // Nothing under this lock can panic.
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = sites.get(site).and_then(Weak::upgrade) {
            return share;
        }
        if sites.len() >= MAX_SITES {
            sites.retain(|_, share| share.strong_count() > 0);
        }
        let (all, sick) = (
            self.at_once / SITE_PART,
            self.at_once / SICK_PART / SITE_PART,
        );
        let share = Arc::new(Share::new(all.max(1), sick.max(1)));
        sites.insert(site.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn site(name: &str) -> Site {
        Site::parse(name).expect("valid")
    }

    #[tokio::test]
    async fn the_sick_never_have_all() {
        let slots = Slots::new(8);
        let (a, b) = (site("a"), site("b"));
        let sick = [slots.take(&a, true).await, slots.take(&b, true).await];
        assert!(slots.take(&site("c"), true).now_or_never().is_none());
        let mut well = Vec::new();
        for site in [&a, &a, &a, &b, &b, &b] {
            well.push(slots.take(site, false).await);
        }
        assert!(slots.take(&site("c"), false).now_or_never().is_none());
        drop(sick);
        assert!(slots.take(&site("c"), true).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_site_never_has_all() {
        let slots = Slots::new(8);
        let (a, b) = (site("a"), site("b"));
        let sick = slots.take(&a, true).await;
        assert!(slots.take(&a, true).now_or_never().is_none());
        let mut well = Vec::new();
        for _ in 0..3 {
            well.push(slots.take(&a, false).await);
        }
        assert!(slots.take(&a, false).now_or_never().is_none());
        assert!(slots.take(&b, true).now_or_never().is_some());
        assert!(slots.take(&b, false).now_or_never().is_some());
        drop(well);
        drop(sick);
        assert!(slots.take(&a, true).now_or_never().is_some());
    }
}
