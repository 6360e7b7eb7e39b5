//! Writes of the HTTP API. A request is an event in its user's lane, as a frame is, of somebody who may have no
//! socket: it carries who they are, a key in the place of a frame's number, and the address of its answer.

use super::{
    DecodeError, HookAct,
    fields::{Fields, seconds},
    verb,
};
use crate::{
    ids::{ClientId, MessageRef, Uid},
    protocol::{Lang, Role, frame::Verb},
};

/// Somebody asks for something to be done, once for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where the answer goes: made by a gateway for this one request, and no connection of the state.
    pub client: ClientId,
    /// Who asks, if that is not the user in whose lane this is.
    pub by: Option<Uid>,
    /// What they may do.
    pub role: Role,
    /// Their language.
    pub lang: Lang,
    /// When their token was made, in seconds since 1970; open mode has none.
    pub iat: Option<u64>,
    /// The Idempotency-Key: of those who ask the same again, the same answer.
    pub key: MessageRef,
    /// What is to be done.
    pub act: Act,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// What a frame does too: words (whose id is the request's key), marks, a recall, the end of a conversation.
    Verb(Verb),
    /// Webhooks of the site are managed.
    Hook(HookAct),
    /// The user in whose lane this is is revoked: see [`super::Kind::Revoke`].
    Revoke {
        /// For how long such a token may live, in seconds.
        keep_s: u64,
    },
}

impl Act {
    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb::name(verb),
            Self::Hook(hook) => hook.name(),
            Self::Revoke { .. } => "revoke",
        }
    }

    /// Hands its fields to `put`, without its name.
    pub fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        match self {
            Self::Verb(verb) => verb::write(verb, put),
            Self::Hook(hook) => hook.write(put),
            Self::Revoke { keep_s } => put("keep_s", &keep_s.to_string()),
        }
    }

    fn read<'a, G: Fn(&str) -> Option<&'a str>>(
        name: &str,
        key: &MessageRef,
        fields: &Fields<'_, G>,
    ) -> Result<Self, DecodeError> {
        if name == "revoke" {
            let keep_s = fields.parse("keep_s", seconds)?;
            return Ok(Self::Revoke { keep_s });
        }
        if let Some(hook) = HookAct::read(name, fields)? {
            return Ok(Self::Hook(hook));
        }
        match verb::read(name, fields)? {
            Some(Verb::Message { id, .. } | Verb::Direct { id, .. })
                if id.as_ref() != Some(key) =>
            {
                Err(DecodeError::Poison("id"))
            }
            Some(verb) if is_act(&verb) => Ok(Self::Verb(verb)),
            _ => Err(DecodeError::Poison("do")),
        }
    }
}

/// Whether a request may do what this frame does: not what makes somebody be there.
fn is_act(verb: &Verb) -> bool {
    match verb {
        Verb::Message { .. }
        | Verb::Direct { .. }
        | Verb::Recall { .. }
        | Verb::Mark { .. }
        | Verb::Close { .. } => true,
        Verb::StaffOnline { .. }
        | Verb::StaffOffline
        | Verb::CustomerConnect
        | Verb::CustomerLeave
        | Verb::Resume { .. } => false,
    }
}

impl Request {
    pub(super) fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        put("client", self.client.as_str());
        if let Some(by) = &self.by {
            put("by", by.as_str());
        }
        put("role", self.role.as_str());
        put("lang", self.lang.tag());
        if let Some(iat) = self.iat {
            put("iat", &iat.to_string());
        }
        put("key", self.key.as_str());
        put("do", self.act.name());
        self.act.write(put);
    }

    pub(super) fn read<'a, G: Fn(&str) -> Option<&'a str>>(
        fields: &Fields<'_, G>,
    ) -> Result<Self, DecodeError> {
        let key = fields.parse("key", MessageRef::parse)?;
        Ok(Self {
            client: fields.parse("client", ClientId::parse)?,
            by: fields.optional("by", Uid::parse)?,
            role: fields.parse("role", |role| Role::parse(role).ok_or(()))?,
            lang: fields.parse("lang", |tag| Lang::from_tag(tag).ok_or(()))?,
            iat: fields.optional("iat", seconds)?,
            act: Act::read(fields.text("do")?, &key, fields)?,
            key,
        })
    }
}
