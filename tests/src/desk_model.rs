//! The support desk once more, written from DESIGN.md's tables in plain Rust with plain scans, to
//! hold the scripts against. Knows neither keys nor scores; conversations are numbers here.
//!
//! One [`DeskModel`] is one site. It is given the events in the order in which they are applied and
//! answers what every connection is told.

mod desk;
mod marks;
mod people;
mod queues;
mod requests;
mod state;
mod timers;
mod told;
mod words;

use std::collections::BTreeMap;

use frontdesk_shared::{
    event::{Event, Kind},
    ids::ClientId,
    protocol::{Lang, Role, frame::Verb},
};
use frontdesk_worker::desk::settings::DeskSettings;

pub use requests::Answer;
use requests::Asked;
use state::Sent;
pub use state::{Acked, Conv, Conversation, Duty, Idle, Line, Lost, Marks, State, User};
pub use told::{Field, Standing, Told, WRONG_ID, What};

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
    asked: BTreeMap<String, Vec<Asked>>,
    order: u64,
    /// What names conversations on the wire, as far as the test has seen it.
    pub names: Vec<Option<String>>,
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
    /// The answer of who has asked by a request.
    pub answer: Option<Answer>,
    /// It is the one that was given before.
    pub again: bool,
}

struct Step<'m> {
    m: &'m mut DeskModel,
    now: &'m Moment,
    actor: String,
    /// What the actor may do, once it is known what they do.
    role: Role,
    /// They have asked by a request.
    asking: bool,
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
            asked: BTreeMap::new(),
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
            role: Role::Any,
            asking: false,
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
            Kind::Request(request) => step.request(request),
        }
        step.effect
    }

    /// Conversations that begun with names that are known.
    pub fn name(&self, conv: Conv) -> &str {
        let name = self.names.get(conv).and_then(Option::as_deref);
        name.unwrap_or("a conversation without a name")
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
        if let Err(key) = self.verb(client, role, verb) {
            self.refuse(client, key, verb.reference().map(ToString::to_string));
        }
    }

    /// What a frame or a request does, and why not.
    fn verb(&mut self, client: &str, role: Role, verb: &Verb) -> Result<(), &'static str> {
        self.role = role;
        match verb {
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
            Verb::Close { conversation } => self.close_conversation(
                client,
                conversation.as_ref().map(ToString::to_string).as_deref(),
            ),
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
        }
    }
}

/// A supervisor may do what staff may; a service takes no part.
fn may_serve(role: Role) -> bool {
    matches!(role, Role::Any | Role::Staff | Role::Supervisor)
}

fn may_ask(role: Role) -> bool {
    matches!(role, Role::Any | Role::Customer)
}
