//! Identities as signed tokens (JWT, RFC 7519): what they say, and how one is made with the secret.
//! Gateways check them (`gateway/src/auth`); whoever has the secret may make them, in any language.

use std::{convert::Infallible, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::protocol::Role;

/// What nobody may see: never printed, not even by `{:?}`, and wiped from memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A key of its own for one purpose: whoever learns it can do nothing else.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let tag = hmac::sign(&key, purpose.as_bytes());
        let mut derived = [0; 32];
        derived.copy_from_slice(tag.as_ref()); // SHA-256 has 32 bytes
        derived
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a token says. Times are seconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Claims<'a> {
    /// Who has made it: the gateways' `--jwt-issuer`.
    pub iss: &'a str,
    /// For whom: the gateways' `--jwt-audience`.
    pub aud: &'a str,
    /// The uid.
    pub sub: &'a str,
    /// The site.
    pub site: &'a str,
    /// The role, never `any`.
    #[serde(serialize_with = "role_name")]
    pub role: Role,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// When it was made.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn role_name<S: serde::Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.as_str())
}

/// Signs a token with HS256.
pub fn sign(key: &[u8], claims: &Claims<'_>) -> String {
    let claims = serde_json::json!(claims).to_string();
    let mut token = encode(r#"{"typ":"JWT","alg":"HS256"}"#) + "." + &encode(&claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_and_purposes_have_keys_of_their_own() {
        let secret = Secret::from("topsecret".to_owned());
        assert!(!format!("{secret:?}").contains("topsecret"));
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_eq!(
            secret.derive("a"),
            Secret::from("topsecret".to_owned()).derive("a")
        );
    }

    #[test]
    fn a_token_has_three_parts_and_no_empty_claims() {
        let claims = Claims {
            iss: "frontdesk",
            aud: "frontdesk",
            sub: "alice",
            site: "default",
            role: Role::Customer,
            name: None,
            iat: 1,
            exp: 2,
        };
        let token = sign(b"key", &claims);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let said = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
        let said: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
        assert_eq!(said["role"], "customer");
        assert!(said.get("name").is_none());
    }
}
