//! Reads: what a client asks for and nobody has to be told of. They go past the log, since they change
//! nothing: read-only scripts judge who may see what, and the gateway puts the answer together.
//!
//! ```text
//! connection ─▶ asked (a few wait, one is answered at a time) ─▶ Reads (pace, permits, deadline)
//!     ▲                                                             │ EVALSHA_RO on its own link
//!     └────────────── one frame, then the next page ◀── pages ◀─────┘
//! ```
//! The HTTP API asks the same by itself, page by page. Every script looks first whether the asker still may: a connection
//! must be registered, a token newer than its user's revocation.
//!
//! A read never delays a message: its connection is its own, its share of Redis's time is bounded by
//! [`Reads`], and the next page of a transcript is read when the one before is written to the socket.
//! What Redis does not answer in time is answered `busy`.

mod asked;
mod conversations;
mod desk;
mod entry;
mod history;
mod hooks;

use std::time::Duration;

use frontdesk_shared::{
    ids::{ClientId, MessageRef},
    keys,
    protocol::{
        Lang, Role,
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
    link::{Link, ReadScript},
    metrics::METRICS,
    pace::{Pace, Rate},
};
pub(crate) use asked::Asked;
pub(crate) use desk::Range;
pub(crate) use history::Whole;

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
    conversation: ReadScript,
    staff: ReadScript,
    queues: ReadScript,
    webhooks: ReadScript,
    parked: ReadScript,
    /// Whether supervisors see what was said in recalled messages.
    originals: bool,
}

/// Who asks: a connection, or somebody by a request of the HTTP API.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    /// The connection.
    pub(crate) client: Option<ClientId>,
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
    Transcript(Whole),
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

/// A page: the action of its frame, its payload without the closing brace, and what is still to be read for the same
/// question.
struct Part {
    action: &'static str,
    open: String,
    rest: Option<Page>,
}

impl Reads {
    /// `originals`: whether supervisors see what was said in recalled messages.
    pub(crate) fn new(redis: Redis, originals: bool) -> Self {
        let asker = include_str!("../../lua/asker.lua");
        let entries = include_str!("../../lua/entries.lua");
        let described = include_str!("../../lua/described.lua");
        let history = include_str!("../../lua/history.lua");
        let conversations = include_str!("../../lua/conversations.lua");
        let conversation = include_str!("../../lua/conversation.lua");
        Self {
            link: Link::new(redis),
            permits: Semaphore::new(MAX_AT_ONCE),
            pace: Pace::new(Rate::new(PAGES_PER_SECOND, PAGES_AT_ONCE)),
            history: ReadScript::new(&[asker, entries, history]),
            conversations: ReadScript::new(&[asker, entries, described, conversations]),
            conversation: ReadScript::new(&[asker, entries, described, conversation]),
            staff: ReadScript::new(&[asker, include_str!("../../lua/staff.lua")]),
            queues: ReadScript::new(&[asker, include_str!("../../lua/queues.lua")]),
            webhooks: ReadScript::new(&[asker, include_str!("../../lua/webhooks.lua")]),
            parked: ReadScript::new(&[asker, include_str!("../../lua/parked.lua")]),
            originals,
        }
    }

    /// Another Redis may be the one to ask.
    pub(crate) fn renew(&self) {
        self.link.renew();
    }

    /// Reads one page for a connection. A failure is an answer, too.
    async fn answer(&self, asker: &Asker, step: Step) -> Answer {
        let reference = step.reference.as_ref();
        let read = async {
            match step.page {
                Page::History(ask) => self.history(asker, &ask).await,
                Page::Transcript(whole) => self.transcript(asker, whole).await,
                Page::Conversations(ask) => self.conversations(asker, &ask).await,
            }
        };
        match self.judged(asker, read).await {
            Ok(part) => Answer {
                frame: part.frame(reference),
                rest: part.rest.map(|page| Step {
                    reference: step.reference,
                    page,
                }),
            },
            Err(code) => Answer {
                frame: refusal(asker.identity.lang, code, reference),
                rest: None,
            },
        }
    }

    /// One page for a request: a JSON object, or the code of an error.
    pub(crate) async fn page(&self, asker: &Asker, what: What) -> Result<String, &'static str> {
        let read = async {
            match Page::first(what) {
                Page::History(ask) => self.history(asker, &ask).await,
                Page::Transcript(whole) => self.transcript(asker, whole).await,
                Page::Conversations(ask) => self.conversations(asker, &ask).await,
            }
        };
        Ok(self.judged(asker, read).await?.open + "}")
    }

    /// Counts and logs what became of a read; what is refused or fails is a code of the notices.
    async fn judged<T>(
        &self,
        asker: &Asker,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, &'static str> {
        let begun = Instant::now();
        let read = read.await;
        METRICS.read_seconds.observe(begun.elapsed().as_secs_f64());
        let code = match &read {
            Ok(_) => "ok",
            Err(Failure::Refused(code)) => code,
            Err(Failure::Malformed(error)) => {
                let site = &asker.identity.site;
                error!(%error, %site, "what a script has read cannot be answered");
                "internal"
            }
            Err(error) => {
                debug!(%error, "a read has failed");
                "busy"
            }
        };
        METRICS.reads.with_label_values(&[code]).inc();
        read.map_err(|_| code)
    }

    /// Whether somebody sees what was said in recalled messages, as scripts take it.
    fn originals_for(&self, asker: &Asker) -> &'static str {
        let sees = self.originals && asker.identity.role == Role::Supervisor;
        if sees { "1" } else { "0" }
    }

    /// Calls a script in its turn and within the deadline.
    async fn call(
        &self,
        script: &ReadScript,
        asker: &Asker,
        keys: &[String],
        args: &[&str],
    ) -> Result<Value, Failure> {
        let who = asker.args();
        let args: Vec<&str> = who
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        let now = Instant::now();
        let deadline = now + DEADLINE;
        let turn = self.pace.turn(now, deadline).ok_or(Failure::Crowded)?;
        sleep_until(turn).await;
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(Failure::Crowded);
        };
        let calling = async {
            match script.call(&self.link, keys, &args).await {
                // The connection has ended, perhaps long ago; to read twice changes nothing.
                Err(error) if error.code().is_none() => script.call(&self.link, keys, &args).await,
                answer => answer,
            }
        };
        Ok(timeout_at(deadline, calling)
            .await
            .map_err(|_| Failure::Late)??)
    }
}

impl Asker {
    /// What `lua/asker.lua` takes.
    fn args(&self) -> [String; 5] {
        let Identity {
            site,
            uid,
            role,
            proof,
            ..
        } = &self.identity;
        let iat = proof.as_ref().map(|proof| proof.iat.to_string());
        let client = self.client.as_ref().map(ToString::to_string);
        [
            keys::site_prefix(site),
            uid.to_string(),
            role.as_str().to_owned(),
            client.unwrap_or_default(),
            iat.unwrap_or_default(),
        ]
    }
}

impl Part {
    fn frame(&self, reference: Option<&MessageRef>) -> String {
        let (action, open) = (self.action, &self.open);
        let reference = reference.map(|reference| format!(r#","ref":"{reference}""#));
        let reference = reference.unwrap_or_default();
        format!(r#"{{"action":"{action}","payload":{open}{reference}}}}}"#)
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
        Self {
            reference: read.id,
            page: Page::first(read.what),
        }
    }
}

impl Page {
    fn first(what: What) -> Self {
        match what {
            What::History {
                conversation,
                from,
                limit,
            } => Self::History(history::Ask {
                conversation,
                from,
                limit,
            }),
            What::Transcript { conversation } => Self::Transcript(Whole::of(conversation)),
            What::Conversations { before, limit } => {
                Self::Conversations(conversations::Ask { before, limit })
            }
        }
    }
}

/// An `error` frame for a question.
fn refusal(lang: Lang, code: &str, reference: Option<&MessageRef>) -> String {
    let after = (code == "busy").then(|| RETRY_AFTER.mul_f64(rand::random_range(1.0..1.5)));
    error_frame(code, lang, None, reference.map(MessageRef::as_str), after)
}
