//! The JavaScript client (`gateway/web`), so that a page needs no copy of its own and has the one that fits its
//! cluster: `GET /client.js`, and the modules that it imports, `GET /client/<version>/<module>.js`.
//!
//! A page must never run modules of two versions, and behind a load balancer each request may come to another
//! gateway, in a rolling upgrade to one of another version. So what stands in `client.js` as `./client/` goes out as
//! `./client/<version>/`, a digest of all of it: a module of that name is the same wherever it comes from, may be
//! kept for ever, and is not found at a gateway of another version. Then the import fails as a whole, or the
//! load balancer asks the next gateway (deploy/haproxy.cfg).
//!
//! All of it is public and the same for everybody: pages of any origin may load it as a module, which browsers ask of
//! another origin with CORS. What a page may do with it is decided where it connects.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ring::digest;

const ENTRY: &str = include_str!("../web/client.js");

macro_rules! modules {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../web/client/", $name)))),*]
    };
}

/// What `web/client/` holds.
const MODULES: &[(&str, &str)] = &modules![
    "backoff.js" "clock.js" "codes.js" "conversations.js" "desk.js" "emitter.js" "entry.js" "frames.js"
    "frontdesk.js" "identity.js" "intents.js" "limits.js" "link.js" "marks.js" "options.js" "outbox.js"
    "pages.js" "questions.js" "resuming.js" "session.js" "storage.js" "tab.js" "types.js" "typing.js"
    "view.js" "words.js"
];

/// A browser asks each time whether it is still this one: the modules of an older one may be nowhere any more.
const ENTRY_CACHE: &str = "public, no-cache";
const MODULE_CACHE: &str = "public, max-age=31536000, immutable";
const ELSEWHERE: &str =
    "This gateway's client has no such module. Another gateway's may; or load /client.js again.\n";

/// Names the content of all of it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = digest::Context::new(&digest::SHA256);
    for (name, text) in [("", ENTRY)].iter().chain(MODULES) {
        for part in [name, text] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
    }
    let mut version = String::new();
    for byte in digest.finish().as_ref().iter().take(12) {
        let _ = write!(version, "{byte:02x}"); // writing into a String cannot fail
    }
    version
});

/// `client.js` as it goes out.
static PINNED: LazyLock<String> =
    LazyLock::new(|| ENTRY.replace("'./client/", &format!("'./client/{}/", *VERSION)));

pub(crate) async fn entry(headers: HeaderMap) -> Response {
    script(&headers, PINNED.as_str(), ENTRY_CACHE)
}

pub(crate) async fn module(
    Path((version, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = MODULES.iter().find(|(name, _)| *name == module);
    match found.filter(|_| version == *VERSION) {
        Some((_, text)) => script(&headers, text, MODULE_CACHE),
        None => not_here(),
    }
}

fn script(headers: &HeaderMap, text: &'static str, cache: &'static str) -> Response {
    let about = [
        (header::ETAG, format!("\"{}\"", *VERSION)),
        (header::CACHE_CONTROL, cache.to_owned()),
        (
            header::CONTENT_TYPE,
            "text/javascript; charset=utf-8".to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    if is_known(headers) {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, text).into_response()
    }
}

/// Nobody may remember this: the same question is answered by a gateway of that version.
fn not_here() -> Response {
    let about = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (StatusCode::NOT_FOUND, about, ELSEWHERE).into_response()
}

/// Whether the browser has it already (RFC 9110 §13.1.2). Proxies that compress mark an `ETag` as weak.
fn is_known(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == *VERSION
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::MODULES;

    #[test]
    fn all_modules_are_served() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/client");
        let files = std::fs::read_dir(dir).expect("the modules");
        let files = files.map(|file| file.expect("a file").file_name().into_string());
        let files = files.map(|name| name.expect("a name"));
        let files: BTreeSet<_> = files.filter(|name| !name.ends_with(".d.ts")).collect();
        let served: BTreeSet<_> = MODULES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, served);
    }
}
