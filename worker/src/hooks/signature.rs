//! Signatures as Standard Webhooks has them: HMAC-SHA256 over `<id>.<timestamp>.<body>`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

/// What secrets begin with as they are shown.
const PREFIX: &str = "whsec_";

/// What a hook's deliveries are signed with: its secret, and for a while the one before.
#[derive(Clone)]
pub struct Keys(Vec<hmac::Key>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys(…)")
    }
}

impl Keys {
    /// Reads `<secret>[ <the one before> <until when it counts, in ms since 1970>]`; `None` if no secret is well-formed.
    pub fn parse(text: &str, now_ms: u64) -> Option<Self> {
        let mut words = text.split(' ');
        let newest = words.next();
        let before = words.next();
        let counts = words.next().and_then(|until| until.parse().ok()) > Some(now_ms);
        let secrets = newest.into_iter().chain(before.filter(|_| counts));
        let keys: Vec<hmac::Key> = secrets.filter_map(key).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The header `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let sign = |key| STANDARD.encode(hmac::sign(key, signed.as_bytes()));
        let signatures = self.0.iter().map(|key| format!("v1,{}", sign(key)));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(secret: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let keys = Keys::parse(SECRET, 0).expect("well-formed");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = keys.sign(id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_secret_before_counts_for_a_while() {
        let text = format!("{SECRET} whsec_AAAA 1000");
        let signatures = |now| {
            let keys = Keys::parse(&text, now).expect("well-formed");
            keys.sign("a", 1, "b").split(' ').count()
        };
        assert_eq!((signatures(999), signatures(1000)), (2, 1));
        assert!(Keys::parse("", 0).is_none() && Keys::parse("whsec_!", 0).is_none());
        assert!(!format!("{:?}", Keys::parse(SECRET, 0)).contains("MfKQ"));
    }
}
