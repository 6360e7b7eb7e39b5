//! Words: into a conversation, to a user, and taken back.

use axum::http::StatusCode;
use frontdesk_shared::protocol::frame::Verb;

use crate::api::{
    Answer,
    act::{Ask, act},
    caller::{Body, Caller, Key, MaybeBody, Names},
    json, schema,
};

/// Say something in a conversation
///
/// To the other side of a conversation that the asker is in; kept for the staff while its customer waits. The key is
/// the message's `id` as well: a socket that sends it again under the same id repeats it.
#[utoipa::path(
    post,
    path = "/api/v1/conversations/{conversation}/messages",
    operation_id = "sendMessage",
    tag = "messages",
    params(schema::OfConversation, schema::Once),
    request_body = schema::Words,
    responses((status = 201, description = "Stored", body = schema::Stored),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn say(caller: Caller, names: Names, Key(key): Key, Body(body): Body) -> Answer {
    let verb = Verb::Message {
        body: body.words()?,
        id: Some(key.clone()),
        conversation: Some(names.conversation()?),
    };
    let done = act(&caller, Ask::own(key, verb)).await?;
    Ok(json(StatusCode::CREATED, done))
}

/// Write to a user
///
/// Begins the direct conversation of the two, or continues it. Staff and supervisors may; customers by a setting.
#[utoipa::path(
    post,
    path = "/api/v1/messages",
    operation_id = "sendDirectMessage",
    tag = "messages",
    params(schema::Once),
    request_body = schema::DirectWords,
    responses((status = 201, description = "Stored", body = schema::Stored),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn write(caller: Caller, Key(key): Key, Body(body): Body) -> Answer {
    let verb = Verb::Direct {
        to: body.to()?,
        body: body.words()?,
        id: Some(key.clone()),
    };
    let done = act(&caller, Ask::own(key, verb)).await?;
    Ok(json(StatusCode::CREATED, done))
}

/// Take a message back
///
/// Only who has sent it can, within a time (120 s as shipped); again: the same answer.
#[utoipa::path(
    post,
    path = "/api/v1/conversations/{conversation}/messages/{seq}/recall",
    operation_id = "recallMessage",
    tag = "messages",
    params(schema::OfMessage, schema::Once),
    request_body(content = Option<schema::Recall>, content_type = "application/json"),
    responses((status = 200, description = "Taken back", body = schema::Recalled),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn recall(
    caller: Caller,
    names: Names,
    Key(key): Key,
    MaybeBody(body): MaybeBody,
) -> Answer {
    let verb = Verb::Recall {
        conversation: names.conversation()?,
        seq: names.seq()?,
        message: body.message_id()?,
        id: None,
    };
    let done = act(&caller, Ask::own(key, verb)).await?;
    Ok(json(StatusCode::OK, done))
}
