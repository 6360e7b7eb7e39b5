//! Ports that nobody else takes: leased by a locked file for as long as the [`Port`] lives, below
//! the range from which the kernel gives ports to outgoing connections. So a server that was
//! killed finds its port free, and test programs that run at once never meet.

use std::{
    fs::{self, File},
    net::TcpListener,
};

use rand::Rng as _;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A leased port.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Leases a port that is free on every address.
    pub fn lease() -> Self {
        let dir = std::env::temp_dir().join("frontdesk-test-ports");
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let start = rand::rng().random_range(0..COUNT);
        for offset in 0..COUNT {
            let number = FIRST + (start + offset) % COUNT;
            let Ok(lock) = File::create(dir.join(number.to_string())) else {
                continue;
            };
            if lock.try_lock().is_ok() && TcpListener::bind(("0.0.0.0", number)).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_meet() {
        let ports: Vec<_> = (0..50).map(|_| Port::lease()).collect();
        let mut numbers: Vec<_> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }
}
