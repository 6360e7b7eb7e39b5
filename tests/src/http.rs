//! The smallest HTTP client that can ask for a page.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wait;

const TIMEOUT: Duration = Duration::from_secs(3);

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// Everything after the headers.
    pub body: String,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as JSON; panics if it is none.
    pub fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_str(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `GET path`.
pub async fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    match tokio::time::timeout(TIMEOUT, exchange(addr, request.as_bytes())).await {
        Ok(response) => response,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// `method path` with headers, each a line without its end and of any bytes, and a body. Patient.
pub async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&[u8]],
    body: &str,
) -> io::Result<Response> {
    let length = format!("Content-Length: {}", body.len());
    let host = format!("Host: {addr}");
    let first = format!("{method} {path} HTTP/1.1");
    let mut lines = vec![first.as_bytes(), host.as_bytes(), length.as_bytes()];
    lines.extend(headers);
    if !headers.iter().any(|line| line.starts_with(b"Connection")) {
        lines.push(b"Connection: close");
    }
    lines.extend([&b""[..], body.as_bytes()]);
    wait::ends_within(
        "an answer",
        wait::DEADLINE,
        exchange(addr, &lines.join(&b"\r\n"[..])),
    )
    .await
}

/// The status of `GET path`, which may be 101: then the connection is not read to its end.
pub async fn status(addr: SocketAddr, path: &str, headers: &[&[u8]]) -> io::Result<u16> {
    let (first, host) = (format!("GET {path} HTTP/1.1"), format!("Host: {addr}"));
    let mut lines = vec![first.as_bytes(), host.as_bytes()];
    lines.extend(headers);
    lines.extend([&b""[..], b""]);
    let asking = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(&lines.join(&b"\r\n"[..])).await?;
        let mut status = [0; 12]; // HTTP/1.1 101
        stream.read_exact(&mut status).await?;
        let code = std::str::from_utf8(&status[9..]).ok();
        let code = code.and_then(|code| code.parse().ok());
        code.ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    wait::ends_within("a status", wait::DEADLINE, asking).await
}

async fn exchange(addr: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    // Who refuses a request may not read it to its end: what it said before counts.
    if let Err(error) = stream.read_to_end(&mut bytes).await
        && bytes.is_empty()
    {
        return Err(error);
    }
    parse(&bytes)
}

/// Everything that came over a connection, as one answer.
pub fn parse(bytes: &[u8]) -> io::Result<Response> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let chunked = head
        .lines()
        .any(|line| line == "transfer-encoding: chunked");
    Ok(Response {
        status,
        head: head.to_owned(),
        body: if chunked {
            from_chunks(body).ok_or(io::ErrorKind::InvalidData)?
        } else {
            body.to_owned()
        },
    })
}

/// A body that came in chunks (RFC 9112 §7.1), if it came to its end.
fn from_chunks(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        body = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}
