//! How the desk stands, and who may come in no more. For programs of the site's owner, and supervisors.

use axum::http::StatusCode;
use frontdesk_shared::{event::Act, protocol::read::limit};

use super::conversations::refused;
use crate::{
    api::{
        Answer,
        act::{Ask, act},
        caller::{Caller, Key, Names, Wishes},
        json,
        problem::Problem,
        schema, text,
    },
    auth::KEEP_LONGER_S,
    reads::Range,
};

/// Most that may be left out of a list.
const MAX_OFFSET: u64 = 1_000_000;

/// Who is on duty
///
/// For supervisors and services. Where somebody's queue changes between two pages they may be missed or come twice.
#[utoipa::path(
    get,
    path = "/api/v1/staff",
    operation_id = "listStaff",
    tag = "desk",
    params(schema::PartOfList),
    responses((status = 200, description = "A part of the list", body = schema::Staff),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn staff(caller: Caller, wishes: Wishes) -> Answer {
    let range = range(&wishes)?;
    let read = caller.gateway.reads.staff(&caller.asker(), range).await;
    Ok(text(read.map_err(refused)?))
}

/// Who waits where, and who has waited longest
///
/// For supervisors and services.
#[utoipa::path(
    get,
    path = "/api/v1/queues",
    operation_id = "listQueues",
    tag = "desk",
    params(schema::PartOfList),
    responses((status = 200, description = "A part of the list", body = schema::Queues),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn queues(caller: Caller, wishes: Wishes) -> Answer {
    let range = range(&wishes)?;
    let read = caller.gateway.reads.queues(&caller.asker(), range).await;
    Ok(text(read.map_err(refused)?))
}

/// Revoke a user
///
/// For services. The user's sockets close on all gateways, and tokens made until now let nobody in.
#[utoipa::path(
    post,
    path = "/api/v1/users/{uid}/revoke",
    operation_id = "revokeUser",
    tag = "desk",
    params(schema::OfUser, schema::Once),
    responses((status = 200, description = "Revoked", body = schema::Revoked),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn revoke(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let max_age_s = caller.gateway.config.identity.max_token_age_s;
    let ask = Ask {
        key,
        to: Some(names.uid()?),
        act: Act::Revoke {
            keep_s: max_age_s.saturating_add(KEEP_LONGER_S),
        },
    };
    Ok(json(StatusCode::OK, act(&caller, ask).await?))
}

fn range(Wishes(wishes): &Wishes) -> Result<Range, Problem> {
    Ok(Range {
        offset: wishes.number("offset", 0..=MAX_OFFSET)?.unwrap_or(0),
        limit: limit(wishes)?,
    })
}
