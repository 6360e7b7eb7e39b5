//! What people write, in the model.

use std::collections::BTreeMap;

use frontdesk_shared::protocol::{MAX_WAITING_BYTES, MAX_WAITING_MESSAGES, Role};

use super::{Acked, Conv, Conversation, Field, Sent, State, Step, What};

impl Step<'_> {
    pub(super) fn message(
        &mut self,
        client: &str,
        body: &str,
        id: Option<String>,
        named: Option<&str>,
    ) -> Result<(), &'static str> {
        let uid = self.actor.clone();
        if self.is_known(id.as_deref(), body, None)? {
            return Ok(());
        }
        let direct = named.and_then(|named| self.direct_of(named));
        if let Some((conv, to)) = direct {
            self.may_write_to(&to)?;
            self.say_directly(conv, &to, client, body, id, None);
            return Ok(());
        }
        let conv = self.meant(named)?;
        let user = &self.m.users[&uid];
        let (on_duty, is_here) = (user.duty.is_some(), !user.sockets.is_empty());
        let idle_ms = self.m.rules.idle_s * 1000;
        let retention_ms = self.m.rules.retention_s * 1000;
        let conversation = &mut self.m.conversations[conv];
        let mut other = Some(conversation.customer.clone()).filter(|_| on_duty);
        let mut waits = false;
        match &mut conversation.state {
            State::Waiting {
                words, bytes, left, ..
            } => {
                if *words + 1 > MAX_WAITING_MESSAGES || *bytes + body.len() > MAX_WAITING_BYTES {
                    return Err("queue_words_full");
                }
                *words += 1;
                *bytes += body.len();
                waits = true;
                if let Some(left) = left {
                    left.until = self.now.clock + retention_ms;
                }
            }
            State::Open {
                staff, idle, timer, ..
            } => {
                if !on_duty {
                    *idle = self.now.clock + idle_ms;
                    if conversation.left {
                        *timer = Some(*idle);
                        (conversation.left, conversation.answered) = (!is_here, !is_here);
                    }
                    other = Some(staff.clone());
                }
            }
            State::Ended | State::Direct { .. } => panic!("meant by nobody"),
        }
        let from = if on_duty { "staff" } else { "customer" };
        let seq = self.log(conv, from, &uid, "message", body, id.clone());
        if waits {
            let fields = vec![("conversation", Field::Conversation(conv))];
            let key = "still_queued";
            self.tell_one(client, What::Notice { key, fields });
        }
        if let Some(other) = other {
            self.tell(&other, None, &What::Words(conv, seq));
        }
        self.tell(&uid, Some(client), &What::Words(conv, seq));
        self.remember(id, body, None, conv, seq);
        Ok(())
    }

    /// Whether the actor's id was taken before, by the same words; then they get the same ack.
    pub(super) fn is_known(
        &mut self,
        id: Option<&str>,
        body: &str,
        to: Option<&str>,
    ) -> Result<bool, &'static str> {
        let mut sent = self.m.sent.get(&self.actor).into_iter().flatten();
        let Some(sent) = sent.find(|sent| Some(sent.id.as_str()) == id) else {
            return Ok(false);
        };
        if sent.body != body || sent.to.as_deref() != to {
            return Err("id_reused");
        }
        self.effect.ack = Some(sent.ack.clone());
        Ok(true)
    }

    pub(super) fn remember(
        &mut self,
        id: Option<String>,
        body: &str,
        to: Option<&str>,
        conversation: Conv,
        seq: usize,
    ) {
        let Some(id) = id else {
            return;
        };
        let ack = Acked { conversation, seq };
        self.effect.ack = Some(ack.clone());
        let (body, to) = (body.to_owned(), to.map(str::to_owned));
        let sent = self.m.sent.entry(self.actor.clone()).or_default();
        sent.push(Sent { id, body, to, ack });
    }

    /// The actor's direct conversation of this name, and the other member.
    pub(super) fn direct_of(&self, named: &str) -> Option<(Conv, String)> {
        let conv = (0..self.m.conversations.len()).find(|conv| self.m.name(*conv) == named)?;
        let State::Direct { members, .. } = &self.m.conversations[conv].state else {
            return None;
        };
        let other = match members.iter().position(|uid| *uid == self.actor)? {
            0 => &members[1],
            _ => &members[0],
        };
        Some((conv, other.clone()))
    }

    pub(super) fn may_write_to(&self, to: &str) -> Result<(), &'static str> {
        let customers = self.m.rules.customer_direct;
        let may = |role: Role| role != Role::Customer || customers;
        if !may(self.role) {
            return Err("forbidden");
        }
        match self.m.seen.get(to) {
            None => Err("no_user"),
            Some(role) if may(*role) => Ok(()),
            Some(_) => Err("forbidden"),
        }
    }

    pub(super) fn direct(
        &mut self,
        client: &str,
        to: &str,
        body: &str,
        id: Option<String>,
    ) -> Result<(), &'static str> {
        if self.is_known(id.as_deref(), body, Some(to))? {
            return Ok(());
        }
        if to == self.actor {
            return Err("bad_field");
        }
        self.may_write_to(to)?;
        let mut pair = [self.actor.clone(), to.to_owned()];
        pair.sort();
        let theirs = |conversation: &Conversation| matches!(&conversation.state, State::Direct { members, .. } if *members == pair);
        let conv = self.m.conversations.iter().position(theirs);
        let conv = conv.unwrap_or_else(|| {
            self.m.conversations.push(Conversation {
                born: self.now.event.clone(),
                customer: String::new(),
                ticket: 0,
                state: State::Direct {
                    members: pair.clone(),
                    renewed: self.now.appended,
                },
                staff: None,
                left: false,
                answered: false,
                past: Vec::new(),
                marks: BTreeMap::new(),
                recalled: BTreeMap::new(),
                log: Vec::new(),
            });
            self.m.names.push(None);
            // Who asks by a request may never have been here.
            self.m.seen.insert(self.actor.clone(), self.role);
            self.m.conversations.len() - 1
        });
        self.say_directly(conv, to, client, body, id, Some(to));
        Ok(())
    }

    pub(super) fn say_directly(
        &mut self,
        conv: Conv,
        other: &str,
        client: &str,
        body: &str,
        id: Option<String>,
        to: Option<&str>,
    ) {
        let uid = self.actor.clone();
        let seq = self.log(conv, "user", &uid, "message", body, id.clone());
        self.tell(other, None, &What::Words(conv, seq));
        self.tell(&uid, Some(client), &What::Words(conv, seq));
        self.remember(id, body, to, conv, seq);
    }
}
