//! Who is here: client_id → outbox, by shard, since pushes and holes come by shard. And who is
//! about to be gone: connections whose `close` is on its way to the log, for the roll call.
//!
//! The locks are held for a lookup and never across an await.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use frontdesk_shared::{
    ids::{ClientId, SHARDS, Shard},
    protocol::close::{CloseCode, RESYNC},
};

use crate::{metrics::METRICS, outbox::Outbox, resync::Resync};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    shards: [RwLock<Sockets>; SHARDS as usize],
}

/// Those of one shard. A connection is in at most one of the two.
#[derive(Debug, Default)]
struct Sockets {
    here: HashMap<ClientId, Arc<Outbox>>,
    closing: HashSet<ClientId>,
}

/// A socket's entry; dropping it takes the socket out.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    shard: Shard,
    client: ClientId,
}

/// A connection whose `close` is on its way; dropped when that is in the log.
#[derive(Debug)]
pub(crate) struct Closing {
    registry: Arc<Registry>,
    shard: Shard,
    client: ClientId,
}

impl Registry {
    /// Enters a socket. From here on pushes reach its outbox.
    pub(crate) fn register(
        self: &Arc<Self>,
        shard: Shard,
        client: &ClientId,
    ) -> (Registration, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::default());
        self.write(shard)
            .here
            .insert(client.clone(), Arc::clone(&outbox));
        METRICS.connections.inc();
        let registration = Registration {
            registry: Arc::clone(self),
            shard,
            client: client.clone(),
        };
        (registration, outbox)
    }

    /// Whether no socket of the shard is here.
    pub(crate) fn is_empty(&self, shard: Shard) -> bool {
        self.read(shard).here.is_empty()
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
            match sockets.here.get(target) {
                Some(outbox) => deliver(outbox),
                None => unknown += 1,
            }
        }
        unknown
    }

    /// Closes every socket of a shard; returns how many.
    pub(crate) fn close_shard(&self, shard: Shard, code: CloseCode) -> usize {
        let sockets = self.read(shard);
        sockets.here.values().for_each(|outbox| outbox.kill(code));
        sockets.here.len()
    }

    /// Pushes to the sockets of a shard may be missing: tells those whose clients resume, and closes
    /// the others, and those whose welcome may be what is missing. Returns how many were told and closed.
    pub(crate) fn resync_shard(&self, shard: Shard, resync: &Resync) -> (usize, usize) {
        let sockets = self.read(shard);
        let (mut told, mut closed) = (0, 0);
        for outbox in sockets.here.values() {
            if outbox.resumes() && outbox.welcomed().is_some() {
                resync.tell(outbox);
                told += 1;
            } else {
                outbox.kill(RESYNC);
                closed += 1;
            }
        }
        (told, closed)
    }

    /// The same for the sockets of all shards.
    pub(crate) fn resync_all(&self, resync: &Resync) -> (usize, usize) {
        let shards = Shard::all().map(|shard| self.resync_shard(shard, resync));
        shards.fold((0, 0), |(told, closed), shard| {
            (told + shard.0, closed + shard.1)
        })
    }

    /// Closes one socket; false if it is not here.
    pub(crate) fn close(&self, shard: Shard, client: &str, code: CloseCode) -> bool {
        let sockets = self.read(shard);
        let outbox = sockets.here.get(client);
        outbox.inspect(|outbox| outbox.kill(code)).is_some()
    }

    /// The sockets that were welcomed longer ago than that.
    pub(crate) fn welcomed_before(&self, shard: Shard, age: Duration) -> HashSet<ClientId> {
        let long_since = |outbox: &Outbox| outbox.welcomed().is_some_and(|at| at.elapsed() >= age);
        let sockets = self.read(shard);
        let here = sockets.here.iter();
        here.filter(|(_, outbox)| long_since(outbox))
            .map(|(client, _)| client.clone())
            .collect()
    }

    /// Whether the socket is here, or its `close` on its way.
    pub(crate) fn holds(&self, shard: Shard, client: &str) -> bool {
        let sockets = self.read(shard);
        sockets.here.contains_key(client) || sockets.closing.contains(client)
    }

    /// Takes on the `close` of a connection whose socket is not here; `None` if it is, or if
    /// somebody else has taken it on.
    pub(crate) fn begin_closing(
        self: &Arc<Self>,
        shard: Shard,
        client: &ClientId,
    ) -> Option<Closing> {
        let mut sockets = self.write(shard);
        let free = !sockets.here.contains_key(client) && sockets.closing.insert(client.clone());
        drop(sockets);
        free.then(|| Closing {
            registry: Arc::clone(self),
            shard,
            client: client.clone(),
        })
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

impl Registration {
    /// Takes the socket out; its `close` is on its way from the same moment on.
    pub(crate) fn into_closing(self) -> Closing {
        let mut sockets = self.registry.write(self.shard);
        sockets.here.remove(&self.client);
        sockets.closing.insert(self.client.clone());
        drop(sockets);
        Closing {
            registry: Arc::clone(&self.registry),
            shard: self.shard,
            client: self.client.clone(),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.write(self.shard).here.remove(&self.client);
        METRICS.connections.dec();
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.registry.write(self.shard).closing.remove(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Outgoing;
    use frontdesk_shared::ids::BootId;

    #[tokio::test]
    async fn a_shard_is_closed_alone_and_the_gone_are_unknown() {
        let registry = Arc::new(Registry::default());
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

    #[tokio::test]
    async fn who_resumes_is_told_that_pushes_are_missing_and_others_are_closed() {
        let registry = Arc::new(Registry::default());
        let boot = BootId::random();
        let (here, there) = (Shard::new(0).expect("valid"), Shard::new(1).expect("valid"));
        let enter = |shard| registry.register(shard, &ClientId::random(&boot));
        let ((_a, by_hand), (_b, resumes), (_c, elsewhere)) =
            (enter(here), enter(here), enter(there));
        resumes.set_resumes();
        resumes.welcome();
        let resync = Resync::default();
        assert_eq!(registry.resync_shard(here, &resync), (1, 1));
        assert_eq!(by_hand.killed().await, RESYNC);
        assert!(resumes.push(Outgoing::Resync) && elsewhere.push(Outgoing::Resync));
        assert_eq!(registry.resync_all(&resync), (1, 2));
    }

    #[test]
    fn a_socket_that_leaves_is_held_until_its_close_is_written() {
        let registry = Arc::new(Registry::default());
        let shard = Shard::new(3).expect("valid");
        let client = ClientId::random(&BootId::random());
        let (entry, _outbox) = registry.register(shard, &client);
        assert!(
            registry.begin_closing(shard, &client).is_none(),
            "it is here"
        );
        let closing = entry.into_closing();
        assert!(registry.holds(shard, client.as_str()));
        assert!(registry.begin_closing(shard, &client).is_none(), "taken on");
        assert!(!registry.close(shard, client.as_str(), RESYNC));
        drop(closing);
        assert!(!registry.holds(shard, client.as_str()));
        assert!(registry.begin_closing(shard, &client).is_some());
    }

    #[test]
    fn only_sockets_welcomed_long_enough_ago_are_judged() {
        let registry = Arc::new(Registry::default());
        let shard = Shard::new(3).expect("valid");
        let client = ClientId::random(&BootId::random());
        let (_entry, outbox) = registry.register(shard, &client);
        assert!(registry.welcomed_before(shard, Duration::ZERO).is_empty());
        outbox.welcome();
        assert_eq!(registry.welcomed_before(shard, Duration::ZERO).len(), 1);
        assert!(
            registry
                .welcomed_before(shard, Duration::from_secs(60))
                .is_empty()
        );
    }
}
