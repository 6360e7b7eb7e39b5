//! What reads signed identities, by the settings: the one algorithm, its key, and visitors or not.

use frontdesk_shared::{
    config::{ConfigError, IdentityArgs, JwtAlgorithm, Switch},
    token::Secret,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    token::Verifier,
    visitor::{self, Visitors},
};

/// What the DER of an RSA public key of 2048 bits has at least, in bytes.
const MIN_RSA_BYTES: usize = 266;
/// A point of P-256, not compressed.
const P256_POINT_BYTES: usize = 65;
/// Shortest life of a token that can be set, in seconds.
pub(super) const MIN_TOKEN_AGE_S: u64 = 60;
/// Longest, likewise: ten years.
pub(super) const MAX_TOKEN_AGE_S: u64 = 10 * 365 * 24 * 60 * 60;

/// What reads signed identities.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) tokens: Verifier,
    pub(super) visitors: Option<Visitors>,
}

/// Whether the settings can be used.
pub(crate) fn check(args: &IdentityArgs) -> Result<(), ConfigError> {
    Signed::new(args).map(drop)
}

impl Signed {
    /// By the settings; `None` in open mode.
    pub(super) fn new(args: &IdentityArgs) -> Result<Option<Self>, ConfigError> {
        let Some(secret) = args.secret()? else {
            return Ok(None);
        };
        let (issuer, audience, max_age_s) =
            (&args.jwt_issuer, &args.jwt_audience, args.max_token_age_s);
        if issuer.is_empty() || audience.is_empty() || audience == visitor::AUDIENCE {
            return Err(ConfigError(format!(
                "--jwt-issuer (FRONTDESK_JWT_ISSUER) and --jwt-audience (FRONTDESK_JWT_AUDIENCE) must not be empty, and {} is the audience of visitors",
                visitor::AUDIENCE
            )));
        }
        if !(MIN_TOKEN_AGE_S..=MAX_TOKEN_AGE_S).contains(&max_age_s) {
            return Err(ConfigError(
                "--max-token-age-s (FRONTDESK_MAX_TOKEN_AGE_S) must be 60 seconds to ten years"
                    .into(),
            ));
        }
        let (algorithm, key) = key(args, &secret)?;
        let visitors = args.visitors == Switch::On;
        Ok(Some(Self {
            tokens: Verifier::new(algorithm, key, issuer, audience, max_age_s),
            visitors: visitors.then(|| Visitors::new(&secret, issuer, max_age_s)),
        }))
    }
}

/// The one algorithm and its key.
fn key(args: &IdentityArgs, secret: &Secret) -> Result<(Algorithm, DecodingKey), ConfigError> {
    let wrong = |text: String| {
        ConfigError(format!(
            "--jwt-public-key-file (FRONTDESK_JWT_PUBLIC_KEY_FILE) {text}"
        ))
    };
    let Some(path) = &args.jwt_public_key_file else {
        return match args.jwt_algorithm {
            JwtAlgorithm::HS256 => {
                let key = DecodingKey::from_secret(secret.expose().as_bytes());
                Ok((Algorithm::HS256, key))
            }
            _ => Err(wrong("is needed for RS256 and ES256".into())),
        };
    };
    let pem = std::fs::read(path)
        .map_err(|reason| wrong(format!("{} cannot be read: {reason}", path.display())))?;
    if String::from_utf8_lossy(&pem).contains("PRIVATE KEY") {
        let advice = "holds a private key: keep that where tokens are made, and give the gateway the public one";
        return Err(wrong(advice.into()));
    }
    let (algorithm, key, form): (_, _, fn(&[u8]) -> bool) = match args.jwt_algorithm {
        JwtAlgorithm::HS256 => return Err(wrong("is not for HS256: leave it out".into())),
        JwtAlgorithm::RS256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(&pem), |key| {
            key.len() >= MIN_RSA_BYTES
        }),
        JwtAlgorithm::ES256 => (Algorithm::ES256, DecodingKey::from_ec_pem(&pem), |key| {
            key.len() == P256_POINT_BYTES
        }),
    };
    let key = key.ok().filter(|key| {
        let bytes = key.try_get_as_bytes();
        bytes.is_ok_and(form)
    });
    let rule = "is not a public key (PEM) for --jwt-algorithm: RSA of at least 2048 bits for RS256, P-256 for ES256";
    Ok((algorithm, key.ok_or_else(|| wrong(rule.into()))?))
}
