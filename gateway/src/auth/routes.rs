//! `POST /api/v1/tickets` and `POST /api/v1/visitors`: what a page asks before it opens a socket.
//!
//! The door is the same as the socket's: whose pages may ask (with the headers that let a page of
//! another origin read the answer), and how many and how fast an address may.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use frontdesk_shared::{
    ids::{Site, Uid},
    keys,
    protocol::{Lang, Role},
    token::Secret,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::debug;

use super::{
    Auth, Denied, Kind, Signed,
    asked::DEFAULT_SITE,
    bad, bearer, denied, holder,
    ticket::{self, Holder},
    token::{BadToken, Said},
    unavailable,
    visitor::Visitors,
};
use crate::{front::Front, metrics::METRICS, server};

/// Longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;
/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// What a visitor may wish for.
#[derive(Default)]
struct Wishes(serde_json::Map<String, Value>);

impl Wishes {
    fn parse(body: &[u8]) -> Result<Self, Denied> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let wishes = serde_json::from_slice(body);
        wishes.map(Self).map_err(|_| bad("The body must be JSON."))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Denied> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(format!("{name} must be a text."))),
        }
    }

    fn lang(&self) -> Result<Option<Lang>, Denied> {
        let Some(tag) = self.text("lang")? else {
            return Ok(None);
        };
        let lang = Lang::from_tag(tag).ok_or_else(|| bad("lang must be zh-CN or en."))?;
        Ok(Some(lang))
    }
}

/// `POST /api/v1/tickets`: a ticket for whoever has a token.
pub(crate) async fn tickets(State(front): State<Arc<Front>>, request: Request) -> Response {
    answer("tickets", &front, request, async |auth, headers, _| {
        auth.ticket(&headers).await
    })
    .await
}

/// `POST /api/v1/visitors`: an identity for an anonymous customer, or the same one again.
pub(crate) async fn visitors(State(front): State<Arc<Front>>, request: Request) -> Response {
    answer("visitors", &front, request, async |auth, headers, body| {
        auth.visitor(&headers, &body).await
    })
    .await
}

/// `OPTIONS`: may a page of this origin ask?
pub(crate) async fn preflight(State(front): State<Arc<Front>>, request: Request) -> Response {
    let mut answer = match server::check_origin(&front, request.headers()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => return refusal,
    };
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        ),
    ];
    for (name, value) in allowed {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    let age = header::ACCESS_CONTROL_MAX_AGE;
    answer.headers_mut().insert(age, PREFLIGHT_AGE_S);
    readable_by(request.headers(), answer)
}

/// Guards the door, reads the body, and makes an answer of what `work` says.
async fn answer(
    what: &'static str,
    front: &Front,
    request: Request,
    work: impl AsyncFnOnce(&Auth, HeaderMap, Vec<u8>) -> Result<Value, Denied>,
) -> Response {
    let asking = request.headers().clone();
    let answer = match guarded(front, request, work).await {
        Ok(answer) | Err(answer) => answer,
    };
    let status = answer.status();
    let labels = [what, status.as_str()];
    METRICS.identity_requests.with_label_values(&labels).inc();
    debug!(what, %status, "identity asked for");
    readable_by(&asking, answer)
}

async fn guarded(
    front: &Front,
    request: Request,
    work: impl AsyncFnOnce(&Auth, HeaderMap, Vec<u8>) -> Result<Value, Denied>,
) -> Result<Response, Response> {
    server::check_origin(front, request.headers())?;
    if front.ready().is_none() {
        return Err(server::later(server::NOT_NOW));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let _place = server::place(front, peer.copied(), request.headers())?;
    let (parts, body) = request.into_parts();
    let body = timeout(front.config.handshake_timeout(), read(body)).await;
    let body = body.unwrap_or_else(|_| Err(bad("The body did not come in time.")));
    let done = match body {
        Ok(body) => work(&front.auth, parts.headers, body).await,
        Err(denied) => Err(denied),
    };
    let said = done.map_err(server::denied)?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, said.to_string()).into_response())
}

async fn read(body: Body) -> Result<Vec<u8>, Denied> {
    match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err(denied(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is broken or too long.",
        )),
    }
}

/// Lets the page that has asked, and that was let in, read the answer.
fn readable_by(asking: &HeaderMap, mut answer: Response) -> Response {
    const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = asking.get(header::ORIGIN)
        && answer.status() != StatusCode::FORBIDDEN
    {
        let allow = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        answer.headers_mut().insert(allow, origin.clone());
    }
    answer.headers_mut().append(VARY.0, VARY.1);
    // Else a page of another origin cannot see when it may ask again.
    if answer.headers().contains_key(header::RETRY_AFTER) {
        let expose = header::ACCESS_CONTROL_EXPOSE_HEADERS;
        let names = HeaderValue::from_static("retry-after");
        answer.headers_mut().insert(expose, names);
    }
    answer
}

impl Auth {
    fn signed(&self) -> Result<&Signed, Denied> {
        self.signed.as_ref().ok_or_else(|| {
            let reason = "This gateway is in open mode: connect without a token or ticket.";
            denied(StatusCode::NOT_FOUND, reason)
        })
    }

    async fn ticket(&self, headers: &HeaderMap) -> Result<Value, Denied> {
        let signed = self.signed()?;
        let token = bearer(headers)?.ok_or_else(|| {
            let reason = "A ticket is for who has a token: Authorization: Bearer.";
            denied(StatusCode::UNAUTHORIZED, reason)
        })?;
        let holder = holder(Kind::Token, signed.tokens.read(&token)?);
        let ticket = self.issue(&holder).await?;
        Ok(json!({ "ticket": ticket.expose(), "expires_in_s": ticket::GOOD_FOR_S }))
    }

    async fn visitor(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Denied> {
        let visitors = self.signed()?.visitors.as_ref().ok_or_else(|| {
            let reason = "Visitors without a token are not let in here, see --visitors.";
            denied(StatusCode::FORBIDDEN, reason)
        })?;
        let wishes = Wishes::parse(body)?;
        let (site, lang) = (wishes.text("site")?, wishes.lang()?);
        let (token, said) = if let Some(token) = bearer(headers)? {
            self.again(visitors, &token, site).await?
        } else {
            let site = Site::parse(site.unwrap_or(DEFAULT_SITE));
            let site = site.map_err(|rule| bad(format!("site {rule}.")))?;
            visitors.sign(site, Uid::visitor())
        };
        let mut holder = holder(Kind::Visitor, said);
        holder.lang = lang;
        let ticket = self.issue(&holder).await?;
        Ok(json!({
            "token": token.expose(),
            "token_expires_in_s": visitors.good_for_s(),
            "uid": holder.uid.as_str(),
            "site": holder.site.as_str(),
            "ticket": ticket.expose(),
            "expires_in_s": ticket::GOOD_FOR_S,
        }))
    }

    /// A new token for a visitor who has one, unless they were revoked: a new token would outlive that.
    async fn again(
        &self,
        visitors: &Visitors,
        token: &Secret,
        site: Option<&str>,
    ) -> Result<(Secret, Said), Denied> {
        let said = visitors.read(token)?;
        if site.is_some_and(|site| site != said.site.as_str()) || said.role != Role::Customer {
            let reason = "The visitor's token is for another site.";
            return Err(denied(StatusCode::FORBIDDEN, reason));
        }
        // Made before it is asked, so that whoever is revoked from then on is so after it was made.
        let renewed = visitors.sign(said.site.clone(), said.uid.clone());
        let key = keys::revoked(&said.site, &said.uid);
        let revoked = async {
            let mut connection = self.redis.short().await?;
            redis::cmd("GET")
                .arg(key)
                .query_async::<Option<u64>>(&mut *connection)
                .await
        };
        let revoked = revoked.await.map_err(|error| unavailable(&error))?;
        if revoked.is_some_and(|revoked| said.iat <= revoked) {
            return Err(BadToken::Revoked.into());
        }
        Ok(renewed)
    }

    async fn issue(&self, holder: &Holder) -> Result<Secret, Denied> {
        let issued = ticket::issue(&self.redis, holder).await;
        issued.map_err(|error| unavailable(&error))
    }
}
