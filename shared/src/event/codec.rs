//! What happened, as an entry's fields and back.

use super::{
    DecodeError, Kind, Proof, Request,
    fields::{Fields, json_text, queue, seconds},
    verb,
};
use crate::{
    ids::{BootId, ClientId, ConversationId},
    protocol::{Lang, Role, frame},
};

/// Hands the fields to `put`, the kind first.
pub(super) fn write(kind: &Kind, mut put: impl FnMut(&'static str, &str)) {
    match kind {
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
        Kind::Request(request) => {
            put("kind", "request");
            request.write(put);
        }
        Kind::Verb { client, n, verb } => {
            put("kind", verb::name(verb));
            put("client", client.as_str());
            put("n", &n.to_string());
            verb::write(verb, put);
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

/// Reads them.
pub(super) fn read<'a, G: Fn(&str) -> Option<&'a str>>(
    fields: &Fields<'_, G>,
) -> Result<Kind, DecodeError> {
    Ok(match fields.text("kind")? {
        "open" => Kind::Open {
            client: fields.parse("client", ClientId::parse)?,
            lang: fields.parse("lang", |tag| Lang::from_tag(tag).ok_or(()))?,
            role: fields.parse("role", |role| Role::parse(role).ok_or(()))?,
            proof: proof(fields)?,
        },
        "close" => Kind::Close {
            client: fields.parse("client", ClientId::parse)?,
            clean: fields.text("clean")? == "1",
        },
        "revoke" => Kind::Revoke {
            keep_s: fields.parse("keep_s", seconds)?,
        },
        "request" => Kind::Request(Box::new(Request::read(fields)?)),
        "idle_timer" => Kind::IdleTimer {
            conversation: fields.parse("conversation", ConversationId::parse)?,
        },
        "lost_timer" => Kind::LostTimer {
            lost: fields.parse("lost", str::parse)?,
        },
        "gateway_dead" => Kind::GatewayDead {
            boot: fields.parse("boot", BootId::parse)?,
        },
        "queue_moved" => Kind::QueueMoved,
        "queue_lost" => Kind::QueueLost {
            queue: fields.parse("queue", queue)?,
            upto: fields.parse("upto", str::parse)?,
        },
        other => Kind::Verb {
            verb: verb::read(other, fields)?.ok_or(DecodeError::Poison("kind"))?,
            client: fields.parse("client", ClientId::parse)?,
            n: fields.parse("n", str::parse)?,
        },
    })
}

fn proof<'a, G: Fn(&str) -> Option<&'a str>>(
    fields: &Fields<'_, G>,
) -> Result<Option<Proof>, DecodeError> {
    let Some(iat) = fields.optional("iat", seconds)? else {
        return Ok(None);
    };
    let name = fields.optional("name", |field| json_text(field, frame::is_name))?;
    Ok(Some(Proof { iat, name }))
}
