//! A write: an event in its user's lane, and its answer by the way that pushes take.
//!
//! ```text
//! route ─▶ a place in `calls` ─▶ uplink ─▶ lane ─▶ transitions/request.lua
//!   ▲                                                        │ SAY, behind the script's reply
//!   └──── frame ◀── calls ◀── downlink (record A) ◀── worker ┘
//! ```
//! What is not known is said so (504), and repeating is safe: the same key is done once and answered the same.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use frontdesk_shared::{
    event::{Act, Event, Kind, Request},
    ids::{Lane, MessageRef, Shard, Uid},
    protocol::frame::Verb,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::error;

use super::{RETRY_AFTER, caller::Caller, problem::Problem};
use crate::{Gateway, uplink::Outcome};

/// How long the answer to a write may take before its asker is told that it is not known.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// What is to be done, and under which key.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The Idempotency-Key.
    pub(crate) key: MessageRef,
    /// The user in whose lane it is done, if that is not who asks.
    pub(crate) to: Option<Uid>,
    /// What.
    pub(crate) act: Act,
}

impl Ask {
    /// What somebody does themselves.
    pub(crate) fn own(key: MessageRef, verb: Verb) -> Self {
        Self {
            key,
            to: None,
            act: Act::Verb(verb),
        }
    }
}

/// The frame that answers.
#[derive(Deserialize)]
struct Frame {
    action: String,
    payload: Map<String, Value>,
}

/// Has something done, and returns the payload of the frame that says so.
pub(crate) async fn act(caller: &Caller, ask: Ask) -> Result<Map<String, Value>, Problem> {
    let (gateway, key) = (&caller.gateway, ask.key.clone());
    let answered = exchange(gateway, caller, ask).await;
    let frame = answered.map_err(|problem| problem.with_key(key))?;
    read(&frame)
}

async fn exchange(gateway: &Arc<Gateway>, caller: &Caller, ask: Ask) -> Result<Bytes, Problem> {
    let identity = &caller.identity;
    let uid = ask.to.as_ref().unwrap_or(&identity.uid).clone();
    let busy = |after| Problem::of("busy").after(after);
    let lane = (Shard::of(&identity.site), Lane::of(&uid));
    if let Some(after) = gateway.pressure.refuses(lane.0, lane.1) {
        return Err(busy(after));
    }
    let Some(mut call) = gateway.calls.begin(&gateway.boot) else {
        return Err(busy(RETRY_AFTER));
    };
    let event = Event {
        site: identity.site.clone(),
        uid,
        kind: Kind::Request(Box::new(Request {
            client: call.client.clone(),
            by: ask.to.map(|_| identity.uid.clone()),
            role: identity.role,
            lang: identity.lang,
            iat: identity.proof.as_ref().map(|proof| proof.iat),
            key: ask.key,
            act: ask.act,
        })),
    };
    let Some(mut receipt) = gateway.uplink.try_request(&event) else {
        return Err(busy(RETRY_AFTER));
    };
    let deadline = sleep_until(Instant::now() + DEADLINE);
    tokio::pin!(deadline);
    let mut stored = false;
    loop {
        select! {
            biased; // an answer says more than any outcome
            frame = call.answer() => return frame.ok_or(Problem::of("timeout")),
            outcome = receipt.outcome(), if !stored => match outcome {
                Outcome::Stored(_) => stored = true,
                Outcome::Refused => return Err(busy(RETRY_AFTER)),
                Outcome::Unknown => return Err(Problem::of("timeout")),
            },
            () = &mut deadline => return Err(Problem::of("timeout")),
        }
    }
}

/// The payload of an answer, or why it was refused.
fn read(frame: &[u8]) -> Result<Map<String, Value>, Problem> {
    let malformed = || {
        error!("the answer to a request is no frame");
        Problem::of("internal")
    };
    let frame: Frame = serde_json::from_slice(frame).map_err(|_| malformed())?;
    if frame.action != "error" {
        return Ok(frame.payload);
    }
    // Its text is in the language of who asked first under this key.
    let code = frame.payload.get("code").and_then(Value::as_str);
    let mut problem = Problem::of(code.ok_or_else(malformed)?);
    if let Some(field) = frame.payload.get("field").and_then(Value::as_str) {
        problem = problem.field(field);
    }
    if let Some(ms) = frame.payload.get("retry_after_ms").and_then(Value::as_u64) {
        problem = problem.after(Duration::from_millis(ms));
    }
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_payload_or_a_problem() {
        let done = read(br#"{"action":"ack","payload":{"seq":1,"id":"a"}}"#);
        assert_eq!(done.expect("done")["seq"], 1);
        let refused = read(
            br#"{"action":"error","payload":{"code":"rate_limited","message":"x","retry_after_ms":20}}"#,
        );
        let problem = refused.expect_err("refused");
        assert_eq!(problem.status().as_u16(), 429);
        for bad in [&b""[..], b"{}", br#"{"action":"ack"}"#, b"\xff"] {
            let problem = read(bad).expect_err("malformed");
            assert_eq!(problem.status().as_u16(), 500);
        }
    }
}
