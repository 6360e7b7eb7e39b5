//! What is appended to a lane: one stream entry, flat text fields, versioned by `v`.
//!
//! Gateways append what their sockets did; timers and scripts append the rest (their fields are
//! written in Lua, in `worker/lua`). A decoder meets every entry as if it were hostile: ids and
//! bounds are checked again, because a log outlives the program that wrote it.

use crate::{
    ids::{BootId, ClientId, ConversationId, IdError, MessageId, MessageRef, Site, Uid},
    protocol::{
        Lang, MAX_FRAME_BYTES, MAX_SEQ, Role,
        frame::{self, Mark, Verb},
        resume,
    },
};

/// The version of the entries this program writes, and the newest it can read.
pub const VERSION: u32 = 1;
/// The same as it is written.
const VERSION_TEXT: &str = "1";

/// The one queue of the policy `shared`; no uid looks like it.
pub const SHARED_QUEUE: &str = "-";

/// One event: who, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The tenant.
    pub site: Site,
    /// The user whose lane this is in.
    pub uid: Uid,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A socket is there. Idempotent.
    Open {
        /// The connection.
        client: ClientId,
        /// The user's language from here on.
        lang: Lang,
        /// What the handshake allows.
        role: Role,
        /// What its token says, where there are tokens.
        proof: Option<Proof>,
    },
    /// A socket is gone. Idempotent.
    Close {
        /// The connection.
        client: ClientId,
        /// Closed with 1000 or without a code, so on purpose.
        clean: bool,
    },
    /// The user is revoked: tokens made until now are void. Idempotent.
    Revoke {
        /// For how long such a token may live, in seconds.
        keep_s: u64,
    },
    /// A client sent a frame.
    Verb {
        /// The connection.
        client: ClientId,
        /// The frame's number on that connection, from 1.
        n: u64,
        /// The frame.
        verb: Verb,
    },
    /// A conversation's idle timer is due.
    IdleTimer {
        /// The customer's conversation.
        conversation: ConversationId,
    },
    /// A lost user's time to come back is over.
    LostTimer {
        /// Until when on the shard's clock their place was kept: a later loss has another time.
        lost: u64,
    },
    /// A gateway is dead: close what it held. An event of a shard, in the lane 0 of each.
    GatewayDead {
        /// The boot that is dead.
        boot: BootId,
    },
    /// Places in queues may have changed: tell those concerned. Appended by the tick.
    QueueMoved,
    /// A queue has lost its staff member: continue telling those who wait in it.
    QueueLost {
        /// The staff member, or [`SHARED_QUEUE`].
        queue: String,
        /// The last ticket that was in the queue then.
        upto: u64,
    },
}

/// What a connection's token says beside who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// Display name as a JSON string.
    pub name: Option<String>,
}

/// Why an entry is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program: leave the lane to a worker that knows it.
    #[error("entry of unknown version {0}")]
    UnknownVersion(String),
    /// Of a known version, but not decodable: poison. Names the field, never its content.
    #[error("entry does not decode: {0}")]
    Poison(&'static str),
}

impl Event {
    /// The entry's fields in the order they are written.
    pub fn encode(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        self.write(|name, value| fields.push((name, value.to_owned())));
        fields
    }

    /// Hands the same fields to `put` without copying what the event holds.
    pub fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        put("v", VERSION_TEXT);
        put("site", self.site.as_str());
        put("uid", self.uid.as_str());
        match &self.kind {
            Kind::Open {
                client,
                lang,
                role,
                proof,
            } => {
                put("kind", "open");
                put("client", client.as_str());
                put("lang", &lang.to_string());
                put("role", role.as_str());
                if let Some(Proof { iat, name }) = proof {
                    put("iat", &iat.to_string());
                    if let Some(name) = name {
                        put("name", name);
                    }
                }
            }
            Kind::Close { client, clean } => {
                put("kind", "close");
                put("client", client.as_str());
                put("clean", if *clean { "1" } else { "0" });
            }
            Kind::Revoke { keep_s } => {
                put("kind", "revoke");
                put("keep_s", &keep_s.to_string());
            }
            Kind::Verb { client, n, verb } => {
                put("kind", verb_name(verb));
                put("client", client.as_str());
                put("n", &n.to_string());
                write_verb(verb, put);
            }
            Kind::IdleTimer { conversation } => {
                put("kind", "idle_timer");
                put("conversation", conversation.as_str());
            }
            Kind::LostTimer { lost } => {
                put("kind", "lost_timer");
                put("lost", &lost.to_string());
            }
            Kind::GatewayDead { boot } => {
                put("kind", "gateway_dead");
                put("boot", boot.as_str());
            }
            Kind::QueueMoved => put("kind", "queue_moved"),
            Kind::QueueLost { queue, upto } => {
                put("kind", "queue_lost");
                put("queue", queue);
                put("upto", &upto.to_string());
            }
        }
    }

    /// Reads an entry's fields, given as a lookup by name.
    pub fn decode<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, DecodeError> {
        let version = get("v").ok_or(DecodeError::Poison("v"))?;
        if version != VERSION_TEXT {
            return Err(match version.parse::<u32>() {
                Ok(newer) if newer > VERSION => DecodeError::UnknownVersion(newer.to_string()),
                _ => DecodeError::Poison("v"),
            });
        }
        let fields = Fields { get: &get };
        Ok(Self {
            site: fields.parse("site", Site::parse)?,
            uid: fields.parse("uid", Uid::parse)?,
            kind: fields.kind()?,
        })
    }
}

fn verb_name(verb: &Verb) -> &'static str {
    match verb {
        Verb::StaffOnline { .. } => "staff_online",
        Verb::StaffOffline => "staff_offline",
        Verb::CustomerConnect => "customer_connect",
        Verb::CustomerLeave => "customer_leave",
        Verb::Message { .. } => "message",
        Verb::Close { .. } => "close_conversation",
        Verb::Mark { mark, .. } => mark.as_str(),
        Verb::Recall { .. } => "recall",
        Verb::Resume { .. } => "resume",
        Verb::Direct { .. } => "direct",
    }
}

fn write_verb(verb: &Verb, mut put: impl FnMut(&'static str, &str)) {
    match verb {
        Verb::StaffOnline { name, max } => {
            if let Some(name) = name {
                put("name", name);
            }
            if let Some(max) = max {
                put("max", &max.to_string());
            }
        }
        Verb::StaffOffline | Verb::CustomerConnect | Verb::CustomerLeave => {}
        Verb::Message {
            body,
            id,
            conversation,
        } => {
            put("body", body);
            if let Some(id) = id {
                put("id", id.as_str());
            }
            if let Some(conversation) = conversation {
                put("conversation", conversation.as_str());
            }
        }
        Verb::Close { conversation } => {
            if let Some(conversation) = conversation {
                put("conversation", conversation.as_str());
            }
        }
        Verb::Mark {
            conversation,
            up_to,
            ..
        } => {
            put("conversation", conversation.as_str());
            put("up_to", &up_to.to_string());
        }
        Verb::Recall {
            conversation,
            seq,
            message,
            id,
        } => {
            put("conversation", conversation.as_str());
            put("seq", &seq.to_string());
            if let Some(message) = message {
                put("message", message.as_str());
            }
            if let Some(id) = id {
                put("id", id.as_str());
            }
        }
        Verb::Resume {
            replaces,
            positions,
        } => {
            if let Some(replaces) = replaces {
                put("replaces", replaces.as_str());
            }
            if !positions.is_empty() {
                put("positions", &resume::encode(positions));
            }
        }
        Verb::Direct { to, body, id } => {
            put("to", to.as_str());
            put("body", body);
            if let Some(id) = id {
                put("id", id.as_str());
            }
        }
    }
}

struct Fields<'g, G> {
    get: &'g G,
}

impl<'a, G: Fn(&str) -> Option<&'a str>> Fields<'_, G> {
    fn text(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        (self.get)(name).ok_or(DecodeError::Poison(name))
    }

    fn parse<T, E>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, DecodeError> {
        parse(self.text(name)?).map_err(|_| DecodeError::Poison(name))
    }

    fn optional<T, E>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, DecodeError> {
        let value = (self.get)(name).map(parse).transpose();
        value.map_err(|_| DecodeError::Poison(name))
    }

    fn proof(&self) -> Result<Option<Proof>, DecodeError> {
        let Some(iat) = self.optional("iat", seconds)? else {
            return Ok(None);
        };
        let name = self.optional("name", |field| json_text(field, frame::is_name))?;
        Ok(Some(Proof { iat, name }))
    }

    fn kind(&self) -> Result<Kind, DecodeError> {
        let verb = match self.text("kind")? {
            "open" => {
                return Ok(Kind::Open {
                    client: self.parse("client", ClientId::parse)?,
                    lang: self.parse("lang", |tag| Lang::from_tag(tag).ok_or(()))?,
                    role: self.parse("role", |role| Role::parse(role).ok_or(()))?,
                    proof: self.proof()?,
                });
            }
            "close" => {
                return Ok(Kind::Close {
                    client: self.parse("client", ClientId::parse)?,
                    clean: self.text("clean")? == "1",
                });
            }
            "revoke" => {
                return Ok(Kind::Revoke {
                    keep_s: self.parse("keep_s", seconds)?,
                });
            }
            "idle_timer" => {
                let conversation = self.parse("conversation", ConversationId::parse)?;
                return Ok(Kind::IdleTimer { conversation });
            }
            "lost_timer" => {
                return Ok(Kind::LostTimer {
                    lost: self.parse("lost", str::parse)?,
                });
            }
            "gateway_dead" => {
                let boot = self.parse("boot", BootId::parse)?;
                return Ok(Kind::GatewayDead { boot });
            }
            "queue_moved" => return Ok(Kind::QueueMoved),
            "queue_lost" => {
                return Ok(Kind::QueueLost {
                    queue: self.parse("queue", queue)?,
                    upto: self.parse("upto", str::parse)?,
                });
            }
            "staff_online" => Verb::StaffOnline {
                name: self.optional("name", |field| json_text(field, frame::is_name))?,
                max: self.optional("max", str::parse)?,
            },
            "staff_offline" => Verb::StaffOffline,
            "customer_connect" => Verb::CustomerConnect,
            "customer_leave" => Verb::CustomerLeave,
            "message" => Verb::Message {
                body: self.parse("body", |field| json_text(field, frame::is_words))?,
                id: self.optional("id", MessageRef::parse)?,
                conversation: self.optional("conversation", ConversationId::parse)?,
            },
            "close_conversation" => Verb::Close {
                conversation: self.optional("conversation", ConversationId::parse)?,
            },
            "delivered" => self.mark(Mark::Delivered)?,
            "read" => self.mark(Mark::Read)?,
            "recall" => Verb::Recall {
                conversation: self.parse("conversation", ConversationId::parse)?,
                seq: self.parse("seq", seq)?,
                message: self.optional("message", MessageId::parse)?,
                id: self.optional("id", MessageRef::parse)?,
            },
            "resume" => Verb::Resume {
                replaces: self.optional("replaces", ClientId::parse)?,
                positions: self
                    .optional("positions", resume::decode)?
                    .unwrap_or_default(),
            },
            "direct" => Verb::Direct {
                to: self.parse("to", Uid::parse)?,
                body: self.parse("body", |field| json_text(field, frame::is_words))?,
                id: self.optional("id", MessageRef::parse)?,
            },
            _ => return Err(DecodeError::Poison("kind")),
        };
        Ok(Kind::Verb {
            client: self.parse("client", ClientId::parse)?,
            n: self.parse("n", str::parse)?,
            verb,
        })
    }

    fn mark(&self, mark: Mark) -> Result<Verb, DecodeError> {
        Ok(Verb::Mark {
            conversation: self.parse("conversation", ConversationId::parse)?,
            up_to: self.parse("up_to", seq)?,
            mark,
        })
    }
}

/// A place in a conversation's log.
fn seq(field: &str) -> Result<u64, ()> {
    let seq = field.parse().map_err(|_| ())?;
    if (1..=MAX_SEQ).contains(&seq) {
        Ok(seq)
    } else {
        Err(())
    }
}

/// Seconds that scripts can count with exactly, also as milliseconds.
fn seconds(field: &str) -> Result<u64, ()> {
    const MOST: u64 = 1 << 40;
    field
        .parse()
        .ok()
        .filter(|s| (1..=MOST).contains(s))
        .ok_or(())
}

/// A queue is named by its staff member.
fn queue(field: &str) -> Result<String, IdError> {
    if field == SHARED_QUEUE {
        return Ok(field.to_owned());
    }
    Uid::parse(field).map(|uid| uid.to_string())
}

/// A field that must be one JSON string, since it is joined into frames as it is, and what it says
/// must keep the rules of the frame it came in.
fn json_text(field: &str, keeps_rules: impl Fn(&str) -> bool) -> Result<String, ()> {
    // JSON allows blanks around a value.
    let is_string = field.starts_with('"') && field.ends_with('"');
    if field.len() > 2 * MAX_FRAME_BYTES || !is_string {
        return Err(());
    }
    let text = serde_json::from_str::<std::borrow::Cow<'_, str>>(field).map_err(|_| ())?;
    if keeps_rules(&text) {
        Ok(field.to_owned())
    } else {
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MAX_NAME_CHARS, MAX_TEXT_BYTES};

    fn round_trip(kind: Kind) {
        let event = Event {
            site: Site::parse("default").expect("valid"),
            uid: Uid::parse("alice").expect("valid"),
            kind,
        };
        let fields = event.encode();
        let get = |name: &str| {
            fields
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(Event::decode(get), Ok(event));
    }

    #[test]
    fn every_kind_survives_the_log() {
        let client = ClientId::random(&BootId::random());
        let conversation = ConversationId::parse("7.3.1763-0.1").expect("valid");
        round_trip(Kind::Open {
            client: client.clone(),
            lang: Lang::En,
            role: Role::Any,
            proof: None,
        });
        round_trip(Kind::Open {
            client: client.clone(),
            lang: Lang::En,
            role: Role::Supervisor,
            proof: Some(Proof {
                iat: 1_763_832_985,
                name: Some("\"客服1\"".into()),
            }),
        });
        round_trip(Kind::Revoke { keep_s: 60 });
        round_trip(Kind::Close {
            client: client.clone(),
            clean: true,
        });
        round_trip(Kind::IdleTimer {
            conversation: conversation.clone(),
        });
        round_trip(Kind::LostTimer { lost: 90_000 });
        round_trip(Kind::GatewayDead {
            boot: BootId::random(),
        });
        round_trip(Kind::QueueMoved);
        round_trip(Kind::QueueLost {
            queue: "s1".into(),
            upto: 9,
        });
        for verb in [
            Verb::StaffOnline {
                name: Some("\"客服1\"".into()),
                max: Some(3),
            },
            Verb::StaffOnline {
                name: None,
                max: None,
            },
            Verb::StaffOffline,
            Verb::CustomerConnect,
            Verb::CustomerLeave,
            Verb::Message {
                body: "\"hi\"".into(),
                id: Some(MessageRef::parse("m1").expect("valid")),
                conversation: Some(conversation.clone()),
            },
            Verb::Close {
                conversation: Some(conversation.clone()),
            },
            Verb::Mark {
                conversation: conversation.clone(),
                up_to: 7,
                mark: Mark::Read,
            },
            Verb::Recall {
                conversation,
                seq: 2,
                message: Some(MessageId::parse("7.3.1763-0.2").expect("valid")),
                id: Some(MessageRef::parse("r1").expect("valid")),
            },
            Verb::Resume {
                replaces: None,
                positions: Vec::new(),
            },
            Verb::Resume {
                replaces: Some(client.clone()),
                positions: resume::decode("7.3.1763-0.1 2 7.3.1764-0.1,7.3.1765-0.1 0")
                    .expect("valid"),
            },
            Verb::Direct {
                to: Uid::parse("sue").expect("valid"),
                body: "\"hi\"".into(),
                id: Some(MessageRef::parse("m1").expect("valid")),
            },
        ] {
            round_trip(Kind::Verb {
                client: client.clone(),
                n: 4,
                verb,
            });
        }
    }

    #[test]
    fn a_newer_version_is_left_to_a_newer_program() {
        let get = |name: &str| (name == "v").then_some("2");
        assert_eq!(
            Event::decode(get),
            Err(DecodeError::UnknownVersion("2".into()))
        );
    }

    #[test]
    fn anything_else_is_poison() {
        for (v, kind, body) in [
            ("0", "open", ""),
            ("x", "open", ""),
            ("1", "dance", ""),
            ("1", "message", "\"a"),
            ("1", "message", "{}"),
        ] {
            let get = |name: &str| match name {
                "v" => Some(v),
                "site" => Some("default"),
                "uid" => Some("alice"),
                "kind" => Some(kind),
                "body" => Some(body),
                _ => None,
            };
            assert!(
                matches!(Event::decode(get), Err(DecodeError::Poison(_))),
                "{v} {kind} {body}"
            );
        }
    }

    /// A log outlives the program that wrote it: what a gateway refuses, a worker refuses too.
    #[test]
    fn names_and_words_keep_their_bounds_in_the_log_too() {
        let decode = |kind: &'static str, field: &'static str, value: &str| {
            let client = "c".repeat(crate::ids::CLIENT_ID_BYTES);
            let get = |name: &str| match name {
                "v" | "n" => Some("1"),
                "site" => Some("default"),
                "uid" => Some("alice"),
                "kind" => Some(kind),
                "client" => Some(client.as_str()),
                _ => (name == field).then_some(value),
            };
            Event::decode(get).map(drop)
        };
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let (name, words) = (MAX_NAME_CHARS, MAX_TEXT_BYTES);
        for good in [json(&"客".repeat(name)), json("a b")] {
            assert_eq!(decode("staff_online", "name", &good), Ok(()), "{good}");
        }
        let longer = json(&"客".repeat(name + 1));
        for bad in [&longer, "\"\"", "\"a\\u0000\"", "\" a\"", "\"a\"\n"] {
            let poison = Err(DecodeError::Poison("name"));
            assert_eq!(decode("staff_online", "name", bad), poison, "{bad}");
        }
        assert_eq!(decode("message", "body", &json(&"x".repeat(words))), Ok(()));
        for bad in [&json(&"x".repeat(words + 1)), "\"\"", " \"a\""] {
            let poison = Err(DecodeError::Poison("body"));
            assert_eq!(decode("message", "body", bad), poison);
        }
    }
}
