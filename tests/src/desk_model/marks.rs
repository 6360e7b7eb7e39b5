//! Marks and recalls, in the model.

use frontdesk_shared::protocol::frame::Mark;

use super::{Conv, Conversation, Line, Step, What};

impl Conversation {
    /// Whether a user may write in it.
    pub fn has_member(&self, uid: &str) -> bool {
        self.customer == uid || self.staff.as_deref() == Some(uid)
    }

    /// How many messages of the other side somebody has not read.
    pub fn unread(&self, uid: &str) -> usize {
        let read = self.marks.get(uid).map_or(0, |marks| marks.read);
        self.written_to(uid, self.log.len()) - self.written_to(uid, read)
    }

    /// How many messages of the other side there are up to a place.
    pub fn written_to(&self, uid: &str, up_to: usize) -> usize {
        let other = if self.customer == uid {
            "staff"
        } else {
            "customer"
        };
        let counts = |line: &&Line| line.kind == "message" && line.from == other;
        self.log[..up_to].iter().filter(counts).count()
    }

    /// The member on the other side.
    fn other(&self, uid: &str) -> Option<String> {
        if self.customer == uid {
            self.staff.clone()
        } else {
            Some(self.customer.clone())
        }
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
        if !conversation.has_member(&uid) {
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
        if after == before {
            return Ok(());
        }
        let (other, unread) = (conversation.other(&uid), conversation.unread(&uid));
        let receipt = |unread| What::Receipt(conv, uid.clone(), after, unread);
        if let Some(other) = other {
            self.tell(&other, None, &receipt(None));
        }
        self.tell(&uid, Some(client), &receipt(Some(unread)));
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
        if !conversation.has_member(&uid) && !conversation.past.contains(&uid) {
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
        let others = [
            Some(conversation.customer.clone()),
            conversation.staff.clone(),
        ];
        let place = self.log(conv, line.from, &uid, "recalled", &seq.to_string(), None);
        self.m.conversations[conv].recalled.insert(seq, place);
        for other in others.into_iter().flatten().filter(|other| *other != uid) {
            self.tell(&other, None, &told(None));
        }
        self.tell(&uid, Some(client), &told(None));
        self.tell_one(client, told(id));
        Ok(())
    }
}
