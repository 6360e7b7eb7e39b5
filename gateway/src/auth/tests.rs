use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use frontdesk_shared::protocol::{Lang, Role};

use super::*;

fn ask(uri: &'static str, language: Option<&'static str>) -> Result<Identity, Denied> {
    let mut headers = HeaderMap::new();
    if let Some(language) = language {
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
    }
    believe(&Uri::from_static(uri), &headers, Lang::ZhCn)
}

#[test]
fn open_mode_believes_the_query() {
    let somebody = ask("/ws?site=acme&uid=alice&role=staff&lang=en", Some("zh"));
    let somebody = somebody.expect("let in");
    assert_eq!(somebody.site.as_str(), "acme");
    assert_eq!(somebody.uid.as_str(), "alice");
    assert_eq!((somebody.role, somebody.lang), (Role::Staff, Lang::En));
}

#[test]
fn what_is_not_said_is_filled_in() {
    let first = ask("/", Some("en-GB")).expect("let in");
    let second = ask("/?other=1", Some("fr")).expect("let in");
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
        let denied = ask(uri, None).expect_err(uri);
        assert_eq!(denied.status, StatusCode::BAD_REQUEST, "{uri}");
        assert!(denied.reason.ends_with('.'), "{uri}");
    }
}

#[test]
fn the_authorization_header_is_one_line_of_one_form() {
    let read = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header");
            headers.append(header::AUTHORIZATION, value);
        }
        bearer(&headers).map(|token| token.map(|token| token.expose().to_owned()))
    };
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[b"Bearer abc"]), Ok(Some("abc".into())));
    assert_eq!(read(&[b"bEARER  abc"]), Ok(Some("abc".into())));
    for bad in [
        &[&b"abc"[..]][..],
        &[b"Basic abc"],
        &[b"Bearer\xff abc"],
        &[b"Bearer abc", b"Bearer abc"],
    ] {
        let denied = read(bad).expect_err("refused");
        assert_eq!(denied.status, StatusCode::UNAUTHORIZED, "{bad:?}");
    }
}
