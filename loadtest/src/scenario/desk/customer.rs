//! One customer: comes, asks, waits, talks, leaves. A visitor has so many messages; a talker stays to
//! the end, speaks at a steady pace, and comes back whenever the socket or the conversation is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    select,
    time::{sleep, sleep_until},
};

use super::{Options, thinking};
use crate::{
    check::Order,
    client::{Identity, Incoming, Socket},
    context::Context,
    frame::{CUSTOMER_CONNECT, CUSTOMER_LEAVE, Frame},
    latency::Kind,
    scenario::storm::elsewhere,
    target::Side,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Before asking again when nobody is there.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why a part of a visit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All that was to be said is said, or the time is up.
    Done,
    /// The socket is gone.
    Lost,
    /// The conversation or the queue was closed by somebody else, or nobody was there.
    CutOff,
}

/// A customer.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) context: Arc<Context>,
    pub(super) options: Arc<Options>,
    pub(super) who: Identity,
    /// Messages so far over all conversations: their ids.
    pub(super) ids: u64,
    pub(super) conversation: String,
    /// What was said and heard in this conversation.
    pub(super) said: u64,
    pub(super) heard: Order,
    /// The cluster may think that a conversation goes on which is over for us: we came back from a lost
    /// socket, whose pushes are not repeated, or have given up. So begin with leaving.
    pub(super) leaves_first: bool,
}

impl Customer {
    /// Comes, talks, leaves.
    pub(super) fn visitor(context: &Arc<Context>, options: &Arc<Options>, index: u64) -> Self {
        Self {
            who: context.identity(Side::Customer, index),
            context: context.clone(),
            options: options.clone(),
            ids: 0,
            conversation: String::new(),
            said: 0,
            heard: Order::default(),
            leaves_first: false,
        }
    }

    /// Stays.
    pub(super) fn talker(context: &Arc<Context>, options: &Arc<Options>, index: u64) -> Self {
        let mut customer = Self::visitor(context, options, index);
        customer.who.uid = format!("{}.t{index}", context.plan.run);
        customer
    }

    /// A visitor's life.
    pub(super) async fn visit(mut self, due: Instant) {
        let Ok(mut socket) = self.context.enter(&self.who, PATIENCE).await else {
            return self.context.count(|counts| counts.disconnected += 1);
        };
        self.context.measure(Kind::Welcome, due);
        let mut end = self.ask(&mut socket).await;
        if end == End::Done && !self.conversation.is_empty() {
            end = self.talk(&mut socket).await;
        }
        if end == End::Lost {
            return self.context.count(|counts| counts.disconnected += 1);
        }
        socket.send(CUSTOMER_LEAVE.to_owned()).await;
        socket.close().await;
    }

    /// Says everything a visitor has to say.
    async fn talk(&mut self, socket: &mut Socket) -> End {
        for _ in 0..self.options.messages {
            let due = Instant::now() + thinking(self.options.think_s);
            let end = self.exchange(socket, due).await;
            if end != End::Done {
                return end;
            }
        }
        if !self.options.is_soak() {
            self.context.count(|counts| counts.completed += 1);
        }
        End::Done
    }

    /// A talker's life.
    pub(super) async fn stay(mut self, began: Instant) {
        let every = Duration::from_secs_f64(self.options.talk_every_s.max(0.001));
        let mut due = began + every.mul_f64(rand::random_range(0.0..1.0));
        let stop = self.context.stop.clone();
        let Ok(mut socket) = self.context.enter(&self.who, PATIENCE).await else {
            return self.context.count(|counts| counts.disconnected += 1);
        };
        while !stop.is_cancelled() {
            let mut end = self.ask(&mut socket).await;
            while end == End::Done && !self.conversation.is_empty() && !stop.is_cancelled() {
                end = self.exchange(&mut socket, due).await;
                due += every;
            }
            if end == End::Lost {
                self.context.count(|counts| counts.disconnected += 1);
                let lost = Instant::now();
                match elsewhere(&self.context, self.who.clone()).await {
                    Ok(back) => socket = back,
                    Err(_) => return,
                }
                self.context.measure(Kind::Again, lost);
                self.leaves_first = true;
                // The time away is an outage, not the latency of what could not be sent.
                due = due.max(Instant::now());
            } else if end == End::CutOff {
                sleep(ASK_AGAIN).await;
                due = due.max(Instant::now());
            }
        }
        socket.send(CUSTOMER_LEAVE.to_owned()).await;
        socket.close().await;
    }

    /// Asks for staff and waits for them. [`End::Done`] without a conversation: gave up.
    async fn ask(&mut self, socket: &mut Socket) -> End {
        self.conversation.clear();
        (self.said, self.heard) = (0, Order::default());
        let context = self.context.clone();
        let asked = Instant::now();
        let patience = match self.options.patience_s {
            0.0 => Duration::from_secs(100 * 365 * 24 * 3600),
            seconds => Duration::from_secs_f64(seconds),
        };
        let gives_up = sleep_until((asked + patience).into());
        tokio::pin!(gives_up);
        if std::mem::take(&mut self.leaves_first) {
            socket.send(CUSTOMER_LEAVE.to_owned()).await;
        }
        socket.send(CUSTOMER_CONNECT.to_owned()).await;
        let mut answered = false;
        loop {
            let text = select! {
                incoming = socket.next() => match incoming {
                    Incoming::Text(text) => text,
                    Incoming::Closed(_) => return End::Lost,
                },
                () = &mut gives_up => {
                    context.count(|counts| counts.gave_up += 1);
                    return End::Done;
                }
                () = context.stop.cancelled() => return End::Done,
            };
            let Some(frame) = Frame::parse(&text) else {
                context.count(|counts| counts.errors += 1);
                continue;
            };
            if frame.is("queued") && !answered {
                answered = true;
                context.measure(Kind::Answer, asked);
                context.count(|counts| {
                    counts.queued += 1;
                    counts.errors += u64::from(frame.payload.queue == Some(0));
                });
            } else if frame.is("connected") {
                if !answered {
                    context.measure(Kind::Answer, asked);
                }
                context.measure(Kind::Wait, asked);
                context.count(|counts| counts.begun += 1);
                let conversation = frame.payload.conversation.unwrap_or_default();
                conversation.clone_into(&mut self.conversation);
                return End::Done;
            } else if frame.is("no_staff") || frame.is("queue_full") {
                context.count(|counts| counts.turned_away += 1);
                return End::CutOff;
            } else if frame.action == "queue_close" {
                context.count(|counts| counts.cut_off += 1);
                return End::CutOff;
            } else if frame.is_refused_for_now() {
                context.count(|counts| counts.busy += 1);
                return End::CutOff;
            } else if frame.action == "error" && !frame.is("no_conversation") {
                // (No conversation: to leave, or for words that were on their way when it ended.)
                context.count(|counts| counts.errors += 1);
            }
        }
    }
}
