//! A customer or a member of staff who lives by chance: comes, talks, leaves, breaks the socket,
//! comes back, and behaves as docs/PROTOCOL.md asks of a client: sends again with the same id what
//! is not acknowledged, waits when told to, reconnects with a growing random delay.

mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{
    history::{History, What},
    resume::Resuming,
    settled::Settled,
};

/// Messages that a person has on their way at most.
const WINDOW: usize = 4;
/// A message without an ack is sent again after so long.
const RESEND: Duration = Duration::from_secs(3);
/// A socket on which no answer comes for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(4);
/// Pauses between two things that a person does, in ms.
const PAUSE_MS: std::ops::Range<u64> = 20..160;
/// The longest pause before connecting again.
const BACKOFF: Duration = Duration::from_secs(1);
/// While everybody settles, customers say something this often, so that nobody counts as silent.
const CHATTER: Duration = Duration::from_secs(10);

/// What everybody is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Live by chance.
    Live,
    /// Stay, and finish what was begun.
    Settle,
    /// Go home.
    Leave,
}

/// What all people share.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) history: History,
    pub(super) act: watch::Receiver<Act>,
    pub(super) gateways: Arc<Mutex<Vec<SocketAddr>>>,
    pub(super) sockets: Arc<AtomicU64>,
    pub(super) acks: Arc<AtomicU64>,
    /// The sockets of devices that resume, and whose they are: `site/uid#device`.
    pub(super) devices: Arc<Mutex<BTreeMap<u64, String>>>,
}

/// Numbers of the messages of one device begin with its own, times this.
pub const NUMBERS_PER_DEVICE: u64 = 1_000_000;

/// Who somebody is.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) site: String,
    pub(super) uid: String,
    /// For staff: how many customers at a time.
    pub(super) max: Option<usize>,
    /// Which of the user's devices; only the first asks for a place.
    pub(super) device: usize,
    /// Whether it resumes.
    pub(super) resumes: bool,
}

impl Name {
    pub(super) fn full(&self) -> String {
        format!("{}/{}", self.site, self.uid)
    }
}

/// A message without an ack.
#[derive(Debug)]
struct Pending {
    frame: String,
    words: String,
    conversation: Option<String>,
    /// When it was sent last, or may be sent again.
    sent: Instant,
    /// Since when an answer is owed on this socket.
    owed: Option<Instant>,
    /// It was refused for now: send again at `sent`.
    held: bool,
}

pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) number: u64,
    welcomed: bool,
    /// Since when an answer is owed: to the handshake, or about a place.
    owed: Option<Instant>,
}

/// See the head of this file.
pub(super) struct Person {
    pub(super) name: Name,
    who: String,
    stage: Stage,
    chance: StdRng,
    pub(super) socket: Option<Socket>,
    /// What a device that resumes knows.
    pub(super) resuming: Option<Resuming>,
    backoff: Duration,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// What is known to be open: at most one for a customer.
    pub(super) open: BTreeSet<String>,
    /// The customer waits in a queue, or staff are on duty.
    pub(super) placed: bool,
    /// Staff or customer asked for a place and were not answered yet.
    pub(super) asked: bool,
    spoke: Instant,
    settled: Arc<Settled>,
}

impl Person {
    pub(super) fn new(name: Name, stage: Stage, seed: u64, settled: Arc<Settled>) -> Self {
        Self {
            who: name.full(),
            next: name.device as u64 * NUMBERS_PER_DEVICE,
            resuming: name.resumes.then(Resuming::default),
            name,
            stage,
            chance: StdRng::seed_from_u64(seed),
            socket: None,
            backoff: Duration::ZERO,
            pending: BTreeMap::new(),
            open: BTreeSet::new(),
            placed: false,
            asked: false,
            spoke: Instant::now(),
            settled,
        }
    }

    /// Lives until everybody goes home.
    pub(super) async fn run(mut self) {
        let mut act = self.stage.act.clone();
        loop {
            let now = *act.borrow_and_update();
            self.settled.set(self.unsettled());
            if now == Act::Leave {
                return self.leave().await;
            }
            let pause = Duration::from_millis(self.chance.random_range(PAUSE_MS));
            let Some(socket) = &mut self.socket else {
                self.connect().await;
                continue;
            };
            tokio::select! {
                message = socket.stream.next() => match message {
                    Some(Ok(message)) => self.take(&message),
                    Some(Err(error)) => self.lost(&error.to_string()),
                    None => self.lost("the end"),
                },
                () = tokio::time::sleep(pause) => self.act(now).await,
                _ = act.changed() => {}
            }
        }
    }

    /// What is owed to this person or by them.
    fn unsettled(&self) -> Option<&'static str> {
        let is_welcomed = self.socket.as_ref().is_some_and(|socket| socket.welcomed);
        let has_all = self.resuming.as_ref().is_none_or(Resuming::has_all);
        let has_place = self.placed || !self.open.is_empty();
        let owed = [
            ("a welcome", !is_welcomed),
            ("what a resume brings", !has_all),
            ("acks", !self.pending.is_empty()),
            ("an answer about a place", self.asked),
            ("a place", !has_place),
        ];
        owed.into_iter()
            .find_map(|(what, is_owed)| is_owed.then_some(what))
    }

    fn note(&self, what: What) {
        let socket = self.socket.as_ref().map_or(0, |socket| socket.number);
        self.stage.history.note(&self.who, socket, what);
    }

    async fn connect(&mut self) {
        tokio::time::sleep(self.backoff.mul_f64(self.chance.random())).await;
        self.backoff = (self.backoff * 2).clamp(Duration::from_millis(50), BACKOFF);
        let gateway = {
            let gateways = self.stage.gateways.lock();
            let gateways = gateways.unwrap_or_else(PoisonError::into_inner);
            gateways.choose(&mut self.chance).copied()
        };
        let Some(gateway) = gateway else { return };
        let Name { site, uid, .. } = &self.name;
        let url = format!("ws://{gateway}/?site={site}&uid={uid}");
        // An error is a gateway that is dead, stopped or not ready: another one, later.
        let Ok(Ok((stream, _))) = timeout(CONNECT, connect_async(url)).await else {
            return;
        };
        let number = self.stage.sockets.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(resuming) = &mut self.resuming {
            resuming.begin();
            let device = format!("{}#{}", self.who, self.name.device);
            let mut devices = self
                .stage
                .devices
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            devices.insert(number, device);
        }
        self.socket = Some(Socket {
            stream,
            number,
            welcomed: false,
            owed: Some(Instant::now()),
        });
        (self.placed, self.asked) = (false, false);
        self.open.clear();
    }

    fn lost(&mut self, why: &str) {
        self.note(What::Lost(why.to_owned()));
        self.socket = None;
    }

    async fn send(&mut self, frame: &str) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let sent = timeout(GIVE_UP, socket.stream.send(Message::text(frame))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.lost("cannot send");
        }
    }

    pub(super) async fn do_(&mut self, action: &str, payload: Value) {
        let frame = json!({ "action": action, "payload": payload }).to_string();
        self.note(What::Did(frame.clone()));
        self.send(&frame).await;
    }

    async fn act(&mut self, act: Act) {
        let Some(socket) = &self.socket else { return };
        let oldest = self.pending.values().filter_map(|pending| pending.owed);
        let resumes = self.resuming.as_ref().and_then(Resuming::owed);
        let owed = socket.owed.into_iter().chain(oldest).chain(resumes).min();
        if owed.is_some_and(|since| since.elapsed() > GIVE_UP) {
            return self.lost("no answer");
        }
        if !socket.welcomed {
            return;
        }
        if !self.is_resumed().await {
            return;
        }
        // A place first, and words only once there is one: the refusal of words without a place may be
        // lost with its socket, and then their later success would look like a change of order.
        if self.asked {
            return;
        }
        if !self.placed && self.open.is_empty() {
            if self.name.device == 0 {
                self.ask().await;
            }
            return;
        }
        if let Some(number) = self.due() {
            return self.say_again(number).await;
        }
        match (act, self.name.max) {
            (Act::Live, None) => self.live_as_customer().await,
            (Act::Live, Some(_)) => self.live_as_staff().await,
            _ => self.chatter().await,
        }
    }

    /// A message that is to be sent (again).
    fn due(&self) -> Option<u64> {
        let due = |pending: &Pending| {
            let wait = if pending.held { Duration::ZERO } else { RESEND };
            Instant::now() >= pending.sent + wait
        };
        let found = self.pending.iter().find(|(_, pending)| due(pending));
        found.map(|(number, _)| *number)
    }

    async fn ask(&mut self) {
        self.asked = true;
        if let Some(socket) = &mut self.socket {
            socket.owed = Some(Instant::now());
        }
        match self.name.max {
            Some(max) => {
                let name = &self.name.uid;
                self.do_("staffOnline", json!({ "name": name, "max": max }))
                    .await;
            }
            None => self.do_("customerConnect", json!({})).await,
        }
    }

    async fn live_as_customer(&mut self) {
        match self.chance.random_range(0..1000) {
            0..700 => self.say_as_customer().await,
            700..715 => self.do_("customerLeave", json!({})).await,
            715..722 => self.hang_up(Some(1000)).await,
            722..727 => self.hang_up(None).await,
            _ => {}
        }
    }

    async fn live_as_staff(&mut self) {
        let open: Vec<_> = self.open.iter().cloned().collect();
        let one = open.choose(&mut self.chance).cloned();
        match (self.chance.random_range(0..1000), one) {
            (0..700, Some(conversation)) => self.say(Some(conversation)).await,
            (700..715, Some(conversation)) => {
                self.do_("close", json!({ "conversation": conversation }))
                    .await;
            }
            (715..720, _) => {
                self.do_("staffOffline", json!({})).await;
                self.placed = false;
                self.open.clear();
            }
            (720..725, _) => self.hang_up(None).await,
            _ => {}
        }
    }

    /// Customers who are served keep talking a little.
    async fn chatter(&mut self) {
        if self.name.max.is_none() && !self.open.is_empty() && self.spoke.elapsed() > CHATTER {
            self.say_as_customer().await;
        }
    }

    /// Of several devices one may leave and ask again while another one's words are refused, and that
    /// refusal be lost: so they say which conversation they mean, and words are refused again.
    async fn say_as_customer(&mut self) {
        if self.resuming.is_none() {
            self.say(None).await;
        } else if let Some(conversation) = self.open.first().cloned() {
            self.say(Some(conversation)).await;
        }
    }

    /// Ends the socket, with a close frame or without, and comes back at once.
    async fn hang_up(&mut self, code: Option<u16>) {
        self.note(What::Left);
        let Some(mut socket) = self.socket.take() else {
            return;
        };
        if let Some(code) = code {
            let frame = CloseFrame {
                code: code.into(),
                reason: "".into(),
            };
            let _ = timeout(CONNECT, socket.stream.close(Some(frame))).await;
        }
    }

    async fn leave(&mut self) {
        if self.name.max.is_some() && self.socket.is_some() {
            self.do_("staffOffline", json!({})).await;
        }
        self.hang_up(Some(1000)).await;
    }

    async fn say(&mut self, conversation: Option<String>) {
        if self.pending.len() >= WINDOW {
            return;
        }
        self.spoke = Instant::now();
        self.next += 1;
        let number = self.next;
        let words = format!("{} says {number} \"\\\n", self.who);
        let mut payload = json!({ "message": words, "id": format!("m{number}") });
        if let Some(conversation) = &conversation {
            payload["conversation"] = json!(conversation);
        }
        let frame = json!({ "action": "message", "payload": payload }).to_string();
        let pending = Pending {
            frame,
            words,
            conversation,
            sent: Instant::now(),
            owed: None,
            held: false,
        };
        self.pending.insert(number, pending);
        self.say_again(number).await;
    }

    async fn say_again(&mut self, number: u64) {
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        pending.held = false;
        pending.sent = Instant::now();
        pending.owed.get_or_insert(pending.sent);
        let (frame, words) = (pending.frame.clone(), pending.words.clone());
        let reference = format!("m{number}");
        self.note(What::Said { reference, words });
        self.send(&frame).await;
    }
}
