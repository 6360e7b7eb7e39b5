//! Tokens made without any code of the programs: good ones, and whatever a forger might try.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

/// What the gateways of [`crate::cluster::Builder::signed`] have as their secret.
pub const SECRET: &str = "d41d8cd98f00b204e9800998ecf8427e6b1f0c2e";

/// This machine's clock, in seconds since 1970.
pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// What a good token of a user of the default site says; it counts for an hour.
pub fn claims(uid: &str, role: &str) -> Value {
    let now = now_s();
    json!({
        "iss": "frontdesk", "aud": "frontdesk", "sub": uid, "site": "default", "role": role,
        "iat": now, "exp": now + 3600,
    })
}

/// A good token.
pub fn token(uid: &str, role: &str) -> String {
    signed(&claims(uid, role))
}

/// A token that says this, signed with the secret.
pub fn signed(claims: &Value) -> String {
    hs256(&json!({"typ": "JWT", "alg": "HS256"}), claims, SECRET)
}

/// A token with any header, signed with any secret.
pub fn hs256(header: &Value, claims: &Value, secret: impl AsRef<[u8]>) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
    with(header, claims, |bytes| {
        hmac::sign(&key, bytes).as_ref().to_vec()
    })
}

/// A token with any header and signature.
pub fn with(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    raw(&header.to_string(), &claims.to_string(), sign)
}

/// A token of any two texts.
pub fn raw(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}
