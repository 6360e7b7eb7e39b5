//! What happens because time passes, in the model.

use super::{Conv, DeskModel, Field, State, Step, What};

impl DeskModel {
    /// The timers that fire when the shard's clock says `now`. Their events are on their way then.
    pub fn fire(&mut self, now: u64) -> Vec<Conv> {
        let mut fired = Vec::new();
        for (number, conversation) in self.conversations.iter_mut().enumerate() {
            let timer = match &mut conversation.state {
                State::Open { timer, .. } => timer,
                State::Waiting {
                    left: Some(idle), ..
                } => &mut idle.timer,
                _ => continue,
            };
            if timer.is_some_and(|due| due <= now) {
                *timer = None;
                fired.push(number);
            }
        }
        fired
    }

    /// The users whose time to come back is over when the shard's clock says `now`, and until when it
    /// was. Their timers' events are on their way then.
    pub fn give_up(&mut self, now: u64) -> Vec<(String, u64)> {
        let mut given_up = Vec::new();
        for (uid, user) in &mut self.users {
            if let Some(lost) = &mut user.lost
                && lost.timer
                && lost.until <= now
            {
                lost.timer = false;
                given_up.push((uid.clone(), lost.until));
            }
        }
        given_up
    }

    /// Whether somebody's place in a queue is not the one they know.
    pub fn somebody_moved(&self) -> bool {
        self.queued(|_| true).iter().any(|conv| {
            let customer = &self.conversations[*conv].customer;
            self.place(*conv) != self.users[customer].told
        })
    }
}

impl Step<'_> {
    pub(super) fn idle(&mut self, named: &str) {
        let found = (0..self.m.conversations.len()).find(|conv| self.m.name(*conv) == named);
        let conv = found.expect("timers are of known conversations");
        let clock = self.now.clock;
        let (until, timer, reason) = match &mut self.m.conversations[conv].state {
            State::Open { idle, timer, .. } => (*idle, timer, "timeout"),
            State::Waiting {
                left: Some(idle), ..
            } => (idle.until, &mut idle.timer, "unanswered"),
            _ => return,
        };
        if until > clock {
            *timer = Some(until);
        } else {
            self.end(conv, reason);
            self.fill();
        }
    }

    pub(super) fn lost_timer(&mut self, until: u64) {
        let Some(user) = self.m.users.get_mut(&self.actor) else {
            return;
        };
        if user.lost.is_some_and(|lost| lost.until == until) {
            user.lost = None;
            self.depart();
        }
    }

    pub(super) fn queue_moved(&mut self) {
        for conv in self.m.queued(|_| true) {
            let (customer, place) = (
                self.m.conversations[conv].customer.clone(),
                self.m.place(conv),
            );
            if self.m.users[&customer].told == place {
                continue;
            }
            self.user(&customer).told = place;
            let fields = vec![("queue", Field::Json(place.to_string()))];
            let key = "queue_moved";
            self.tell(&customer, None, &What::Notice { key, fields });
        }
    }
}
