//! Who somebody is: decided at the handshake, here and nowhere else.
//!
//! ```text
//! Authorization: Bearer ──────────────────────────┐
//! POST /api/v1/tickets (Bearer) ───▶ ?ticket= ────┼─▶ Identity ─▶ `open` (role, iat) ─▶ the script
//! POST /api/v1/visitors (anybody) ─▶ ?ticket= ────┘       └─ `refresh` on the socket renews it
//! ```
//! `signed` is what the settings say and `asked` what a request says; `token` reads tokens (`provider`
//! is the cryptography under it), `ticket` keeps one-time tickets in Redis, `visitor` makes identities
//! for anonymous customers, `page` is what the two addresses do (`api/routes/identity.rs`), `resume` signs what a lost connection is
//! resumed with, `command` is `token` and `revoke` for operators. Open mode believes what the query
//! says.
//!
//! A token or ticket never reaches a log line, an error or Redis: they travel as [`Secret`], which
//! cannot be printed, and what refuses one names the rule.

mod asked;
pub(crate) mod command;
mod page;
mod provider;
pub(crate) mod resume;
mod signed;
#[cfg(test)]
mod tests;
mod ticket;
pub(crate) mod token;
mod visitor;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode, Uri};
use frontdesk_shared::{
    config::{ConfigError, IdentityArgs},
    event,
    ids::{Site, Uid},
    protocol::{Lang, Role, notice::json_string},
    redis::Redis,
    token::Secret,
};
use tracing::warn;

pub(crate) use asked::believe;
use asked::{accepted_language, asked, bearer};
pub(crate) use command::KEEP_LONGER_S;
use signed::Signed;
pub(crate) use signed::check;
use ticket::Holder;
use token::{BadToken, Said};

/// Who is on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) site: Site,
    pub(crate) uid: Uid,
    pub(crate) role: Role,
    pub(crate) lang: Lang,
    /// What vouches for it; nothing does in open mode.
    pub(crate) proof: Option<Proof>,
}

/// What vouches for an identity, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) kind: Kind,
    /// Display name.
    pub(crate) name: Option<String>,
    /// When the token was made, in seconds since 1970.
    pub(crate) iat: u64,
    /// When it runs out, likewise.
    pub(crate) until: u64,
}

/// Whose token it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Made by whoever knows the users.
    Token,
    /// Made here for an anonymous customer.
    Visitor,
}

impl Proof {
    fn new(kind: Kind, said: Said) -> Self {
        Self {
            kind,
            name: said.name,
            iat: said.iat,
            until: said.until,
        }
    }

    /// How long it still counts.
    pub(crate) fn left(&self) -> Duration {
        let end = UNIX_EPOCH + Duration::from_secs(self.until);
        let left = end.duration_since(SystemTime::now());
        left.unwrap_or_default()
    }

    /// The part that the log needs.
    pub(crate) fn to_event(&self) -> event::Proof {
        event::Proof {
            iat: self.iat,
            name: self.name.as_deref().map(json_string),
        }
    }
}

/// Why somebody is refused: the status and a sentence for whoever reads the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl From<BadToken> for Denied {
    fn from(why: BadToken) -> Self {
        denied(
            StatusCode::UNAUTHORIZED,
            format!("The token is refused: {why}."),
        )
    }
}

/// Decides who comes in.
#[derive(Debug)]
pub(crate) struct Auth {
    /// `None` in open mode.
    signed: Option<Signed>,
    default_lang: Lang,
    redis: Redis,
}

impl Auth {
    /// By the settings, which [`check`] has found good.
    pub(crate) fn new(
        args: &IdentityArgs,
        default_lang: Lang,
        redis: Redis,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            signed: Signed::new(args)?,
            default_lang,
            redis,
        })
    }

    /// Who comes in with this request.
    pub(crate) async fn identify(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Identity, Denied> {
        let Some(signed) = &self.signed else {
            return believe(uri, headers, self.default_lang);
        };
        let asked = asked(uri)?;
        let holder = match (bearer(headers)?, &asked.ticket) {
            (Some(_), Some(_)) => {
                return Err(bad("Come with a token or with a ticket, not with both."));
            }
            (Some(token), None) => holder(Kind::Token, signed.tokens.read(&token)?),
            (None, Some(ticket)) => self.take(ticket).await?,
            (None, None) => {
                return Err(denied(
                    StatusCode::UNAUTHORIZED,
                    "Come with a token (Authorization: Bearer) or, in a browser, with a ticket from POST /api/v1/tickets or /api/v1/visitors.",
                ));
            }
        };
        asked.agrees_with(&holder)?;
        let lang = asked.lang()?.or(holder.lang);
        Ok(identity(holder, lang, headers, self.default_lang))
    }

    /// Who asks the HTTP API: as at a handshake, but never by a ticket.
    pub(crate) fn asker(&self, uri: &Uri, headers: &HeaderMap) -> Result<Identity, Denied> {
        let Some(signed) = &self.signed else {
            return believe(uri, headers, self.default_lang);
        };
        let token = bearer(headers)?.ok_or_else(|| {
            let reason = "Come with a token: Authorization: Bearer.";
            denied(StatusCode::UNAUTHORIZED, reason)
        })?;
        let holder = holder(Kind::Token, signed.tokens.read(&token)?);
        let asked = asked(uri)?;
        asked.agrees_with(&holder)?;
        Ok(identity(holder, asked.lang()?, headers, self.default_lang))
    }

    /// The language of somebody who may be nobody yet.
    pub(crate) fn language(&self, uri: &Uri, headers: &HeaderMap) -> Lang {
        let asked = asked(uri).and_then(|asked| asked.lang());
        let asked = asked.ok().flatten();
        asked.unwrap_or_else(|| accepted_language(headers, self.default_lang))
    }

    /// A new token for a socket: it must be of the same kind, user, site and role.
    pub(crate) fn renew(&self, identity: &Identity, token: &Secret) -> Option<Proof> {
        let (signed, proof) = (self.signed.as_ref()?, identity.proof.as_ref()?);
        let read = match proof.kind {
            Kind::Token => signed.tokens.read(token),
            Kind::Visitor => signed.visitors.as_ref()?.read(token),
        };
        let said = read.ok()?;
        let same = said.uid == identity.uid
            && said.site == identity.site
            && said.role == identity.role
            && said.iat >= proof.iat;
        same.then(|| Proof::new(proof.kind, said))
    }

    async fn take(&self, ticket: &str) -> Result<Holder, Denied> {
        let holder = ticket::take(&self.redis, ticket).await;
        let holder = holder
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| {
                let reason = "There is no such ticket: it was used, or it is too old.";
                denied(StatusCode::UNAUTHORIZED, reason)
            })?;
        if holder.proof.until <= jsonwebtoken::get_current_timestamp() {
            return Err(BadToken::Expired.into());
        }
        Ok(holder)
    }
}

fn identity(
    holder: Holder,
    lang: Option<Lang>,
    headers: &HeaderMap,
    default_lang: Lang,
) -> Identity {
    Identity {
        lang: lang.unwrap_or_else(|| accepted_language(headers, default_lang)),
        site: holder.site,
        uid: holder.uid,
        role: holder.role,
        proof: Some(holder.proof),
    }
}

fn holder(kind: Kind, said: Said) -> Holder {
    Holder {
        site: said.site.clone(),
        uid: said.uid.clone(),
        role: said.role,
        lang: None,
        proof: Proof::new(kind, said),
    }
}

fn denied(status: StatusCode, reason: impl Into<String>) -> Denied {
    Denied {
        status,
        reason: reason.into(),
    }
}

fn bad(reason: impl Into<String>) -> Denied {
    denied(StatusCode::BAD_REQUEST, reason)
}

/// Redis does not answer, or takes no writes: somebody else may serve.
fn unavailable(error: &redis::RedisError) -> Denied {
    warn!(%error, "tickets cannot be kept");
    denied(
        StatusCode::SERVICE_UNAVAILABLE,
        "This gateway cannot serve now; try again or try another one.",
    )
}
