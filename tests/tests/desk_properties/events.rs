//! The events that acts become: numbers choose among what there is.

use frontdesk_shared::{
    event::{self, Kind, Request},
    ids::{ClientId, ConversationId, MessageId, MessageRef, Uid},
    protocol::{
        Lang, Role,
        frame::Verb,
        resume::{Position, Seen},
    },
};
use frontdesk_tests::{desk_model::WRONG_ID, desk_state::SiteDump};

use crate::{
    lives::{Act, Place, STAFF, Which},
    world::{Socket, World},
};

impl World {
    /// The event of an act, and what it changes in the gateway.
    pub fn event(&mut self, place: (usize, usize), act: &Act) -> Kind {
        let (socket, verb) = match act {
            Act::Open { gateway, english } => {
                let client = ClientId::random(&self.boots[*gateway]);
                self.sockets.entry(place).or_default().push(Socket {
                    client: client.clone(),
                    sent: 0,
                });
                return open(place.1, client, *english);
            }
            Act::Close { socket } | Act::Lose { socket } => {
                let sockets = self.sockets.get_mut(&place).expect("a connection");
                let socket = sockets.remove(socket % sockets.len());
                return Kind::Close {
                    client: socket.client,
                    clean: matches!(act, Act::Close { .. }),
                };
            }
            Act::Revoke => {
                self.sockets.remove(&place);
                return Kind::Revoke { keep_s: 60 };
            }
            Act::Resume {
                socket,
                replaces,
                positions,
            } => {
                let sockets = &self.sockets[&place];
                let one = |n: usize| sockets[n % sockets.len()].client.clone();
                let verb = Verb::Resume {
                    replaces: replaces.map(one),
                    positions: self.positions(place.0, positions),
                };
                (socket, verb)
            }
            Act::OpenAgain { socket } => {
                let sockets = &self.sockets[&place];
                return open(
                    place.1,
                    sockets[socket % sockets.len()].client.clone(),
                    false,
                );
            }
            Act::StaffOnline { socket, max, name } => {
                let name = name.then(|| format!("\"客服{}\"", place.1));
                (socket, Verb::StaffOnline { name, max: *max })
            }
            Act::StaffOffline { socket } => (socket, Verb::StaffOffline),
            Act::Leave { socket } => (socket, Verb::CustomerLeave),
            Act::Say { socket, .. }
            | Act::Direct { socket, .. }
            | Act::End { socket, .. }
            | Act::Mark { socket, .. }
            | Act::Recall { socket, .. } => (socket, self.verb(place, act)),
            Act::Ask { act, key } => return self.asks(place, act, *key),
            Act::AskAgain { nth } => {
                let asked = &self.asked[&place];
                let client = ClientId::random(&self.boots[0]);
                let mut again = asked[asked.len() - 1 - nth % asked.len()].clone();
                again.client = client;
                return Kind::Request(Box::new(again));
            }
            Act::Connect { socket } | Act::SkipFrame { socket } => (socket, Verb::CustomerConnect),
        };
        let sockets = self.sockets.get_mut(&place).expect("a connection");
        let count = sockets.len();
        let socket = &mut sockets[socket % count];
        let skipped = u64::from(matches!(act, Act::SkipFrame { .. }));
        if skipped == 0 {
            socket.sent += 1;
        }
        Kind::Verb {
            client: socket.client.clone(),
            n: socket.sent + 2 * skipped,
            verb,
        }
    }

    /// A request of somebody for this act. Programs name the conversation and the key.
    fn asks(&mut self, place: (usize, usize), act: &Act, key: u8) -> Kind {
        let key = MessageRef::parse(&format!("m{key}")).expect("well-formed");
        let mut verb = self.verb(place, act);
        match &mut verb {
            Verb::Message {
                id, conversation, ..
            } => {
                *id = Some(key.clone());
                conversation.get_or_insert_with(|| self.own_conversation(place));
            }
            Verb::Close { conversation } => {
                conversation.get_or_insert_with(|| self.own_conversation(place));
            }
            Verb::Direct { id, .. } => *id = Some(key.clone()),
            Verb::Recall { id, .. } => *id = None,
            _ => {}
        }
        let request = Request {
            client: ClientId::random(&self.boots[0]),
            by: None,
            role: role(place.1),
            lang: Lang::En,
            iat: None,
            key,
            act: event::Act::Verb(verb),
        };
        self.asked.entry(place).or_default().push(request.clone());
        Kind::Request(Box::new(request))
    }

    /// What is done in conversations.
    fn verb(&self, place: (usize, usize), act: &Act) -> Verb {
        let named = |id: &Option<u8>| {
            id.map(|id| MessageRef::parse(&format!("m{id}")).expect("well-formed"))
        };
        match act {
            Act::Say {
                text, id, which, ..
            } => Verb::Message {
                body: format!("\"你好 \\\"{text}\\\"\\n\""),
                id: named(id),
                conversation: self.named(place, which),
            },
            Act::Direct { to, text, id, .. } => Verb::Direct {
                to: user_name(*to),
                body: format!("\"你好 {text}\""),
                id: named(id),
            },
            Act::End { which, .. } => Verb::Close {
                conversation: self.named(place, which),
            },
            _ => self.mark_or_recall(place, act),
        }
    }

    fn mark_or_recall(&self, place: (usize, usize), act: &Act) -> Verb {
        let meant = |which: &Which| {
            let named = self.named(place, which);
            named.unwrap_or_else(|| self.own_conversation(place))
        };
        match act {
            Act::Mark {
                which, up_to, mark, ..
            } => Verb::Mark {
                conversation: meant(which),
                up_to: *up_to,
                mark: *mark,
            },
            Act::Recall {
                which, nth, own, ..
            } => Verb::Recall {
                seq: self.message_of(place, &meant(which), *nth, *own),
                conversation: meant(which),
                message: None,
                id: own.then(|| MessageRef::parse("r1").expect("well-formed")),
            },
            _ => unreachable!("another act"),
        }
    }

    pub fn named(&self, place: (usize, usize), which: &Which) -> Option<ConversationId> {
        let conversations = &self.models[place.0].names;
        match which {
            Which::Nth(n) if !conversations.is_empty() => {
                let latest = conversations.iter().rev().take(5);
                let name = latest.cycle().nth(*n).and_then(Option::as_deref);
                Some(ConversationId::parse(name.expect("named")).expect("well-formed"))
            }
            Which::Unknown => Some(ConversationId::parse("0.0.1-1.1").expect("well-formed")),
            Which::Nth(_) | Which::Unsaid => None,
        }
    }

    /// A conversation that somebody is in, or none that there is.
    fn own_conversation(&self, place: (usize, usize)) -> ConversationId {
        let model = &self.models[place.0];
        let own = model
            .users
            .get(user_name(place.1).as_str())
            .and_then(|user| {
                let duty = user
                    .duty
                    .as_ref()
                    .and_then(|duty| duty.open.first().copied());
                duty.or(user.conversation)
            });
        let uid = user_name(place.1);
        let direct = || {
            let conversations = model.conversations.iter();
            conversations.enumerate().rev().find(|(_, conversation)| {
                conversation.is_direct() && conversation.members().contains(&uid.as_str())
            })
        };
        let own = own.or_else(|| direct().map(|(conv, _)| conv));
        let name = own.map_or("0.0.1-1.1", |conv| model.name(conv));
        ConversationId::parse(name).expect("well-formed")
    }

    /// The place of the nth message of somebody in a conversation, or else of others, or of any line.
    fn message_of(
        &self,
        place: (usize, usize),
        conversation: &ConversationId,
        nth: usize,
        own: bool,
    ) -> u64 {
        let (model, uid) = (&self.models[place.0], user_name(place.1));
        let known = model
            .names
            .iter()
            .position(|name| name.as_deref() == Some(conversation.as_str()));
        let log = known.map_or(&[][..], |conv| &model.conversations[conv].log);
        let said = (1..)
            .zip(log)
            .filter(|(_, line)| line.kind == "message" && (line.uid == uid.as_str()) == own);
        let said: Vec<u64> = said.map(|(seq, _)| seq).collect();
        let any = nth as u64 + 1;
        let among = nth.checked_rem(said.len());
        among
            .filter(|_| own || !nth.is_multiple_of(3))
            .map_or(any, |nth| said[nth])
    }

    /// Positions in the latest conversations of a site, each named once.
    pub fn positions(&self, site: usize, places: &[Place]) -> Vec<Position> {
        let model = &self.models[site];
        let dump = SiteDump::new(&self.dump, &self.prefixes[site]);
        let mut positions: Vec<Position> = Vec::new();
        for place in places {
            let latest = (0..model.names.len()).rev().nth(place.conversation);
            let Some(name) = latest.map(|conv| model.name(conv)) else {
                continue;
            };
            let ids = dump.ids(name);
            let seq = (ids.len() + 1).saturating_sub(place.back);
            let id = ids.get(seq.wrapping_sub(1)).filter(|_| place.right);
            let id = id.map_or(WRONG_ID, String::as_str);
            let position = Position {
                conversation: ConversationId::parse(name).expect("well-formed"),
                seen: (seq > 0).then(|| Seen {
                    seq: seq as u64,
                    id: MessageId::parse(id).expect("well-formed"),
                }),
            };
            if positions
                .iter()
                .all(|p| p.conversation != position.conversation)
            {
                positions.push(position);
            }
        }
        positions
    }
}

/// Two of the staff may be customers too, as in open mode; so may some customers be staff.
fn role(user: usize) -> Role {
    match user {
        2 => Role::Staff,
        8.. => Role::Customer,
        _ => Role::Any,
    }
}

fn open(user: usize, client: ClientId, english: bool) -> Kind {
    let lang = if english { Lang::En } else { Lang::ZhCn };
    Kind::Open {
        client,
        lang,
        role: role(user),
        proof: None,
    }
}

pub fn user_name(user: usize) -> Uid {
    let name = if user < STAFF { "staff" } else { "customer" };
    Uid::parse(&format!("{name}.{user}")).expect("well-formed")
}
