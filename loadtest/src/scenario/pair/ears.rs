//! What the two of a pair hear: words, acks, refusals; and what is completed by it.

use std::time::{Duration, Instant};

use super::{Pace, Pair};
use crate::{
    check::Heard,
    frame::{Frame, Words},
    latency::Kind,
    target::Side,
};

impl Pair {
    /// Takes what came to a side.
    pub(super) async fn take(&mut self, side: Side, text: &str, pace: &Pace) {
        let context = self.context.clone();
        let Some(frame) = Frame::parse(text) else {
            return context.count(|counts| counts.errors += 1);
        };
        let payload = &frame.payload;
        if frame.is_words() {
            self.hear(side, &frame);
        } else if frame.action == "ack" {
            let (Some(n), Some(seq)) = (frame.reference(), payload.seq) else {
                return context.count(|counts| counts.errors += 1);
            };
            self.acked(side, n, seq);
        } else if frame.is_refused_for_now() {
            context.count(|counts| counts.busy += 1);
            let pause = Duration::from_millis(payload.retry_after_ms.unwrap_or(1000));
            if let Some(n) = frame.reference() {
                self.seat(side.other()).heard.excuse(n);
                let mut flights = self.flights.iter_mut();
                if let Some(flight) = flights.find(|f| f.from == side && f.n == n) {
                    flight.again = Instant::now() + pause;
                }
            }
        } else if frame.is("new_customer") {
            context.count(|counts| counts.over_capacity += 1);
        } else if frame.action == "chat_close" {
            context.count(|counts| counts.cut_off += 1);
        } else if frame.action == "error" {
            context.count(|counts| counts.errors += 1);
        }
        self.complete(pace).await;
    }

    /// Somebody's words came to `side`.
    fn hear(&mut self, side: Side, frame: &Frame<'_>) {
        let context = self.context.clone();
        let payload = &frame.payload;
        let words = payload.message.as_deref().and_then(Words::parse);
        let ours = words.filter(|words| {
            words.talk == self.talk
                && words.side == side.other()
                && (self.bare || payload.conversation == Some(self.conversation.as_str()))
                && (self.bare || payload.from == Some(words.side.role()))
        });
        let Some(words) = ours else {
            return context.count(|counts| counts.misdelivered += 1);
        };
        let mut record = context.record();
        if self.seat(side).heard.hear(words.n, &mut record.counts) == Heard::Again {
            return;
        }
        let kind = self.kind;
        let seq = payload.seq.unwrap_or(0);
        let mut flights = self.flights.iter_mut();
        if let Some(flight) = flights.find(|f| f.from == words.side && f.n == words.n) {
            flight.delivered = Some(seq);
            record.latencies.record(kind, flight.due.elapsed());
        }
    }

    fn acked(&mut self, side: Side, n: u64, seq: u64) {
        let mut flights = self.flights.iter_mut();
        // A message that was sent again may be acknowledged again.
        let Some(flight) = flights.find(|f| f.from == side && f.n == n) else {
            return;
        };
        if flight.acked.replace(seq).is_none() {
            let mut record = self.context.record();
            record.counts.acked += 1;
            if self.kind == Kind::Delivery {
                record.latencies.record(Kind::Ack, flight.due.elapsed());
            }
        }
    }

    /// Takes away what is delivered and acknowledged; in the closed loop the next one goes.
    async fn complete(&mut self, pace: &Pace) {
        let mut completed = 0;
        let (bare, context, kind) = (self.bare, &self.context, self.kind);
        self.flights.retain(|flight| {
            let Some(delivered) = flight.delivered else {
                return true;
            };
            let acked = if bare { Some(delivered) } else { flight.acked };
            let Some(acked) = acked else {
                return true;
            };
            let mut record = context.record();
            record.counts.completed += 1;
            record.counts.misnumbered += u64::from(acked != delivered);
            if kind == Kind::Delivery {
                let latency = flight.due.elapsed();
                record.latencies.record(Kind::Complete, latency);
            }
            completed += 1;
            false
        });
        if matches!(pace, Pace::Closed(_)) && !self.stopping {
            for _ in 0..completed {
                self.speak(Instant::now()).await;
            }
        }
    }
}
