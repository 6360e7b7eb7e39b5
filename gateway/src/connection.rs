//! One socket, one task.
//!
//! ```text
//! register ─▶ append `open`, until it is confirmed ─▶ talk ─▶ deregister ─▶ append `close`,
//!                                                              └▶ goodbye     until confirmed
//! ```
//! Registering comes before `open`, so that no push of the opened connection can miss it; the
//! client's frames are read only after `open` is in the log, so that none of them can overtake it.
//! A client that leaves while `open` is under way is noticed.
//! `open` and `close` are idempotent and repeated until confirmed; a message never is: its outcome
//! unknown, the socket closes retryably and the client sends again under the same id.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use frontdesk_shared::{
    event::Kind,
    ids::MessageRef,
    protocol::{
        close::{PING_TIMEOUT, SLOW_CONSUMER, TOKEN_EXPIRED, TRY_AGAIN, UNSUPPORTED},
        frame::{self, Refusal, Request, Verb},
        notice::{error_frame, refreshed_frame},
    },
    token::Secret,
};
use futures_util::SinkExt as _;
use tokio::{
    pin, select,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};
use tracing::debug;

use crate::{
    Gateway,
    auth::{Identity, Proof},
    backoff::Backoff,
    front::Place,
    metrics::METRICS,
    outbox::{Outbox, Outgoing},
    presence::Presence,
    reads::{self, Asked},
    socket::{End, Socket, goodbye, receive},
    uplink::Outcome,
};

/// How long `open` may take; then the client is asked to come back.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one write may take before the client counts as too slow.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most frames written in one go before the socket is looked at again.
const MAX_WRITE_FRAMES: usize = 64;

struct Connection {
    socket: Socket,
    presence: Presence,
    outbox: Arc<Outbox>,
    /// The number of the last message, counted from 1.
    n: u64,
    /// A message that waits for room in the uplink.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What it wants to see.
    asked: Asked,
    /// How much it has sent lately: see `Gateway::rate`.
    bucket: Instant,
    /// What came before `open` was in the log.
    early: Option<Message>,
    last_seen: Instant,
    next_ping: Instant,
    /// When its token runs out.
    expires: Option<Instant>,
}

/// Serves a socket to its end.
///
/// No `async fn`, which would keep each argument twice for as long as the socket lives: of an idle
/// socket's memory, its task is a third.
pub(crate) fn serve(
    gateway: Arc<Gateway>,
    socket: Socket,
    identity: Identity,
    place: Place,
) -> impl Future<Output = ()> + Send {
    let (presence, outbox) = Presence::enter(gateway, identity);
    let mut connection = Connection {
        socket,
        outbox,
        n: 0,
        waiting: None,
        asked: Asked::default(),
        bucket: Instant::now(),
        early: None,
        last_seen: Instant::now(),
        next_ping: Instant::now(),
        expires: expiry(presence.identity.proof.as_ref()),
        presence,
    };
    async move {
        let end = match connection.open().await {
            Ok(()) => connection.talk().await,
            Err(end) => end,
        };
        // Boxed, or each idle socket's task would hold the goodbye's buffer from the start.
        Box::pin(goodbye(connection.leave(end), end)).await;
        drop(place);
    }
}

impl Connection {
    /// Appends `open` until it is confirmed, the socket is to close, the client has left, or time
    /// is up.
    async fn open(&mut self) -> Result<(), End> {
        let presence = &mut self.presence;
        // After registering: see `Status::may_serve`.
        if !presence.gateway.status.may_serve() {
            return Err(End::Close(TRY_AGAIN));
        }
        if presence.gateway.pressure.full() {
            return Err(End::Close(TRY_AGAIN));
        }
        let open = presence.event(Kind::Open {
            client: presence.client.clone(),
            lang: presence.identity.lang,
            role: presence.identity.role,
            proof: presence.identity.proof.as_ref().map(Proof::to_event),
        });
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let confirmed = async {
            let mut backoff = Backoff::new();
            loop {
                let before = std::mem::replace(&mut presence.perhaps_open, true);
                match presence.gateway.uplink.append(&open).await.outcome().await {
                    Outcome::Stored(event) => {
                        debug!(%event, client = %presence.client, site = %presence.identity.site, "opened");
                        return;
                    }
                    Outcome::Refused => presence.perhaps_open = before,
                    Outcome::Unknown => {}
                }
                backoff.wait().await;
            }
        };
        select! {
            done = timeout_at(deadline, confirmed) => done.map_err(|_| End::Close(TRY_AGAIN)),
            code = self.outbox.killed() => Err(End::Close(code)),
            end = left(&mut self.socket, &mut self.early) => Err(end),
        }
    }

    /// Serves the opened socket until it ends, and says how.
    async fn talk(&mut self) -> End {
        self.last_seen = Instant::now();
        self.schedule_ping();
        let timer = sleep_until(self.wakes());
        pin!(timer);
        if let Some(message) = self.early.take()
            && let Err(end) = self.take(message).await
        {
            return end;
        }
        loop {
            let reading = self.waiting.is_none() && self.outbox.has_room();
            let step = select! {
                code = self.outbox.killed() => Err(End::Close(code)),
                message = receive(&mut self.socket), if reading => match message {
                    Ok(message) => self.take(message).await,
                    Err(end) => Err(end),
                },
                () = self.outbox.filled() => self.write_queued().await,
                // Not before the state has let the socket in: it may be somebody's who was revoked.
                frame = self.asked.answer(&self.presence),
                    if self.outbox.welcomed().is_some() =>
                {
                    self.write(frame.into()).await
                }
                () = room(&self.outbox, &mut self.waiting), if !reading => {
                    self.waiting = None;
                    Ok(())
                }
                () = &mut timer => {
                    let done = self.tick().await;
                    timer.as_mut().reset(self.wakes());
                    done
                }
            };
            if let Err(end) = step {
                return end;
            }
            // A new token may run out before the one that it replaces.
            if let Some(end) = self.expires.filter(|end| *end < timer.deadline()) {
                timer.as_mut().reset(end);
            }
        }
    }

    /// Takes the socket out; its `close` is appended. What is left is the goodbye.
    fn leave(self, end: End) -> Socket {
        let Self {
            socket,
            mut presence,
            ..
        } = self;
        METRICS.closes.with_label_values(&[end.name()]).inc();
        debug!(client = %presence.client, reason = end.name(), "socket ended");
        presence.clean = end == End::ByClient { clean: true };
        socket
    }

    /// What is rarely answered at once is boxed: the task holds room for all that is not.
    async fn take(&mut self, message: Message) -> Result<(), End> {
        self.last_seen = Instant::now();
        let counters = &METRICS.frames_in;
        match &message {
            Message::Text(text) if text.as_str() == frame::PING => counters.ping.inc(),
            Message::Text(_) => counters.text.inc(),
            Message::Binary(_) => counters.binary.inc(),
            _ => counters.control.inc(),
        }
        match message {
            Message::Text(text) if text.as_str() == frame::PING => {
                Box::pin(self.write(Utf8Bytes::from_static(frame::PONG))).await
            }
            Message::Text(text) => {
                let done = frame::decode(&text).map_err(|refusal| (refusal, None));
                match done.and_then(|request| self.serve(request)) {
                    Ok(()) => Ok(()),
                    Err((refusal, after)) => Box::pin(self.refuse(&refusal, after)).await,
                }
            }
            Message::Binary(_) => Err(End::Close(UNSUPPORTED)),
            // tungstenite answers pings by itself, and `receive` has seen to a close.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
        }
    }

    /// Does what is asked for, or says why not and when to try again.
    fn serve(&mut self, request: Request) -> Result<(), (Refusal, Option<Duration>)> {
        match request {
            Request::Verb(verb) => {
                self.admit(verb.reference().cloned())?;
                self.append(verb);
            }
            Request::Resume { token, positions } => {
                let replaces = token.map(|token| self.presence.resumed(&token));
                let replaces = replaces.transpose().map_err(|refusal| (refusal, None))?;
                self.admit(None)?;
                self.outbox.set_resumes();
                self.append(Verb::Resume {
                    replaces,
                    positions,
                });
            }
            Request::Refresh { token, id } => {
                self.turn(id.as_ref())?; // a signature costs more than most frames
                let refreshed = self.refresh(&token, id);
                refreshed.map_err(|refusal| (refusal, None))?;
            }
            Request::Read(read) => {
                let asked = self.asked.ask(read);
                asked.map_err(|read| (refusal("busy", read.id), Some(reads::RETRY_AFTER)))?;
            }
            Request::Typing { conversation, on } => self.presence.types(conversation, on),
        }
        Ok(())
    }

    /// Whether one more event of this socket may go to the log now.
    fn admit(&mut self, id: Option<MessageRef>) -> Result<(), (Refusal, Option<Duration>)> {
        if let Some(after) = self.presence.too_busy() {
            return Err((refusal("busy", id), Some(after)));
        }
        self.turn(id.as_ref())
    }

    /// Whether this socket's rate allows one more frame.
    fn turn(&mut self, id: Option<&MessageRef>) -> Result<(), (Refusal, Option<Duration>)> {
        let (rate, now) = (self.presence.gateway.rate, Instant::now());
        let turn = rate.turn(&mut self.bucket, now, now);
        turn.map_err(|turn| (refusal("rate_limited", id.cloned()), Some(turn - now)))?;
        Ok(())
    }

    fn append(&mut self, verb: Verb) {
        self.n += 1;
        let event = self.presence.event(Kind::Verb {
            client: self.presence.client.clone(),
            n: self.n,
            verb,
        });
        let uplink = &self.presence.gateway.uplink;
        if !uplink.try_message(&event, &self.outbox) {
            let (uplink, outbox) = (uplink.clone(), self.outbox.clone());
            self.waiting = Some(Box::pin(
                async move { uplink.message(&event, &outbox).await },
            ));
        }
    }

    /// A new token for the same user: from here on its end counts.
    fn refresh(&mut self, token: &Secret, id: Option<MessageRef>) -> Result<(), Refusal> {
        let presence = &mut self.presence;
        let reference = id.map(|id| id.to_string());
        let Some(proof) = presence.gateway.auth.renew(&presence.identity, token) else {
            return Err(Refusal {
                code: "bad_token",
                field: Some("token"),
                reference,
            });
        };
        let lang = presence.identity.lang;
        let frame = refreshed_frame(lang, proof.left(), reference.as_deref());
        self.expires = expiry(Some(&proof));
        presence.identity.proof = Some(proof);
        self.outbox.push(Outgoing::Text(frame.into()));
        Ok(())
    }

    async fn refuse(
        &mut self,
        refusal: &Refusal,
        retry_after: Option<Duration>,
    ) -> Result<(), End> {
        METRICS.refused.with_label_values(&[refusal.code]).inc();
        let reference = refusal.reference.as_deref();
        let frame = error_frame(
            refusal.code,
            self.presence.identity.lang,
            refusal.field,
            reference,
            retry_after,
        );
        self.write(frame.into()).await
    }

    async fn write(&mut self, text: Utf8Bytes) -> Result<(), End> {
        bounded(&self.outbox, self.socket.send(Message::Text(text))).await
    }

    /// Writes what is queued, several frames to one flush.
    async fn write_queued(&mut self) -> Result<(), End> {
        let (outbox, socket, presence) = (&self.outbox, &mut self.socket, &self.presence);
        let mut end = None;
        let write = async {
            for _ in 0..MAX_WRITE_FRAMES {
                let text = match outbox.pop() {
                    Some(Outgoing::Text(text)) => text,
                    Some(Outgoing::Welcome(text)) => presence.welcome(text),
                    Some(Outgoing::Resync) => presence.resync(),
                    Some(Outgoing::Close(code)) => {
                        end = Some(End::Close(code));
                        return Ok(()); // the goodbye writes the rest
                    }
                    None => break,
                };
                socket.feed(Message::Text(text)).await?;
            }
            socket.flush().await
        };
        bounded(outbox, write).await?;
        end.map_or(Ok(()), Err)
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.expires.is_some_and(|end| now >= end) {
            return Err(End::Close(TOKEN_EXPIRED));
        }
        if now >= self.last_seen + self.presence.gateway.config.idle_timeout() {
            return Err(End::Close(PING_TIMEOUT));
        }
        if now >= self.next_ping {
            self.schedule_ping();
            bounded(&self.outbox, self.socket.send(Message::Ping(Bytes::new()))).await?;
        }
        Ok(())
    }

    /// When there is something to look at.
    fn wakes(&self) -> Instant {
        let idle = self.last_seen + self.presence.gateway.config.idle_timeout();
        let first = self.next_ping.min(idle);
        self.expires.map_or(first, |end| end.min(first))
    }

    /// Up to a quarter early, so that sockets that came together are not pinged together.
    fn schedule_ping(&mut self) {
        let interval = self.presence.gateway.config.ping_interval();
        self.next_ping = Instant::now() + interval.mul_f64(rand::random_range(0.75..1.0));
    }
}

fn expiry(proof: Option<&Proof>) -> Option<Instant> {
    proof.map(|proof| Instant::now() + proof.left())
}

/// A write that takes too long, or during which the socket is killed, ends the socket.
async fn bounded(
    outbox: &Outbox,
    write: impl Future<Output = Result<(), WsError>>,
) -> Result<(), End> {
    select! {
        biased;
        code = outbox.killed() => Err(End::Close(code)),
        written = timeout(WRITE_TIMEOUT, write) => match written {
            Ok(result) => result.map_err(End::from),
            Err(_) => Err(End::Close(SLOW_CONSUMER)),
        }
    }
}

/// Waits until a message has found room in the uplink, or until fewer are on their way to the log.
async fn room(outbox: &Outbox, waiting: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match waiting {
        Some(waiting) => waiting.await,
        None => outbox.room().await,
    }
}

/// Waits, before anything may be said, for a client that leaves. One message is read ahead and
/// kept; after it we cannot look further.
async fn left(socket: &mut Socket, early: &mut Option<Message>) -> End {
    while early.is_none() {
        match receive(socket).await {
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(message) => *early = Some(message),
            Err(end) => return end,
        }
    }
    pending().await
}

fn refusal(code: &'static str, reference: Option<MessageRef>) -> Refusal {
    Refusal {
        code,
        field: None,
        reference: reference.map(|id| id.to_string()),
    }
}
