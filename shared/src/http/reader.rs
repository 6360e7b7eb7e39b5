//! Clients that do not read their answers. A body that nobody takes off the socket is never asked for its next part, so
//! only the socket can know that time passes: here it does, until it becomes a WebSocket, which has rules of its own.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::Bytes, response::Response};
use hyper::{
    StatusCode,
    body::{Body, Frame, SizeHint},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Why a client was cut before it had its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It read nothing of it for too long.
    Stalled,
    /// It read, but so little at a time that the whole took too long.
    Slow,
}

impl Cut {
    /// The label in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Slow => "slow",
        }
    }
}

/// How long a client may take to read an answer.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Without taking anything of it.
    pub stall: Duration,
    /// In all, from its beginning.
    pub whole: Duration,
    /// Is told of each client that is cut.
    pub told: fn(Cut),
}

/// What the two ends of one connection know of its answer: who makes it, and the socket.
#[derive(Debug, Default)]
pub(super) struct Answering(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A request is under way: from its head to the last byte of its answer.
    under_way: bool,
    /// Until when its answer must be read; `None` until there is one.
    due: Option<Instant>,
    /// All of the answer was handed to the socket.
    handed: bool,
    /// This is a WebSocket now.
    upgraded: bool,
}

impl Answering {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) // plain values
    }

    pub(super) fn begins(&self) {
        self.with(|state| {
            *state = State {
                under_way: true,
                ..State::default()
            };
        });
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.with(|state| state.under_way)
    }

    /// There is an answer: from here on its reader's time counts.
    pub(super) fn answers(
        self: &Arc<Self>,
        answer: Response,
        reading: &Reading,
    ) -> hyper::Response<Answer> {
        let upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.with(|state| {
            state.due = Some(Instant::now() + reading.whole);
            state.upgraded = upgraded;
        });
        answer.map(|body| Answer {
            body,
            _handed: Handed(Arc::clone(self)),
        })
    }
}

/// The body of an answer; dropped once its last part was taken, or with its connection.
#[derive(Debug)]
pub(super) struct Answer {
    body: axum::body::Body,
    _handed: Handed,
}

#[derive(Debug)]
struct Handed(Arc<Answering>);

impl Drop for Handed {
    fn drop(&mut self) {
        self.0.with(|state| state.handed = true);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's socket, which ends when the client does not read.
#[derive(Debug)]
pub(super) struct Reader<S> {
    socket: S,
    answering: Arc<Answering>,
    reading: Reading,
    /// While the client takes nothing: until when it may.
    wait: Option<(Pin<Box<Sleep>>, Cut)>,
}

impl<S> Reader<S> {
    pub(super) fn new(socket: S, answering: Arc<Answering>, reading: Reading) -> Self {
        Self {
            socket,
            answering,
            reading,
            wait: None,
        }
    }

    fn cut<T>(&self, cut: Cut) -> Poll<io::Result<T>> {
        (self.reading.told)(cut);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, cut.name())))
    }

    /// The outcome of a write, unless the client has taken too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let (due, upgraded) = self.answering.with(|state| (state.due, state.upgraded));
        if upgraded {
            return outcome;
        }
        let now = Instant::now();
        if outcome.is_ready() {
            self.wait = None;
            return match due {
                Some(due) if due <= now => self.cut(Cut::Slow),
                _ => outcome,
            };
        }
        let (wait, cut) = self.wait.get_or_insert_with(|| {
            let stall = now + self.reading.stall;
            let (until, cut) = match due {
                Some(due) if due < stall => (due, Cut::Slow),
                _ => (stall, Cut::Stalled),
            };
            (Box::pin(sleep_until(until)), cut)
        });
        let cut = *cut;
        ready!(wait.as_mut().poll(context));
        self.cut(cut)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reader<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.in_time(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.in_time(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.answering.with(|state| {
            if state.handed {
                (state.under_way, state.due) = (false, None);
            }
        });
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt as _, time::timeout};

    /// What is not read by a WebSocket's client is a matter of its own rules.
    #[tokio::test]
    async fn a_websocket_may_be_read_as_slowly_as_its_own_rules_say() {
        for (status, cut) in [(200, true), (101, false)] {
            let (socket, _client) = tokio::io::duplex(1);
            let answering = Arc::new(Answering::default());
            let reading = Reading {
                stall: Duration::from_millis(20),
                whole: Duration::from_millis(40),
                told: |_| (),
            };
            answering.begins();
            let mut answer = Response::default();
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            let _body = answering.answers(answer, &reading);
            let mut socket = Reader::new(socket, answering, reading);
            let written = timeout(Duration::from_millis(400), socket.write_all(b"words")).await;
            assert_eq!(written.is_ok(), cut, "{status}: {written:?}");
        }
    }
}
