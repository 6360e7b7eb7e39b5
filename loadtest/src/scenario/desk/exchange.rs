//! One message of a customer, its ack and its answer.

use std::time::{Duration, Instant};

use tokio::{select, time::sleep_until};

use super::customer::{Customer, End};
use crate::{
    check::Heard,
    client::{Incoming, Socket},
    frame::{Frame, Words, message},
    latency::Kind,
    target::Side,
};

/// After so long without an ack a message is sent again.
const RESEND: Duration = Duration::from_secs(10);
/// How long an answer may take beyond the time that staff think, from when the message was sent: under
/// more load than the cluster bears a talker sends long after the message was due.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// How far an exchange is.
#[derive(Debug, Default)]
struct Exchange {
    acked: bool,
    answered: bool,
    /// It was refused: to be sent again after so long.
    pause: Option<Duration>,
    /// When there will be no answer any more, once it was sent.
    hopeless: Option<Instant>,
}

impl Customer {
    /// Says something when it is due, and waits for its ack and the answer.
    pub(super) async fn exchange(&mut self, socket: &mut Socket, due: Instant) -> End {
        let context = self.context.clone();
        let mut exchange = Exchange::default();
        let mut next = due;
        let within = ANSWER_WITHIN + Duration::from_secs_f64(self.options.answer_s);
        let mut frame = None;
        loop {
            select! {
                incoming = socket.next() => match incoming {
                    Incoming::Text(text) => if let Some(end) = self.take(&text, &mut exchange, due) {
                        return end;
                    },
                    Incoming::Closed(_) => {
                        context.count(|counts| counts.undecided += u64::from(!exchange.acked));
                        return End::Lost;
                    }
                },
                () = sleep_until(next.into()) => {
                    if exchange.hopeless.is_some_and(|at| Instant::now() > at) {
                        context.count(|counts| if exchange.acked {
                            counts.lost += 1;
                        } else {
                            counts.unanswered += 1;
                        });
                        self.leaves_first = true;
                        return End::CutOff;
                    }
                    if !exchange.acked {
                        let again = frame.is_some();
                        exchange.hopeless.get_or_insert(Instant::now() + within);
                        let text = frame.get_or_insert_with(|| self.words(due)).clone();
                        context.count(|counts| if again { counts.resent += 1 } else { counts.sent += 1 });
                        socket.send(text).await;
                    }
                    next = Instant::now() + RESEND;
                }
            }
            if let Some(pause) = exchange.pause.take() {
                next = Instant::now() + pause;
            }
            if exchange.acked && exchange.answered {
                if self.options.is_soak() {
                    // The message and its answer.
                    context.count(|counts| counts.completed += 2);
                }
                return End::Done;
            }
        }
    }

    fn words(&mut self, due: Instant) -> String {
        self.ids += 1;
        self.said += 1;
        let words = Words {
            talk: &self.who.uid,
            side: Side::Customer,
            n: self.said,
            due_us: self.context.wall_us(due),
        };
        message(self.ids, &words.text(self.options.bytes()), None)
    }

    /// What came during an exchange; `Some`: it is over.
    fn take(&mut self, text: &str, exchange: &mut Exchange, due: Instant) -> Option<End> {
        let context = self.context.clone();
        let Some(frame) = Frame::parse(text) else {
            context.count(|counts| counts.errors += 1);
            return None;
        };
        if frame.is_words() {
            exchange.answered |= self.hear(&frame);
        } else if frame.action == "ack" {
            if frame.reference() == Some(self.ids) && !exchange.acked {
                exchange.acked = true;
                context.count(|counts| counts.acked += 1);
                context.measure(Kind::Ack, due);
            }
        } else if frame.is_refused_for_now() {
            context.count(|counts| counts.busy += 1);
            let pause = frame.payload.retry_after_ms.unwrap_or(1000);
            exchange.pause = Some(Duration::from_millis(pause));
        } else if frame.action == "chat_close" {
            context.count(|counts| counts.cut_off += 1);
            return Some(End::CutOff);
        } else if frame.action == "error" && !frame.is("no_conversation") {
            // (The conversation ended while the words were on their way: `chat_close` comes, too.
            // Should it not, they stay unanswered, and that counts.)
            context.count(|counts| counts.errors += 1);
        }
        None
    }

    /// Whether it is a new answer to us.
    fn hear(&mut self, frame: &Frame<'_>) -> bool {
        let words = frame.payload.message.as_deref().and_then(Words::parse);
        let ours = words.filter(|words| {
            words.talk == self.who.uid
                && words.side == Side::Staff
                && frame.payload.conversation == Some(self.conversation.as_str())
        });
        let mut record = self.context.record();
        let Some(words) = ours else {
            record.counts.misdelivered += 1;
            return false;
        };
        if self.heard.hear(words.n, &mut record.counts) == Heard::Again {
            return false;
        }
        let latency = self.context.moment(words.due_us).elapsed();
        record.latencies.record(Kind::Delivery, latency);
        true
    }
}
