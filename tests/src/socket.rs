//! A connection as the events of its gateway show it, and what it may say.

use frontdesk_shared::{
    event::Kind,
    ids::{BootId, ClientId, ConversationId, MessageRef, Uid},
    protocol::{
        Lang, Role,
        frame::{Mark, Verb},
    },
};
use serde_json::Value;

/// A connection as its gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Whose it is.
    pub uid: Uid,
    /// Its id.
    pub client: ClientId,
    /// Frames sent.
    pub sent: u64,
}

impl Socket {
    /// A new one of a gateway.
    pub fn new(uid: &str, boot: &BootId) -> Self {
        Self {
            uid: Uid::parse(uid).expect("well-formed"),
            client: ClientId::random(boot),
            sent: 0,
        }
    }

    /// The event of its next frame.
    pub fn verb(&mut self, verb: Verb) -> Kind {
        self.sent += 1;
        Kind::Verb {
            client: self.client.clone(),
            n: self.sent,
            verb,
        }
    }

    /// The event of its opening.
    pub fn open(&self) -> Kind {
        Kind::Open {
            client: self.client.clone(),
            lang: Lang::ZhCn,
            role: Role::Any,
            proof: None,
        }
    }

    /// The event of its end.
    pub fn close(&self) -> Kind {
        Kind::Close {
            client: self.client.clone(),
            clean: true,
        }
    }

    /// The event of its loss.
    pub fn lost(&self) -> Kind {
        Kind::Close {
            client: self.client.clone(),
            clean: false,
        }
    }
}

/// Keeping one's place, and taking over from an earlier connection.
pub fn resume(replaces: Option<&Socket>) -> Verb {
    Verb::Resume {
        replaces: replaces.map(|socket| socket.client.clone()),
        positions: Vec::new(),
    }
}

/// Words without an id, to the current conversation.
pub fn words(text: &str) -> Verb {
    Verb::Message {
        body: Value::from(text).to_string(),
        id: None,
        conversation: None,
    }
}

/// Words with the sender's id.
pub fn words_with_id(text: &str, id: &str) -> Verb {
    Verb::Message {
        body: Value::from(text).to_string(),
        id: Some(MessageRef::parse(id).expect("well-formed")),
        conversation: None,
    }
}

/// Words to a named conversation.
pub fn words_to(text: &str, conversation: &str) -> Verb {
    Verb::Message {
        body: Value::from(text).to_string(),
        id: None,
        conversation: Some(ConversationId::parse(conversation).expect("well-formed")),
    }
}

/// That everything up to a place was read.
pub fn read_to(up_to: u64, conversation: &str) -> Verb {
    Verb::Mark {
        conversation: ConversationId::parse(conversation).expect("well-formed"),
        up_to,
        mark: Mark::Read,
    }
}

/// Taking the message at a place back.
pub fn recall(seq: u64, conversation: &str) -> Verb {
    Verb::Recall {
        conversation: ConversationId::parse(conversation).expect("well-formed"),
        seq,
        message: None,
        id: Some(MessageRef::parse("r1").expect("well-formed")),
    }
}

/// Words to a user of the site, with the sender's id.
pub fn words_to_user(text: &str, uid: &str, id: Option<&str>) -> Verb {
    Verb::Direct {
        to: Uid::parse(uid).expect("well-formed"),
        body: Value::from(text).to_string(),
        id: id.map(|id| MessageRef::parse(id).expect("well-formed")),
    }
}

/// Coming on duty for so many at a time.
pub fn on_duty(max: u32) -> Verb {
    Verb::StaffOnline {
        name: None,
        max: Some(max),
    }
}
