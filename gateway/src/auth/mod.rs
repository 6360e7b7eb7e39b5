//! Who somebody is: decided once, at the handshake, here and nowhere else.
//!
//! Open mode believes what the query says. With a secret, identities are signed; this version
//! cannot read them yet and lets nobody in, which is the safe way to be incomplete.

pub(crate) mod resume;

use axum::{
    extract::Query,
    http::{HeaderMap, StatusCode, Uri, header},
};
use frontdesk_shared::{
    ids::{Site, Uid},
    protocol::{Lang, Role},
};
use serde::Deserialize;

use crate::config::Config;

/// The site of those who name none.
const DEFAULT_SITE: &str = "default";

/// Who is on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) site: Site,
    pub(crate) uid: Uid,
    pub(crate) role: Role,
    pub(crate) lang: Lang,
}

/// Why a handshake is refused: the status and a sentence for whoever reads the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct Claims {
    site: Option<String>,
    uid: Option<String>,
    role: Option<String>,
    lang: Option<String>,
}

/// Decides who comes in with this request.
pub(crate) fn identify(
    config: &Config,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Identity, Denied> {
    if !config.identity.open {
        return Err(Denied {
            status: StatusCode::UNAUTHORIZED,
            reason: "This gateway wants a signed identity, and this version cannot check one yet; start it with --open to try it out.".into(),
        });
    }
    let Query(claims) = Query::<Claims>::try_from_uri(uri).map_err(|_| {
        bad("The query cannot be read: give site, uid, role and lang at most once each.")
    })?;
    let site = claims.site.as_deref().unwrap_or(DEFAULT_SITE);
    Ok(Identity {
        site: Site::parse(site).map_err(|rule| bad(format!("site {rule}.")))?,
        uid: match claims.uid {
            Some(uid) => Uid::parse(&uid).map_err(|rule| bad(format!("uid {rule}.")))?,
            None => Uid::random(),
        },
        role: match claims.role {
            Some(role) => {
                Role::parse(&role).ok_or_else(|| bad("role must be any, customer or staff."))?
            }
            None => Role::Any,
        },
        lang: match claims.lang {
            Some(tag) => Lang::from_tag(&tag).ok_or_else(|| bad("lang must be zh-CN or en."))?,
            None => accepted_language(headers).unwrap_or(config.default_lang),
        },
    })
}

fn accepted_language(headers: &HeaderMap) -> Option<Lang> {
    let header = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    Lang::from_accept_language(header)
}

fn bad(reason: impl Into<String>) -> Denied {
    Denied {
        status: StatusCode::BAD_REQUEST,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use clap::Parser as _;

    fn ask(
        args: &[&str],
        uri: &'static str,
        language: Option<&'static str>,
    ) -> Result<Identity, Denied> {
        let config =
            Config::try_parse_from([&["frontdesk-gateway"], args].concat()).expect("parses");
        let mut headers = HeaderMap::new();
        if let Some(language) = language {
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        }
        identify(&config, &Uri::from_static(uri), &headers)
    }

    #[test]
    fn open_mode_believes_the_query() {
        let somebody = ask(
            &["--open"],
            "/ws?site=acme&uid=alice&role=staff&lang=en",
            Some("zh"),
        );
        let somebody = somebody.expect("let in");
        assert_eq!(somebody.site.as_str(), "acme");
        assert_eq!(somebody.uid.as_str(), "alice");
        assert_eq!((somebody.role, somebody.lang), (Role::Staff, Lang::En));
    }

    #[test]
    fn what_is_not_said_is_filled_in() {
        let first = ask(&["--open"], "/", Some("en-GB")).expect("let in");
        let second = ask(&["--open"], "/?other=1", Some("fr")).expect("let in");
        assert_eq!(first.site.as_str(), "default");
        assert_ne!(first.uid, second.uid);
        assert_eq!((first.role, first.lang), (Role::Any, Lang::En));
        assert_eq!(second.lang, Lang::ZhCn);
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence() {
        for uri in [
            "/?site=%7Bs00%7D",
            "/?uid=",
            "/?uid=a%0Ab",
            "/?uid=*",
            "/?role=boss",
            "/?lang=fr",
            "/?uid=a&uid=b",
        ] {
            let denied = ask(&["--open"], uri, None).expect_err(uri);
            assert_eq!(denied.status, StatusCode::BAD_REQUEST, "{uri}");
            assert!(denied.reason.ends_with('.'), "{uri}");
        }
    }

    #[test]
    fn without_open_mode_nobody_comes_in_yet() {
        let denied = ask(&["--secret", "x"], "/?uid=alice", None).expect_err("no identities yet");
        assert_eq!(denied.status, StatusCode::UNAUTHORIZED);
    }
}
