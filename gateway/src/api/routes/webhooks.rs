//! Webhooks of the asker's site: for its own programs (role `service`), as the transition says of each of these.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::IntoResponse as _,
    routing::{post, put},
};
use frontdesk_shared::{
    event::{Act, HookAct, HookSpec},
    hooks::{HookTypes, HookUrl, new_secret},
    ids::MessageId,
    protocol::frame::Payload,
    token::Secret,
};
use serde_json::{Map, Value};

use crate::{
    api::{
        Answer,
        act::{Ask, act},
        caller::{Body, Caller, Key, MaybeBody, Names},
        json,
        problem::Problem,
    },
    front::Front,
};

/// Below `/api/v1`.
pub(crate) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/webhooks", post(create))
        .route("/webhooks/{hook}", put(change).delete(delete))
        .route("/webhooks/{hook}/secret", post(rotate))
        .route("/webhooks/{hook}/redeliver", post(redeliver))
}

/// Makes one; the answer has its secret.
async fn create(caller: Caller, Key(key): Key, Body(body): Body) -> Answer {
    let spec = spec(&body)?;
    let secret = secret()?;
    let made = done(&caller, key, HookAct::Create { spec, secret }).await?;
    Ok(json(StatusCode::CREATED, made))
}

/// Says anew what one is.
async fn change(caller: Caller, names: Names, Key(key): Key, Body(body): Body) -> Answer {
    let (hook, spec) = (names.hook()?, spec(&body)?);
    let changed = done(&caller, key, HookAct::Change { hook, spec }).await?;
    Ok(json(StatusCode::OK, changed))
}

/// Gives one another secret; the answer has it.
async fn rotate(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let (hook, secret) = (names.hook()?, secret()?);
    let changed = done(&caller, key, HookAct::Rotate { hook, secret }).await?;
    Ok(json(StatusCode::OK, changed))
}

/// Removes one, and all that waits for it.
async fn delete(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let hook = names.hook()?;
    done(&caller, key, HookAct::Delete { hook }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Tries parked deliveries again: the one named, or all.
async fn redeliver(
    caller: Caller,
    names: Names,
    Key(key): Key,
    MaybeBody(body): MaybeBody,
) -> Answer {
    let hook = names.hook()?;
    let delivery = body.text("delivery")?.map(MessageId::parse).transpose();
    let delivery = delivery.map_err(|_| Problem::bad("delivery"))?;
    let moved = done(&caller, key, HookAct::Redeliver { hook, delivery }).await?;
    Ok(json(StatusCode::OK, moved))
}

async fn done(
    caller: &Caller,
    key: frontdesk_shared::ids::MessageRef,
    what: HookAct,
) -> Result<Map<String, Value>, Problem> {
    let ask = Ask {
        key,
        to: None,
        act: Act::Hook(what),
    };
    act(caller, ask).await
}

fn spec(body: &Payload) -> Result<HookSpec, Problem> {
    let url = body.text("url")?.and_then(HookUrl::parse);
    let sentence =
        "url must be http or https, have no login and no fragment, and at most 2000 bytes.";
    let url = url.ok_or_else(|| Problem::bad("url").detail(sentence))?;
    let types = body.texts("types")?.and_then(HookTypes::from_names);
    let sentence = "types must be a list of at least one known type; see docs/WEBHOOKS.md.";
    Ok(HookSpec {
        url,
        types: types.ok_or_else(|| Problem::bad("types").detail(sentence))?,
        enabled: body.flag("enabled")?.unwrap_or(true),
    })
}

fn secret() -> Result<Secret, Problem> {
    new_secret().ok_or(Problem::of("internal"))
}
