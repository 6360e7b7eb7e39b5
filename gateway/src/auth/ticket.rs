//! One-time tickets: how a browser, which cannot send a header with its handshake, comes in.
//!
//! A ticket is 32 random bytes in the query of one handshake. Redis holds who it is for under its
//! hash, for at most [`GOOD_FOR_S`], and gives that away once (GETDEL), so a ticket that is seen in
//! a log, or a look into Redis, lets nobody in. What is held is an identity, never a token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use frontdesk_shared::{
    ids::{Site, Uid},
    keys,
    protocol::{Lang, Role},
    redis::Redis,
    token::Secret,
};
use redis::RedisError;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Kind, Proof};

/// How long a ticket waits for its handshake, in seconds.
pub(super) const GOOD_FOR_S: u64 = 30;
/// Random bytes of a ticket.
const TICKET_BYTES: usize = 32;

/// Who a ticket lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) site: Site,
    pub(super) uid: Uid,
    pub(super) role: Role,
    pub(super) lang: Option<Lang>,
    pub(super) proof: Proof,
}

/// The same in Redis.
#[derive(Serialize, Deserialize)]
struct Kept {
    site: String,
    uid: String,
    role: String,
    lang: Option<String>,
    name: Option<String>,
    visitor: bool,
    iat: u64,
    until: u64,
}

/// Writes a ticket down. Whoever has it is this holder, once, and soon.
pub(super) async fn issue(redis: &Redis, holder: &Holder) -> Result<Secret, RedisError> {
    let ticket = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TICKET_BYTES]>());
    let kept = Kept {
        site: holder.site.to_string(),
        uid: holder.uid.to_string(),
        role: holder.role.as_str().to_owned(),
        lang: holder.lang.map(|lang| lang.to_string()),
        name: holder.proof.name.clone(),
        visitor: holder.proof.kind == Kind::Visitor,
        iat: holder.proof.iat,
        until: holder.proof.until,
    };
    redis::cmd("SET")
        .arg(keys::ticket(&hash(&ticket)))
        .arg(serde_json::json!(kept).to_string())
        .arg("EX")
        .arg(GOOD_FOR_S)
        .exec_async(&mut *redis.short().await?)
        .await?;
    Ok(ticket.into())
}

/// Takes a ticket: who it was for, or `None` if there is no such ticket (any more).
pub(super) async fn take(redis: &Redis, ticket: &str) -> Result<Option<Holder>, RedisError> {
    let decoded = URL_SAFE_NO_PAD.decode(ticket);
    if decoded.is_ok_and(|bytes| bytes.len() == TICKET_BYTES) {
        fetch(redis, ticket).await
    } else {
        Ok(None) // not one of ours
    }
}

async fn fetch(redis: &Redis, ticket: &str) -> Result<Option<Holder>, RedisError> {
    let kept: Option<String> = redis::cmd("GETDEL")
        .arg(keys::ticket(&hash(ticket)))
        .query_async(&mut *redis.short().await?)
        .await?;
    Ok(kept.and_then(|kept| serde_json::from_str::<Kept>(&kept).ok()?.holder()))
}

impl Kept {
    fn holder(self) -> Option<Holder> {
        Some(Holder {
            site: Site::parse(&self.site).ok()?,
            uid: Uid::parse(&self.uid).ok()?,
            role: Role::parse(&self.role)?,
            lang: self.lang.as_deref().and_then(Lang::from_tag),
            proof: Proof {
                kind: if self.visitor {
                    Kind::Visitor
                } else {
                    Kind::Token
                },
                name: self.name,
                iat: self.iat,
                until: self.until,
            },
        })
    }
}

fn hash(ticket: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, ticket.as_bytes()))
}
