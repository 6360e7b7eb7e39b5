//! Reads: what a client asks for and nobody has to be told of. They go past the log, since they change
//! nothing: read-only scripts judge who may see what, and the gateway puts the answer together.
//!
//! ```text
//! connection ─▶ asked (a few wait, one is answered at a time) ─▶ Reads (pace, permits, deadline)
//!     ▲                                                             │ EVALSHA_RO on its own link
//!     └────────────── one frame, then the next page ◀── pages ◀─────┘
//! ```
//! A read never delays a message: its connection is its own, its share of Redis's time is bounded by
//! [`Reads`], and the next page of a transcript is read when the one before is written to the socket.
//! What Redis does not answer in time is answered `busy`.

mod asked;
mod conversations;
mod entry;
mod history;

use std::time::Duration;

use frontdesk_shared::{
    ids::MessageRef,
    protocol::{
        Lang,
        notice::{self, error_frame},
        read::{Read, What},
    },
    redis::{Redis, text},
};
use redis::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{debug, error};

use crate::{
    auth::Identity,
    config::Config,
    link::{Link, ReadScript},
    metrics::METRICS,
    pace::{Pace, Rate},
};
pub(crate) use asked::Asked;

/// Most reads of this gateway that Redis works on at once.
const MAX_AT_ONCE: usize = 8;
/// Pages per second of this gateway on average, and at once after a quiet time. A page of 100 short
/// messages takes Redis about a third of a millisecond.
const PAGES_PER_SECOND: f64 = 500.0;
const PAGES_AT_ONCE: f64 = 100.0;
/// How long a page may take, with the wait for its turn.
const DEADLINE: Duration = Duration::from_secs(3);
/// When a client may ask again that was answered `busy`.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Most bytes of the entries in one answer; an entry that is longer comes alone.
const PAGE_BYTES: usize = 63 * 1024;

/// What all sockets of a gateway share for reading.
#[derive(Debug)]
pub(crate) struct Reads {
    link: Link,
    permits: Semaphore,
    pace: Pace,
    history: ReadScript,
    conversations: ReadScript,
    /// Whether supervisors see what was said in recalled messages.
    originals: bool,
}

/// One step of an answer: a page.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    reference: Option<MessageRef>,
    page: Page,
}

#[derive(Debug, Clone)]
enum Page {
    History(history::Ask),
    Transcript(history::Whole),
    Conversations(conversations::Ask),
}

/// A frame for the client, and what is still to be read for the same question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: String,
    pub(crate) rest: Option<Step>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The asker may not see it, or it is not there: a code of the notices.
    #[error("refused: {0}")]
    Refused(&'static str),
    #[error("no turn within the deadline")]
    Crowded,
    #[error("no answer within the deadline")]
    Late,
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A reply that is not as its script makes it. Names what is wrong, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply of a read is malformed: {0}")]
struct Malformed(&'static str);

/// A frame, and what is still to be read for the same question.
type Part = Result<(String, Option<Page>), Failure>;

impl Reads {
    pub(crate) fn new(redis: Redis, config: &Config) -> Self {
        let entries = include_str!("../../lua/entries.lua");
        let history = include_str!("../../lua/history.lua");
        let conversations = include_str!("../../lua/conversations.lua");
        Self {
            link: Link::new(redis),
            permits: Semaphore::new(MAX_AT_ONCE),
            pace: Pace::new(Rate::new(PAGES_PER_SECOND, PAGES_AT_ONCE)),
            history: ReadScript::new(&[entries, history]),
            conversations: ReadScript::new(&[entries, conversations]),
            originals: config.supervisor_sees_recalled,
        }
    }

    /// Another Redis may be the one to ask.
    pub(crate) fn renew(&self) {
        self.link.renew();
    }

    /// Reads one page for somebody. A failure is an answer, too.
    async fn answer(&self, asker: &Identity, step: Step) -> Answer {
        let begun = Instant::now();
        let reference = step.reference.as_ref();
        let read = match step.page {
            Page::History(ask) => self.history(asker, &ask, reference).await,
            Page::Transcript(whole) => self.transcript(asker, whole, reference).await,
            Page::Conversations(ask) => self.conversations(asker, &ask, reference).await,
        };
        METRICS.read_seconds.observe(begun.elapsed().as_secs_f64());
        let code = match &read {
            Ok(_) => "ok",
            Err(Failure::Refused(code)) => code,
            Err(Failure::Malformed(error)) => {
                error!(%error, site = %asker.site, "what a script has read cannot be answered");
                "internal"
            }
            Err(error) => {
                debug!(%error, "a read has failed");
                "busy"
            }
        };
        METRICS.reads.with_label_values(&[code]).inc();
        match read {
            Ok((frame, rest)) => Answer {
                frame,
                rest: rest.map(|page| Step { page, ..step }),
            },
            Err(_) => Answer {
                frame: refusal(asker.lang, code, reference),
                rest: None,
            },
        }
    }

    /// Whether somebody sees what was said in recalled messages, as scripts take it.
    fn originals_for(&self, asker: &Identity) -> &'static str {
        let sees = self.originals && asker.role.as_str() == "supervisor";
        if sees { "1" } else { "0" }
    }

    /// Calls a script in its turn and within the deadline.
    async fn call(
        &self,
        script: &ReadScript,
        keys: &[String],
        args: &[&str],
    ) -> Result<Value, Failure> {
        let now = Instant::now();
        let deadline = now + DEADLINE;
        let turn = self.pace.turn(now, deadline).ok_or(Failure::Crowded)?;
        sleep_until(turn).await;
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(Failure::Crowded);
        };
        let calling = async {
            match script.call(&self.link, keys, args).await {
                // The connection has ended, perhaps long ago; to read twice changes nothing.
                Err(error) if error.code().is_none() => script.call(&self.link, keys, args).await,
                answer => answer,
            }
        };
        Ok(timeout_at(deadline, calling)
            .await
            .map_err(|_| Failure::Late)??)
    }
}

/// What a script has read; it may answer with the code of an error instead.
fn list(reply: &Value) -> Result<&[Value], Failure> {
    let Value::Array(reply) = reply else {
        return Err(Malformed("no list").into());
    };
    let code = reply.first().and_then(text).ok_or(Malformed("code"))?;
    match notice::by_key(code) {
        _ if code == "ok" => Ok(&reply[1..]),
        Some(notice) if notice.action == "error" => Err(Failure::Refused(notice.code)),
        _ => Err(Malformed("code").into()),
    }
}

impl Step {
    /// How the answer to a question begins.
    fn first(read: Read) -> Self {
        let page = match read.what {
            What::History {
                conversation,
                from,
                limit,
            } => Page::History(history::Ask {
                conversation,
                from,
                limit,
            }),
            What::Transcript { conversation } => Page::Transcript(history::Whole::of(conversation)),
            What::Conversations { before, limit } => {
                Page::Conversations(conversations::Ask { before, limit })
            }
        };
        Self {
            reference: read.id,
            page,
        }
    }
}

/// An `error` frame for a question.
fn refusal(lang: Lang, code: &str, reference: Option<&MessageRef>) -> String {
    let after = (code == "busy").then(|| RETRY_AFTER.mul_f64(rand::random_range(1.0..1.5)));
    error_frame(code, lang, None, reference.map(MessageRef::as_str), after)
}
