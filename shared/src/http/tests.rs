use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
    routing::get,
};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::*;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

/// A body whose parts a test sends.
struct Parts(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let part = self.0.poll_recv(context);
        part.map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// A listener whose answers a test makes, and somebody who has asked.
struct Asked {
    server: JoinHandle<()>,
    shutdown: CancellationToken,
    client: TcpStream,
    answer: mpsc::Sender<Bytes>,
}

async fn ask(reading: Reading) -> std::io::Result<Asked> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (asked, mut answers) = mpsc::unbounded_channel();
    let route = get(async move || {
        let (answer, parts) = mpsc::channel(1);
        let _ = asked.send(answer);
        Response::new(Body::new(Parts(parts)))
    });
    let router = Router::new().route("/", route);
    let patience = Patience {
        reading,
        ..Patience::default()
    };
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve_with(listener, router, patience, shutdown.clone()));
    let mut client = TcpStream::connect(address).await?;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let answer = timeout(DEADLINE, answers.recv()).await?;
    Ok(Asked {
        server,
        shutdown,
        client,
        answer: answer.ok_or(std::io::ErrorKind::BrokenPipe)?,
    })
}

/// An answer without an end, until nobody wants it any more.
async fn say_for_ever(answer: mpsc::Sender<Bytes>) {
    let part = Bytes::from(vec![b'x'; 65536]);
    while answer.send(part.clone()).await.is_ok() {}
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_and_its_answer_dropped() -> std::io::Result<()> {
    static STALLED: AtomicUsize = AtomicUsize::new(0);
    let reading = Reading {
        stall: SHORT,
        whole: LONG,
        told: |cut| {
            assert_eq!(cut, Cut::Stalled);
            STALLED.fetch_add(1, SeqCst);
        },
    };
    let asked = ask(reading).await?;
    timeout(DEADLINE, say_for_ever(asked.answer)).await?;
    assert_eq!(STALLED.load(SeqCst), 1);
    drop(asked.client);
    Ok(())
}

#[tokio::test]
async fn a_client_that_reads_for_ever_is_cut_too() -> std::io::Result<()> {
    static SLOW: AtomicUsize = AtomicUsize::new(0);
    let reading = Reading {
        stall: LONG,
        whole: SHORT,
        told: |cut| {
            assert_eq!(cut, Cut::Slow);
            SLOW.fetch_add(1, SeqCst);
        },
    };
    let mut asked = ask(reading).await?;
    let mut taken = vec![0; 65536];
    let read = async { while matches!(asked.client.read(&mut taken).await, Ok(1..)) {} };
    timeout(DEADLINE, async {
        tokio::join!(say_for_ever(asked.answer), read)
    })
    .await?;
    assert_eq!(SLOW.load(SeqCst), 1);
    Ok(())
}

/// Who is idle is not waited for.
#[tokio::test]
async fn what_is_under_way_at_the_shutdown_is_answered_to_its_end() -> std::io::Result<()> {
    let reading = Patience::default().reading;
    let mut asked = ask(reading).await?;
    let address = asked.client.peer_addr()?;
    let mut idle = TcpStream::connect(address).await?;
    asked.shutdown.cancel();
    let closed = timeout(DEADLINE, idle.read(&mut [0; 1])).await?;
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    for part in ["one ", "two ", "three"] {
        let sent = asked.answer.send(Bytes::from_static(part.as_bytes())).await;
        assert!(sent.is_ok(), "{part} is still wanted");
    }
    assert!(!asked.server.is_finished(), "the answer has no end yet");
    drop(asked.answer);
    let mut answer = String::new();
    timeout(DEADLINE, asked.client.read_to_string(&mut answer)).await??;
    assert!(answer.ends_with("5\r\nthree\r\n0\r\n\r\n"), "{answer}");
    timeout(DEADLINE, asked.server).await??;
    Ok(())
}

/// Whoever comes while all places are taken is cut, and served once they are free.
#[tokio::test]
async fn clients_that_never_finish_their_request_are_bounded() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let _at_the_end = shutdown.clone().drop_guard();
    tokio::spawn(serve(listener, Router::new(), shutdown));
    let mut silent = Vec::new();
    for _ in 0..MAX_PENDING {
        silent.push(TcpStream::connect(address).await?);
    }
    let ask = async || -> std::io::Result<usize> {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        client.read(&mut [0; 64]).await
    };
    assert!(!matches!(ask().await, Ok(1..)), "cut without an answer");
    silent.clear();
    let served = async {
        while !matches!(ask().await, Ok(1..)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(HEADER_TIMEOUT, served).await?;
    Ok(())
}
