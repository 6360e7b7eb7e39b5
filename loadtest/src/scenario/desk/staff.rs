//! One staff member: takes customers, thinks, answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{select, time::sleep_until};

use super::{Options, thinking};
use crate::{
    check::{Heard, Order},
    client::{Identity, Incoming, Socket},
    context::Context,
    frame::{Frame, STAFF_OFFLINE, Words, message, staff_online},
    latency::Kind,
    scenario::storm::elsewhere,
    target::Side,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long the last customers may take.
const DRAIN: Duration = Duration::from_secs(45);
/// After so long without an ack an answer is sent again.
const RESEND: Duration = Duration::from_secs(10);

/// A conversation that is open.
#[derive(Debug)]
struct Talk {
    customer: String,
    heard: Order,
    said: u64,
}

/// An answer that is to be sent, or sent again.
#[derive(Debug)]
struct Answer {
    conversation: String,
    /// Its number among the messages of this staff member, once it was sent.
    id: Option<u64>,
    text: String,
    due: Instant,
}

/// Somebody on duty.
#[derive(Debug)]
pub(super) struct Staff {
    context: Arc<Context>,
    options: Arc<Options>,
    who: Identity,
    socket: Socket,
    talks: HashMap<String, Talk>,
    /// By time, and a number that makes it unique.
    agenda: BTreeMap<(Instant, u64), Answer>,
    /// Sent and not acknowledged: when it was due.
    unacked: HashMap<u64, Answer>,
    numbers: u64,
    /// Came back and has not yet begun anew: what comes is of the time before.
    settling: bool,
}

impl Staff {
    /// Comes on duty.
    pub(super) async fn enter(
        context: Arc<Context>,
        options: Arc<Options>,
        index: u64,
    ) -> Result<Self> {
        let who = context.identity(Side::Staff, index);
        let mut socket = context.enter(&who, PATIENCE).await?;
        socket.send(staff_online(options.max)).await;
        socket.expect("on_duty").await?;
        Ok(Self {
            context,
            options,
            who,
            socket,
            talks: HashMap::new(),
            agenda: BTreeMap::new(),
            unacked: HashMap::new(),
            numbers: 0,
            settling: false,
        })
    }

    /// Works until the end, and until the last customer has left.
    pub(super) async fn work(mut self) {
        let context = self.context.clone();
        let stop = context.stop.cancelled();
        tokio::pin!(stop);
        let mut until = None;
        loop {
            let next = self.agenda.first_key_value().map(|(key, _)| key.0);
            let wake = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            select! {
                incoming = self.socket.next() => match incoming {
                    Incoming::Text(text) => self.take(&text),
                    Incoming::Closed(_) => if !self.come_back(until.is_some()).await { return },
                },
                () = sleep_until(wake.into()) => {}
                () = &mut stop, if until.is_none() => until = Some(Instant::now() + DRAIN),
            }
            self.say_what_is_due().await;
            if until.is_some_and(|until| self.talks.is_empty() || Instant::now() >= until) {
                break;
            }
        }
        self.context
            .count(|counts| counts.unanswered += self.unacked.len() as u64);
        self.socket.send(STAFF_OFFLINE.to_owned()).await;
        self.socket.close().await;
    }

    /// After a lost socket the day goes on elsewhere. Until the cluster knows of the loss it counts the
    /// new socket as a second device, and what it told the lost one is not repeated: so whatever
    /// conversations there were are ended by going off duty first.
    async fn come_back(&mut self, stopping: bool) -> bool {
        let lost = self.unacked.len() as u64;
        self.context.count(|counts| {
            counts.disconnected += 1;
            counts.undecided += lost;
        });
        self.talks.clear();
        self.agenda.clear();
        self.unacked.clear();
        if stopping {
            return false;
        }
        let due = Instant::now();
        let Ok(socket) = elsewhere(&self.context, self.who.clone()).await else {
            return false;
        };
        self.context.measure(Kind::Again, due);
        self.socket = socket;
        self.settling = true;
        self.socket.send(STAFF_OFFLINE.to_owned()).await;
        self.socket.send(staff_online(self.options.max)).await;
        true
    }

    async fn say_what_is_due(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > Instant::now() {
                return;
            }
            let mut answer = entry.remove();
            if !self.talks.contains_key(&answer.conversation) {
                continue;
            }
            let id = if let Some(id) = answer.id {
                if !self.unacked.contains_key(&id) {
                    continue;
                }
                self.context.count(|counts| counts.resent += 1);
                id
            } else {
                self.numbers += 1;
                self.context.count(|counts| counts.sent += 1);
                answer.id = Some(self.numbers);
                self.numbers
            };
            let frame = message(id, &answer.text, Some(&answer.conversation));
            self.socket.send(frame).await;
            self.again(id, &answer, Instant::now() + RESEND);
            self.unacked.insert(id, answer);
        }
    }

    /// Puts an answer on the agenda once more, for the case that its ack does not come.
    fn again(&mut self, id: u64, answer: &Answer, at: Instant) {
        let answer = Answer {
            conversation: answer.conversation.clone(),
            id: Some(id),
            text: answer.text.clone(),
            due: answer.due,
        };
        self.agenda.insert((at, id), answer);
    }

    fn take(&mut self, text: &str) {
        let context = self.context.clone();
        let Some(frame) = Frame::parse(text) else {
            return context.count(|counts| counts.errors += 1);
        };
        let conversation = frame.payload.conversation.unwrap_or_default();
        if self.settling {
            self.settling = !frame.is("on_duty");
        } else if frame.is_words() {
            self.hear(&frame, conversation);
        } else if frame.action == "ack" {
            let answer = frame.reference().and_then(|id| self.unacked.remove(&id));
            if let Some(answer) = answer {
                context.count(|counts| counts.acked += 1);
                context.measure(Kind::Ack, answer.due);
            }
        } else if frame.is("new_customer") {
            let talk = Talk {
                customer: frame.payload.customer.unwrap_or_default().to_owned(),
                heard: Order::default(),
                said: 0,
            };
            self.talks.insert(conversation.to_owned(), talk);
            let max = usize::try_from(self.options.max).unwrap_or(usize::MAX);
            if self.talks.len() > max {
                context.count(|counts| counts.over_capacity += 1);
            }
        } else if frame.action == "chat_close" {
            self.talks.remove(conversation);
            self.unacked
                .retain(|_, answer| answer.conversation != conversation);
        } else if frame.is_refused_for_now() {
            context.count(|counts| counts.busy += 1);
            let pause = Duration::from_millis(frame.payload.retry_after_ms.unwrap_or(1000));
            if let Some(id) = frame.reference()
                && let Some(answer) = self.unacked.remove(&id)
            {
                self.again(id, &answer, Instant::now() + pause);
                self.unacked.insert(id, answer);
            }
        } else if frame.is("no_conversation") {
            // The customer left while the answer was on its way.
            if let Some(id) = frame.reference() {
                self.unacked.remove(&id);
            }
        } else if frame.action == "error" {
            context.count(|counts| counts.errors += 1);
        }
    }

    fn hear(&mut self, frame: &Frame<'_>, conversation: &str) {
        let context = &self.context;
        let words = frame.payload.message.as_deref().and_then(Words::parse);
        let (Some(words), Some(talk)) = (words, self.talks.get_mut(conversation)) else {
            return context.count(|counts| counts.misdelivered += 1);
        };
        if words.talk != talk.customer || words.side != Side::Customer {
            return context.count(|counts| counts.misdelivered += 1);
        }
        let due = context.moment(words.due_us);
        let mut record = context.record();
        if talk.heard.hear(words.n, &mut record.counts) == Heard::Again {
            return;
        }
        record.latencies.record(Kind::Delivery, due.elapsed());
        drop(record);
        talk.said += 1;
        // Talkers measure the cluster and get their answer at once.
        let at_once = talk.customer.contains(".t");
        let pause = if at_once {
            Duration::ZERO
        } else {
            thinking(self.options.answer_s)
        };
        let due = Instant::now() + pause;
        let words = Words {
            talk: &talk.customer,
            side: Side::Staff,
            n: talk.said,
            due_us: context.wall_us(due),
        };
        let answer = Answer {
            conversation: conversation.to_owned(),
            id: None,
            text: words.text(self.options.bytes()),
            due,
        };
        self.numbers += 1; // only to be unique among those of the same moment
        self.agenda.insert((due, self.numbers), answer);
    }
}
