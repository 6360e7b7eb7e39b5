//! Hostile handshakes in bulk: whatever query, language, origin or forwarded address comes, the
//! door answers, and who is let in has well-formed ids. Seeds and counts: docs/TESTING.md, "Fuzzing".

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use clap::Parser as _;
use frontdesk_shared::ids::{Site, Uid};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{Config, address, auth, origin};

/// Thousandths of all inputs, as in the fuzzers of the crate `tests`, and the same defaults.
const SHARE: u64 = 50;
const CASES: u64 = 40_000;
const SEED: u64 = 20_251_122;

#[rustfmt::skip]
const PIECES: &[&str] = &[
    "uid=", "site=", "role=", "lang=", "&", "=", "%", "%00", "%0a", "%7Bs07%7D", "%ff", "%E5%AE%A2", "+", "alice", "default", "staff", "en", "zh-CN", "*",
    "http://", "https://", "://", "ws://", "localhost", "127.0.0.1", "[::1]", "[", "]", ":80", ":443", ":99999", ":", "@", "/", "?", "#", "null", "example.com",
    "10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "fd00::1", "fe80::1%eth0", ",", ", ", " ", "unknown", "_x", "256.1.1.1", "0x7f.1",
    ";q=", "0.5", "nan", "1e400", "-1", "--", "\u{202e}", "客",
];

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn text(rng: &mut StdRng) -> String {
    let pieces = (0..rng.random_range(0..8)).map(|_| match rng.random_range(0..12) {
        0 => rng.random::<char>().to_string(),
        1 => "x".repeat(rng.random_range(1..70)),
        _ => PIECES
            .choose(rng)
            .map_or(String::new(), |piece| (*piece).to_owned()),
    });
    pieces.collect()
}

#[test]
fn whatever_knocks_is_answered_and_nobody_comes_in_with_a_hostile_name() {
    let seed = setting("FRONTDESK_FUZZ_SEED", SEED);
    let cases = setting("FRONTDESK_FUZZ_CASES", CASES) * SHARE / 1000;
    let only = setting("FRONTDESK_FUZZ_ONLY", u64::MAX);
    let config = Config::try_parse_from(["frontdesk-gateway", "--open"]).expect("parses");
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| address::parse_net(net).expect("a net"));
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let numbers = if only == u64::MAX {
        0..cases
    } else {
        only..only + 1
    };
    for number in numbers {
        let mut rng = StdRng::seed_from_u64(seed.rotate_left(32) ^ number);
        let about = format!("seed {seed}, case {number}");
        let mut headers = HeaderMap::new();
        for name in [
            "accept-language",
            "origin",
            "origin",
            "host",
            "x-forwarded-for",
            "x-forwarded-for",
        ] {
            if let (true, Ok(value)) = (
                rng.random_ratio(2, 3),
                HeaderValue::from_bytes(text(&mut rng).as_bytes()),
            ) {
                headers.append(name, value);
            }
        }
        let query = format!("/?{}", text(&mut rng));
        if let Ok(uri) = Uri::try_from(query) {
            match auth::believe(&uri, &headers, config.default_lang) {
                Ok(identity) => {
                    let (site, uid) = (identity.site.as_str(), identity.uid.as_str());
                    assert!(
                        Site::parse(site).is_ok() && Uid::parse(uid).is_ok(),
                        "{about}"
                    );
                    accepted += 1;
                }
                Err(denied) => {
                    assert_eq!(denied.status, StatusCode::BAD_REQUEST, "{about}");
                    assert!(denied.reason.ends_with('.'), "{about}");
                    refused += 1;
                }
            }
        }
        check_origin(&headers, &about);
        check_address(&headers, &trusted, &about);
        let _ = address::parse_net(&text(&mut rng));
    }
    eprintln!("fuzz door: seed {seed}, {cases} inputs: {accepted} accepted, {refused} refused");
    assert!(only != u64::MAX || (accepted > 0 && refused > 0));
}

/// A list lets in what is in it; an origin that is read is read again the same.
fn check_origin(headers: &HeaderMap, about: &str) {
    let listed = ["https://www.example.com"].map(|text| origin::Origin::parse(text).expect("good"));
    let sent: Vec<&[u8]> = headers
        .get_all(header::ORIGIN)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let enters = origin::may_enter(headers, &listed, true);
    let known = match sent[..] {
        [] => true,
        [one] => [
            &b"https://www.example.com"[..],
            b"https://www.example.com:443",
        ]
        .contains(&one),
        _ => false,
    };
    assert!(enters == known || (enters && sent.len() == 1), "{about}");
    if enters && let [one] = sent[..] {
        let one = std::str::from_utf8(one).expect("only text is an origin");
        assert_eq!(
            origin::Origin::parse(one).as_ref(),
            Ok(&listed[0]),
            "{about}"
        );
    }
    origin::may_enter(headers, &[], true);
}

/// A stranger is where he comes from, whatever he says.
fn check_address(headers: &HeaderMap, trusted: &[ipnet::IpNet], about: &str) {
    let stranger = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(
        address::of_client(stranger, headers, trusted),
        stranger,
        "{about}"
    );
    let proxy = IpAddr::from([10, 0, 0, 1]);
    address::of_client(proxy, headers, trusted);
}
