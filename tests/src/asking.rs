//! Requests of the HTTP API as the events that a gateway makes of them.

use frontdesk_shared::{
    event::{Act, HookAct, Kind, Request},
    ids::{BootId, ClientId, ConversationId, MessageRef, Uid},
    protocol::{
        Lang, Role,
        frame::{Mark, Verb},
    },
};

/// Somebody who asks, by a gateway of their own.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The request's address.
    pub client: ClientId,
    /// Who asks, if not the user in whose lane it is.
    pub by: Option<Uid>,
    /// What their token says; open mode believes `role`.
    pub iat: Option<u64>,
    /// What they may do.
    pub role: Role,
}

impl Asker {
    /// In open mode.
    pub fn open() -> Self {
        Self::at(ClientId::random(&BootId::random()))
    }

    /// The same with an address that the test has made.
    pub fn at(client: ClientId) -> Self {
        Self {
            client,
            by: None,
            iat: None,
            role: Role::Any,
        }
    }

    /// With a token.
    #[must_use]
    pub fn signed(mut self, role: Role, iat: u64) -> Self {
        (self.role, self.iat) = (role, Some(iat));
        self
    }

    /// On behalf of nobody: of another user.
    #[must_use]
    pub fn by(mut self, uid: &str) -> Self {
        self.by = Uid::parse(uid).ok();
        self
    }

    /// The event.
    pub fn asks(&self, key: &str, act: Act) -> Kind {
        Kind::Request(Box::new(Request {
            client: self.client.clone(),
            by: self.by.clone(),
            role: self.role,
            lang: Lang::En,
            iat: self.iat,
            key: reference(key),
            act,
        }))
    }

    /// Words into a conversation.
    pub fn says(&self, key: &str, text: &str, conversation: &str) -> Kind {
        let verb = Verb::Message {
            body: serde_json::Value::from(text).to_string(),
            id: Some(reference(key)),
            conversation: Some(named(conversation)),
        };
        self.asks(key, Act::Verb(verb))
    }

    /// Words to a user.
    pub fn writes_to(&self, key: &str, text: &str, to: &str) -> Kind {
        let verb = Verb::Direct {
            to: Uid::parse(to).expect("well-formed"),
            body: serde_json::Value::from(text).to_string(),
            id: Some(reference(key)),
        };
        self.asks(key, Act::Verb(verb))
    }

    /// A mark.
    pub fn marks(&self, key: &str, mark: Mark, conversation: &str, up_to: u64) -> Kind {
        let verb = Verb::Mark {
            conversation: named(conversation),
            up_to,
            mark,
        };
        self.asks(key, Act::Verb(verb))
    }

    /// A recall.
    pub fn recalls(&self, key: &str, conversation: &str, seq: u64) -> Kind {
        let verb = Verb::Recall {
            conversation: named(conversation),
            seq,
            message: None,
            id: None,
        };
        self.asks(key, Act::Verb(verb))
    }

    /// The end of a conversation.
    pub fn closes(&self, key: &str, conversation: &str) -> Kind {
        let conversation = Some(named(conversation));
        self.asks(key, Act::Verb(Verb::Close { conversation }))
    }

    /// Something is done to webhooks.
    pub fn hooks(&self, key: &str, act: HookAct) -> Kind {
        self.asks(key, Act::Hook(act))
    }

    /// The user of the lane is revoked.
    pub fn revokes(&self, key: &str) -> Kind {
        self.asks(key, Act::Revoke { keep_s: 3600 })
    }
}

fn reference(key: &str) -> MessageRef {
    MessageRef::parse(key).expect("well-formed")
}

fn named(conversation: &str) -> ConversationId {
    ConversationId::parse(conversation).expect("well-formed")
}
