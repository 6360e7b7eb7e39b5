//! What outlives a boot: the settings, the places for sockets, and which boot serves new ones.
//!
//! A boot that is FENCED is given up, and the process goes on under a new boot id behind the same
//! listener. Sockets belong to the boot that they came to, to their end.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use frontdesk_shared::http;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    Config, Gateway,
    auth::Auth,
    crowd::{Crowd, Guest},
};

/// `--max-requests` is at most this, well below [`http::MAX_PENDING`]: however long requests take there is room
/// for handshakes and probes.
pub(crate) const MAX_REQUESTS: usize = http::MAX_PENDING / 2;

/// A place under `--max-connections` and under the limits of its address, held from the handshake
/// to the end of the TCP connection; or one under `--max-requests`, until the answer is sent.
#[derive(Debug)]
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _guest: Option<Guest>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The process has as many sockets as it may.
    Full,
    /// This address has too many, or comes too fast.
    Crowded,
}

#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) config: Arc<Config>,
    pub(crate) auth: Arc<Auth>,
    /// The sockets of all boots, and the `close` events that outlive them.
    pub(crate) tasks: TaskTracker,
    /// Requests of the HTTP API, until their answer is handed to the socket.
    pub(crate) answers: TaskTracker,
    sockets: Entrance,
    requests: Entrance,
    gateway: RwLock<Option<Arc<Gateway>>>,
}

/// The places for one kind of client, in all and for each address.
#[derive(Debug)]
struct Entrance {
    places: Arc<Semaphore>,
    crowd: Arc<Crowd>,
}

impl Entrance {
    fn new(most: usize, of_an_address: usize, rate: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            crowd: Arc::new(Crowd::new(of_an_address, rate.into())),
        }
    }

    fn reserve(&self, client: IpAddr, limited: bool) -> Result<Place, NoPlace> {
        let guest = if limited {
            let guest = self.crowd.enter(client, Instant::now());
            Some(guest.ok_or(NoPlace::Crowded)?)
        } else {
            None
        };
        let place = Arc::clone(&self.places).try_acquire_owned();
        Ok(Place {
            _place: place.map_err(|_| NoPlace::Full)?,
            _guest: guest,
        })
    }
}

impl Front {
    pub(crate) fn new(config: Config, auth: Auth) -> Self {
        Self {
            auth: Arc::new(auth),
            sockets: Entrance::new(
                config.max_connections,
                config.max_connections_per_ip,
                config.connection_rate_per_ip,
            ),
            requests: Entrance::new(
                config.max_requests,
                config.request_rate_per_ip as usize,
                config.request_rate_per_ip,
            ),
            config: Arc::new(config),
            tasks: TaskTracker::new(),
            answers: TaskTracker::new(),
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

    /// This gateway takes nobody any more, and ends.
    pub(crate) fn is_draining(&self) -> bool {
        let present = self.gateway.read().unwrap_or_else(PoisonError::into_inner);
        present
            .as_ref()
            .is_some_and(|gateway| gateway.status.is_draining())
    }

    /// A place for one more socket of this client, if there is one.
    pub(crate) fn reserve(&self, client: IpAddr) -> Result<Place, NoPlace> {
        self.sockets.reserve(client, self.config.limits(client))
    }

    /// A place for one more request of this client to the HTTP API, if there is one.
    pub(crate) fn reserve_request(&self, client: IpAddr) -> Result<Place, NoPlace> {
        self.requests.reserve(client, self.config.limits(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let settings = ["frontdesk-gateway", "--max-connections=1"];
        let front = crate::offline_front(&settings);
        let reserve = || front.reserve(IpAddr::from([192, 0, 2, 1]));
        let place = reserve();
        assert!(place.is_ok());
        assert_eq!(reserve().err(), Some(NoPlace::Full));
        drop(place);
        assert!(reserve().is_ok());
    }
}
