//! What outlives a boot: the settings, the places for sockets, and which boot serves new ones.
//!
//! A boot that is FENCED is given up, and the process goes on under a new boot id behind the same
//! listener. Sockets belong to the boot that they came to, to their end.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{Config, Gateway};

/// A place under `--max-connections`, held from the handshake to the end of the TCP connection.
pub(crate) type Place = OwnedSemaphorePermit;

#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) config: Arc<Config>,
    /// The sockets of all boots, and the `close` events that outlive them.
    pub(crate) tasks: TaskTracker,
    places: Arc<Semaphore>,
    gateway: RwLock<Option<Arc<Gateway>>>,
}

impl Front {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_connections)),
            config: Arc::new(config),
            tasks: TaskTracker::new(),
            gateway: RwLock::default(),
        }
    }

    /// Who serves new sockets from here on.
    pub(crate) fn put(&self, gateway: Arc<Gateway>) {
        let mut present = self.gateway.write().unwrap_or_else(PoisonError::into_inner);
        *present = Some(gateway);
    }

    /// Who serves new sockets, if it can now.
    pub(crate) fn ready(&self) -> Option<Arc<Gateway>> {
        let present = self.gateway.read().unwrap_or_else(PoisonError::into_inner);
        present.clone().filter(|gateway| gateway.status.ready())
    }

    /// A place for one more socket, if there is one.
    pub(crate) fn reserve(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn places_are_limited_and_come_back() {
        let settings = ["frontdesk-gateway", "--max-connections=1"];
        let front = Front::new(Config::parse_from(settings));
        let place = front.reserve();
        assert!(place.is_some() && front.reserve().is_none());
        drop(place);
        assert!(front.reserve().is_some());
    }
}
