//! Visitors: customers without an account. The gateway gives each a uid and a token of its own make,
//! which the page keeps, so that the same visitor is the same customer after a page load.
//!
//! Such a token opens no socket: it is signed with a key of its own, for an audience of its own,
//! and is read only where visitors ask for a ticket or refresh their socket.

use frontdesk_shared::{
    ids::{Site, Uid},
    protocol::Role,
    token::{self, Claims, Secret},
};
use jsonwebtoken::get_current_timestamp;

use super::token::{BadToken, Said, Verifier};

/// The audience of visitors' tokens.
pub(super) const AUDIENCE: &str = "frontdesk-visitor";
/// What the key is for.
const PURPOSE: &str = "frontdesk visitor 1";

/// Makes and reads visitors' tokens.
#[derive(Debug)]
pub(super) struct Visitors {
    key: [u8; 32],
    issuer: String,
    verifier: Verifier,
    good_for_s: u64,
}

impl Visitors {
    pub(super) fn new(secret: &Secret, issuer: &str, good_for_s: u64) -> Self {
        let key = secret.derive(PURPOSE);
        Self {
            verifier: Verifier::with_secret(&key, issuer, AUDIENCE, good_for_s),
            issuer: issuer.to_owned(),
            key,
            good_for_s,
        }
    }

    /// A token by which a visitor is known again, and what it says.
    pub(super) fn sign(&self, site: Site, uid: Uid) -> (Secret, Said) {
        let iat = get_current_timestamp();
        let said = Said {
            uid,
            site,
            role: Role::Customer,
            name: None,
            iat,
            until: iat + self.good_for_s,
        };
        let claims = Claims {
            iss: &self.issuer,
            aud: AUDIENCE,
            sub: said.uid.as_str(),
            site: said.site.as_str(),
            role: said.role,
            name: None,
            iat,
            exp: said.until,
        };
        (token::sign(&self.key, &claims).into(), said)
    }

    /// Who a visitor's token says somebody is.
    pub(super) fn read(&self, token: &Secret) -> Result<Said, BadToken> {
        self.verifier.read(token)
    }

    /// For how long a token is good, in seconds.
    pub(super) fn good_for_s(&self) -> u64 {
        self.good_for_s
    }
}
