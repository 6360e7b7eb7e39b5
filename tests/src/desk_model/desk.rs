//! Coming on duty and leaving it, asking for staff and leaving them, in the model.

use std::collections::BTreeMap;

use frontdesk_shared::event::SHARED_QUEUE;
use frontdesk_worker::desk::settings::{OnStaffLeave, Policy};

use super::{Conv, Conversation, Duty, Field, State, Step, What, may_ask, may_serve};

impl Step<'_> {
    pub(super) fn staff_online(
        &mut self,
        name: Option<&str>,
        max: Option<u32>,
    ) -> Result<(), &'static str> {
        let (uid, most) = (self.actor.clone(), self.m.rules.max_per_staff);
        let default = format!("\"{}\"", self.m.rules.default_staff_name);
        let user = self.user(&uid);
        if !may_serve(user.role) || user.conversation.is_some() {
            return Err("wrong_role");
        }
        if max.is_some_and(|max| max == 0 || max > most) {
            return Err("bad_max");
        }
        if user.duty.is_none() {
            let turn = self.m.turn();
            self.user(&uid).duty = Some(Duty {
                name: default,
                max: 1,
                since: turn,
                latest: turn,
                open: Vec::new(),
            });
        }
        let duty = self.user(&uid).duty.as_mut().expect("on duty now");
        if let Some(name) = name {
            name.clone_into(&mut duty.name);
        }
        duty.max = max.unwrap_or(duty.max);
        let fields = vec![
            ("name", Field::Json(duty.name.clone())),
            ("max", Field::Json(duty.max.to_string())),
        ];
        let key = "on_duty";
        self.tell(&uid, None, &What::Notice { key, fields });
        self.fill();
        Ok(())
    }

    pub(super) fn staff_offline(&mut self) -> Result<(), &'static str> {
        let uid = self.actor.clone();
        let user = self.user(&uid);
        let on_duty = user.duty.is_some();
        if !on_duty && (!may_serve(user.role) || user.conversation.is_some()) {
            return Err("wrong_role");
        }
        self.tell(
            &uid,
            None,
            &What::Notice {
                key: "off_duty",
                fields: Vec::new(),
            },
        );
        if on_duty {
            self.leave_duty();
        }
        Ok(())
    }

    pub(super) fn leave_duty(&mut self) {
        let uid = self.actor.clone();
        let mut duty = self.user(&uid).duty.take().expect("on duty");
        let others = !self.m.on_duty().is_empty();
        let requeue = others && self.m.rules.on_staff_leave == OnStaffLeave::Requeue;
        for conv in std::mem::take(&mut duty.open) {
            if requeue {
                self.requeue(conv, &uid);
            } else {
                self.end(conv, "staff_offline");
            }
        }
        let lost = match self.m.rules.policy {
            Policy::Shortest => self.m.queue(&uid),
            Policy::Shared if others => Vec::new(),
            Policy::Shared => self.m.queue(SHARED_QUEUE),
        };
        for conv in lost {
            if requeue {
                self.move_on(conv);
            } else {
                self.end(conv, "queue_staff_offline");
            }
        }
        self.fill();
    }

    pub(super) fn connect(&mut self, client: &str) -> Result<(), &'static str> {
        let uid = self.actor.clone();
        let user = self.user(&uid);
        if !may_ask(user.role) || user.duty.is_some() {
            return Err("wrong_role");
        }
        if let Some(conv) = user.conversation {
            let what = self.standing(conv);
            self.tell_one(client, what);
            return Ok(());
        }
        let free = self.m.free();
        let leaves = self.m.on_duty().is_empty() && self.m.rules.leave_message;
        let answer = if self.m.on_duty().is_empty() && !leaves {
            Some("no_staff")
        } else if free.is_empty()
            && self.m.queued(|_| true).len() >= self.m.rules.queue_limit as usize
        {
            Some("queue_full")
        } else {
            None
        };
        if let Some(key) = answer {
            let fields = Vec::new();
            self.tell_one(client, What::Notice { key, fields });
            return Ok(());
        }
        let ticket = self.m.turn();
        self.m.conversations.push(Conversation {
            born: self.now.event.clone(),
            customer: uid.clone(),
            ticket,
            state: State::Ended,
            staff: None,
            left: leaves,
            answered: false,
            past: Vec::new(),
            marks: BTreeMap::new(),
            recalled: BTreeMap::new(),
            log: Vec::new(),
        });
        self.m.names.push(None);
        let conv = self.m.conversations.len() - 1;
        if let Some(staff) = free.first() {
            self.assign(conv, &staff.clone());
        } else {
            self.enqueue(conv);
            let what = self.standing(conv);
            self.tell(&uid, None, &what);
        }
        Ok(())
    }

    /// What a customer in a conversation is told when they ask (again).
    pub(super) fn standing(&self, conv: Conv) -> What {
        let mut fields = vec![("conversation", Field::Conversation(conv))];
        let key = match &self.m.conversations[conv].state {
            State::Waiting { left: Some(_), .. } if self.m.on_duty().is_empty() => "no_staff",
            State::Waiting { .. } => {
                fields.push(("queue", Field::Json(self.m.place(conv).to_string())));
                "queued"
            }
            State::Open { staff, .. } => {
                let duty = self.m.users[staff].duty.as_ref().expect("on duty");
                fields.push(("name", Field::Json(duty.name.clone())));
                "connected"
            }
            State::Ended | State::Direct { .. } => panic!("nobody's as a customer"),
        };
        What::Notice { key, fields }
    }

    pub(super) fn leave(&mut self) -> Result<(), &'static str> {
        let uid = self.actor.clone();
        let user = self.user(&uid);
        let staff = !may_ask(user.role) || user.duty.is_some();
        let conv = user.conversation;
        if conv.is_none() && staff {
            return Err("wrong_role");
        }
        let conv = conv.ok_or("no_conversation")?;
        self.end(conv, "customer_left");
        self.fill();
        Ok(())
    }

    /// The conversation that the actor means.
    pub(super) fn meant(&mut self, named: Option<&str>) -> Result<Conv, &'static str> {
        let uid = self.actor.clone();
        let Some(user) = self.m.users.get(&uid) else {
            return Err("no_conversation");
        };
        let mine: Vec<Conv> = match &user.duty {
            Some(duty) => duty.open.clone(),
            None => user.conversation.into_iter().collect(),
        };
        if let Some(named) = named {
            let found = mine.into_iter().find(|conv| self.m.name(*conv) == named);
            return found.ok_or("no_conversation");
        }
        let [conv] = mine[..] else {
            return Err(if mine.is_empty() {
                "no_conversation"
            } else {
                "which_conversation"
            });
        };
        match self.m.conversations[conv].state {
            State::Open { at, .. } if user.duty.is_some() && at > self.now.appended => {
                Err("which_conversation")
            }
            _ => Ok(conv),
        }
    }

    pub(super) fn close_conversation(
        &mut self,
        client: &str,
        named: Option<&str>,
    ) -> Result<(), &'static str> {
        let conv = self.meant(named)?;
        let user = self.m.users.get(&self.actor);
        let on_duty = user.is_some_and(|user| user.duty.is_some());
        let reason = if on_duty { "closed" } else { "customer_left" };
        self.end(conv, reason);
        self.fill();
        self.answer(client, What::Ended(conv, reason));
        Ok(())
    }
}
