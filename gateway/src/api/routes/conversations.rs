//! Conversations: which there are, what is in them, how far somebody has got, their end.

use axum::{
    body::Body as AnswerBody,
    http::{StatusCode, header},
    response::IntoResponse as _,
};
use frontdesk_shared::protocol::{
    frame::{Mark, Payload, Verb},
    read::{What, question},
};
use futures_util::stream;

use crate::{
    api::{
        Answer,
        act::{Ask, act},
        caller::{Body, Caller, Held, Key, Names, Wishes},
        json,
        problem::Problem,
        schema, text,
    },
    reads::{Asker, Whole},
};

/// The asker's conversations
#[utoipa::path(
    get,
    path = "/api/v1/conversations",
    operation_id = "listConversations",
    tag = "conversations",
    params(schema::PageOfConversations),
    responses((status = 200, description = "A page, the last changed first", body = schema::Conversations),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn list(caller: Caller, Wishes(wishes): Wishes) -> Answer {
    page(&caller, "conversations", &wishes).await
}

/// One conversation
///
/// For its sides, and for supervisors and services, who see it without marks of their own.
#[utoipa::path(
    get,
    path = "/api/v1/conversations/{conversation}",
    operation_id = "getConversation",
    tag = "conversations",
    params(schema::OfConversation),
    responses((status = 200, description = "It", body = schema::Conversation),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn one(caller: Caller, names: Names) -> Answer {
    let (asker, conversation) = (caller.asker(), names.conversation()?);
    let read = caller
        .gateway
        .reads
        .conversation(&asker, &conversation)
        .await;
    Ok(text(read.map_err(refused)?))
}

/// A page of a conversation's log
#[utoipa::path(
    get,
    path = "/api/v1/conversations/{conversation}/history",
    operation_id = "readHistory",
    tag = "conversations",
    params(schema::OfConversation, schema::PageOfLog),
    responses((status = 200, description = "A page", body = schema::History),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn history(caller: Caller, names: Names, Wishes(wishes): Wishes) -> Answer {
    let conversation = names.conversation()?;
    let wishes = wishes.with("conversation", conversation.as_str());
    page(&caller, "history", &wishes).await
}

/// All of a conversation's log
///
/// As it is now, oldest first. If it cannot be read to its end `more` is true: go on with `history` after the last
/// entry.
#[utoipa::path(
    get,
    path = "/api/v1/conversations/{conversation}/transcript",
    operation_id = "readTranscript",
    tag = "conversations",
    params(schema::OfConversation),
    responses((status = 200, description = "All of it", body = schema::History),
        (status = "default", description = "Not shown", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn transcript(caller: Caller, names: Names, place: Held) -> Answer {
    let conversation = names.conversation()?;
    let (asker, whole) = (caller.asker(), Whole::of(conversation.clone()));
    // What is refused is refused before the answer begins.
    let first = caller.gateway.reads.pages(&asker, whole).await;
    let first = first.map_err(refused)?;
    let head = format!(
        r#"{{"conversation":"{conversation}","entries":[{}"#,
        first.entries
    );
    let rest = Rest {
        caller,
        asker,
        next: Next::of(first.rest),
        _place: place,
    };
    let parts = stream::unfold((Some(head), rest), |(head, mut rest)| async {
        let part = match head {
            Some(head) => head,
            None => rest.part().await?,
        };
        Some((Ok::<_, std::convert::Infallible>(part), (None, rest)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, AnswerBody::from_stream(parts)).into_response())
}

/// What is left of a transcript; the asker's place is held until it is sent.
struct Rest {
    caller: Caller,
    asker: Asker,
    next: Next,
    _place: Held,
}

enum Next {
    Read(Whole),
    End { more: bool },
    Nothing,
}

impl Next {
    fn of(rest: Option<Whole>) -> Self {
        rest.map_or(Self::End { more: false }, Self::Read)
    }
}

impl Rest {
    /// The next part of the body, each page when the one before is written.
    async fn part(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Read(whole) => {
                let pages = self.caller.gateway.reads.pages(&self.asker, whole).await;
                let Ok(pages) = pages else {
                    return Some(end(true));
                };
                self.next = Next::of(pages.rest);
                let comma = if pages.entries.is_empty() { "" } else { "," };
                Some(format!("{comma}{}", pages.entries))
            }
            Next::End { more } => Some(end(more)),
            Next::Nothing => None,
        }
    }
}

fn end(more: bool) -> String {
    format!(r#"],"more":{more}}}"#)
}

/// Everything up to a place was seen
///
/// So it was delivered, too.
#[utoipa::path(
    post,
    path = "/api/v1/conversations/{conversation}/read",
    operation_id = "markRead",
    tag = "conversations",
    params(schema::OfConversation, schema::Once),
    request_body = schema::UpTo,
    responses((status = 200, description = "How far the asker has got", body = schema::Receipt),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn read(caller: Caller, names: Names, Key(key): Key, Body(body): Body) -> Answer {
    let verb = seen(&names, &body, Mark::Read)?;
    done(&caller, Ask::own(key, verb)).await
}

/// Everything up to a place has reached a device
#[utoipa::path(
    post,
    path = "/api/v1/conversations/{conversation}/delivered",
    operation_id = "markDelivered",
    tag = "conversations",
    params(schema::OfConversation, schema::Once),
    request_body = schema::UpTo,
    responses((status = 200, description = "How far the asker has got", body = schema::Receipt),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn delivered(
    caller: Caller,
    names: Names,
    Key(key): Key,
    Body(body): Body,
) -> Answer {
    let verb = seen(&names, &body, Mark::Delivered)?;
    done(&caller, Ask::own(key, verb)).await
}

/// End a conversation
///
/// Either side may: staff close it, a customer leaves it, also while they wait.
#[utoipa::path(
    post,
    path = "/api/v1/conversations/{conversation}/close",
    operation_id = "closeConversation",
    tag = "conversations",
    params(schema::OfConversation, schema::Once),
    responses((status = 200, description = "Ended", body = schema::Ended),
        (status = "default", description = "Not done", body = schema::ProblemDetails, content_type = "application/problem+json")),
)]
pub(crate) async fn close(caller: Caller, names: Names, Key(key): Key) -> Answer {
    let conversation = Some(names.conversation()?);
    done(&caller, Ask::own(key, Verb::Close { conversation })).await
}

fn seen(names: &Names, body: &Payload, mark: Mark) -> Result<Verb, Problem> {
    Ok(Verb::Mark {
        conversation: names.conversation()?,
        up_to: body.seq("up_to")?,
        mark,
    })
}

async fn done(caller: &Caller, ask: Ask) -> Answer {
    Ok(json(StatusCode::OK, act(caller, ask).await?))
}

async fn page(caller: &Caller, action: &str, wishes: &Payload) -> Answer {
    let what: Option<What> = question(action, wishes)?;
    let what = what.ok_or_else(|| Problem::of("internal"))?; // both are questions
    let read = caller.gateway.reads.page(&caller.asker(), what).await;
    Ok(text(read.map_err(refused)?))
}

/// Why a read was not answered.
pub(super) fn refused(code: &'static str) -> Problem {
    let problem = Problem::of(code);
    match code {
        "busy" => problem.after(crate::reads::RETRY_AFTER),
        _ => problem,
    }
}
