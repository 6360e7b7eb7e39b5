//! A TCP proxy between any two of the processes that can do to their connections what networks do:
//! cut them, cut them in the middle of what they carry, stall them, let one direction die, let both
//! die without a word (half-open), delay everything, or lead elsewhere.
//!
//! Faults concern either the connections that are there now (new ones work, as after a failover of
//! something on the way), or all of them until they are lifted (as when a cable is out). What is
//! left to chance comes from the seed.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The proxy reads at most so much at a time.
const CHUNK: usize = 16 * 1024;

/// What the proxy does now. Connections are numbered from 1 as they come.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// Where new connections go.
    target: SocketAddr,
    /// Bytes of connections up to this one no longer flow to the target; nobody is told.
    frozen_up: u64,
    /// The same from the target.
    frozen_down: u64,
    /// Connections up to this one are ended.
    cut: u64,
    /// Connections up to this one are reset once they have carried this many more bytes.
    byte_cut: (u64, u64),
    /// Nothing flows, on no connection, not even a new one.
    stalled: bool,
    /// Connections are ended as they come.
    refused: bool,
    /// Each piece that arrives waits up to so long.
    delay: Duration,
    /// The number of the newest connection.
    newest: u64,
}

/// A proxy; dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    carried: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy that leads to `target`. Its tasks are the present runtime's.
    pub fn start(target: SocketAddr) -> Self {
        Self::seeded(target, 0)
    }

    /// The same, with chance from this seed.
    pub fn seeded(target: SocketAddr, seed: u64) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be set");
        let address = listener.local_addr().expect("bound");
        let listener = TcpListener::from_std(listener).expect("a runtime runs");
        let rule = watch::Sender::new(Rule {
            target,
            frozen_up: 0,
            frozen_down: 0,
            cut: 0,
            byte_cut: (0, 0),
            stalled: false,
            refused: false,
            delay: Duration::ZERO,
            newest: 0,
        });
        let carried = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, rule.clone(), Arc::clone(&carried), seed));
        Self {
            address,
            rule,
            carried,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Bytes carried so far, both directions together.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Ends the present connections; new ones work.
    pub fn cut(&self) {
        self.rule.send_modify(|rule| rule.cut = rule.newest);
    }

    /// The present connections are reset as soon as each has carried this many more bytes, wherever
    /// in a message that is; new ones work.
    pub fn cut_after(&self, bytes: u64) {
        self.rule
            .send_modify(|rule| rule.byte_cut = (rule.newest, bytes));
    }

    /// The present connections stay open and carry nothing any more (half-open); new ones work.
    pub fn freeze(&self) {
        self.freeze_up();
        self.freeze_down();
    }

    /// As [`Self::freeze`], only towards the target (one-way).
    pub fn freeze_up(&self) {
        self.rule.send_modify(|rule| rule.frozen_up = rule.newest);
    }

    /// As [`Self::freeze`], only from the target (one-way).
    pub fn freeze_down(&self) {
        self.rule.send_modify(|rule| rule.frozen_down = rule.newest);
    }

    /// Nothing flows any more, on no connection and in no direction, until [`Self::flow`].
    pub fn stall(&self) {
        self.rule.send_modify(|rule| rule.stalled = true);
    }

    /// Ends the stall: what was held flows on.
    pub fn flow(&self) {
        self.rule.send_modify(|rule| rule.stalled = false);
    }

    /// The network is down: the present connections end, new ones are ended at once, until
    /// [`Self::mend`].
    pub fn partition(&self) {
        self.rule.send_modify(|rule| {
            rule.cut = rule.newest;
            rule.refused = true;
        });
    }

    /// Ends the partition.
    pub fn mend(&self) {
        self.rule.send_modify(|rule| rule.refused = false);
    }

    /// From now on each piece of data waits up to so long; zero ends it.
    pub fn delay(&self, most: Duration) {
        self.rule.send_modify(|rule| rule.delay = most);
    }

    /// New connections go there; the present ones stay where they are.
    pub fn lead_to(&self, target: SocketAddr) {
        self.rule.send_modify(|rule| rule.target = target);
    }
}

async fn accept(
    listener: TcpListener,
    rule: watch::Sender<Rule>,
    carried: Arc<AtomicU64>,
    seed: u64,
) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut number = 0;
        rule.send_modify(|rule| {
            rule.newest += 1;
            number = rule.newest;
        });
        if !rule.borrow().refused {
            let carried = Arc::clone(&carried);
            connections.spawn(connection(near, number, rule.subscribe(), carried, seed));
        }
    }
}

/// One connection, until either end closes or a rule ends it.
async fn connection(
    near: TcpStream,
    number: u64,
    rule: watch::Receiver<Rule>,
    carried: Arc<AtomicU64>,
    seed: u64,
) {
    let mut held = rule.clone();
    let mut ended = rule.clone();
    let carry = async {
        // While nothing flows, the target does not hear of a new connection either.
        held.wait_for(|rule| !rule.stalled).await.ok()?;
        let target = held.borrow().target;
        let far = TcpStream::connect(target).await.ok()?;
        // Small pieces at once, and no waiting for the other side's last bytes at the end.
        for socket in [&near, &far] {
            socket.set_nodelay(true).ok()?;
            socket.set_zero_linger().ok()?;
        }
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        let seed = seed ^ number << 1;
        let pump_up = Pump::new(number, &rule, &carried, seed, |rule| rule.frozen_up);
        let pump_down = Pump::new(number, &rule, &carried, seed + 1, |rule| rule.frozen_down);
        tokio::select! {
            () = pump_up.run(near_in, far_out) => {}
            () = pump_down.run(far_in, near_out) => {}
        }
        Some(())
    };
    tokio::select! {
        _ = ended.wait_for(|rule| number <= rule.cut) => {}
        _ = carry => {}
    }
}

/// One direction of one connection.
struct Pump {
    number: u64,
    rule: watch::Receiver<Rule>,
    carried: Arc<AtomicU64>,
    chance: StdRng,
    /// Connections up to which one are frozen in this direction.
    frozen: fn(&Rule) -> u64,
    /// How many bytes are left until the cut, once one is ordered.
    left: Option<u64>,
}

impl Pump {
    fn new(
        number: u64,
        rule: &watch::Receiver<Rule>,
        carried: &Arc<AtomicU64>,
        seed: u64,
        frozen: fn(&Rule) -> u64,
    ) -> Self {
        Self {
            number,
            rule: rule.clone(),
            carried: Arc::clone(carried),
            chance: StdRng::seed_from_u64(seed),
            frozen,
            left: None,
        }
    }

    async fn run(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let most = self.rule.borrow().delay;
            if !most.is_zero() {
                let wait = most.mul_f64(self.chance.random());
                tokio::time::sleep(wait).await;
            }
            if self.open().await.is_none() {
                return;
            }
            let length = self.allowed(length);
            if to.write_all(&buffer[..length]).await.is_err() || self.left == Some(0) {
                return;
            }
            self.carried.fetch_add(length as u64, Ordering::Relaxed);
        }
        // An end is not passed on through a frozen direction either.
        self.open().await;
    }

    /// Waits until this direction carries.
    async fn open(&mut self) -> Option<()> {
        let (number, frozen) = (self.number, self.frozen);
        let carries = |rule: &Rule| !rule.stalled && number > frozen(rule);
        self.rule.wait_for(carries).await.ok().map(drop)
    }

    /// How much of this piece is still carried.
    fn allowed(&mut self, length: usize) -> usize {
        let (upto, bytes) = self.rule.borrow().byte_cut;
        if self.number > upto {
            return length;
        }
        let left = self.left.get_or_insert(bytes);
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
        *left -= allowed as u64;
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let proxy = Proxy::seeded(target, 7);
        let client = TcpStream::connect(proxy.addr()).await.expect("it listens");
        (proxy, client)
    }

    async fn round(client: &mut TcpStream, text: &str) -> Option<String> {
        client.write_all(text.as_bytes()).await.ok()?;
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).await.ok()?;
        Some(String::from_utf8_lossy(&back).into_owned())
    }

    #[tokio::test]
    async fn what_is_not_disturbed_arrives_and_a_cut_ends_only_present_connections() {
        let (proxy, mut client) = echo().await;
        assert_eq!(round(&mut client, "hello").await.as_deref(), Some("hello"));
        assert_eq!(proxy.carried(), 10);
        proxy.cut();
        assert_eq!(round(&mut client, "hello").await, None);
        let mut next = TcpStream::connect(proxy.addr()).await.expect("it listens");
        assert_eq!(round(&mut next, "again").await.as_deref(), Some("again"));
    }

    #[tokio::test]
    async fn a_byte_cut_ends_in_the_middle_of_a_message() {
        let (proxy, mut client) = echo().await;
        assert_eq!(round(&mut client, "hello").await.as_deref(), Some("hello"));
        proxy.cut_after(3);
        client.write_all(b"world").await.expect("taken");
        let mut back = Vec::new();
        let _ = client.read_to_end(&mut back).await;
        assert!(b"wor".starts_with(&back), "{back:?}");
    }

    #[tokio::test]
    async fn a_stall_holds_everything_and_loses_nothing() {
        let (proxy, mut client) = echo().await;
        assert_eq!(round(&mut client, "hello").await.as_deref(), Some("hello"));
        proxy.stall();
        client.write_all(b"held").await.expect("taken");
        let mut next = TcpStream::connect(proxy.addr()).await.expect("it listens");
        next.write_all(b"too").await.expect("taken");
        let mut back = [0; 4];
        let early = tokio::time::timeout(Duration::from_millis(50), client.read(&mut back)).await;
        assert!(early.is_err(), "something came through");
        proxy.flow();
        client.read_exact(&mut back).await.expect("it flows again");
        assert_eq!(&back, b"held");
        next.read_exact(&mut back[..3]).await.expect("here too");
        assert_eq!(&back[..3], b"too");
    }

    #[tokio::test]
    async fn a_partition_ends_connections_until_it_is_mended() {
        let (proxy, mut client) = echo().await;
        proxy.partition();
        assert_eq!(round(&mut client, "hello").await, None);
        let mut next = TcpStream::connect(proxy.addr()).await.expect("it listens");
        assert_eq!(round(&mut next, "hello").await, None);
        proxy.mend();
        wait::until("the proxy carries again", async || {
            let mut next = TcpStream::connect(proxy.addr()).await.ok()?;
            round(&mut next, "hello").await
        })
        .await;
    }
}
