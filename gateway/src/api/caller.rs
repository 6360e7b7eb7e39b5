//! What a request says, taken apart: who asks, the names in its path, its query, its key, its body. What is wrong
//! with one of them is a [`Problem`], as everything else is.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Bytes, HttpBody as _, to_bytes},
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use frontdesk_shared::{
    ids::{ConversationId, HookId, MessageRef, Uid},
    protocol::{MAX_FRAME_BYTES, MAX_SEQ, frame::Payload},
};
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::problem::Problem;
use crate::{
    Gateway,
    auth::Identity,
    front::{Front, Place},
    reads::Asker,
};

/// Repeating a write under the same key has it done once.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Who asks, and the boot that serves them.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) identity: Identity,
}

impl Caller {
    /// The same to the scripts that read.
    pub(crate) fn asker(&self) -> Asker {
        Asker {
            identity: self.identity.clone(),
            client: None,
        }
    }
}

/// The asker's place among all requests, for answers that take longer than their beginning; while somebody holds it the
/// gateway does not end.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    _place: Arc<Place>,
    _answer: TaskTrackerToken,
}

impl Held {
    pub(super) fn new(front: &Front, place: Place) -> Self {
        Self {
            _place: Arc::new(place),
            _answer: front.answers.token(),
        }
    }
}

impl FromRequestParts<Arc<Front>> for Held {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Front>,
    ) -> Result<Self, Self::Rejection> {
        let held = parts.extensions.get::<Self>().cloned();
        held.ok_or_else(|| Problem::of("internal")) // the door puts it there
    }
}

impl FromRequestParts<Arc<Front>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        front: &Arc<Front>,
    ) -> Result<Self, Self::Rejection> {
        let identity = front.auth.asker(&parts.uri, &parts.headers)?;
        let gateway = front.ready().ok_or_else(super::not_now)?;
        Ok(Self { gateway, identity })
    }
}

/// The names in the path.
#[derive(Debug)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    fn get<T, E>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let parsed = found.and_then(|(_, text)| parse(text).ok());
        parsed.ok_or_else(|| Problem::bad(name))
    }

    /// The conversation.
    pub(crate) fn conversation(&self) -> Result<ConversationId, Problem> {
        self.get("conversation", ConversationId::parse)
    }

    /// A place in its log.
    pub(crate) fn seq(&self) -> Result<u64, Problem> {
        self.get("seq", |text| {
            let seq = text.parse().map_err(|_| ())?;
            (1..=MAX_SEQ).contains(&seq).then_some(seq).ok_or(())
        })
    }

    /// A webhook.
    pub(crate) fn hook(&self) -> Result<HookId, Problem> {
        self.get("hook", HookId::parse)
    }

    /// Another user.
    pub(crate) fn uid(&self) -> Result<Uid, Problem> {
        self.get("uid", Uid::parse)
    }
}

impl FromRequestParts<Arc<Front>> for Names {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        front: &Arc<Front>,
    ) -> Result<Self, Self::Rejection> {
        let names = RawPathParams::from_request_parts(parts, front).await;
        let names = names.map_err(|_| Problem::of("bad_field"))?;
        let names = names.iter().map(|(name, text)| (name.into(), text.into()));
        Ok(Self(names.collect()))
    }
}

/// What the query asks for, beside who asks.
#[derive(Debug)]
pub(crate) struct Wishes(pub(crate) Payload);

impl FromRequestParts<Arc<Front>> for Wishes {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Front>,
    ) -> Result<Self, Self::Rejection> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let wishes = pairs.ok().and_then(|pairs| Payload::from_query(pairs.0));
        let sentence = "The query cannot be read: give each parameter at most once.";
        let wishes = wishes.ok_or_else(|| Problem::of("bad_field").detail(sentence))?;
        Ok(Self(wishes))
    }
}

/// The Idempotency-Key of a write, or a new one for who names none.
#[derive(Debug)]
pub(crate) struct Key(pub(crate) MessageRef);

impl FromRequestParts<Arc<Front>> for Key {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Front>,
    ) -> Result<Self, Self::Rejection> {
        let wrong = || {
            let sentence = "Idempotency-Key must be given once: 1 to 64 letters, digits, dots, colons, hyphens or underscores, with a letter or digit first.";
            Problem::bad("Idempotency-Key").detail(sentence)
        };
        match key(&parts.headers) {
            None => Ok(Self(MessageRef::random())),
            Some(key) => Ok(Self(key.ok_or_else(wrong)?)),
        }
    }
}

/// The key, if there is one; `Some(None)` if it is none.
#[allow(clippy::option_option, reason = "absent and wrong are two things")]
fn key(headers: &HeaderMap) -> Option<Option<MessageRef>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let text = values.next()?.to_str().ok().map(str::trim);
    // As the draft of the header has it, the value stands in quotes; most write it without.
    let bare = text.map(|text| match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or_default(),
        None => text,
    });
    let key = bare.and_then(|key| MessageRef::parse(key).ok());
    Some(key.filter(|_| values.next().is_none()))
}

/// The body: one JSON object.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Payload);

impl FromRequest<Arc<Front>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Self::Rejection> {
        if !is_json(request.headers()) {
            return Err(Problem::of("not_json"));
        }
        let body = read_body(request.into_body(), front, MAX_FRAME_BYTES).await?;
        Ok(Self(Payload::from_json(&body)?))
    }
}

/// The same where none is needed: then it is an empty object.
#[derive(Debug)]
pub(crate) struct MaybeBody(pub(crate) Payload);

impl FromRequest<Arc<Front>> for MaybeBody {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Self::Rejection> {
        let is_json = is_json(request.headers());
        let body = read_body(request.into_body(), front, MAX_FRAME_BYTES).await?;
        if body.is_empty() {
            return Ok(Self(Payload::default()));
        }
        if !is_json {
            return Err(Problem::of("not_json"));
        }
        Ok(Self(Payload::from_json(&body)?))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// When a request whose body was late may come again.
const LATE_RETRY: Duration = Duration::from_secs(1);

/// A whole body, in time and not longer than that.
pub(crate) async fn read_body(
    body: axum::body::Body,
    front: &Front,
    most: usize,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::of("too_large").detail("The body is broken or too long.");
    if body.size_hint().lower() > most as u64 {
        return Err(too_large()); // as it says itself
    }
    let read = timeout(front.config.handshake_timeout(), to_bytes(body, most)).await;
    let late = "The body did not come in time.";
    let read = read.map_err(|_| Problem::of("busy").detail(late).after(LATE_RETRY))?;
    read.map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_may_stand_in_quotes_and_only_once() {
        let key_of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static(value));
            }
            key(&headers).map(|key| key.map(|key| key.to_string()))
        };
        assert_eq!(key_of(&[]), None);
        assert_eq!(key_of(&["k-1"]), Some(Some("k-1".into())));
        assert_eq!(key_of(&["\"k-1\""]), Some(Some("k-1".into())));
        for bad in [&["\"k-1"][..], &[""], &["\"\""], &["a b"], &["k", "k"]] {
            assert_eq!(key_of(bad), Some(None), "{bad:?}");
        }
    }

    #[test]
    fn a_body_is_json_by_its_type() {
        let is = |kind: &'static str| {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
            is_json(&HeaderMap::from_iter([kind]))
        };
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/problem+json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
