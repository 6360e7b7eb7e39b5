//! How many sockets one address may hold, and how fast it may open them.
//!
//! An IPv6 network of 64 bits counts as one address: one customer gets so many. The table holds
//! who is here and, of those who are not, a bounded number until their bucket is full again; when
//! too many addresses come and go, the idle ones are forgotten early.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Most addresses without a socket that are remembered.
const MAX_IDLE: usize = 65_536;
/// The bits of an IPv6 address that count.
const IPV6_PREFIX: u32 = 64;

#[derive(Debug)]
pub(crate) struct Crowd {
    /// Most sockets of an address, and how many may be opened at once: all come back together
    /// when a gateway has died.
    most: usize,
    /// Sockets that an address may open per second, on average.
    rate: f64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Address>,
    idle: usize,
}

#[derive(Debug)]
struct Address {
    sockets: usize,
    tokens: f64,
    at: Instant,
}

/// A socket's place in the crowd, until it is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub(crate) fn new(most: usize, rate: f64) -> Self {
        Self {
            most,
            rate,
            table: Mutex::default(),
        }
    }

    /// A place for one more socket of this address, if it has not too many or comes too fast.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Guest> {
        let address = network(address);
        let burst = self.most as f64;
        let mut table = self.lock();
        let Table { addresses, idle } = &mut *table;
        let entry = addresses.entry(address).or_insert_with(|| {
            *idle += 1;
            Address {
                sockets: 0,
                tokens: burst,
                at: now,
            }
        });
        let passed = now.saturating_duration_since(entry.at).as_secs_f64();
        entry.tokens = (entry.tokens + passed * self.rate).min(burst);
        entry.at = now;
        let admitted = entry.sockets < self.most && entry.tokens >= 1.0;
        if admitted {
            entry.tokens -= 1.0;
            entry.sockets += 1;
            *idle -= usize::from(entry.sockets == 1);
        }
        table.shrink(now, self.rate, burst);
        drop(table);
        admitted.then(|| Guest {
            crowd: Arc::clone(self),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner) // counts stay whole
    }
}

impl Table {
    fn shrink(&mut self, now: Instant, rate: f64, burst: f64) {
        if self.idle <= MAX_IDLE {
            return;
        }
        let passed = |entry: &Address| now.saturating_duration_since(entry.at).as_secs_f64();
        let full_again = |entry: &Address| entry.tokens + passed(entry) * rate >= burst;
        self.addresses
            .retain(|_, entry| entry.sockets > 0 || !full_again(entry));
        self.count_idle();
        if self.idle > MAX_IDLE / 2 {
            self.addresses.retain(|_, entry| entry.sockets > 0);
            self.count_idle();
        }
    }

    fn count_idle(&mut self) {
        self.idle = self
            .addresses
            .values()
            .filter(|entry| entry.sockets == 0)
            .count();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut table = self.crowd.lock();
        let Table { addresses, idle } = &mut *table;
        if let Some(entry) = addresses.get_mut(&self.address) {
            entry.sockets -= 1;
            *idle += usize::from(entry.sockets == 0);
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - IPV6_PREFIX);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_holds_so_many_sockets_and_another_its_own() {
        let (crowd, now) = (Arc::new(Crowd::new(2, 1000.0)), Instant::now());
        let later = now + Duration::from_secs(60);
        let guests: Vec<_> = (0..2).map(|_| crowd.enter(ip("192.0.2.1"), now)).collect();
        assert!(guests.iter().all(Option::is_some));
        assert!(crowd.enter(ip("192.0.2.1"), later).is_none());
        assert!(crowd.enter(ip("192.0.2.2"), later).is_some());
        drop(guests);
        assert!(crowd.enter(ip("192.0.2.1"), later).is_some());
    }

    #[test]
    fn who_comes_too_fast_waits_for_the_bucket() {
        let (crowd, now) = (Arc::new(Crowd::new(3, 2.0)), Instant::now());
        for _ in 0..3 {
            assert!(crowd.enter(ip("192.0.2.1"), now).is_some());
        }
        assert!(
            crowd.enter(ip("192.0.2.1"), now).is_none(),
            "though nobody stays"
        );
        assert!(
            crowd
                .enter(ip("192.0.2.1"), now + Duration::from_millis(499))
                .is_none()
        );
        assert!(
            crowd
                .enter(ip("192.0.2.1"), now + Duration::from_millis(501))
                .is_some()
        );
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let (crowd, now) = (Arc::new(Crowd::new(1, 1000.0)), Instant::now());
        let _first = crowd.enter(ip("2001:db8:0:1::1"), now).expect("free");
        assert!(crowd.enter(ip("2001:db8:0:1:ffff::2"), now).is_none());
        assert!(crowd.enter(ip("2001:db8:0:2::1"), now).is_some());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_nobody_who_is_here() {
        let (crowd, now) = (Arc::new(Crowd::new(1, 0.001)), Instant::now());
        let here = crowd.enter(ip("192.0.2.1"), now).expect("free");
        for number in 0..200_000_u32 {
            crowd.enter(IpAddr::V4(number.into()), now);
        }
        assert!(crowd.lock().addresses.len() <= MAX_IDLE + 1);
        assert!(crowd.enter(ip("192.0.2.1"), now).is_none(), "still counted");
        drop(here);
        let table = crowd.lock();
        let idle = table.addresses.values().filter(|entry| entry.sockets == 0);
        assert_eq!(idle.count(), table.idle);
    }
}
