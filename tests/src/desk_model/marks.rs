//! Marks and recalls, in the model.

use frontdesk_shared::protocol::frame::Mark;

use super::{Conv, Conversation, Line, State, Step, What};

impl Conversation {
    /// Whether it is one of two users.
    pub fn is_direct(&self) -> bool {
        matches!(self.state, State::Direct { .. })
    }

    /// Who may write in it: side a, and side b if somebody is there.
    pub fn members(&self) -> Vec<&str> {
        if let State::Direct { members, .. } = &self.state {
            return members.iter().map(String::as_str).collect();
        }
        let staff = self.staff.as_deref();
        [self.customer.as_str()].into_iter().chain(staff).collect()
    }

    /// How many messages of the other side somebody has not read.
    pub fn unread(&self, uid: &str) -> usize {
        let read = self.marks.get(uid).map_or(0, |marks| marks.read);
        self.written_to(uid, self.log.len()) - self.written_to(uid, read)
    }

    /// How many messages of the other side there are up to a place.
    pub fn written_to(&self, uid: &str, up_to: usize) -> usize {
        let of_other = |line: &&Line| match line.from {
            "customer" => self.customer != uid,
            "staff" => self.customer == uid,
            _ => line.uid != uid,
        };
        let messages = self.log[..up_to]
            .iter()
            .filter(|line| line.kind == "message");
        messages.filter(of_other).count()
    }

    /// The member on the other side.
    fn other(&self, uid: &str) -> Option<String> {
        let other = self.members().into_iter().find(|member| *member != uid);
        other.map(str::to_owned)
    }
}

impl Step<'_> {
    fn named(&self, name: &str) -> Result<Conv, &'static str> {
        let found = (0..self.m.conversations.len()).find(|conv| self.m.name(*conv) == name);
        found.ok_or("no_conversation")
    }

    pub(super) fn mark(
        &mut self,
        client: &str,
        name: &str,
        up_to: u64,
        mark: Mark,
    ) -> Result<(), &'static str> {
        let (uid, conv) = (self.actor.clone(), self.named(name)?);
        let conversation = &mut self.m.conversations[conv];
        if !conversation.members().contains(&uid.as_str()) {
            return Err(if conversation.past.contains(&uid) {
                "forbidden"
            } else {
                "no_conversation"
            });
        }
        let head = conversation.log.len();
        let up_to = usize::try_from(up_to).map_or(head, |up_to| up_to.min(head));
        let marks = conversation.marks.entry(uid.clone()).or_default();
        let before = *marks;
        marks.delivered = marks.delivered.max(up_to);
        if mark == Mark::Read {
            marks.read = marks.read.max(up_to);
        }
        let after = *marks;
        let (other, unread) = (conversation.other(&uid), conversation.unread(&uid));
        let receipt = |unread| What::Receipt(conv, uid.clone(), after, unread);
        if let Some(other) = other.filter(|_| after != before) {
            self.tell(&other, None, &receipt(None));
        }
        if after != before {
            self.tell(&uid, Some(client), &receipt(Some(unread)));
        }
        self.answer(client, receipt(Some(unread)));
        Ok(())
    }

    pub(super) fn recall(
        &mut self,
        client: &str,
        name: &str,
        seq: u64,
        id: Option<String>,
    ) -> Result<(), &'static str> {
        let (uid, conv) = (self.actor.clone(), self.named(name)?);
        let conversation = &self.m.conversations[conv];
        if !conversation.members().contains(&uid.as_str()) && !conversation.past.contains(&uid) {
            return Err("no_conversation");
        }
        let seq = usize::try_from(seq).map_err(|_| "no_message")?;
        let line = conversation.log.get(seq.wrapping_sub(1));
        let line = line.filter(|line| line.kind == "message");
        let line = line.ok_or("no_message")?.clone();
        if line.uid != uid {
            return Err("forbidden");
        }
        let told = |id| What::Recalled(conv, seq, id);
        if conversation.recalled.contains_key(&seq) {
            self.tell_one(client, told(id));
            return Ok(());
        }
        let members = conversation.members().into_iter();
        let others: Vec<String> = members
            .filter(|member| *member != uid)
            .map(str::to_owned)
            .collect();
        let place = self.log(conv, line.from, &uid, "recalled", &seq.to_string(), None);
        self.m.conversations[conv].recalled.insert(seq, place);
        for other in others {
            self.tell(&other, None, &told(None));
        }
        self.tell(&uid, Some(client), &told(None));
        self.tell_one(client, told(id));
        Ok(())
    }
}
