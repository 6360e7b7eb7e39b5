//! What a forger might try, for a gateway that is set to any algorithm.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use frontdesk_tests::tokens::{SECRET, claims, hs256, now_s, raw, with};
use serde_json::{Value, json};

/// The oldest token that the gateways of this test take, in seconds.
pub const MAX_AGE_S: u64 = 24 * 60 * 60;

/// A name for messages, and what is shown as a token.
pub type Row = (String, Vec<u8>);

/// A way to sign: what the gateway trusts.
pub struct Signer<'a> {
    pub alg: &'a str,
    pub sign: &'a dyn Fn(&[u8]) -> Vec<u8>,
    /// What the public key looks like, where there is one: for who takes it for a secret.
    pub public: &'a [Vec<u8>],
    /// Signed by the right key in another way.
    pub otherwise: Vec<Row>,
}

impl Signer<'_> {
    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": self.alg})
    }

    pub fn claims(&self, claims: &Value) -> String {
        with(&self.header(), claims, self.sign)
    }

    fn header_with(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        with(&header, &claims("alice", "customer"), self.sign)
    }

    /// A token that is good but for one claim.
    fn changed(&self, claim: &str, value: Value) -> String {
        let mut said = claims("alice", "customer");
        said[claim] = value;
        self.claims(&said)
    }

    /// Everything that must be refused.
    pub fn forged(&self) -> Vec<Row> {
        let rows = [
            missing(self),
            wrong_values(self),
            offered_keys(self),
            odd_claims(self),
            wrong_algorithms(self),
            wrong_keys(self),
            odd_headers(self),
            damaged(self),
            self.otherwise.clone(),
        ];
        rows.concat()
    }
}

fn row(name: impl Into<String>, token: impl AsRef<[u8]>) -> Row {
    (name.into(), token.as_ref().to_vec())
}

/// Good tokens, each in its way.
pub fn good(signer: &Signer<'_>) -> Vec<Row> {
    let now = now_s();
    let mut fractions = claims("alice", "customer");
    for (claim, second) in [("iat", now - 1), ("exp", now + 60)] {
        let text = format!("{second}.25");
        fractions[claim] = serde_json::from_str(&text).expect("a number");
    }
    vec![
        row("plain", signer.claims(&claims("alice", "staff"))),
        row("fractions of seconds", signer.claims(&fractions)),
        row("a name", signer.changed("name", json!("客服1"))),
        row(
            "audiences",
            signer.changed("aud", json!(["a", "frontdesk"])),
        ),
        row("nbf in the past", signer.changed("nbf", json!(now - 1))),
        row("further claims", signer.changed("admin", json!(true))),
        // It names a key, and ours is the one we have.
        row("kid", signer.header_with("kid", json!("../../dev/null"))),
        row("another type", signer.header_with("typ", json!("at+jwt"))),
    ]
}

fn missing(signer: &Signer<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for claim in ["iss", "aud", "sub", "site", "role", "iat", "exp"] {
        let mut said = claims("alice", "customer");
        said.as_object_mut().expect("claims").remove(claim);
        rows.push(row(format!("no {claim}"), signer.claims(&said)));
        for odd in [json!(null), json!(true), json!({}), json!([])] {
            let name = format!("{claim} is {odd}");
            rows.push(row(name, signer.changed(claim, odd)));
        }
    }
    rows
}

#[rustfmt::skip]
fn wrong_values(signer: &Signer<'_>) -> Vec<Row> {
    let now = now_s();
    let (later, text) = (now + 3600, (now + 3600).to_string());
    let changed = [
        ("exp", json!([text, "never", now - 1, now, 0, -1, 1e300, [later], format!("{later}.0")])),
        ("nbf", json!([now + 60, text, 1e300, -5, [0]])),
        ("iat", json!([now + 60, text, now - MAX_AGE_S - 1, 0, -1, 1e300])),
        ("iss", json!(["", "frontdesk2", "Frontdesk", "front", ["frontdesk"], 1])),
        ("aud", json!(["", "frontdesk2", "FRONTDESK", ["other"], "frontdesk-visitor", 1])),
        ("sub", json!(["", "*", "a b", "{s00}", "a|b", "a\nb", "客服", "-a", "a".repeat(65), 7, "alice\u{0}", "a:b", "../a", ["alice"]])),
        ("site", json!(["", "*", "a b", "{s00}", "a:b", "s".repeat(65), 0, "a@b", "..", "a\r\nb"])),
        ("role", json!(["", "any", "boss", "Staff", "staff ", ["staff"], 1])),
        ("name", json!(["", " a", "a\u{7}", "x".repeat(65), 1, ["a"]])),
    ];
    let mut rows = Vec::new();
    for (claim, values) in changed {
        for value in values.as_array().expect("values") {
            let name = format!("{claim} is {value:.80}");
            rows.push(row(name, signer.changed(claim, value.clone())));
        }
    }
    rows
}

/// Well signed, but the header offers a key, or asks for what nobody does.
fn offered_keys(signer: &Signer<'_>) -> Vec<Row> {
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"});
    let offers = [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
    ];
    let offers = offers.into_iter();
    let offers =
        offers.map(|(name, value)| row(format!("header {name}"), signer.header_with(name, value)));
    offers.collect()
}

/// Claims that are no object, or give two answers to one question.
fn odd_claims(signer: &Signer<'_>) -> Vec<Row> {
    let header = signer.header().to_string();
    let said = claims("alice", "customer").to_string();
    let mut rows = Vec::new();
    for twice in [
        r#","role":"staff"}"#,
        r#","sub":"bob"}"#,
        r#","exp":99999999999}"#,
        r#","site":"acme"}"#,
    ] {
        let said = said.trim_end_matches('}').to_owned() + twice;
        let token = raw(&header, &said, signer.sign);
        rows.push(row(format!("twice: {twice}"), token));
    }
    let list = r#"["alice","default","staff",null,1,99999999999,"frontdesk"]"#;
    for odd in [
        "",
        "null",
        "[]",
        list,
        "1",
        "\"alice\"",
        "{",
        "{}",
        "\u{feff}{}",
    ] {
        let token = raw(&header, odd, signer.sign);
        rows.push(row(format!("claims {odd:?}"), token));
    }
    let huge = signer.changed("x", json!("x".repeat(8000)));
    rows.push(row("huge, well signed", huge));
    rows
}

fn wrong_algorithms(signer: &Signer<'_>) -> Vec<Row> {
    let said = claims("alice", "staff");
    let mut rows = Vec::new();
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "NoNe",
        "nONE",
        "noNE",
        "none ",
        " none",
        "",
        "\u{0}none",
        "hs256",
        "rs256",
        "HS255",
    ] {
        let header = json!({"typ": "JWT", "alg": alg});
        let empty = with(&header, &said, |_| Vec::new());
        let cut = empty.trim_end_matches('.').to_owned();
        rows.push(row(format!("alg {alg:?}, no signature, no dot"), cut));
        rows.push(row(format!("alg {alg:?}, no signature"), empty));
        let whole = with(&header, &said, signer.sign);
        rows.push(row(format!("alg {alg:?}, signed"), whole));
    }
    for odd in [json!(null), json!(1), json!([signer.alg]), json!({})] {
        let token = with(&json!({"alg": odd}), &said, signer.sign);
        rows.push(row(format!("alg {odd}"), token));
    }
    rows
}

/// Every algorithm that there is, with every key that a forger may have.
fn wrong_keys(signer: &Signer<'_>) -> Vec<Row> {
    let said = claims("alice", "staff");
    let mut rows = Vec::new();
    for alg in [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ] {
        let header = json!({"typ": "JWT", "alg": alg});
        let mut add = |what: &str, token: String| rows.push(row(format!("{alg}, {what}"), token));
        if alg != signer.alg {
            add("signed as set", with(&header, &said, signer.sign));
            add("with the secret", hs256(&header, &said, SECRET));
        }
        add("another secret", hs256(&header, &said, "nobody knows it"));
        add("an empty secret", hs256(&header, &said, ""));
        for public in signer.public {
            add("the public key as secret", hs256(&header, &said, public));
        }
        // For whatever does not check them.
        for length in [0, 32, 64, 256] {
            add("zeros", with(&header, &said, |_| vec![0; length]));
        }
        add("ones", with(&header, &said, |_| vec![255; 64]));
    }
    rows
}

/// Headers that bring their own key, or are none.
fn odd_headers(signer: &Signer<'_>) -> Vec<Row> {
    let said = claims("alice", "staff");
    let text = said.to_string();
    let mine = "my very own secret, which I have just made up";
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(mine), "alg": "HS256"});
    let mut rows = Vec::new();
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("kid", json!("/dev/null")),
        ("kid", json!("' UNION SELECT 'x")),
    ] {
        let header = json!({"typ": "JWT", "alg": "HS256", name: value});
        for secret in [mine, ""] {
            let token = hs256(&header, &said, secret);
            rows.push(row(format!("own {name}, secret {secret:?}"), token));
        }
    }
    let alg = signer.alg;
    for header in [
        r#"{"typ":"JWT"}"#.to_owned(),
        format!(r#"{{"alg":"none","alg":"{alg}"}}"#),
        format!(r#"{{"alg":"{alg}","alg":"none"}}"#),
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "\u{feff}{}".into(),
    ] {
        let token = raw(&header, &text, signer.sign);
        rows.push(row(format!("header {header:?}"), token));
    }
    rows
}

/// A good token that something happened to.
fn damaged(signer: &Signer<'_>) -> Vec<Row> {
    let good = signer.claims(&claims("alice", "staff"));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, said, signature] = parts[..] else {
        panic!("three parts");
    };
    let mut rows = Vec::new();
    let (first, all) = (header.len(), good.len());
    for length in [
        0,
        1,
        5,
        first,
        first + 1,
        first + 9,
        all - signature.len(),
        all - 2,
        all - 1,
    ] {
        rows.push(row(format!("cut to {length}"), &good[..length]));
    }
    for token in [
        format!("{good}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}..{signature}"),
        format!(".{said}.{signature}"),
        format!("{said}.{header}.{signature}"),
        format!("{header} {said} {signature}"),
        format!("{good}="),
        format!("{good}AAAA"),
        format!("{header}.{said}=.{signature}"),
        format!("{good},{good}"),
        format!("{good} {good}"),
        format!("\"{good}\""),
        format!("Bearer {good}"),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "null".to_owned(),
    ] {
        rows.push(row(format!("pieces {token:.60}"), token));
    }
    for at in (0..all)
        .step_by(7)
        .filter(|at| good.as_bytes()[*at] != b'.')
    {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        rows.push(row(format!("changed at {at}"), changed));
    }
    // The same bits written otherwise: a token has one form.
    if let Some(other) = same_bits(signature) {
        rows.push(row("not canonical", format!("{header}.{said}.{other}")));
    }
    rows.push(row("not UTF-8", b"\xff\xfe.\xc3\x28.\xa0"));
    rows.push(row(
        "good, then not UTF-8",
        [good.as_bytes(), b"\xff"].concat(),
    ));
    rows.push(row("9 KiB", "x".repeat(9 * 1024)));
    rows.push(row("1 MiB", "x".repeat(1024 * 1024)));
    rows.push(row("dots", ".".repeat(5000)));
    rows
}

/// Another last letter with the same leading bits, where base64 leaves some over.
fn same_bits(part: &str) -> Option<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let spare = match part.len() % 4 {
        2 => 15,
        3 => 3,
        _ => return None,
    };
    let last = *part.as_bytes().last()?;
    let value = LETTERS.iter().position(|letter| *letter == last)?;
    let other = char::from(LETTERS[(value & !spare) | ((value + 1) & spare)]);
    Some(format!("{}{other}", &part[..part.len() - 1]))
}
