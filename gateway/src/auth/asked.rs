//! What a request says about who is asking: its query and its headers.

use axum::{
    extract::Query,
    http::{HeaderMap, StatusCode, Uri, header},
};
use frontdesk_shared::{
    ids::{Site, Uid},
    protocol::{Lang, Role},
    token::Secret,
};
use serde::Deserialize;

use super::{Denied, Identity, bad, denied, ticket::Holder};

/// The site of those who name none.
pub(super) const DEFAULT_SITE: &str = "default";

/// What the query of a handshake may say.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    site: Option<String>,
    uid: Option<String>,
    role: Option<String>,
    lang: Option<String>,
    pub(super) ticket: Option<String>,
}

/// Open mode: who the query says.
pub(crate) fn believe(
    uri: &Uri,
    headers: &HeaderMap,
    default_lang: Lang,
) -> Result<Identity, Denied> {
    let asked = asked(uri)?;
    let lang = asked.lang()?;
    let site = asked.site.as_deref().unwrap_or(DEFAULT_SITE);
    Ok(Identity {
        site: Site::parse(site).map_err(|rule| bad(format!("site {rule}.")))?,
        uid: match asked.uid {
            Some(uid) => Uid::parse(&uid).map_err(|rule| bad(format!("uid {rule}.")))?,
            None => Uid::random(),
        },
        role: match asked.role {
            Some(role) => Role::parse(&role)
                .ok_or_else(|| bad("role must be any, customer, staff, supervisor or service."))?,
            None => Role::Any,
        },
        lang: lang.unwrap_or_else(|| accepted_language(headers, default_lang)),
        proof: None,
    })
}

impl Asked {
    pub(super) fn lang(&self) -> Result<Option<Lang>, Denied> {
        let Some(tag) = &self.lang else {
            return Ok(None);
        };
        let lang = Lang::from_tag(tag).ok_or_else(|| bad("lang must be zh-CN or en."))?;
        Ok(Some(lang))
    }

    /// What the query says beside a token or ticket must be what that says.
    pub(super) fn agrees_with(&self, holder: &Holder) -> Result<(), Denied> {
        for (name, asked, is) in [
            ("site", &self.site, holder.site.as_str()),
            ("uid", &self.uid, holder.uid.as_str()),
            ("role", &self.role, holder.role.as_str()),
        ] {
            if asked.as_deref().is_some_and(|asked| asked != is) {
                let reason = format!("The {name} of the query is not that of the token or ticket.");
                return Err(denied(StatusCode::FORBIDDEN, reason));
            }
        }
        Ok(())
    }
}

/// The query.
pub(super) fn asked(uri: &Uri) -> Result<Asked, Denied> {
    let asked = Query::<Asked>::try_from_uri(uri).map_err(|_| {
        bad("The query cannot be read: give site, uid, role, lang and ticket at most once each.")
    })?;
    Ok(asked.0)
}

/// The token of `Authorization: Bearer`, if there is one.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Denied> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token.to_owned().into())),
        _ => Err(denied(
            StatusCode::UNAUTHORIZED,
            "The header must be one line: Authorization: Bearer, a space, the token.",
        )),
    }
}

/// The first language of `Accept-Language` that we have.
pub(super) fn accepted_language(headers: &HeaderMap, default: Lang) -> Lang {
    let header = headers.get(header::ACCEPT_LANGUAGE);
    let wishes = header.and_then(|header| header.to_str().ok());
    wishes
        .and_then(Lang::from_accept_language)
        .unwrap_or(default)
}
