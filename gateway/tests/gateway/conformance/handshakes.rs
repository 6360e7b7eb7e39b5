//! Opening handshakes, good and bad: a row changes the good one.

use super::wire::{HANDSHAKE, ask};
use crate::harness::Bench;

struct Row {
    /// Of RFC 6455.
    section: &'static str,
    what: &'static str,
    /// What in the good handshake is replaced, and by what.
    change: (&'static str, &'static str),
    status: u16,
    /// A line that the answer must have.
    line: &'static str,
}

const fn row(
    section: &'static str,
    what: &'static str,
    change: (&'static str, &'static str),
    status: u16,
    line: &'static str,
) -> Row {
    Row {
        section,
        what,
        change,
        status,
        line,
    }
}

const HOST: &str = "Host: t\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
const WANTED: &str = "sec-websocket-version: 13";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("1.3", "the RFC's own key", ("", ""), 101, ACCEPT),
    row("4.2.1", "on /", ("GET /ws", "GET /"), 101, ACCEPT),
    row("4.2.1", "POST", ("GET", "POST"), 405, ""),
    row("4.2.1", "PUT", ("GET", "PUT"), 405, ""),
    row("4.2.1", "HEAD", ("GET", "HEAD"), 400, ""),
    row("4.2.1", "HTTP/1.0", ("HTTP/1.1", "HTTP/1.0"), 400, ""),
    row("4.2.1", "no Host", (HOST, ""), 400, ""),
    row("4.2.1", "two Hosts", (HOST, "Host: t\r\nHost: u\r\n"), 400, ""),
    row("4.2.1", "no Upgrade", (UPGRADE, ""), 426, "upgrade: websocket"),
    row("4.2.1", "another Upgrade", (UPGRADE, "Upgrade: h2c\r\n"), 426, "upgrade: websocket"),
    row("4.2.1", "Upgrade in capitals", (UPGRADE, "UPGRADE: WEBSOCKET\r\n"), 101, ACCEPT),
    row("4.2.1", "Upgrade in both cases", (UPGRADE, "upgrade: WebSocket\r\n"), 101, ACCEPT),
    row("4.2.1", "no Connection", (CONNECTION, ""), 400, ""),
    row("4.2.1", "another Connection", (CONNECTION, "Connection: keep-alive\r\n"), 400, ""),
    row("4.2.1", "only a word like upgrade", (CONNECTION, "Connection: upgraded\r\n"), 400, ""),
    row("4.2.1", "Connection with more", (CONNECTION, "Connection: keep-alive, Upgrade\r\n"), 101, ACCEPT),
    row("4.2.1", "Connection without a space", (CONNECTION, "connection: keep-alive,upgrade\r\n"), 101, ACCEPT),
    row("4.2.1", "Connection over two lines", (CONNECTION, "Connection: keep-alive\r\nConnection: Upgrade\r\n"), 101, ACCEPT),
    row("4.2.1", "Connection in capitals", (CONNECTION, "CONNECTION: UPGRADE\r\n"), 101, ACCEPT),
    row("4.2.1", "no key", (KEY, ""), 400, ""),
    row("4.2.1", "an empty key", (KEY, "Sec-WebSocket-Key:\r\n"), 400, ""),
    row("4.2.1", "a key of 15 bytes", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n"), 400, ""),
    row("4.2.1", "a key of 17 bytes", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n"), 400, ""),
    row("4.2.1", "a key without its padding", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), 400, ""),
    row("4.2.1", "a key that is not base64", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSB!b25jZQ==\r\n"), 400, ""),
    row("4.2.1", "a header's name in capitals", (KEY, "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 101, ACCEPT),
    row("11.3.1", "the same key twice", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, ""),
    row("11.3.1", "two keys", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), 400, ""),
    row("4.2.1", "no version", (VERSION, ""), 400, ""),
    row("4.2.2", "version 8", (VERSION, "Sec-WebSocket-Version: 8\r\n"), 426, WANTED),
    row("4.2.2", "version 14", (VERSION, "Sec-WebSocket-Version: 14\r\n"), 426, WANTED),
    row("4.2.2", "no number", (VERSION, "Sec-WebSocket-Version: thirteen\r\n"), 426, WANTED),
    row("11.3.5", "the version twice", (VERSION, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n"), 400, ""),
    row("9.1", "permessage-deflate offered", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"), 101, ACCEPT),
    row("9.1", "an unknown extension offered", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: x-unknown; a=\"b\", y\r\n"), 101, ACCEPT),
    row("1.9", "subprotocols offered", (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\n"), 101, ACCEPT),
];

#[tokio::test]
async fn handshakes_are_agreed_on_or_refused_as_the_rfc_says() {
    let bench = Bench::start().await;
    let mut wrong = Vec::new();
    for row in ROWS {
        let (old, new) = row.change;
        assert!(HANDSHAKE.contains(old), "{}", row.what);
        let head = ask(bench.address, &HANDSHAKE.replacen(old, new, 1)).await;
        let status = format!(" {} ", row.status);
        let agreed = ["sec-websocket-extensions", "sec-websocket-protocol"];
        let upgraded = head.contains("sec-websocket-accept");
        if head
            .split("\r\n")
            .next()
            .is_none_or(|first| !first.contains(&status))
            || !row.line.is_empty() && !head.split("\r\n").any(|line| line == row.line)
            || agreed.iter().any(|header| head.contains(header))
            || upgraded != (row.status == 101)
        {
            let Row {
                section,
                what,
                status,
                line,
                ..
            } = row;
            wrong.push(format!(
                "§{section} {what}: expected {status} with {line:?}, got {head}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
