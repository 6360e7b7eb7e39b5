//! Reads tokens: one algorithm and one key, fixed by the settings, whatever the token says.
//!
//! What a header offers (`jwk`, `jku`, `x5u`, `x5c`) is never used; a token that has it is refused
//! though its signature may be good, since whoever makes such tokens expects it to be used. `kid` and
//! `x5t` only name a key, and ours is the one we have.

use frontdesk_shared::{
    ids::{Site, Uid},
    protocol::{Role, frame::is_name},
    token::Secret,
};
use jsonwebtoken::{
    DecodingKey, Header, TokenData, Validation, decode, errors::ErrorKind, get_current_timestamp,
};
use serde::Deserialize;
use serde_json::Value;

/// Longest token that is looked at, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far the clock of whoever makes tokens may be ahead of ours, in seconds.
const AHEAD_S: u64 = 5;

/// Why a token lets nobody in. Says the rule, nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadToken {
    #[error("it is not a token that this gateway reads: JWT, with the algorithm of its settings")]
    Form,
    #[error("its header offers a key or asks for an extension, which is never taken up")]
    Header,
    #[error("its signature is not good")]
    Signature,
    #[error("it has run out")]
    Expired,
    #[error("it does not count yet; compare the clocks")]
    Early,
    #[error("it is older than --max-token-age-s allows")]
    Old,
    #[error("its user was revoked after it was made")]
    Revoked,
    #[error("its claim {0} is missing or not as it must be")]
    Claim(&'static str),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) uid: Uid,
    pub(crate) site: Site,
    pub(crate) role: Role,
    pub(crate) name: Option<String>,
    /// When it was made, in seconds since 1970.
    pub(crate) iat: u64,
    /// When it stops to count: its `exp`, or the end of the age that tokens may reach.
    pub(crate) until: u64,
}

/// As they come, so that what is missing or of a wrong kind can be named.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    sub: Value,
    site: Value,
    role: Value,
    name: Value,
    iat: Value,
    exp: Value,
    iss: Value,
}

/// Reads tokens of one kind.
#[derive(Debug)]
pub(super) struct Verifier {
    key: DecodingKey,
    rules: Validation,
    max_age_s: u64,
}

impl Verifier {
    /// For tokens of this issuer and audience, signed with this key by its algorithm.
    pub(super) fn new(
        algorithm: jsonwebtoken::Algorithm,
        key: DecodingKey,
        issuer: &str,
        audience: &str,
        max_age_s: u64,
    ) -> Self {
        super::provider::install();
        let mut rules = Validation::new(algorithm);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.validate_nbf = true;
        rules.leeway = AHEAD_S;
        Self {
            key,
            rules,
            max_age_s,
        }
    }

    /// The same with HS256 and a key made from the secret for one purpose.
    pub(super) fn with_secret(key: &[u8], issuer: &str, audience: &str, max_age_s: u64) -> Self {
        let key = DecodingKey::from_secret(key);
        Self::new(
            jsonwebtoken::Algorithm::HS256,
            key,
            issuer,
            audience,
            max_age_s,
        )
    }

    /// Who a token says somebody is.
    pub(super) fn read(&self, token: &Secret) -> Result<Said, BadToken> {
        let token = token.expose();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(BadToken::Form);
        }
        let read = decode::<Claims>(token, &self.key, &self.rules);
        let TokenData { header, claims } = read.map_err(|error| why(error.kind()))?;
        if offers_keys(&header) {
            return Err(BadToken::Header);
        }
        claims.said(self.max_age_s)
    }
}

impl Claims {
    fn said(&self, max_age_s: u64) -> Result<Said, BadToken> {
        text("iss", &self.iss)?; // one issuer, whose name has been compared
        let uid = Uid::parse(text("sub", &self.sub)?).map_err(|_| BadToken::Claim("sub"))?;
        let site = Site::parse(text("site", &self.site)?).map_err(|_| BadToken::Claim("site"))?;
        let role = Role::parse(text("role", &self.role)?).filter(|role| *role != Role::Any);
        let role = role.ok_or(BadToken::Claim("role"))?;
        let name = match &self.name {
            Value::Null => None,
            name => Some(text("name", name)?.to_owned()),
        };
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(BadToken::Claim("name"));
        }
        let (iat, exp) = (seconds("iat", &self.iat)?, seconds("exp", &self.exp)?);
        let (now, oldest) = (get_current_timestamp(), iat.saturating_add(max_age_s));
        if iat > now + AHEAD_S {
            return Err(BadToken::Early); // else a revocation would not reach it
        }
        if exp <= now {
            return Err(BadToken::Expired);
        }
        if oldest <= now {
            return Err(BadToken::Old);
        }
        Ok(Said {
            uid,
            site,
            role,
            name,
            iat,
            until: exp.min(oldest),
        })
    }
}

/// Whole seconds; some write fractions.
fn seconds(claim: &'static str, value: &Value) -> Result<u64, BadToken> {
    let number = value.as_number().map(ToString::to_string);
    let whole = number
        .as_deref()
        .and_then(|number| number.split('.').next());
    let seconds = whole.and_then(|whole| whole.parse().ok());
    seconds.ok_or(BadToken::Claim(claim))
}

fn text<'v>(claim: &'static str, value: &'v Value) -> Result<&'v str, BadToken> {
    value.as_str().ok_or(BadToken::Claim(claim))
}

fn offers_keys(header: &Header) -> bool {
    header.jwk.is_some()
        || header.jku.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.crit.is_some()
        || header.enc.is_some()
        || header.zip.is_some()
}

fn why(kind: &ErrorKind) -> BadToken {
    match kind {
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::ExpiredSignature => BadToken::Expired,
        ErrorKind::ImmatureSignature => BadToken::Early,
        ErrorKind::InvalidIssuer => BadToken::Claim("iss"),
        ErrorKind::InvalidAudience => BadToken::Claim("aud"),
        ErrorKind::InvalidSubject => BadToken::Claim("sub"),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            let known = ["exp", "nbf", "iss", "aud", "sub"];
            let claim = known.into_iter().find(|known| known == claim);
            BadToken::Claim(claim.unwrap_or("exp"))
        }
        _ => BadToken::Form,
    }
}
