//! Identities for a cluster that is not in open mode: a token for each user and handshake, signed with
//! the gateways' secret. The secret stays in its environment variable; plans and results name only that.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use frontdesk_shared::{
    protocol::Role,
    token::{self, Claims, Secret},
};

use crate::{config::Load, target::Side};

/// For how long a token counts, beside the run: sockets must not be closed within it.
const SPARE_S: u64 = 60 * 60;

/// Makes tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    secret: Secret,
    issuer: String,
    audience: String,
    ttl_s: u64,
}

impl Tokens {
    /// By the settings of the load; `None` for gateways in open mode.
    pub(crate) fn of(load: &Load) -> Result<Option<Arc<Self>>> {
        let Some(variable) = &load.secret_env else {
            return Ok(None);
        };
        let secret = std::env::var(variable)
            .with_context(|| format!("--secret-env {variable}: there is no such variable"))?;
        Ok(Some(Arc::new(Self {
            secret: secret.into(),
            issuer: load.jwt_issuer.clone(),
            audience: load.jwt_audience.clone(),
            ttl_s: load.warmup_s + load.duration_s + SPARE_S,
        })))
    }

    /// The value of `Authorization` for a user.
    pub(crate) fn bearer(&self, site: &str, user: &str, role_of: Side) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let iat = since.map_or(0, |since| since.as_secs());
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: user,
            site,
            role: match role_of {
                Side::Customer => Role::Customer,
                Side::Staff => Role::Staff,
            },
            name: None,
            iat,
            exp: iat + self.ttl_s,
        };
        let token = token::sign(self.secret.expose().as_bytes(), &claims);
        format!("Bearer {token}")
    }
}
