//! Webhooks of the asker's site: for its own programs (role `service`), as the transitions and the scripts that
//! read say of each of these.

pub(crate) mod schema;

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::IntoResponse as _,
    routing::{MethodRouter, get, post},
};
use frontdesk_shared::{
    event::{Act, HookAct, HookSpec},
    hooks::{HookTypes, HookUrl, new_secret},
    ids::{MessageId, MessageRef, StreamId},
    protocol::{frame::Payload, read::limit},
    token::Secret,
};
use serde_json::{Map, Value};

use super::conversations::refused;
use crate::{
    api::{
        Answer,
        act::{Ask, act},
        caller::{Body, Caller, Key, MaybeBody, Names, Wishes},
        json,
        problem::Problem,
        schema as shared, text,
    },
    front::Front,
};

/// These routes.
pub(crate) fn table() -> Vec<(&'static str, MethodRouter<Arc<Front>>)> {
    vec![
        ("/webhooks", get(list).post(create)),
        ("/webhooks/{hook}", get(one).put(change).delete(delete)),
        ("/webhooks/{hook}/secret", post(rotate)),
        ("/webhooks/{hook}/parked", get(parked)),
        ("/webhooks/{hook}/redeliver", post(redeliver)),
        ("/webhooks/{hook}/park", post(park)),
    ]
}

/// The site's webhooks
///
/// For services, as all about webhooks.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks",
    operation_id = "listWebhooks",
    tag = "webhooks",
    responses((status = 200, description = "All of them", body = schema::Webhooks),
        (status = "default", description = "Not shown", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn list(caller: Caller) -> Answer {
    let read = caller.gateway.reads.hooks(&caller.asker(), None).await;
    Ok(text(read.map_err(refused)?))
}

/// One webhook
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{hook}",
    operation_id = "getWebhook",
    tag = "webhooks",
    params(schema::OfWebhook),
    responses((status = 200, description = "It", body = schema::WebhookStatus),
        (status = "default", description = "Not shown", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn one(caller: Caller, names: Names) -> Answer {
    let (asker, hook) = (caller.asker(), names.hook()?);
    let read = caller.gateway.reads.hooks(&asker, Some(&hook)).await;
    Ok(text(read.map_err(refused)?))
}

/// Make a webhook
///
/// The answer has its secret, which no `GET` tells; the same again under the same key tells it again, as it is then.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks",
    operation_id = "createWebhook",
    tag = "webhooks",
    params(shared::Once),
    request_body = schema::WebhookSpec,
    responses((status = 201, description = "Made", body = schema::Webhook),
        (status = "default", description = "Not made", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn create(caller: Caller, Key(key): Key, Body(body): Body) -> Answer {
    let spec = spec(&body)?;
    let secret = secret()?;
    let made = done(&caller, key, HookAct::Create { spec, secret }).await?;
    Ok(json(StatusCode::CREATED, made))
}

/// Change a webhook
///
/// All of it is said anew. What waits goes to the new URL.
#[utoipa::path(
    put,
    path = "/api/v1/webhooks/{hook}",
    operation_id = "changeWebhook",
    tag = "webhooks",
    params(schema::OfWebhook, shared::Once),
    request_body = schema::WebhookSpec,
    responses((status = 200, description = "Changed", body = schema::Webhook),
        (status = "default", description = "Not changed", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn change(
    caller: Caller,
    names: Names,
    Key(key): Key,
    Body(body): Body,
) -> Answer {
    let (hook, spec) = (names.hook()?, spec(&body)?);
    let changed = done(&caller, key, HookAct::Change { hook, spec }).await?;
    Ok(json(StatusCode::OK, changed))
}

/// Give a webhook another secret
///
/// For 24 hours its deliveries are signed with both.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{hook}/secret",
    operation_id = "rotateWebhookSecret",
    tag = "webhooks",
    params(schema::OfWebhook, shared::Once),
    responses((status = 200, description = "The new secret", body = schema::Webhook),
        (status = "default", description = "Not changed", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn rotate(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let (hook, secret) = (names.hook()?, secret()?);
    let changed = done(&caller, key, HookAct::Rotate { hook, secret }).await?;
    Ok(json(StatusCode::OK, changed))
}

/// Delete a webhook
///
/// With all that waits for it. What is being delivered may still arrive.
#[utoipa::path(
    delete,
    path = "/api/v1/webhooks/{hook}",
    operation_id = "deleteWebhook",
    tag = "webhooks",
    params(schema::OfWebhook, shared::Once),
    responses((status = 204, description = "Deleted"),
        (status = "default", description = "Not deleted", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn delete(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let hook = names.hook()?;
    done(&caller, key, HookAct::Delete { hook }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deliveries that are not tried any more
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{hook}/parked",
    operation_id = "listParkedDeliveries",
    tag = "webhooks",
    params(schema::OfWebhook, schema::PageOfParked),
    responses((status = 200, description = "A page, the last parked first", body = schema::Parked),
        (status = "default", description = "Not shown", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn parked(caller: Caller, names: Names, Wishes(wishes): Wishes) -> Answer {
    let (asker, hook) = (caller.asker(), names.hook()?);
    let before = wishes.text("before")?.map(StreamId::parse).transpose();
    let before = before.map_err(|_| Problem::bad("before"))?;
    let limit = limit(&wishes)?;
    let read = caller
        .gateway
        .reads
        .parked(&asker, &hook, before, limit)
        .await;
    Ok(text(read.map_err(refused)?))
}

/// Try deliveries now
///
/// Parked ones, and those that wait for another attempt: the one named, or all.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{hook}/redeliver",
    operation_id = "redeliver",
    tag = "webhooks",
    params(schema::OfWebhook, shared::Once),
    request_body = Option<schema::WhichDelivery>,
    responses((status = 200, description = "They are tried again", body = schema::Redelivered),
        (status = "default", description = "Not done", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn redeliver(
    caller: Caller,
    names: Names,
    Key(key): Key,
    MaybeBody(body): MaybeBody,
) -> Answer {
    let (hook, delivery) = (names.hook()?, delivery(&body)?);
    let moved = done(&caller, key, HookAct::Redeliver { hook, delivery }).await?;
    Ok(json(StatusCode::OK, moved))
}

/// Park deliveries
///
/// They are not tried any more until somebody has them tried again: the one named, or as many as may be parked.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{hook}/park",
    operation_id = "park",
    tag = "webhooks",
    params(schema::OfWebhook, shared::Once),
    request_body = Option<schema::WhichDelivery>,
    responses((status = 200, description = "They are parked", body = schema::NowParked),
        (status = "default", description = "Not done", body = shared::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn park(
    caller: Caller,
    names: Names,
    Key(key): Key,
    MaybeBody(body): MaybeBody,
) -> Answer {
    let (hook, delivery) = (names.hook()?, delivery(&body)?);
    let moved = done(&caller, key, HookAct::Park { hook, delivery }).await?;
    Ok(json(StatusCode::OK, moved))
}

async fn done(
    caller: &Caller,
    key: MessageRef,
    what: HookAct,
) -> Result<Map<String, Value>, Problem> {
    let ask = Ask {
        key,
        to: None,
        act: Act::Hook(what),
    };
    act(caller, ask).await
}

fn delivery(body: &Payload) -> Result<Option<MessageId>, Problem> {
    let delivery = body.text("delivery")?.map(MessageId::parse).transpose();
    delivery.map_err(|_| Problem::bad("delivery"))
}

fn spec(body: &Payload) -> Result<HookSpec, Problem> {
    let url = body.text("url")?.and_then(HookUrl::parse);
    let sentence =
        "url must be http or https, have no login and no fragment, and at most 2000 bytes.";
    let url = url.ok_or_else(|| Problem::bad("url").detail(sentence))?;
    let types = body.texts("types")?.and_then(HookTypes::from_names);
    let sentence = "types must be a list of at least one known type.";
    Ok(HookSpec {
        url,
        types: types.ok_or_else(|| Problem::bad("types").detail(sentence))?,
        enabled: body.flag("enabled")?.unwrap_or(true),
    })
}

fn secret() -> Result<Secret, Problem> {
    new_secret().ok_or(Problem::of("internal"))
}
