//! What a person is told, and what they make of it.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{super::history::What, Person};

impl Person {
    pub(super) fn take(&mut self, message: &Message) {
        match message {
            Message::Text(text) => match serde_json::from_str::<Value>(text) {
                Ok(frame) => {
                    self.note(What::Told(frame.clone()));
                    self.told(
                        frame["action"].as_str().unwrap_or_default(),
                        &frame["payload"],
                    );
                }
                Err(error) => self.lost(&format!("not JSON ({error}): {text}")),
            },
            Message::Close(frame) => {
                let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                self.lost(&format!("closed with {code}"));
            }
            _ => {}
        }
    }

    fn told(&mut self, action: &str, payload: &Value) {
        if self.told_to_resume(action, payload) {
            return;
        }
        let reference = payload["ref"].as_str();
        let number = reference.and_then(|reference| reference.strip_prefix('m')?.parse().ok());
        if let Some(number) = number {
            return self.answered(number, action, payload);
        }
        let conversation = payload["conversation"].as_str().map(str::to_owned);
        match (action, payload["code"].as_str().unwrap_or_default()) {
            ("welcome", _) => self.welcomed(),
            ("message", "on_duty" | "queued") => self.answer(true),
            // By another device.
            ("message", "off_duty") => {
                self.placed = false;
                self.open.clear();
            }
            ("message", "no_staff" | "queue_full") => self.answer(false),
            ("message", "connected" | "new_customer") => {
                self.open.extend(conversation);
                let staff = self.name.max.is_some();
                self.answer(staff && self.placed);
            }
            ("chat_close" | "queue_close", _) => {
                if let Some(conversation) = conversation {
                    self.open.remove(&conversation);
                }
                if self.name.max.is_none() {
                    self.placed = false;
                }
            }
            // Words in a conversation that was open before this socket.
            ("message", "") if self.name.max.is_some() => self.open.extend(conversation),
            ("error", "no_conversation") if self.name.max.is_none() => {
                self.open.clear();
                self.placed = false;
            }
            _ => {}
        }
    }

    pub(in super::super) fn answer(&mut self, placed: bool) {
        (self.asked, self.placed) = (false, placed);
        if let Some(socket) = &mut self.socket {
            socket.owed = None;
        }
    }

    fn welcomed(&mut self) {
        self.backoff = Duration::ZERO;
        if let Some(socket) = &mut self.socket {
            (socket.welcomed, socket.owed) = (true, None);
        }
        // What is not acknowledged goes out again, in its order, before anything else: held and
        // due now.
        for pending in self.pending.values_mut() {
            (pending.held, pending.sent, pending.owed) = (true, Instant::now(), None);
        }
    }

    /// A message of this person was acknowledged or refused.
    fn answered(&mut self, number: u64, action: &str, payload: &Value) {
        if action == "error" && payload["code"] == "busy" {
            if let Some(pending) = self.pending.get_mut(&number) {
                let wait = payload["retry_after_ms"].as_u64().unwrap_or(1000);
                (pending.held, pending.owed) = (true, None);
                pending.sent = Instant::now() + Duration::from_millis(wait);
            }
            return;
        }
        let Some(pending) = self.pending.remove(&number) else {
            return; // the answer to a repeat
        };
        if action == "ack" {
            self.stage.acks.fetch_add(1, Ordering::Relaxed);
        } else if payload["code"] == "no_conversation" {
            if let Some(conversation) = pending.conversation {
                self.open.remove(&conversation);
            } else {
                self.open.clear();
                self.placed = false;
            }
        }
    }
}
