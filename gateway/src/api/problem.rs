//! What the API answers when it does not do what was asked: problem details (RFC 9457).

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use frontdesk_shared::{
    ids::MessageRef,
    protocol::{Lang, frame::Refusal, notice::NOTICES},
};
use serde_json::{Map, Value, json};

use crate::auth::Denied;

/// One kind of problem. Its code is that of the notice, where there is one; its title is for developers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
}

const fn kind(code: &'static str, status: StatusCode, title: &'static str) -> Kind {
    Kind {
        code,
        status,
        title,
    }
}

/// The whole table. What has a code that is not here is `internal`.
#[rustfmt::skip]
pub(crate) const KINDS: &[Kind] = &[
    kind("bad_json", StatusCode::BAD_REQUEST, "The body is not a JSON object"),
    kind("bad_field", StatusCode::BAD_REQUEST, "A field, parameter or header is missing or not valid"),
    kind("bad_token", StatusCode::UNAUTHORIZED, "There is no token, or one that does not count"),
    kind("wrong_role", StatusCode::FORBIDDEN, "The asker's role may not do this"),
    kind("forbidden", StatusCode::FORBIDDEN, "The asker may not do this here"),
    kind("not_found", StatusCode::NOT_FOUND, "There is no such address"),
    kind("no_conversation", StatusCode::NOT_FOUND, "There is no such conversation, or it is none of the asker's"),
    kind("no_message", StatusCode::NOT_FOUND, "There is no such message"),
    kind("no_user", StatusCode::NOT_FOUND, "There is no such user"),
    kind("no_webhook", StatusCode::NOT_FOUND, "There is no such webhook"),
    kind("no_delivery", StatusCode::NOT_FOUND, "There is no such delivery, or it is under way"),
    kind("bad_method", StatusCode::METHOD_NOT_ALLOWED, "The address does not know this method"),
    kind("which_conversation", StatusCode::CONFLICT, "It must be said which conversation is meant"),
    kind("too_many_conversations", StatusCode::CONFLICT, "One of the two has as many conversations as allowed"),
    kind("too_many_webhooks", StatusCode::CONFLICT, "The site has as many webhooks as allowed"),
    kind("webhook_full", StatusCode::CONFLICT, "The webhook has as many deliveries waiting, or parked, as allowed"),
    kind("queue_words_full", StatusCode::CONFLICT, "No more messages are kept while the customer waits"),
    kind("recall_expired", StatusCode::CONFLICT, "The message is too old to be recalled"),
    kind("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body or the message is too long"),
    kind("not_json", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json"),
    kind("id_reused", StatusCode::UNPROCESSABLE_ENTITY, "The key was the id of another message"),
    kind("key_reused", StatusCode::UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request"),
    kind("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too fast; try again after the time given"),
    kind("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something failed on our side and was recorded"),
    kind("busy", StatusCode::SERVICE_UNAVAILABLE, "Not done, since the cluster does not keep up or this gateway cannot serve; try again"),
    kind("timeout", StatusCode::GATEWAY_TIMEOUT, "Not known whether it was done; ask again with the same Idempotency-Key"),
];

/// The address of the readable table of them.
pub(crate) const PAGE: &str = "/api/v1/problems";

/// Why something was not done.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    kind: Kind,
    status: StatusCode,
    /// A sentence about this very case; without one the notice's text.
    detail: Option<String>,
    lang: Lang,
    field: Option<String>,
    retry_after: Option<Duration>,
    key: Option<MessageRef>,
}

impl Problem {
    /// One with this code.
    pub(crate) fn of(code: &str) -> Self {
        let internal = kind("internal", StatusCode::INTERNAL_SERVER_ERROR, "");
        let find = |code: &str| KINDS.iter().find(|kind| kind.code == code).copied();
        let kind = find(code).or_else(|| find("internal")).unwrap_or(internal);
        Self(Box::new(Details {
            kind,
            status: kind.status,
            detail: None,
            lang: Lang::En,
            field: None,
            retry_after: None,
            key: None,
        }))
    }

    /// What is wrong with this field, parameter or header.
    pub(crate) fn bad(field: &str) -> Self {
        Self::of("bad_field").field(field)
    }

    pub(crate) fn field(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    pub(crate) fn detail(mut self, sentence: impl Into<String>) -> Self {
        self.0.detail = Some(sentence.into());
        self
    }

    /// Nothing should be asked again earlier than that.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// In the asker's language, where there is a notice.
    pub(crate) fn in_lang(mut self, lang: Lang) -> Self {
        self.0.lang = lang;
        self
    }

    /// The key to repeat with, where that is what to do.
    pub(crate) fn with_key(mut self, key: MessageRef) -> Self {
        if matches!(self.0.kind.code, "timeout" | "busy" | "rate_limited") {
            self.0.key = Some(key);
        }
        self
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body as text.
    pub(crate) fn body(&self) -> String {
        Value::Object(self.fields()).to_string()
    }

    fn fields(&self) -> Map<String, Value> {
        let it = &*self.0;
        let code = it.kind.code;
        let notice = NOTICES
            .iter()
            .find(|notice| notice.action == "error" && notice.code == code);
        let text = notice.map_or(it.kind.title, |notice| notice.text(it.lang));
        let detail = it.detail.as_deref().unwrap_or(text);
        let mut body = Map::new();
        body.insert("type".into(), json!(format!("{PAGE}#{code}")));
        body.insert("title".into(), json!(it.kind.title));
        body.insert("status".into(), json!(it.status.as_u16()));
        body.insert("code".into(), json!(code));
        body.insert("detail".into(), json!(detail));
        if let Some(field) = &it.field {
            body.insert("field".into(), json!(field));
        }
        if let Some(wait) = it.retry_after {
            let ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            body.insert("retry_after_ms".into(), json!(ms));
        }
        if let Some(key) = &it.key {
            body.insert("idempotency_key".into(), json!(key.as_str()));
        }
        body
    }
}

/// The answer carries the problem itself: the door puts it into the asker's language.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let mut answer = (self.0.status, headers, self.body()).into_response();
        answer.extensions_mut().insert(self.clone());
        let headers = answer.headers_mut();
        if self.0.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.0.retry_after {
            // Whole seconds, rounded up: a moment before would be too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, seconds);
            }
        }
        answer
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::of(refusal.code);
        match refusal.field {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}

impl From<Denied> for Problem {
    fn from(Denied { status, reason }: Denied) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => "bad_token",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::SERVICE_UNAVAILABLE => "busy",
            _ => "bad_field",
        };
        let problem = Self::of(code).detail(reason);
        match code {
            "busy" => problem.after(super::RETRY_AFTER),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a transition or a read may refuse with is a problem of its own.
    #[test]
    fn every_error_that_can_meet_a_request_has_a_status() {
        // Of sockets only.
        let others = ["unknown_action", "bad_max", "bad_resume"];
        for notice in NOTICES.iter().filter(|notice| notice.action == "error") {
            let known = KINDS.iter().any(|kind| kind.code == notice.code);
            assert_ne!(known, others.contains(&notice.code), "{}", notice.code);
        }
        assert_eq!(Problem::of("nonsense").status().as_u16(), 500);
    }

    #[test]
    fn a_problem_says_what_when_and_by_which_key() {
        let key = MessageRef::parse("k1").expect("valid");
        let problem = Problem::of("busy").after(Duration::from_millis(1500));
        let answer = problem.clone().with_key(key).into_response();
        assert_eq!(answer.status().as_u16(), 503);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
        let body = problem.in_lang(Lang::ZhCn).fields();
        assert_eq!(body["detail"], "系统繁忙,请稍后再试");
        assert_eq!(body["retry_after_ms"], 1500);
        assert_eq!(body["type"], "/api/v1/problems#busy");
    }
}
