//! Who waits where, who gets them, and how conversations begin and end, in the model.

use frontdesk_shared::{event::SHARED_QUEUE, protocol::MAX_WAITING_MESSAGES};
use frontdesk_worker::desk::settings::Policy;

use super::{Conv, DeskModel, Duty, Field, Idle, State, Step, What};

/// Where those wait who have left messages.
const LEFT_QUEUE: &str = "+";

impl DeskModel {
    /// Staff on duty, the one with the shortest queue first; tie: on duty longest.
    pub fn on_duty(&self) -> Vec<String> {
        self.staff_by(|uid, duty| (self.queue(uid).len(), duty.since))
    }

    /// Staff with a free place, the one with the fewest conversations first; tie: longest without
    /// a new one.
    pub fn free(&self) -> Vec<String> {
        let mut free = self.staff_by(|_, duty| (duty.open.len(), duty.latest));
        free.retain(|uid| {
            if self.users[uid].lost.is_some() {
                return false;
            }
            let duty = self.users[uid].duty.as_ref().expect("on duty");
            duty.open.len() < duty.max as usize
        });
        free
    }

    /// Who waits and is lost.
    pub fn away(&self) -> Vec<Conv> {
        let waiting = self.waiting();
        let mut away = self.queued(|_| true);
        away.retain(|conv| !waiting.contains(conv));
        away
    }

    /// Who waits and is not lost, longest first.
    pub fn waiting(&self) -> Vec<Conv> {
        let mut waiting = self.queued(|_| true);
        waiting.retain(|conv| {
            let customer = &self.conversations[*conv].customer;
            self.users[customer].lost.is_none()
        });
        waiting
    }

    /// Who has a place in a queue, longest first.
    pub fn queue(&self, name: &str) -> Vec<Conv> {
        self.queued(|queue| queue == name)
    }

    pub(super) fn queued(&self, wanted: impl Fn(&str) -> bool) -> Vec<Conv> {
        let mut found: Vec<Conv> = (0..self.conversations.len())
            .filter(|conv| match &self.conversations[*conv].state {
                State::Waiting { queue, .. } => wanted(queue),
                _ => false,
            })
            .collect();
        found.sort_by_key(|conv| self.conversations[*conv].ticket);
        found
    }

    pub(super) fn staff_by<K: Ord>(&self, key: impl Fn(&str, &Duty) -> K) -> Vec<String> {
        let mut staff: Vec<(K, String)> = self
            .users
            .iter()
            .filter_map(|(uid, user)| Some((key(uid, user.duty.as_ref()?), uid.clone())))
            .collect();
        staff.sort();
        staff.into_iter().map(|(_, uid)| uid).collect()
    }

    /// The place in the queue of a conversation that waits, from 1.
    pub fn place(&self, conv: Conv) -> u64 {
        let State::Waiting { queue, .. } = &self.conversations[conv].state else {
            panic!("{conv} does not wait");
        };
        let ahead = self.queue(queue).iter().position(|other| *other == conv);
        ahead.expect("in its own queue") as u64 + 1
    }
}

impl Step<'_> {
    pub(super) fn enqueue(&mut self, conv: Conv) {
        let conversation = &mut self.m.conversations[conv];
        let until = self.now.clock + self.m.rules.retention_s * 1000;
        let answered = std::mem::take(&mut conversation.answered);
        let left = match conversation.state {
            _ if !conversation.left => None,
            State::Open { timer, .. } if answered => Some(Idle { until, timer }),
            State::Open { idle, timer, .. } => Some(Idle { until: idle, timer }),
            _ => {
                let timer = Some(until);
                Some(Idle { until, timer })
            }
        };
        let queue = match self.m.rules.policy {
            _ if left.is_some() => LEFT_QUEUE.to_owned(),
            Policy::Shared => SHARED_QUEUE.to_owned(),
            Policy::Shortest => self.m.on_duty()[0].clone(),
        };
        self.m.conversations[conv].state = State::Waiting {
            queue,
            words: 0,
            bytes: 0,
            left,
        };
        self.seat(conv);
    }

    /// The customer is in the conversation and knows their place.
    pub(super) fn seat(&mut self, conv: Conv) {
        let customer = self.m.conversations[conv].customer.clone();
        let place = self.m.place(conv);
        let user = self.user(&customer);
        user.conversation = Some(conv);
        user.told = place;
    }

    pub(super) fn assign(&mut self, conv: Conv, staff: &str) {
        let turn = self.m.turn();
        let customer = self.m.conversations[conv].customer.clone();
        let before = &self.m.conversations[conv].state;
        let waited = matches!(before, State::Waiting { .. });
        let until = self.now.clock + self.m.rules.idle_s * 1000;
        let idle = match before {
            State::Waiting {
                left: Some(idle), ..
            } => *idle,
            _ => Idle {
                until,
                timer: Some(until),
            },
        };
        self.m.conversations[conv].state = State::Open {
            staff: staff.to_owned(),
            at: self.now.applied,
            idle: idle.until,
            timer: idle.timer,
        };
        self.m.conversations[conv].staff = Some(staff.to_owned());
        let user = self.user(&customer);
        user.conversation = Some(conv);
        user.told = 0;
        let duty = self.user(staff).duty.as_mut().expect("on duty");
        duty.open.push(conv);
        duty.latest = turn;
        assert!(duty.open.len() <= duty.max as usize, "the model is wrong");
        let name = duty.name.clone();
        let seq = self.log(conv, "system", staff, "assigned", &customer, None);

        let conversation = || ("conversation", Field::Conversation(conv));
        let line = || ("line", Field::Line(conv, seq));
        if waited {
            let key = "your_turn";
            let fields = vec![conversation()];
            self.tell(&customer, None, &What::Notice { key, fields });
        }
        let key = "connected";
        let fields = vec![conversation(), ("name", Field::Json(name)), line()];
        self.tell(&customer, None, &What::Notice { key, fields });
        let key = "new_customer";
        let who = ("customer", Field::Json(format!("\"{customer}\"")));
        let fields = vec![conversation(), who, line()];
        self.tell(staff, None, &What::Notice { key, fields });
        let said: Vec<usize> = (1..)
            .zip(&self.m.conversations[conv].log)
            .filter(|(_, line)| line.kind == "message")
            .map(|(seq, _)| seq)
            .collect();
        for seq in &said[said.len().saturating_sub(MAX_WAITING_MESSAGES)..] {
            let recalled = self.m.conversations[conv].recalled.contains_key(seq);
            let what = if recalled {
                What::Withheld(conv, *seq)
            } else {
                What::Words(conv, *seq)
            };
            self.tell(staff, None, &what);
        }
    }

    pub(super) fn fill(&mut self) {
        loop {
            let (free, waiting) = (self.m.free(), self.m.waiting());
            let (Some(staff), Some(conv)) = (free.first(), waiting.first()) else {
                return;
            };
            self.assign(*conv, staff);
        }
    }

    pub(super) fn release(&mut self, conv: Conv) {
        if let State::Open { staff, .. } = &self.m.conversations[conv].state {
            let staff = staff.clone();
            if let Some(duty) = &mut self.user(&staff).duty {
                duty.open.retain(|open| *open != conv);
            }
        }
    }

    pub(super) fn end(&mut self, conv: Conv, reason: &'static str) {
        self.release(conv);
        let before = std::mem::replace(&mut self.m.conversations[conv].state, State::Ended);
        let conversation = &mut self.m.conversations[conv];
        (conversation.left, conversation.answered) = (false, false);
        let customer = self.m.conversations[conv].customer.clone();
        let user = self.user(&customer);
        user.conversation = None;
        user.told = 0;
        let actor = self.actor.clone();
        let seq = self.log(conv, "system", &actor, "ended", reason, None);
        let (to_customer, to_staff) = match reason {
            "timeout" => ("timeout", Some("customer_timeout")),
            "staff_offline" => ("staff_offline", None),
            "queue_staff_offline" | "unanswered" => ("queue_close.staff_offline", None),
            both => (both, Some(both)),
        };
        let fields = vec![
            ("conversation", Field::Conversation(conv)),
            ("line", Field::Line(conv, seq)),
        ];
        let notice = |key| What::Notice {
            key,
            fields: fields.clone(),
        };
        self.tell(&customer, None, &notice(to_customer));
        if let (State::Open { staff, .. }, Some(key)) = (before, to_staff) {
            self.tell(&staff, None, &notice(key));
        }
        // Who has left messages need not be there.
        let user = self.user(&customer);
        if user.sockets.is_empty() && user.lost.is_none() {
            self.m.users.remove(&customer);
        }
    }

    pub(super) fn requeue(&mut self, conv: Conv, staff: &str) {
        self.enqueue(conv);
        let conversation = &mut self.m.conversations[conv];
        conversation.staff = None;
        conversation.past.retain(|uid| uid != staff);
        conversation.past.push(staff.to_owned());
        let seq = self.log(conv, "system", staff, "requeued", "staff_offline", None);
        let What::Notice { key, mut fields } = self.standing(conv) else {
            panic!("a place in a queue is a notice");
        };
        fields.push(("line", Field::Line(conv, seq)));
        let customer = self.m.conversations[conv].customer.clone();
        self.tell(&customer, None, &What::Notice { key, fields });
    }

    pub(super) fn move_on(&mut self, conv: Conv) {
        let to = self.m.on_duty()[0].clone();
        if let State::Waiting { queue, .. } = &mut self.m.conversations[conv].state {
            *queue = to;
        }
        self.seat(conv);
        let customer = self.m.conversations[conv].customer.clone();
        let what = self.standing(conv);
        self.tell(&customer, None, &what);
    }
}
