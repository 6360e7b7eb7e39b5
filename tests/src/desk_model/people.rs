//! Who comes, goes, is lost and comes back, and what they find, in the model.

use std::collections::BTreeSet;

use frontdesk_shared::protocol::{Lang, MAX_CONNECTIONS_PER_USER, Role, resume::Position};

use super::{Conv, DeskModel, Lost, Standing, State, Step, User, WRONG_ID, What};

impl DeskModel {
    /// How a conversation stands for one of those who may read it.
    pub(super) fn seen_by(&self, uid: &str, conv: Conv) -> Option<Standing> {
        let conversation = &self.conversations[conv];
        let members = conversation.members();
        let is_member = members.contains(&uid);
        if !is_member && !conversation.past.iter().any(|past| past == uid) {
            return None;
        }
        let (state, queue) = match &conversation.state {
            State::Waiting { .. } => ("waiting", Some(self.place(conv))),
            State::Open { .. } => ("open", None),
            State::Ended => ("ended", None),
            State::Direct { .. } => ("direct", None),
        };
        let marks = |uid: Option<&str>| {
            let marks = uid.and_then(|uid| conversation.marks.get(uid));
            marks.copied().unwrap_or_default()
        };
        // The other side of earlier staff is the customer, who is the first of the members.
        let other = members.iter().copied().find(|member| *member != uid);
        let staff = conversation.staff.as_ref();
        let duty = staff.and_then(|staff| self.users.get(staff)?.duty.as_ref());
        let is_customer = conversation.customer == uid;
        Some(Standing {
            conv,
            state,
            with: other.map(str::to_owned),
            name: duty.filter(|_| is_customer).map(|duty| duty.name.clone()),
            seq: conversation.log.len(),
            unread: if is_member {
                conversation.unread(uid)
            } else {
                0
            },
            own: marks(Some(uid).filter(|_| is_member)),
            peer: marks(other),
            queue,
        })
    }
}

impl Step<'_> {
    pub(super) fn open(&mut self, client: &str, lang: Lang, role: Role) {
        let user = self.m.users.get(&self.actor);
        let sockets = user.map_or(&[][..], |user| &user.sockets);
        if sockets.iter().any(|(known, _)| known == client) {
            return;
        }
        if sockets.len() == MAX_CONNECTIONS_PER_USER {
            return self.tell_one(client, What::Close(4500));
        }
        let user = self.m.users.entry(self.actor.clone()).or_insert(User {
            sockets: Vec::new(),
            resume: BTreeSet::new(),
            lost: None,
            lang,
            role,
            duty: None,
            conversation: None,
            told: 0,
        });
        user.sockets.push((client.to_owned(), 0));
        (user.lang, user.role) = (lang, role);
        let was_lost = user.lost.take().is_some();
        self.m.seen.insert(self.actor.clone(), role);
        self.tell_one(client, What::Welcome(self.actor.clone()));
        if was_lost {
            self.fill();
        }
    }

    pub(super) fn revoke(&mut self) {
        let actor = self.actor.clone();
        let Some(user) = self.m.users.get_mut(&actor) else {
            return;
        };
        let sockets = std::mem::take(&mut user.sockets);
        (user.lost, user.resume) = (None, BTreeSet::new());
        for (client, _) in sockets {
            self.tell_one(&client, What::Close(4501));
        }
        self.depart();
    }

    pub(super) fn close(&mut self, client: &str, clean: bool) {
        let (actor, grace_ms) = (self.actor.clone(), self.m.rules.grace_s * 1000);
        let Some(user) = self.m.users.get_mut(&actor) else {
            return;
        };
        let before = user.sockets.len();
        user.sockets.retain(|(known, _)| known != client);
        let resumes = user.resume.remove(client);
        if !user.sockets.is_empty() || user.sockets.len() == before {
            return;
        }
        let conv = user.conversation;
        if conv.is_some_and(|conv| self.m.conversations[conv].left) {
            return;
        }
        let has_place = user.duty.is_some() || user.conversation.is_some();
        if !clean && resumes && has_place && grace_ms > 0 {
            user.lost = Some(Lost {
                until: self.now.clock + grace_ms,
                timer: true,
            });
            return;
        }
        self.depart();
    }

    pub(super) fn depart(&mut self) {
        let actor = self.actor.clone();
        let user = self.user(&actor);
        if user.duty.is_some() {
            self.leave_duty();
        } else if let Some(conv) = user.conversation {
            self.end(conv, "customer_left");
            self.fill();
        }
        self.m.users.remove(&actor);
    }

    pub(super) fn resume(&mut self, client: &str, replaces: Option<&str>) {
        let uid = self.actor.clone();
        let user = self.user(&uid);
        user.resume.insert(client.to_owned());
        if let Some(replaced) = replaces.filter(|replaced| *replaced != client) {
            let before = user.sockets.len();
            user.sockets.retain(|(known, _)| known != replaced);
            user.resume.remove(replaced);
            if user.sockets.len() < before {
                self.tell_one(replaced, What::Close(4502));
            }
        }
    }

    pub(super) fn catch_up(&mut self, client: &str, positions: &[Position]) {
        let uid = self.actor.clone();
        let user = &self.m.users[&uid];
        let duty = user.duty.as_ref().map(|duty| (duty.name.clone(), duty.max));
        let all = 0..self.m.conversations.len();
        let conversations = all.filter_map(|conv| self.m.seen_by(&uid, conv)).collect();
        let snapshot = What::Snapshot {
            uid: uid.clone(),
            duty,
            conversations,
        };
        self.tell_one(client, snapshot);
        for Position { conversation, seen } in positions {
            let name = conversation.to_string();
            let found = (0..self.m.conversations.len()).find(|conv| self.m.name(*conv) == name);
            let theirs = found.filter(|conv| self.m.seen_by(&uid, *conv).is_some());
            let (from, wrong) = match seen {
                None => (0, false),
                Some(seen) => (seen.seq, seen.id.as_str() == WRONG_ID),
            };
            let from = usize::try_from(from).expect("a small number");
            let length = theirs.map_or(0, |conv| self.m.conversations[conv].log.len());
            let reset = theirs.is_none() || wrong || from > length;
            let lines = theirs.map(|conv| (conv, if reset { 0 } else { from }, length));
            let recalled = lines.map(|(conv, _, _)| &self.m.conversations[conv].recalled);
            let recalled = recalled.into_iter().flat_map(|gone| gone.keys().copied());
            let what = What::History {
                recalled: recalled.collect(),
                name,
                lines,
                reset,
            };
            self.tell_one(client, what);
        }
    }
}
