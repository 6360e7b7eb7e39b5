//! The support desk once more, written from DESIGN.md's tables in plain Rust with plain scans, to
//! hold the scripts against. Knows neither keys nor scores; conversations are numbers here.
//!
//! One [`DeskModel`] is one site. It is given the events in the order in which they are applied and
//! answers what every connection is told.

mod marks;

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_shared::{
    event::{Event, Kind, SHARED_QUEUE},
    ids::ClientId,
    protocol::{
        Lang, MAX_CONNECTIONS_PER_USER, MAX_WAITING_BYTES, MAX_WAITING_MESSAGES, Role, frame::Verb,
        resume::Position,
    },
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave, Policy};

/// Where those wait who have left messages.
const LEFT_QUEUE: &str = "+";

/// A conversation's number in the model.
pub type Conv = usize;

/// One site.
#[derive(Debug, Clone)]
pub struct DeskModel {
    rules: DeskSettings,
    /// Users by id, while they are connected or awaited.
    pub users: BTreeMap<String, User>,
    /// Every conversation there ever was.
    pub conversations: Vec<Conversation>,
    /// The last role of everybody who was ever there.
    pub seen: BTreeMap<String, Role>,
    sent: BTreeMap<String, Vec<Sent>>,
    order: u64,
    /// What names conversations on the wire, as far as the test has seen it.
    pub names: Vec<Option<String>>,
}

/// A user who is connected, or lost and awaited.
#[derive(Debug, Clone)]
pub struct User {
    /// Connections in the order of opening, with the number of the last frame taken.
    pub sockets: Vec<(String, u64)>,
    /// Which of them resume.
    pub resume: BTreeSet<String>,
    /// Set while the user is lost and awaited.
    pub lost: Option<Lost>,
    /// Language.
    pub lang: Lang,
    /// Role.
    pub role: Role,
    /// Set while on duty.
    pub duty: Option<Duty>,
    /// The conversation as a customer.
    pub conversation: Option<Conv>,
    /// The place in the queue that they know.
    pub told: u64,
}

/// How long a lost user is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Until when on the shard's clock.
    pub until: u64,
    /// Whether the timer is set; otherwise its event is on its way.
    pub timer: bool,
}

/// A staff member's duty.
#[derive(Debug, Clone)]
pub struct Duty {
    /// Name, as a JSON string.
    pub name: String,
    /// Most conversations at a time.
    pub max: u32,
    /// When they came on duty.
    pub since: u64,
    /// When they got their latest conversation, or came on duty.
    pub latest: u64,
    /// Open conversations in the order of assignment.
    pub open: Vec<Conv>,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The event that began it.
    pub born: String,
    /// The customer; nobody in a direct conversation.
    pub customer: String,
    /// When they asked.
    pub ticket: u64,
    /// How it stands.
    pub state: State,
    /// Whose it is or was last.
    pub staff: Option<String>,
    /// Whether the customer has left messages, and not written to staff since while they were here.
    pub left: bool,
    /// Whether they have written to staff since without being here.
    pub answered: bool,
    /// Earlier staff, the latest last.
    pub past: Vec<String>,
    /// Up to which place somebody's devices and they themselves have got.
    pub marks: BTreeMap<String, Marks>,
    /// Places of recalled messages, and of the lines that say so.
    pub recalled: BTreeMap<usize, usize>,
    /// Its log.
    pub log: Vec<Line>,
}

/// How far somebody has got in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Delivered up to this place.
    pub delivered: usize,
    /// Read up to this place.
    pub read: usize,
}

/// How a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In a queue, with so many messages and bytes kept.
    Waiting {
        /// Whose queue.
        queue: String,
        /// Messages kept.
        words: usize,
        /// Their bytes.
        bytes: usize,
        /// Until when it waits, if messages were left.
        left: Option<Idle>,
    },
    /// With a staff member.
    Open {
        /// Who.
        staff: String,
        /// Redis's clock at the assignment, at the earliest.
        at: u64,
        /// When it counts as idle.
        idle: u64,
        /// When its timer is due; `None` while the timer's event is on its way.
        timer: Option<u64>,
    },
    /// Over.
    Ended,
    /// Between two users, since this one began it.
    Direct {
        /// Both, in order.
        members: [String; 2],
        /// When its expiry was set.
        renewed: u64,
    },
}

/// Until when a conversation goes on without the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// When it ends.
    pub until: u64,
    /// When its timer is due; `None` while the timer's event is on its way.
    pub timer: Option<u64>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// customer, staff, user or system.
    pub from: &'static str,
    /// Who made it.
    pub uid: String,
    /// message, assigned, ended, requeued or recalled.
    pub kind: &'static str,
    /// The words, or what is to be known.
    pub value: String,
    /// The sender's id.
    pub reference: Option<String>,
}

#[derive(Debug, Clone)]
struct Sent {
    id: String,
    body: String,
    to: Option<String>,
    ack: Acked,
}

/// What an ack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// Where the message is.
    pub conversation: Conv,
    /// Its place.
    pub seq: usize,
}

/// What a connection is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The connection.
    pub client: String,
    /// In which language.
    pub lang: Lang,
    /// What.
    pub what: What,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// That the connection is open.
    Welcome(String),
    /// That it is closed with this code.
    Close(u16),
    /// A row of the table of notices.
    Notice {
        /// The row's key.
        key: &'static str,
        /// Further fields.
        fields: Vec<(&'static str, Field)>,
    },
    /// The words of a line of a log.
    Words(Conv, usize),
    /// That there were words.
    Withheld(Conv, usize),
    /// Somebody's marks in a conversation; to themselves with what is unread.
    Receipt(Conv, String, Marks, Option<usize>),
    /// That a line of a log is recalled, with the id of who asked for it.
    Recalled(Conv, usize, Option<String>),
    /// How everything stands.
    Snapshot {
        /// Who asks.
        uid: String,
        /// Name and places of who is on duty.
        duty: Option<(String, u32)>,
        /// Their conversations, in any order.
        conversations: Vec<Standing>,
    },
    /// What came after a position, of a conversation by its name.
    History {
        /// Which one, as it was asked for.
        name: String,
        /// The conversation and the places from which (exclusive) to which to tell; `None` if it is not
        /// theirs.
        lines: Option<(Conv, usize, usize)>,
        /// What the client has is not what happened.
        reset: bool,
        /// Places of messages that are recalled by now.
        recalled: Vec<usize>,
    },
}

/// A conversation as one of its members sees it in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub conv: Conv,
    /// waiting, open or ended.
    pub state: &'static str,
    /// Who is on the other side.
    pub with: Option<String>,
    /// The staff member's name, for the customer.
    pub name: Option<String>,
    /// How long its log is.
    pub seq: usize,
    /// How many messages of the other side were not read.
    pub unread: usize,
    /// How far they have got.
    pub own: Marks,
    /// How far the other side has.
    pub peer: Marks,
    /// The place in the queue.
    pub queue: Option<u64>,
}

/// An id that no entry has: a client that names it is wrong about what happened.
pub const WRONG_ID: &str = "0.0.1-1.9";

/// A field of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// JSON.
    Json(String),
    /// The name of a conversation.
    Conversation(Conv),
    /// Place, id, predecessor and time of a line of a log.
    Line(Conv, usize),
}

/// When an event is applied.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The event's id.
    pub event: String,
    /// When it was appended, in ms.
    pub appended: u64,
    /// Redis's clock now.
    pub applied: u64,
    /// The shard's clock now.
    pub clock: u64,
}

/// What an event did.
#[derive(Debug, Default)]
pub struct Effect {
    /// What connections are told, in order.
    pub told: Vec<Told>,
    /// The sender's ack.
    pub ack: Option<Acked>,
}

struct Step<'m> {
    m: &'m mut DeskModel,
    now: &'m Moment,
    actor: String,
    effect: Effect,
}

impl DeskModel {
    /// A site without anybody.
    pub fn new(rules: DeskSettings) -> Self {
        Self {
            rules,
            users: BTreeMap::new(),
            conversations: Vec::new(),
            seen: BTreeMap::new(),
            sent: BTreeMap::new(),
            order: 0,
            names: Vec::new(),
        }
    }

    /// Applies one event.
    pub fn apply(&mut self, event: &Event, now: &Moment) -> Effect {
        let actor = event.uid.to_string();
        let mut step = Step {
            m: self,
            now,
            actor,
            effect: Effect::default(),
        };
        match &event.kind {
            Kind::Open {
                client, lang, role, ..
            } => step.open(client.as_str(), *lang, *role),
            Kind::Close { client, clean } => step.close(client.as_str(), *clean),
            Kind::Verb { client, n, verb } => step.frame(client.as_str(), *n, verb),
            Kind::IdleTimer { conversation } => step.idle(conversation.as_str()),
            Kind::LostTimer { lost } => step.lost_timer(*lost),
            Kind::QueueMoved => step.queue_moved(),
            Kind::QueueLost { .. } => panic!("too few users for a continuation"),
            Kind::Revoke { .. } => step.revoke(),
            Kind::GatewayDead { .. } => panic!("gateways do not die in these lives"),
            Kind::Request(_) => panic!("nobody asks the API in these lives"),
        }
        step.effect
    }

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

    /// Conversations that begun with names that are known.
    pub fn name(&self, conv: Conv) -> &str {
        let name = self.names.get(conv).and_then(Option::as_deref);
        name.unwrap_or("a conversation without a name")
    }

    /// How a conversation stands for one of those who may read it.
    fn seen_by(&self, uid: &str, conv: Conv) -> Option<Standing> {
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

    fn queued(&self, wanted: impl Fn(&str) -> bool) -> Vec<Conv> {
        let mut found: Vec<Conv> = (0..self.conversations.len())
            .filter(|conv| match &self.conversations[*conv].state {
                State::Waiting { queue, .. } => wanted(queue),
                _ => false,
            })
            .collect();
        found.sort_by_key(|conv| self.conversations[*conv].ticket);
        found
    }

    fn staff_by<K: Ord>(&self, key: impl Fn(&str, &Duty) -> K) -> Vec<String> {
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

    fn turn(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

impl Step<'_> {
    fn user(&mut self, uid: &str) -> &mut User {
        self.m.users.get_mut(uid).expect("a connected user")
    }

    fn tell_one(&mut self, client: &str, what: What) {
        let user = self.m.users.get(&self.actor);
        self.effect.told.push(Told {
            client: client.to_owned(),
            lang: user.map_or(Lang::ZhCn, |user| user.lang),
            what,
        });
    }

    fn tell(&mut self, uid: &str, except: Option<&str>, what: &What) {
        let Some(user) = self.m.users.get(uid) else {
            return;
        };
        for (client, _) in &user.sockets {
            if Some(client.as_str()) != except {
                self.effect.told.push(Told {
                    client: client.clone(),
                    lang: user.lang,
                    what: what.clone(),
                });
            }
        }
    }

    fn log(
        &mut self,
        conv: Conv,
        from: &'static str,
        uid: &str,
        kind: &'static str,
        value: &str,
        reference: Option<String>,
    ) -> usize {
        let log = &mut self.m.conversations[conv].log;
        log.push(Line {
            from,
            uid: uid.to_owned(),
            kind,
            value: value.to_owned(),
            reference,
        });
        log.len()
    }

    fn open(&mut self, client: &str, lang: Lang, role: Role) {
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

    fn revoke(&mut self) {
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

    fn close(&mut self, client: &str, clean: bool) {
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

    fn lost_timer(&mut self, until: u64) {
        let Some(user) = self.m.users.get_mut(&self.actor) else {
            return;
        };
        if user.lost.is_some_and(|lost| lost.until == until) {
            user.lost = None;
            self.depart();
        }
    }

    fn depart(&mut self) {
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

    fn frame(&mut self, client: &str, n: u64, verb: &Verb) {
        let socket = self
            .m
            .users
            .get_mut(&self.actor)
            .and_then(|user| user.sockets.iter_mut().find(|(known, _)| known == client));
        let Some((_, last)) = socket.filter(|(_, last)| n == *last + 1) else {
            return self.tell_one(client, What::Close(4004));
        };
        *last = n;
        let role = self.m.users[&self.actor].role;
        let refused = match verb {
            Verb::Message { .. }
            | Verb::Direct { .. }
            | Verb::Close { .. }
            | Verb::Mark { .. }
            | Verb::Recall { .. }
                if !may_serve(role) && !may_ask(role) =>
            {
                Err("wrong_role")
            }
            Verb::StaffOnline { name, max } => self.staff_online(name.as_deref(), *max),
            Verb::StaffOffline => self.staff_offline(),
            Verb::CustomerConnect => self.connect(client),
            Verb::CustomerLeave => self.leave(),
            Verb::Message {
                body,
                id,
                conversation,
            } => {
                let id = id.as_ref().map(ToString::to_string);
                let conversation = conversation.as_ref().map(ToString::to_string);
                self.message(client, body, id, conversation.as_deref())
            }
            Verb::Resume {
                replaces,
                positions,
            } => {
                self.resume(client, replaces.as_ref().map(ClientId::as_str));
                self.catch_up(client, positions);
                Ok(())
            }
            Verb::Direct { to, body, id } => {
                let id = id.as_ref().map(ToString::to_string);
                self.direct(client, to.as_str(), body, id)
            }
            Verb::Close { conversation } => {
                self.close_conversation(conversation.as_ref().map(ToString::to_string).as_deref())
            }
            Verb::Mark {
                conversation,
                up_to,
                mark,
            } => self.mark(client, conversation.as_str(), *up_to, *mark),
            Verb::Recall {
                conversation,
                seq,
                id,
                ..
            } => {
                let id = id.as_ref().map(ToString::to_string);
                self.recall(client, conversation.as_str(), *seq, id)
            }
        };
        if let Err(key) = refused {
            let mut fields = Vec::new();
            if let Some(id) = verb.reference() {
                fields.push(("ref", Field::Json(format!("\"{id}\""))));
            }
            if key == "bad_field" {
                fields.push(("field", Field::Json("\"to\"".to_owned())));
            }
            self.tell_one(client, What::Notice { key, fields });
        }
    }

    fn resume(&mut self, client: &str, replaces: Option<&str>) {
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

    fn catch_up(&mut self, client: &str, positions: &[Position]) {
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

    fn staff_online(&mut self, name: Option<&str>, max: Option<u32>) -> Result<(), &'static str> {
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

    fn staff_offline(&mut self) -> Result<(), &'static str> {
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

    fn connect(&mut self, client: &str) -> Result<(), &'static str> {
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
    fn standing(&self, conv: Conv) -> What {
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

    fn leave(&mut self) -> Result<(), &'static str> {
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
    fn meant(&mut self, named: Option<&str>) -> Result<Conv, &'static str> {
        let uid = self.actor.clone();
        let user = &self.m.users[&uid];
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

    fn close_conversation(&mut self, named: Option<&str>) -> Result<(), &'static str> {
        let conv = self.meant(named)?;
        let on_duty = self.m.users[&self.actor].duty.is_some();
        self.end(conv, if on_duty { "closed" } else { "customer_left" });
        self.fill();
        Ok(())
    }

    fn message(
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
    fn is_known(
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

    fn remember(
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
    fn direct_of(&self, named: &str) -> Option<(Conv, String)> {
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

    fn may_write_to(&self, to: &str) -> Result<(), &'static str> {
        let customers = self.m.rules.customer_direct;
        let may = |role: Role| role != Role::Customer || customers;
        if !may(self.m.seen[&self.actor]) {
            return Err("forbidden");
        }
        match self.m.seen.get(to) {
            None => Err("no_user"),
            Some(role) if may(*role) => Ok(()),
            Some(_) => Err("forbidden"),
        }
    }

    fn direct(
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
            self.m.conversations.len() - 1
        });
        self.say_directly(conv, to, client, body, id, Some(to));
        Ok(())
    }

    fn say_directly(
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

    fn idle(&mut self, named: &str) {
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

    fn queue_moved(&mut self) {
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

    fn enqueue(&mut self, conv: Conv) {
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
    fn seat(&mut self, conv: Conv) {
        let customer = self.m.conversations[conv].customer.clone();
        let place = self.m.place(conv);
        let user = self.user(&customer);
        user.conversation = Some(conv);
        user.told = place;
    }

    fn assign(&mut self, conv: Conv, staff: &str) {
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

    fn fill(&mut self) {
        loop {
            let (free, waiting) = (self.m.free(), self.m.waiting());
            let (Some(staff), Some(conv)) = (free.first(), waiting.first()) else {
                return;
            };
            self.assign(*conv, staff);
        }
    }

    fn release(&mut self, conv: Conv) {
        if let State::Open { staff, .. } = &self.m.conversations[conv].state {
            let staff = staff.clone();
            if let Some(duty) = &mut self.user(&staff).duty {
                duty.open.retain(|open| *open != conv);
            }
        }
    }

    fn end(&mut self, conv: Conv, reason: &'static str) {
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

    fn leave_duty(&mut self) {
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

    fn requeue(&mut self, conv: Conv, staff: &str) {
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

    fn move_on(&mut self, conv: Conv) {
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

/// A supervisor may do what staff may; a service takes no part.
fn may_serve(role: Role) -> bool {
    matches!(role, Role::Any | Role::Staff | Role::Supervisor)
}

fn may_ask(role: Role) -> bool {
    matches!(role, Role::Any | Role::Customer)
}
