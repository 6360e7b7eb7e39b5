//! A WebSocket on a bare TCP socket, for what a well-behaved client cannot do.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::wait::DEADLINE;

/// An upgraded socket without any client behind it.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    /// Shakes hands on `/?query`.
    pub async fn connect(addr: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
        let request = format!(
            "GET /?{query} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(DEADLINE, stream.read_u8())
                .await
                .expect("an answer in time");
            head.push(byte.expect("a whole answer"));
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
        Self(stream)
    }

    /// Writes bytes as they are. A server that has hung up is no error here.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// The close code the server sends, or `None` if it just hangs up. Other frames are skipped.
    pub async fn close_code(&mut self) -> Option<u16> {
        timeout(DEADLINE, self.read_until_close())
            .await
            .expect("the server closes in time")
    }

    async fn read_until_close(&mut self) -> Option<u16> {
        loop {
            let opcode = self.0.read_u8().await.ok()? & 0x0f;
            let length = match self.0.read_u8().await.ok()? & 0x7f {
                126 => u64::from(self.0.read_u16().await.ok()?),
                127 => self.0.read_u64().await.ok()?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).ok()?];
            self.0.read_exact(&mut payload).await.ok()?;
            if opcode == 8 {
                return Some(match payload[..] {
                    [high, low, ..] => u16::from_be_bytes([high, low]),
                    _ => 1005,
                });
            }
        }
    }
}

/// A client's frame: `first` is FIN, RSV and opcode; masked with zeros, which leaves the payload
/// readable, or not masked at all.
pub fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(bit | u8::try_from(short).expect("below 126")),
        long => {
            bytes.push(bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}
