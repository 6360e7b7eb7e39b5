//! A TCP socket that sends what it likes, and words for what comes back.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::DEADLINE;

/// A good handshake, with the key of RFC 6455 §1.3.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How bytes are handed to TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The handshake, and all the rest once it is answered.
    AfterTheHandshake,
    /// Everything at once.
    WithTheHandshake,
    /// Every byte by itself, the handshake's too.
    ByteByByte,
}

/// Shakes hands, sends `bytes`, and puts into words all that comes until the server ends its side.
/// With `hang_up`, our side ends first.
pub async fn exchange(
    address: SocketAddr,
    bytes: &[u8],
    delivery: Delivery,
    hang_up: bool,
) -> Vec<String> {
    let mut stream = connect(address).await;
    let all = [HANDSHAKE.as_bytes(), bytes].concat();
    let (first, rest) = match delivery {
        Delivery::AfterTheHandshake => all.split_at(HANDSHAKE.len()),
        Delivery::WithTheHandshake | Delivery::ByteByByte => (&all[..], &[][..]),
    };
    let size = match delivery {
        Delivery::ByteByByte => 1,
        _ => all.len(),
    };
    for segment in first.chunks(size) {
        // The server may have ended its side before the last bytes; its answer is there anyway.
        let _ = stream.write_all(segment).await;
        tokio::task::yield_now().await;
    }
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    let _ = stream.write_all(rest).await;
    if hang_up {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    let mut words = in_words(&answer);
    match read {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => words.push(error.to_string()),
        Err(_) => words.push("and no end".to_owned()),
    }
    words
}

/// The head of the answer to a request, in lower case.
pub async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_head(&mut stream).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("listening");
    stream.set_nodelay(true).expect("TCP can do that");
    stream
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(DEADLINE, stream.read_u8()).await;
        head.push(byte.expect("an answer in time").expect("a whole answer"));
    }
    String::from_utf8_lossy(&head).to_lowercase()
}

/// A client's frame: `first` is FIN, RSV and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..=125 => vec![u8::try_from(short).expect("below 126")],
        long => match u16::try_from(long) {
            Ok(long) => [&[126], &long.to_be_bytes()[..]].concat(),
            Err(_) => [&[127], &(long as u64).to_be_bytes()[..]].concat(),
        },
    };
    frame_with(first, &length, payload)
}

/// [`frame`] with the bytes of its length as given, without the mask bit.
pub fn frame_with(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first, 0x80 | length[0]];
    bytes.extend(&length[1..]);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(p, m)| p ^ m));
    bytes
}

/// The server's frames: `PONG` and other text as it is, `error <code>`, `pong <payload>`,
/// `close <code>`.
fn in_words(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match (*length, rest) {
            (short @ 0..=125, rest) => (usize::from(short), rest),
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => panic!("a masked, cut or huge frame: {bytes:x?}"),
        };
        assert!(rest.len() >= length, "a cut frame: {bytes:x?}");
        let (payload, rest) = rest.split_at(length);
        let text = String::from_utf8_lossy(payload);
        frames.push(match first {
            0x81 => match text.split_once(r#""code":""#) {
                Some((_, code)) => format!("error {}", code.split('"').next().unwrap_or_default()),
                None => text.into_owned(),
            },
            0x8a => format!("pong {text}").trim_end().to_owned(),
            0x88 => match payload {
                [] => "close".to_owned(),
                [high, low, ..] => format!("close {}", u16::from_be_bytes([*high, *low])),
                [_] => panic!("half a close code"),
            },
            _ => panic!("not a frame for this table: {bytes:x?}"),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a cut frame: {bytes:x?}");
    frames
}
