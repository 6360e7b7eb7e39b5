//! The wire: what a client may send ([`frame`]; of it what it may [`read`], and how it [`resume`]s), what it
//! is told ([`notice`]), with which numbers a socket closes ([`close`]). docs/PROTOCOL.md is checked against these tables.

pub mod close;
pub mod frame;
pub mod notice;
pub mod read;
pub mod resume;

use std::fmt;

/// Largest WebSocket message or frame a client may send, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Longest text of one chat message, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Longest display name, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Most connections one user may hold at once.
pub const MAX_CONNECTIONS_PER_USER: usize = 16;
/// Most messages kept for the staff while their customer waits.
pub const MAX_WAITING_MESSAGES: usize = 20;
/// Most bytes of such messages, as JSON strings.
pub const MAX_WAITING_BYTES: usize = 16 * 1024;

/// The largest place in a log that a client may name: Lua and JSON hold numbers exactly up to here.
pub const MAX_SEQ: u64 = 1 << 53;
/// Most conversations that a client may name when it resumes.
pub const MAX_POSITIONS: usize = 50;

/// The language of the texts a user sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, clap::ValueEnum)]
pub enum Lang {
    /// Simplified Chinese, the default.
    #[default]
    #[value(name = "zh-CN")]
    ZhCn,
    /// English.
    #[value(name = "en")]
    En,
}

impl Lang {
    /// Every language, in the order of the texts in [`notice`].
    pub const ALL: [Self; 2] = [Self::ZhCn, Self::En];

    /// The language tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::ZhCn => "zh-CN",
            Self::En => "en",
        }
    }

    /// The best match for a language tag such as `en-GB` or `zh`, if we have one.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next()?;
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::ZhCn)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::En)
        } else {
            None
        }
    }

    /// The first language of an `Accept-Language` header that we have, by descending `q`
    /// (RFC 9110 §12.5.4).
    pub fn from_accept_language(header: &str) -> Option<Self> {
        let mut wishes: Vec<(f32, Self)> = header
            .split(',')
            .filter_map(|part| {
                let mut pieces = part.split(';');
                let lang = Self::from_tag(pieces.next()?)?;
                let q = pieces
                    .find_map(|p| p.trim().strip_prefix("q="))
                    .map_or(Some(1.0), |q| q.parse().ok())?;
                (q > 0.0).then_some((q, lang))
            })
            .collect();
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0)); // stable: equal wishes keep their order
        wishes.first().map(|(_, lang)| *lang)
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// Who somebody is at the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do what either does: open mode, where the first verb decides.
    Any,
    /// Asks for staff.
    Customer,
    /// Answers customers.
    Staff,
    /// Answers customers, and may read every conversation of the site.
    Supervisor,
    /// A program of the site's owner: may read like a supervisor, and takes no part.
    Service,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Any,
        Self::Customer,
        Self::Staff,
        Self::Supervisor,
        Self::Service,
    ];

    /// The role's name in events and state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Supervisor => "supervisor",
            Self::Service => "service",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_language_is_weighed() {
        let best = Lang::from_accept_language;
        assert_eq!(best("de, en;q=0.5, zh;q=0.9"), Some(Lang::ZhCn));
        assert_eq!(best("en-GB,zh-CN;q=0.8"), Some(Lang::En));
        assert_eq!(best("zh;q=0, en;q=0.1"), Some(Lang::En));
        assert_eq!(best("fr, *;q=0.1"), None);
        assert_eq!(best(""), None);
    }

    /// docs/PROTOCOL.md is what clients are written against: every row of both tables stands in it.
    #[test]
    fn the_docs_have_every_row() {
        let docs = include_str!("../../../docs/PROTOCOL.md");
        for row in notice::NOTICES {
            let line = format!(
                "| `{}` | `{}` | {} | {} |",
                row.action, row.code, row.text[0], row.text[1]
            );
            assert!(docs.contains(&line), "missing: {line}");
        }
        for row in close::CLOSE_CODES {
            let line = format!("| {} | `{}` | {} |", row.code, row.name, row.meaning);
            assert!(docs.contains(&line), "missing: {line}");
        }
    }
}
