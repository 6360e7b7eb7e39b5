//! A device that resumes: `resume` is the first thing on each socket, again after `resync`, and whenever
//! something is missing or does not fit.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    person::Person,
    view::{Taken, Views},
};

/// What is missing for so long is asked for: an ack may come after what follows it.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most positions in one frame.
const MOST: usize = 50;

/// What it knows.
#[derive(Debug, Default)]
pub(super) struct Resuming {
    views: Views,
    /// The token of the last welcome, for the next socket; and this socket's own.
    token: Option<String>,
    next_token: Option<String>,
    /// To be sent, not before this.
    wanted: Option<Instant>,
    /// Sent and not answered: how many histories are to come, once the snapshot is here.
    sent: Option<usize>,
    histories: usize,
    /// Since when all of the answer is owed. Its own clock: what else is told says nothing about it.
    owed: Option<Instant>,
    /// Since when something is missing.
    missing: Option<Instant>,
    /// Conversations of which the last snapshot showed more than is known.
    behind: Vec<String>,
}

impl Resuming {
    /// A new socket.
    pub(super) fn begin(&mut self) {
        if let Some(token) = self.next_token.take() {
            self.token = Some(token);
        }
        (self.wanted, self.sent, self.histories) = (Some(Instant::now()), None, 0);
        (self.owed, self.missing, self.behind) = (None, None, Vec::new());
    }

    /// Nothing is missing and nothing is asked for.
    pub(super) fn has_all(&self) -> bool {
        self.wanted.is_none()
            && self.is_answered()
            && self.behind.is_empty()
            && self.views.are_whole()
    }

    /// Since when an answer is owed, or a part of it.
    pub(super) fn owed(&self) -> Option<Instant> {
        self.owed.filter(|_| !self.is_answered())
    }

    fn is_answered(&self) -> bool {
        self.sent.is_none() && self.histories == 0
    }

    fn want(&mut self, after: Duration) {
        self.wanted.get_or_insert(Instant::now() + after);
    }

    /// The frame's payload.
    fn payload(&mut self) -> Value {
        let mut names = self.behind.clone();
        // The latest first: their ids hold the time of their beginning.
        let mut known: Vec<_> = self.views.0.keys().cloned().collect();
        known.sort_by_key(|name| std::cmp::Reverse(name.split('.').nth(2).map(str::to_owned)));
        names.extend(known);
        let mut positions: Vec<Value> = Vec::new();
        for name in names {
            let known = positions
                .iter()
                .any(|position| position["conversation"] == name);
            if !known && positions.len() < MOST {
                positions.push(match self.views.position(&name) {
                    Some((seq, id)) => json!({"conversation": name, "seq": seq, "id": id}),
                    None => json!({"conversation": name, "seq": 0}),
                });
            }
        }
        self.wanted = None;
        self.missing = None;
        self.sent = Some(positions.len());
        self.owed = Some(Instant::now());
        let mut payload = json!({ "positions": positions });
        if let Some(token) = self.token.take() {
            payload["token"] = json!(token);
        }
        payload
    }

    /// Takes what was told about a conversation.
    fn take(&mut self, action: &str, payload: &Value) {
        let taken = match action {
            "ack" => self.views.acked(payload),
            "message" | "chat_close" | "queue_close" => self.views.push(payload),
            _ => None,
        };
        if taken == Some(Taken::Wrong) {
            self.want(Duration::ZERO);
        }
    }

    /// Takes the answer's snapshot.
    fn snapshot(&mut self, payload: &Value) {
        self.histories = self.sent.take().unwrap_or_default();
        let conversations = payload["conversations"].as_array();
        let behind = conversations.into_iter().flatten().filter_map(|item| {
            let name = item["conversation"].as_str()?;
            (self.views.end(name) < item["seq"].as_u64()?).then(|| name.to_owned())
        });
        self.behind = behind.collect();
    }

    fn history(&mut self, payload: &Value) {
        self.histories = self.histories.saturating_sub(1);
        let name = payload["conversation"].as_str().unwrap_or_default();
        if self.views.history(payload).is_err() {
            self.want(Duration::ZERO); // the checker says what was wrong
        }
        if payload["more"] != true || payload["reset"] == true {
            self.behind.retain(|behind| behind != name);
        }
        if self.histories == 0 && !self.behind.is_empty() {
            self.want(Duration::ZERO);
        }
    }
}

impl Person {
    /// Whether other things may be done now; otherwise what it takes to resume is done.
    pub(super) async fn is_resumed(&mut self) -> bool {
        let Some(resuming) = &mut self.resuming else {
            return true;
        };
        let now = Instant::now();
        let answered = resuming.is_answered();
        if answered && !resuming.behind.is_empty() {
            resuming.want(Duration::ZERO);
        }
        if resuming.views.are_whole() {
            resuming.missing = None;
        } else if now > *resuming.missing.get_or_insert(now) + PATIENCE {
            resuming.want(Duration::ZERO);
        }
        match resuming.wanted {
            Some(when) if when <= now && answered => {
                let payload = resuming.payload();
                self.do_("resume", payload).await;
                false
            }
            Some(_) => false,
            None => answered,
        }
    }

    /// Takes what is about resuming. Returns whether that is all there is to it.
    pub(super) fn told_to_resume(&mut self, action: &str, payload: &Value) -> bool {
        let Some(resuming) = &mut self.resuming else {
            return false;
        };
        match (action, payload["code"].as_str().unwrap_or_default()) {
            ("welcome", _) => {
                resuming.next_token = payload["resume"].as_str().map(str::to_owned);
                false
            }
            ("resync", _) => {
                resuming.want(Duration::ZERO);
                true
            }
            ("snapshot", _) => {
                resuming.snapshot(payload);
                self.take_snapshot(payload);
                true
            }
            ("history", _) => {
                resuming.history(payload);
                true
            }
            // Made with a key that the cluster has lost.
            ("error", "bad_resume") => {
                (resuming.token, resuming.sent) = (None, None);
                resuming.want(Duration::ZERO);
                true
            }
            ("error", "busy") if payload["ref"].is_null() && resuming.sent.is_some() => {
                let wait = payload["retry_after_ms"].as_u64().unwrap_or(1000);
                resuming.sent = None;
                resuming.want(Duration::from_millis(wait));
                true
            }
            _ => {
                resuming.take(action, payload);
                false
            }
        }
    }

    /// How everything stands, whatever was told before.
    fn take_snapshot(&mut self, payload: &Value) {
        let conversations = payload["conversations"].as_array().cloned();
        let conversations = conversations.unwrap_or_default();
        let such = |state: &str| {
            let such = conversations.iter().filter(|item| item["state"] == state);
            let names = such.filter_map(|item| item["conversation"].as_str());
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        self.open = such("open").into_iter().collect();
        let placed = payload["duty"].is_object() || !such("waiting").is_empty();
        self.answer(placed);
    }
}
