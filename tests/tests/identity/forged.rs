//! The forger's book: nothing that is not exactly a good token opens anything, whatever the algorithm
//! that a gateway is set to.

use std::{net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_tests::{
    http,
    process::{Program, Settings},
    redis_server::RedisServer,
    redis_users::GATEWAY,
    tokens::{self, SECRET, claims, with},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::json;

use super::{
    corpus::{MAX_AGE_S, Signer, good},
    handshake, post,
};

/// Made for this test and used for nothing else.
const RSA: &str = include_str!("keys/rsa-for-tests-only.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa-for-tests-only.pub.pem");

/// Shows every row to both doors of a gateway with these settings.
async fn try_all(settings: Settings, signer: &Signer<'_>) {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let secret = ("FRONTDESK_SECRET".to_owned(), SECRET.to_owned());
    let settings = settings
        .unset("open")
        .env(vec![secret])
        .set("max-token-age-s", MAX_AGE_S)
        .set("max-connections-per-ip", 100_000)
        .set("connection-rate-per-ip", 100_000)
        .set("request-rate-per-ip", 100_000)
        .set("log", "debug");
    let url = redis.url_for(GATEWAY);
    let mut gateway = Program::gateway("forged", &url, &settings, dir.path());
    gateway.ready().await;
    for (name, token) in good(signer) {
        assert_eq!(
            both_doors(gateway.listen, &token).await,
            [200, 101],
            "{name}"
        );
    }
    let mut tried = 0;
    for (name, token) in signer.forged() {
        for status in both_doors(gateway.listen, &token).await {
            // 400 and 431 are hyper's, for what is no header.
            let is_header = token.is_ascii() && token.len() < 8 * 1024;
            let refused = status == 401 || (!is_header && [400, 431].contains(&status));
            assert!(refused, "{name}: {status}");
        }
        tried += 1;
    }
    assert!(tried > 300, "only {tried} rows");
    let (name, token) = good(signer).remove(0);
    assert_eq!(
        both_doors(gateway.listen, &token).await,
        [200, 101],
        "{name}, after all that"
    );
    let log = gateway.child.log();
    assert!(log.contains("DEBUG") && !log.contains("panicked"), "{log}");
    let token = String::from_utf8(token).expect("text");
    assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

/// The statuses of `POST /api/v1/tickets` and of a handshake with this token.
async fn both_doors(addr: SocketAddr, token: &[u8]) -> [u16; 2] {
    let bearer = [b"Authorization: Bearer ", token].concat();
    let headers: [&[u8]; 1] = [&bearer];
    let ticket = http::send(addr, "POST", "/api/v1/tickets", &headers, "").await;
    let socket = handshake(addr, "", &headers).await;
    // A request that is cut off has been refused.
    [ticket.map_or(431, |answer| answer.status), socket]
}

#[tokio::test]
async fn forged_tokens_open_nothing_with_hs256() {
    let sign = |bytes: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        ring::hmac::sign(&key, bytes).as_ref().to_vec()
    };
    let signer = Signer {
        alg: "HS256",
        sign: &sign,
        public: &[],
        otherwise: Vec::new(),
    };
    try_all(Settings::default(), &signer).await;
}

#[tokio::test]
async fn forged_tokens_open_nothing_with_rs256() {
    let (key, public) = (der(RSA), der(RSA_PUBLIC));
    let key = RsaKeyPair::from_pkcs8(&key).expect("a key");
    let sign = |bytes: &[u8]| {
        let mut signature = vec![0; key.public().modulus_len()];
        let signed = key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            bytes,
            &mut signature,
        );
        signed.expect("it signs");
        signature
    };
    let otherwise = with(
        &json!({"alg": "RS256"}),
        &claims("alice", "staff"),
        |bytes| {
            let mut signature = vec![0; key.public().modulus_len()];
            let signed = key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), bytes, &mut signature);
            signed.expect("it signs");
            signature
        },
    );
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let file = write(dir.path(), RSA_PUBLIC);
    let settings = Settings::default()
        .set("jwt-algorithm", "RS256")
        .set("jwt-public-key-file", file);
    let signer = Signer {
        alg: "RS256",
        sign: &sign,
        public: &looks_of(RSA_PUBLIC, public),
        otherwise: vec![("PSS".into(), otherwise.into_bytes())],
    };
    try_all(settings, &signer).await;
}

#[tokio::test]
async fn forged_tokens_open_nothing_with_es256() {
    let pair = rcgen::KeyPair::generate().expect("a P-256 key");
    let (key, public) = (pair.serialize_der(), pair.public_key_pem());
    let random = SystemRandom::new();
    let signs = |rules| EcdsaKeyPair::from_pkcs8(rules, &key, &random).expect("a key");
    let (fixed, asn1) = (
        signs(&ECDSA_P256_SHA256_FIXED_SIGNING),
        signs(&ECDSA_P256_SHA256_ASN1_SIGNING),
    );
    let sign = |bytes: &[u8]| {
        fixed
            .sign(&random, bytes)
            .expect("it signs")
            .as_ref()
            .to_vec()
    };
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let file = write(dir.path(), &public);
    let settings = Settings::default()
        .set("jwt-algorithm", "ES256")
        .set("jwt-public-key-file", file);
    // The other way to write such a signature is not that of JWT.
    let otherwise = with(
        &json!({"alg": "ES256"}),
        &claims("alice", "staff"),
        |bytes| {
            let signed = asn1.sign(&random, bytes);
            signed.expect("it signs").as_ref().to_vec()
        },
    );
    let signer = Signer {
        alg: "ES256",
        sign: &sign,
        public: &looks_of(&public, der(&public)),
        otherwise: vec![("ASN.1".into(), otherwise.into_bytes())],
    };
    try_all(settings, &signer).await;
}

/// A secret is refused before it is used: see tests/settings.rs. So are keys that are none.
#[tokio::test]
async fn keys_that_are_not_what_they_must_be_stop_the_gateway() {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let p256 = rcgen::KeyPair::generate()
        .expect("a P-256 key")
        .public_key_pem();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384);
    let p384 = p384.expect("a P-384 key").public_key_pem();
    let short = include_str!("keys/rsa-too-short.pub.pem");
    for (algorithm, key, says) in [
        ("RS256", RSA, "private key"),
        ("RS256", &*p256, "2048 bits"),
        ("RS256", short, "2048 bits"),
        ("ES256", RSA_PUBLIC, "P-256"),
        ("ES256", &*p384, "P-256"),
        (
            "ES256",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "P-256",
        ),
    ] {
        let settings = Settings::default()
            .unset("open")
            .env(vec![("FRONTDESK_SECRET".to_owned(), SECRET.to_owned())])
            .set("jwt-algorithm", algorithm)
            .set("jwt-public-key-file", write(dir.path(), key));
        let url = redis.url_for(GATEWAY);
        let mut gateway = Program::gateway("refused", &url, &settings, dir.path());
        assert_eq!(gateway.child.wait_exit().await, Ok(2), "{algorithm} {says}");
        let said = gateway.child.log();
        assert!(
            said.contains(says) && said.contains("--jwt-public-key-file"),
            "{said}"
        );
    }
}

/// In open mode there is nothing to forge: tokens are not read, and tickets are not given.
#[tokio::test]
async fn open_mode_reads_no_tokens() {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let url = redis.url_for(GATEWAY);
    let mut gateway = Program::gateway("open", &url, &Settings::default(), dir.path());
    gateway.ready().await;
    let token = tokens::token("alice", "customer");
    for what in ["tickets", "visitors"] {
        let answer = post(gateway.listen, what, Some(&token), "").await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert_eq!(handshake(gateway.listen, "role=boss", &[]).await, 400);
}

fn write(dir: &Path, key: &str) -> String {
    let path = dir.join("key.pem");
    std::fs::write(&path, key).expect("writable");
    path.to_str().expect("text").to_owned()
}

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).expect("PEM is base64")
}

/// What somebody may have at hand who takes a public key for a secret.
fn looks_of(pem: &str, der: Vec<u8>) -> Vec<Vec<u8>> {
    let trimmed = pem.trim_end();
    let unix = trimmed.replace("\r\n", "\n");
    vec![
        pem.into(),
        trimmed.into(),
        unix.clone().into_bytes(),
        (unix + "\n").into_bytes(),
        der,
    ]
}
