//! The resume token: a client's proof that a lost connection was its own.
//!
//! It names the lost connection and is bound to the subject: `<client id>.<expiry>.<HMAC-SHA256>`,
//! where the MAC is over site, uid, client id and expiry (seconds since 1970). Site and uid are
//! not in it: who presents it has shown them at the handshake. With a secret the key comes from
//! that; in open mode from a random one that the cluster's first gateway leaves in Redis.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use frontdesk_shared::{ids::ClientId, keys, redis::Redis, token::Secret};
use redis::RedisError;
use ring::hmac;
use tracing::warn;

use super::Identity;

/// How long a token is good for.
const GOOD_FOR_S: u64 = 24 * 60 * 60;
/// What the key is for, so that no other use of the same secret has this key.
const PURPOSE: &str = "frontdesk resume 1";
/// The field of [`keys::META`] that holds the key of open mode.
const CLUSTER_KEY: &str = "key";

/// A token that this cluster has not made for this subject, or one that has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the resume token is not good for this user, or has run out")]
pub(crate) struct BadResume;

/// What resume tokens are signed with.
#[derive(Clone)]
pub(crate) struct ResumeKey {
    key: hmac::Key,
    /// What it was made from in open mode.
    cluster: Option<Secret>,
}

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey(hidden)")
    }
}

impl ResumeKey {
    /// The key of all gateways with this secret.
    pub(crate) fn from_secret(secret: &Secret) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret.derive(PURPOSE)),
            cluster: None,
        }
    }

    /// The key of all gateways on this Redis: open mode, where there is no secret.
    pub(crate) fn from_cluster(key: &str) -> Self {
        let key = Secret::from(key.to_owned());
        Self {
            cluster: Some(key.clone()),
            ..Self::from_secret(&key)
        }
    }

    /// From the secret, or from what the cluster has agreed on.
    pub(crate) async fn load(secret: Option<&Secret>, redis: &Redis) -> Result<Self, RedisError> {
        match secret {
            Some(secret) => Ok(Self::from_secret(secret)),
            None => Ok(Self::from_cluster(&agree(redis, &random_key()).await?)),
        }
    }

    /// Redis may have lost the cluster's key: leaves ours there again, or takes over what is there.
    pub(crate) async fn renew(self, redis: &Redis) -> Self {
        let Some(ours) = &self.cluster else {
            return self;
        };
        match agree(redis, ours.expose()).await {
            Ok(key) => Self::from_cluster(&key),
            Err(error) => {
                warn!(%error, "the cluster's key cannot be read; keeping the one from before");
                self
            }
        }
    }

    /// A token by which this user can resume this connection, for a day.
    pub(crate) fn sign(&self, identity: &Identity, client: &ClientId) -> String {
        self.sign_until(identity, client, now_s() + GOOD_FOR_S)
    }

    /// The connection that the token was made for, if it was this user's and is not too long ago.
    pub(crate) fn verify(&self, token: &str, identity: &Identity) -> Result<ClientId, BadResume> {
        let (client, rest) = token.split_once('.').ok_or(BadResume)?;
        let (expiry, tag) = rest.split_once('.').ok_or(BadResume)?;
        let client = ClientId::parse(client).map_err(|_| BadResume)?;
        let until: u64 = expiry.parse().map_err(|_| BadResume)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| BadResume)?;
        let signed = subject(identity, &client, until);
        hmac::verify(&self.key, signed.as_bytes(), &tag).map_err(|_| BadResume)?;
        if until <= now_s() {
            return Err(BadResume);
        }
        Ok(client)
    }

    fn sign_until(&self, identity: &Identity, client: &ClientId, until: u64) -> String {
        let tag = hmac::sign(&self.key, subject(identity, client, until).as_bytes());
        format!("{client}.{until}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

/// What is signed. No id holds a `|`.
fn subject(identity: &Identity, client: &ClientId, until: u64) -> String {
    format!("{}|{}|{client}|{until}", identity.site, identity.uid)
}

/// The key in Redis: whoever comes first leaves theirs.
async fn agree(redis: &Redis, ours: &str) -> Result<String, RedisError> {
    let mut connection = redis.connect().await?;
    let mut get = redis::cmd("HGET");
    get.arg(keys::META).arg(CLUSTER_KEY);
    // Looked at first: HSETNX is refused when memory is full, and a start must not be.
    if let Some(key) = get.query_async(&mut connection).await? {
        return Ok(key);
    }
    redis::cmd("HSETNX")
        .arg(keys::META)
        .arg(CLUSTER_KEY)
        .arg(ours)
        .exec_async(&mut connection)
        .await?;
    get.query_async(&mut connection).await
}

fn random_key() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::{
        ids::{BootId, Site, Uid},
        protocol::{Lang, Role},
    };

    fn who(site: &str, uid: &str) -> Identity {
        Identity {
            site: Site::parse(site).expect("valid"),
            uid: Uid::parse(uid).expect("valid"),
            role: Role::Any,
            lang: Lang::En,
            proof: None,
        }
    }

    fn from_secret(secret: &str) -> ResumeKey {
        ResumeKey::from_secret(&secret.to_owned().into())
    }

    fn client() -> ClientId {
        ClientId::random(&BootId::random())
    }

    #[test]
    fn a_token_resumes_its_own_connection_on_any_gateway_with_the_secret() {
        let (alice, client) = (who("acme", "alice"), client());
        let token = from_secret("a secret").sign(&alice, &client);
        let elsewhere = from_secret("a secret");
        assert_eq!(elsewhere.verify(&token, &alice), Ok(client));
        assert!(from_secret("another").verify(&token, &alice) == Err(BadResume));
        let open = ResumeKey::from_cluster("a key");
        assert!(open.verify(&token, &alice) == Err(BadResume));
    }

    #[test]
    fn a_token_is_worth_nothing_to_anybody_else() {
        let key = from_secret("a secret");
        let token = key.sign(&who("acme", "alice"), &client());
        for other in [
            who("acme", "bob"),
            who("other", "alice"),
            who("acme", "alic"),
        ] {
            assert_eq!(key.verify(&token, &other), Err(BadResume));
        }
    }

    #[test]
    fn a_token_runs_out() {
        let (key, alice) = (from_secret("a secret"), who("acme", "alice"));
        let token = |until| key.sign_until(&alice, &client(), until);
        assert_eq!(key.verify(&token(now_s()), &alice), Err(BadResume));
        assert!(key.verify(&token(now_s() + 60), &alice).is_ok());
    }

    #[test]
    fn whatever_was_changed_is_refused() {
        let (key, alice, client) = (from_secret("a secret"), who("acme", "alice"), client());
        let token = key.sign(&alice, &client);
        let parts: Vec<&str> = token.split('.').collect();
        let [id, expiry, tag] = parts[..] else {
            panic!("three parts: {token}");
        };
        let later = expiry.parse::<u64>().expect("seconds") + 1;
        let other = self::client();
        for bad in [
            String::new(),
            ".".into(),
            "..".into(),
            "客.服.x".into(),
            format!("{id}.{expiry}"),
            format!("{id}.{expiry}."),
            format!("{id}.{later}.{tag}"),
            format!("{id}.0{expiry}.{tag}x"),
            format!("{id}.+{expiry}.{tag}="),
            format!("{other}.{expiry}.{tag}"),
            format!("{id}.{expiry}.{}", &tag[1..]),
            format!("{id}.{expiry}.{tag}.{tag}"),
            "x".repeat(1_000_000),
        ] {
            assert_eq!(key.verify(&bad, &alice), Err(BadResume), "{bad:.80}");
        }
    }

    #[test]
    fn no_key_is_ever_printed() {
        let printed = format!("{:?}", ResumeKey::from_cluster("topsecret"));
        assert!(!printed.contains("topsecret"), "{printed}");
    }
}
