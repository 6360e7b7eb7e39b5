//! A name server for one name with several loopback addresses, as Docker's own gives one address
//! for each container of a scaled service. Addresses may change while it runs.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

/// A running name server; ends on drop.
#[derive(Debug)]
pub struct Dns {
    addr: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl Dns {
    /// Answers `addresses` for every A query, and nothing for any other type.
    pub fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free UDP port");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let addresses = Arc::new(Mutex::new(addresses.to_vec()));
        let shared = Arc::downgrade(&addresses);
        let pause = Some(Duration::from_millis(100));
        socket.set_read_timeout(pause).expect("not zero");
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Some(addresses) = shared.upgrade() {
                let Ok((length, peer)) = socket.recv_from(&mut query) else {
                    continue;
                };
                let current = addresses.lock().expect("never held in a panic").clone();
                if let Some(reply) = answer(&query[..length], &current) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        Self { addr, addresses }
    }

    /// Where it answers.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on answers these.
    pub fn set(&self, addresses: &[Ipv4Addr]) {
        *self.addresses.lock().expect("never held in a panic") = addresses.to_vec();
    }
}

/// The reply to a query of one question (RFC 1035 §4.1).
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let asks_a = question[name + 1..] == [0, 1, 0, 1];
    let addresses = if asks_a { addresses } else { &[] };
    let mut reply = query[..2].to_vec();
    reply.extend([
        0x85,
        0x80,
        0,
        1,
        0,
        u8::try_from(addresses.len()).ok()?,
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    for address in addresses {
        // The name is the question's; type A, class IN, one second to live, four bytes.
        reply.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
