//! Words: into a conversation.

use axum::http::StatusCode;
use frontdesk_shared::protocol::frame::Verb;

use crate::api::{
    Answer,
    act::{Ask, act},
    caller::{Body, Caller, Key, Names},
    json,
};

/// Words to the other side of a conversation, kept for the staff while its customer waits.
pub(crate) async fn say(caller: Caller, names: Names, Key(key): Key, Body(body): Body) -> Answer {
    let verb = Verb::Message {
        body: body.words()?,
        id: Some(key.clone()),
        conversation: Some(names.conversation()?),
    };
    let done = act(&caller, Ask::own(key, verb)).await?;
    Ok(json(StatusCode::CREATED, done))
}
