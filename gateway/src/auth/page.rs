//! What a page asks before it opens a socket: a ticket, or a visitor's identity.

use axum::http::{HeaderMap, StatusCode};
use frontdesk_shared::{
    ids::{Site, Uid},
    keys,
    protocol::{Lang, Role},
    token::Secret,
};
use serde_json::{Value, json};

use super::{
    Auth, Denied, Kind, Signed,
    asked::DEFAULT_SITE,
    bad, bearer, denied, holder,
    ticket::{self, Holder},
    token::{BadToken, Said},
    unavailable,
    visitor::Visitors,
};

/// What a visitor may wish for.
#[derive(Default)]
struct Wishes(serde_json::Map<String, Value>);

impl Wishes {
    fn parse(body: &[u8]) -> Result<Self, Denied> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let wishes = serde_json::from_slice::<Option<_>>(body);
        let wishes = wishes.map_err(|_| bad("The body must be a JSON object."))?;
        Ok(Self(wishes.unwrap_or_default()))
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

impl Auth {
    fn signed(&self) -> Result<&Signed, Denied> {
        self.signed.as_ref().ok_or_else(|| {
            let reason = "This gateway is in open mode: connect without a token or ticket.";
            denied(StatusCode::NOT_FOUND, reason)
        })
    }

    /// A ticket for whoever has a token.
    pub(crate) async fn ticket(&self, headers: &HeaderMap) -> Result<Value, Denied> {
        let signed = self.signed()?;
        let token = bearer(headers)?.ok_or_else(|| {
            let reason = "A ticket is for who has a token: Authorization: Bearer.";
            denied(StatusCode::UNAUTHORIZED, reason)
        })?;
        let holder = holder(Kind::Token, signed.tokens.read(&token)?);
        let ticket = self.issue(&holder).await?;
        Ok(json!({ "ticket": ticket.expose(), "expires_in_s": ticket::GOOD_FOR_S }))
    }

    /// An identity for an anonymous customer, or the same one again.
    pub(crate) async fn visitor(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Denied> {
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
