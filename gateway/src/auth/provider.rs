//! The cryptography under `jsonwebtoken`, by ring, which rustls has brought along anyway.
//!
//! Of the crate's own two, `rust_crypto` is under an advisory (RUSTSEC-2023-0071, the crate rsa), and
//! `aws_lc_rs` would be a second C library. Here are the three algorithms that a gateway may be set
//! to, and only what it does with them: checking.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error as BadSignature, Verifier},
};
use ring::{hmac, signature as ring_signature};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Ring::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(), // for keys that come in tokens: never
};

/// Makes ring the process's choice. May be called again.
pub(super) fn install() {
    // An error says that there is one already, and it can only be this one.
    let _ = RING.install_default();
}

struct Ring {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Secret(hmac::Key),
    Public(ring_signature::UnparsedPublicKey<Vec<u8>>),
}

impl Ring {
    /// Only a key of the algorithm's own family: a public key is never an HMAC secret.
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        let bytes = key.try_get_as_bytes()?;
        let public = |rules: &'static dyn ring_signature::VerificationAlgorithm| {
            Key::Public(ring_signature::UnparsedPublicKey::new(
                rules,
                bytes.to_vec(),
            ))
        };
        let key = match (algorithm, key.family()) {
            (Algorithm::HS256, AlgorithmFamily::Hmac) => {
                Key::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
            }
            (Algorithm::RS256, AlgorithmFamily::Rsa) => {
                public(&ring_signature::RSA_PKCS1_2048_8192_SHA256)
            }
            (Algorithm::ES256, AlgorithmFamily::Ec) => {
                public(&ring_signature::ECDSA_P256_SHA256_FIXED)
            }
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        };
        Ok(Self { algorithm, key })
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), BadSignature> {
        let verified = match &self.key {
            Key::Secret(key) => hmac::verify(key, message, signature),
            Key::Public(key) => key.verify(message, signature),
        };
        verified.map_err(|_| BadSignature::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
