//! Webhooks: what they may be told, and what one of them is made of. docs/WEBHOOKS.md says the same to those
//! who receive them.

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom as _, SystemRandom};
use url::Url;

use crate::token::Secret;

/// Longest URL of a webhook, in bytes.
pub const MAX_URL_BYTES: usize = 2000;
/// For how long the secret before the newest one counts, in milliseconds.
pub const OLD_SECRET_MS: u64 = 24 * 60 * 60 * 1000;
/// What secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// What a webhook may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookType {
    /// A customer waits, for the first time or again.
    Queued,
    /// A conversation has its first member of staff.
    Started,
    /// It has another one.
    Transferred,
    /// It is over.
    Ended,
    /// Somebody has said something.
    MessageCreated,
    /// Somebody has taken it back.
    MessageRecalled,
}

impl HookType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Started,
        Self::Transferred,
        Self::Ended,
        Self::MessageCreated,
        Self::MessageRecalled,
    ];

    /// Its name for receivers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "conversation.queued",
            Self::Started => "conversation.started",
            Self::Transferred => "conversation.transferred",
            Self::Ended => "conversation.ended",
            Self::MessageCreated => "message.created",
            Self::MessageRecalled => "message.recalled",
        }
    }

    /// Its letter in Redis.
    fn letter(self) -> char {
        match self {
            Self::Queued => 'q',
            Self::Started => 's',
            Self::Transferred => 't',
            Self::Ended => 'e',
            Self::MessageCreated => 'm',
            Self::MessageRecalled => 'r',
        }
    }
}

/// Which types a webhook wants: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookTypes(BTreeSet<HookType>);

impl HookTypes {
    /// Reads names; each counts once.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let find = |name| HookType::ALL.into_iter().find(|known| known.name() == name);
        Self::some(names.into_iter().map(find))
    }

    /// Reads letters.
    pub fn from_letters(letters: &str) -> Option<Self> {
        let find = |letter| HookType::ALL.into_iter().find(|it| it.letter() == letter);
        Self::some(letters.chars().map(find))
    }

    fn some(types: impl Iterator<Item = Option<HookType>>) -> Option<Self> {
        let types: BTreeSet<_> = types.collect::<Option<_>>()?;
        (!types.is_empty()).then_some(Self(types))
    }

    /// The letters.
    pub fn letters(&self) -> String {
        self.0.iter().map(|it| it.letter()).collect()
    }

    /// The names as a JSON list.
    pub fn json(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|it| it.name()).collect();
        serde_json::Value::from(names).to_string()
    }
}

/// Where a webhook is sent: http or https, without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl(Url);

impl HookUrl {
    /// Reads a URL. Which address its host has is looked at when it is called.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_URL_BYTES {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let bare = url.username().is_empty() && url.password().is_none();
        // As it is written down and read again: what is not ASCII is longer then.
        let fits = url.fragment().is_none() && url.as_str().len() <= MAX_URL_BYTES;
        (http && bare && fits).then_some(Self(url))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A new secret: `whsec_` and 32 random bytes in base64. `None` if the system has no randomness.
pub fn new_secret() -> Option<Secret> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)).into())
}

/// Reads a secret in the form in which we make them.
pub fn secret(text: &str) -> Option<Secret> {
    let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    (bytes.len() == SECRET_BYTES).then(|| text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_names_for_people_and_letters_for_scripts() {
        let all = HookTypes::from_names(HookType::ALL.map(HookType::name));
        let all = all.expect("all are known");
        assert_eq!(all.letters(), "qstemr");
        assert_eq!(HookTypes::from_letters("qstemr"), Some(all));
        let two = HookTypes::from_letters("me").expect("known");
        assert_eq!(two.json(), r#"["conversation.ended","message.created"]"#);
        for bad in ["", "-", "x", "mx"] {
            assert_eq!(HookTypes::from_letters(bad), None, "{bad}");
        }
        assert_eq!(HookTypes::from_names(["message.created", "x"]), None);
    }

    #[test]
    fn a_url_is_one_that_can_be_posted_to() {
        for good in ["https://example.com/a?b=c", "http://127.0.0.1:8080"] {
            assert!(HookUrl::parse(good).is_some(), "{good}");
        }
        // What is written down must be readable again, and is longer than what was said.
        let said = format!("https://example.com/{}", "客".repeat(200));
        let url = HookUrl::parse(&said).expect("1.8 KB");
        assert_eq!(HookUrl::parse(url.as_str()), Some(url));
        let grows = format!("https://example.com/{}", "客".repeat(300));
        assert!(grows.len() < MAX_URL_BYTES && HookUrl::parse(&grows).is_none());
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
        for bad in [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://:password@example.com/",
            "https://example.com/#a",
            "https://exa mple.com/",
            "gopher://example.com",
            "unix:/run/x.sock",
            &long,
        ] {
            assert!(HookUrl::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_made_as_they_are_read() {
        let (one, other) = (new_secret().expect("random"), new_secret().expect("random"));
        assert!(one != other && secret(one.expose()) == Some(one));
        for bad in ["", "whsec_", "whsec_AAAA", "AAAA", "whsec_*"] {
            assert_eq!(secret(bad), None, "{bad}");
        }
    }
}
