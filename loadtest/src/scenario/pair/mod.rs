//! One customer and one staff member in a conversation, both in this task. They take turns to speak, so
//! both directions and both gateways are loaded alike.

mod ears;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{select, sync::Notify, time::sleep};

use super::open_loop::Schedule;
use crate::{
    check::Order,
    client::{Incoming, Socket},
    context::Context,
    frame::{Words, message},
    latency::Kind,
    target::Side,
};

/// After so long without an ack a message is sent again, as the protocol says.
const RESEND: Duration = Duration::from_secs(10);
/// How often a pair looks for such messages.
const LOOK: Duration = Duration::from_secs(1);
/// How long what is under way may take at the end.
const DRAIN: Duration = Duration::from_secs(15);
/// How long the ear stays open after the last message, for doubles.
const LINGER: Duration = Duration::from_millis(200);
/// Most messages of one side on their way; the protocol allows 256 per sender.
pub(crate) const MAX_WINDOW: u64 = 200;

/// When the pair speaks.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// Always so many messages on their way: the next one goes when one is completed.
    Closed(u64),
    /// At due times, whatever became of those before.
    Open {
        schedule: Schedule,
        /// The pair's place in the schedule.
        place: u64,
        wake: Arc<Notify>,
    },
}

/// A message on its way.
#[derive(Debug)]
struct Flight {
    from: Side,
    n: u64,
    due: Instant,
    /// When it goes, or is to go, once more.
    again: Instant,
    text: String,
    delivered: Option<u64>,
    acked: Option<u64>,
}

/// One side's socket and what its owner has heard and said.
#[derive(Debug)]
struct Seat {
    socket: Socket,
    said: u64,
    heard: Order,
}

impl Seat {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            said: 0,
            heard: Order::default(),
        }
    }
}

/// Two who talk.
#[derive(Debug)]
pub(crate) struct Pair {
    context: Arc<Context>,
    /// What their words begin with.
    talk: String,
    bytes: usize,
    /// In which conversation; empty with the bare relay.
    conversation: String,
    bare: bool,
    customer: Seat,
    staff: Seat,
    flights: Vec<Flight>,
    /// Messages that fell due.
    due: u64,
    stopping: bool,
    /// What a delivery is counted as.
    kind: Kind,
}

impl Pair {
    pub(crate) fn new(
        context: &Arc<Context>,
        talk: String,
        bytes: usize,
        conversation: String,
        (customer, staff): (Socket, Socket),
    ) -> Self {
        Self {
            bare: context.plan.load.bare,
            context: context.clone(),
            talk,
            bytes,
            conversation,
            customer: Seat::new(customer),
            staff: Seat::new(staff),
            flights: Vec::new(),
            due: 0,
            stopping: false,
            kind: Kind::Delivery,
        }
    }

    /// Counts its deliveries as those of the quiet pair.
    pub(crate) fn into_probe(mut self) -> Self {
        self.kind = Kind::Probe;
        self
    }

    /// Talks until the context stops, finishes what is under way, and leaves.
    pub(crate) async fn talk(mut self, pace: Pace) {
        if let Pace::Closed(window) = &pace {
            for _ in 0..*window {
                self.speak(Instant::now()).await;
            }
        }
        let over = self.until_over(&pace).await;
        for flight in std::mem::take(&mut self.flights) {
            self.account(&flight, over);
        }
        if over {
            tokio::join!(self.customer.socket.close(), self.staff.socket.close());
        }
    }

    /// Whether it came to its end; else a socket was lost.
    async fn until_over(&mut self, pace: &Pace) -> bool {
        let context = self.context.clone();
        let stop = context.stop.cancelled();
        let look = sleep(LOOK);
        tokio::pin!(stop, look);
        let mut drained_by = None;
        loop {
            let came = select! {
                incoming = self.customer.socket.next() => Some((Side::Customer, incoming)),
                incoming = self.staff.socket.next() => Some((Side::Staff, incoming)),
                () = turn(pace), if !self.stopping => None,
                () = &mut stop, if !self.stopping => {
                    self.stopping = true;
                    drained_by = Some(Instant::now() + DRAIN);
                    None
                }
                () = &mut look => {
                    self.resend().await;
                    look.as_mut().reset((Instant::now() + LOOK).into());
                    None
                }
            };
            match came {
                Some((side, Incoming::Text(text))) => self.take(side, &text, pace).await,
                Some((_, Incoming::Closed(_))) => {
                    if !self.stopping || !self.flights.is_empty() {
                        context.count(|counts| counts.disconnected += 1);
                    }
                    return false;
                }
                None => {}
            }
            if let Pace::Open {
                schedule, place, ..
            } = pace
            {
                self.speak_what_is_due(schedule, *place).await;
            }
            if let Some(deadline) = drained_by
                && (self.flights.is_empty() || Instant::now() >= deadline)
            {
                self.linger(pace).await;
                return true;
            }
        }
    }

    async fn speak_what_is_due(&mut self, schedule: &Schedule, place: u64) {
        while !self.stopping && (self.flights.len() as u64) < MAX_WINDOW {
            let due = schedule.due(place, self.due);
            if due > Instant::now() {
                return;
            }
            if self.kind == Kind::Delivery {
                self.context.measure(Kind::Lag, due);
            }
            self.speak(due).await;
        }
    }

    /// The next message, from whoever's turn it is.
    async fn speak(&mut self, due: Instant) {
        let side = if self.due.is_multiple_of(2) {
            Side::Customer
        } else {
            Side::Staff
        };
        self.due += 1;
        let seat = self.seat(side);
        seat.said += 1;
        let n = seat.said;
        let words = Words {
            talk: &self.talk,
            side,
            n,
            due_us: 0,
        };
        let text = message(n, &words.text(self.bytes), None);
        self.flights.push(Flight {
            from: side,
            n,
            due,
            again: due + RESEND,
            text: text.clone(),
            delivered: None,
            acked: None,
        });
        self.context.count(|counts| counts.sent += 1);
        self.seat(side).socket.send(text).await;
    }

    fn seat(&mut self, side: Side) -> &mut Seat {
        match side {
            Side::Customer => &mut self.customer,
            Side::Staff => &mut self.staff,
        }
    }

    async fn resend(&mut self) {
        let now = Instant::now();
        let mut late = Vec::new();
        for flight in &mut self.flights {
            if flight.acked.is_none() && now >= flight.again && !self.bare {
                flight.again = now + RESEND;
                late.push((flight.from, flight.n, flight.text.clone()));
            }
        }
        for (side, n, text) in late {
            self.context.count(|counts| counts.resent += 1);
            self.seat(side.other()).heard.excuse(n);
            self.seat(side).socket.send(text).await;
        }
    }

    /// Listens a little longer: a double comes late.
    async fn linger(&mut self, pace: &Pace) {
        let over = sleep(LINGER);
        tokio::pin!(over);
        loop {
            let (side, incoming) = select! {
                incoming = self.customer.socket.next() => (Side::Customer, incoming),
                incoming = self.staff.socket.next() => (Side::Staff, incoming),
                () = &mut over => return,
            };
            match incoming {
                Incoming::Text(text) => self.take(side, &text, pace).await,
                Incoming::Closed(_) => return,
            }
        }
    }

    /// What became of a message that was not completed.
    fn account(&self, flight: &Flight, over: bool) {
        self.context.count(|counts| {
            if !over {
                counts.undecided += 1;
            } else if flight.acked.is_some() || self.bare {
                counts.lost += 1;
            } else {
                counts.unanswered += 1;
            }
        });
    }
}

/// The next due time, in the open loop.
async fn turn(pace: &Pace) {
    match pace {
        Pace::Closed(_) => std::future::pending().await,
        Pace::Open { wake, .. } => wake.notified().await,
    }
}
