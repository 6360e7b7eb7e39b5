//! Who is here: client_id → outbox, by shard, since pushes and holes come by shard.
//!
//! The locks are held for a lookup and never across an await.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use frontdesk_shared::{
    ids::{ClientId, SHARDS, Shard},
    protocol::close::CloseCode,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{metrics::METRICS, outbox::Outbox};

type Sockets = HashMap<Box<str>, Arc<Outbox>>;

#[derive(Debug)]
pub(crate) struct Registry {
    shards: [RwLock<Sockets>; SHARDS as usize],
    places: Arc<Semaphore>,
}

/// A place under `--max-connections`, held from the handshake to the end of the TCP connection.
pub(crate) type Place = OwnedSemaphorePermit;

/// A socket's entry; dropping it takes the socket out.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    shard: Shard,
    client: ClientId,
}

impl Registry {
    pub(crate) fn new(max_connections: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            places: Arc::new(Semaphore::new(max_connections)),
        }
    }

    /// A place for one more socket, if there is one.
    pub(crate) fn reserve(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Enters a socket. From here on pushes reach its outbox.
    pub(crate) fn register(
        self: &Arc<Self>,
        shard: Shard,
        client: &ClientId,
    ) -> (Registration, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::default());
        self.write(shard)
            .insert(client.as_str().into(), Arc::clone(&outbox));
        METRICS.connections.inc();
        let registration = Registration {
            registry: Arc::clone(self),
            shard,
            client: client.clone(),
        };
        (registration, outbox)
    }

    /// Calls `deliver` for each target that is here; returns how many are not.
    pub(crate) fn for_each<'a>(
        &self,
        shard: Shard,
        targets: impl Iterator<Item = &'a str>,
        mut deliver: impl FnMut(&Outbox),
    ) -> u64 {
        let sockets = self.read(shard);
        let mut unknown = 0;
        for target in targets {
            match sockets.get(target) {
                Some(outbox) => deliver(outbox),
                None => unknown += 1,
            }
        }
        unknown
    }

    /// Closes every socket of a shard; returns how many.
    pub(crate) fn close_shard(&self, shard: Shard, code: CloseCode) -> usize {
        let sockets = self.read(shard);
        sockets.values().for_each(|outbox| outbox.kill(code));
        sockets.len()
    }

    /// Closes every socket; returns how many.
    pub(crate) fn close_all(&self, code: CloseCode) -> usize {
        Shard::all()
            .map(|shard| self.close_shard(shard, code))
            .sum()
    }

    // A map is whole after any panic under its lock, so poison means nothing here.
    fn read(&self, shard: Shard) -> RwLockReadGuard<'_, Sockets> {
        let lock = &self.shards[usize::from(shard.number())];
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: Shard) -> RwLockWriteGuard<'_, Sockets> {
        let lock = &self.shards[usize::from(shard.number())];
        lock.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.write(self.shard).remove(self.client.as_str());
        METRICS.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Outgoing;
    use frontdesk_shared::{ids::BootId, protocol::close::RESYNC};

    #[tokio::test]
    async fn a_shard_is_closed_alone_and_the_gone_are_unknown() {
        let registry = Arc::new(Registry::new(1));
        let boot = BootId::random();
        let (here, there) = (Shard::new(0).expect("valid"), Shard::new(1).expect("valid"));
        let (a, b) = (ClientId::random(&boot), ClientId::random(&boot));
        let (entry_a, outbox_a) = registry.register(here, &a);
        let (_entry_b, outbox_b) = registry.register(there, &b);

        let mut delivered = 0;
        let unknown = registry.for_each(here, [a.as_str(), b.as_str()].into_iter(), |_| {
            delivered += 1;
        });
        assert_eq!((delivered, unknown), (1, 1), "a push stays in its shard");

        assert_eq!(registry.close_shard(here, RESYNC), 1);
        assert_eq!(outbox_a.killed().await, RESYNC);
        assert!(outbox_b.push(Outgoing::Close(RESYNC)), "still alive");

        drop(entry_a);
        assert_eq!(registry.for_each(here, [a.as_str()].into_iter(), |_| ()), 1);
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let registry = Registry::new(1);
        let place = registry.reserve();
        assert!(place.is_some() && registry.reserve().is_none());
        drop(place);
        assert!(registry.reserve().is_some());
    }
}
