//! The table of frames: what is sent after the handshake, and every frame that comes back.

use super::wire::{frame, frame_with};

const TEXT: u8 = 0x81;
const FIRST_TEXT: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The answers to a `PING` in text and to the close frame that ends the row.
const PONGED: &[&str] = &["PONG", "close"];
const LIVES: &[&str] = &["close"];
const BROKEN: &[&str] = &["close 1002"];
const NOT_UTF8: &[&str] = &["close 1007"];
const TOO_BIG: &[&str] = &["close 1009"];

/// One row.
pub struct Row {
    /// Of RFC 6455.
    pub section: &'static str,
    /// In words; our side ends the stream if it says so.
    pub what: String,
    pub sent: Vec<u8>,
    pub answers: Vec<String>,
}

/// Every row.
pub fn all() -> Vec<Row> {
    let tables = [
        framing(),
        fragmentation(),
        control(),
        close_codes(),
        utf8(),
        sizes(),
    ];
    tables.into_iter().flatten().collect()
}

fn row(section: &'static str, what: &str, sent: &[Vec<u8>], answers: &[&str]) -> Row {
    Row {
        section,
        what: what.to_owned(),
        sent: sent.concat(),
        answers: answers.iter().map(ToString::to_string).collect(),
    }
}

fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

/// A close frame without a code; it ends the rows whose socket lives.
fn bye() -> Vec<u8> {
    frame(CLOSE, b"")
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A text message in these fragments.
fn fragments(parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len() - 1;
    let first_byte = |n: usize| match n {
        0 => FIRST_TEXT,
        n if n == last => LAST,
        _ => MIDDLE,
    };
    let frames = parts.iter().enumerate();
    frames
        .flat_map(|(n, part)| frame(first_byte(n), part))
        .collect()
}

/// 64 bits of length.
fn long(length: u64) -> Vec<u8> {
    [&[127], &length.to_be_bytes()[..]].concat()
}

#[rustfmt::skip]
fn framing() -> Vec<Row> {
    let mut rows = vec![
        row("5.1", "unmasked", &[vec![TEXT, 4], b"PING".to_vec()], BROKEN),
        row("5.1", "unmasked and empty", &[vec![TEXT, 0]], BROKEN),
        row("5.1", "an unmasked ping", &[vec![PING, 0]], BROKEN),
        row("5.1", "an unmasked close", &[vec![CLOSE, 0]], BROKEN),
        row("5.1", "a good frame before a bad one counts", &[text("PING"), vec![TEXT, 0]], &["PONG", "close 1002"]),
        row("5.2", "a message", &[text("PING"), bye()], PONGED),
        row("5.2", "an empty message", &[text(""), bye()], &["error bad_json", "close"]),
        row("5.2", "4 bytes, length in 16 bits", &[frame_with(TEXT, &[126, 0, 4], b"PING"), bye()], PONGED),
        row("5.2", "4 bytes, length in 64 bits", &[frame_with(TEXT, &long(4), b"PING"), bye()], PONGED),
        row("5.2", "a ping of 1 byte, length in 16 bits", &[frame_with(PING, &[126, 0, 1], b"x"), bye()], &["pong x", "close"]),
        row("5.2", "64 bits of length with the top one set", &[frame_with(TEXT, &long(1 << 63 | 4), b"PING")], TOO_BIG),
        row("5.2", "the stream ends in a head", &[vec![TEXT]], &[]),
        row("5.2", "the stream ends in a payload", &[text("PING")[..8].to_vec()], &[]),
        row("5.2", "the stream ends", &[text("PING")], &["PONG"]),
    ];
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0xc8, 0xc2] {
        rows.push(row("5.2", &format!("reserved bits: {first:x}"), &[frame(first, b"PING")], BROKEN));
    }
    for opcode in (3..=7).chain(0xb..=0xf) {
        rows.push(row("5.2", &format!("reserved opcode {opcode:x}"), &[frame(0x80 | opcode, b"PING")], BROKEN));
    }
    rows.push(row("5.2", "a reserved bit on a fragment", &[frame(FIRST_TEXT, b"PI"), frame(0xc0, b"NG")], BROKEN));
    rows
}

#[rustfmt::skip]
fn fragmentation() -> Vec<Row> {
    let half = || frame(FIRST_TEXT, b"PI");
    let pings_between = [half(), frame(PING, b"1"), frame(MIDDLE, b"N"), frame(PONG, b"2"), frame(PING, b"3"), frame(LAST, b"G"), bye()];
    vec![
        row("5.4", "two fragments", &[fragments(&[b"PI", b"NG"]), bye()], PONGED),
        row("5.4", "a fragment for each byte", &[fragments(&[b"P", b"I", b"N", b"G"]), bye()], PONGED),
        row("5.4", "empty fragments around", &[fragments(&[b"", b"PING", b""]), bye()], PONGED),
        row("5.4", "only empty fragments", &[fragments(&[b"", b"", b""]), bye()], &["error bad_json", "close"]),
        row("5.4", "pings between fragments", &pings_between, &["pong 1", "pong 3", "PONG", "close"]),
        row("5.4", "a close between fragments", &[half(), bye(), frame(LAST, b"NG")], LIVES),
        row("5.4", "a last fragment of nothing", &[frame(LAST, b"PING")], BROKEN),
        row("5.4", "a middle fragment of nothing", &[frame(MIDDLE, b"PING")], BROKEN),
        row("5.4", "a fragment after the last", &[fragments(&[b"PI", b"NG"]), frame(LAST, b"")], &["PONG", "close 1002"]),
        row("5.4", "a message inside a message", &[half(), text("PING")], BROKEN),
        row("5.4", "a message begun inside a message", &[half(), half()], BROKEN),
        row("5.4", "binary inside a text message", &[half(), frame(BINARY, b"NG")], BROKEN),
        row("5.4", "the stream ends between fragments", &[half()], &[]),
        row("5.5", "a fragmented ping", &[frame(0x09, b"x")], BROKEN),
        row("5.5", "a fragmented pong", &[frame(0x0a, b"x")], BROKEN),
        row("5.5", "a fragmented close", &[frame(0x08, b"")], BROKEN),
        row("5.6", "a binary message", &[frame(BINARY, b"PING"), bye()], &["close 1003"]),
        row("5.6", "a binary message in fragments", &[frame(0x02, b"PI"), frame(LAST, b"NG")], &["close 1003"]),
    ]
}

#[rustfmt::skip]
fn control() -> Vec<Row> {
    let long_one = [b'x'; 126];
    let longest = format!("pong {}", "x".repeat(125));
    let pings = [frame(PING, b"1"), frame(PING, b"2"), frame(PING, b"3"), bye()];
    vec![
        row("5.5", "a ping of 126 bytes", &[frame(PING, &long_one)], BROKEN),
        row("5.5", "a pong of 126 bytes", &[frame(PONG, &long_one)], BROKEN),
        row("5.5", "a close of 126 bytes", &[close(1000, &long_one[..124])], BROKEN),
        row("5.5.2", "an empty ping", &[frame(PING, b""), bye()], &["pong", "close"]),
        row("5.5.2", "a ping of 125 bytes", &[frame(PING, &long_one[..125]), bye()], &[&longest, "close"]),
        row("5.5.2", "three pings", &pings, &["pong 1", "pong 2", "pong 3", "close"]),
        row("5.5.3", "a pong that nobody asked for", &[frame(PONG, b"x"), bye()], LIVES),
        row("5.5.1", "a close without a code", &[bye()], LIVES),
        row("5.5.1", "a close with a reason of 123 bytes", &[close(1000, &long_one[..123])], &["close 1000"]),
        row("5.5.1", "half a close code", &[frame(CLOSE, b"\x03")], BROKEN),
        row("5.5.1", "nothing after a close", &[bye(), frame(PING, b"x"), text("PING"), frame(BINARY, b"x")], LIVES),
        row("5.5.1", "nothing but the first close", &[close(1000, b""), close(1001, b"")], &["close 1000"]),
        row("5.5.1", "nothing after our close", &[frame(BINARY, b"x"), frame(PING, b"x"), bye()], &["close 1003"]),
        row("7.1.7", "nothing after a violation", &[frame(0x83, b"x"), frame(PING, b"x"), bye()], BROKEN),
    ]
}

#[rustfmt::skip]
fn close_codes() -> Vec<Row> {
    let mut rows = Vec::new();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        rows.push(row("7.4", &format!("close code {code}"), &[close(code, b"")], &[&format!("close {code}")]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        rows.push(row("7.4", &format!("bad close code {code}"), &[close(code, b"")], BROKEN));
    }
    rows
}

#[rustfmt::skip]
fn utf8() -> Vec<Row> {
    const READ: &[&str] = &["error unknown_action", "close"];
    let action = |letters: &[u8]| [br#"{"action":""#, letters, br#""}"#].concat();
    let mut rows = vec![
        row("8.1", "a bad fragment before the last", &[frame(FIRST_TEXT, b"\xff")], NOT_UTF8),
        row("8.1", "a message cut inside a character", &[frame(TEXT, b"\xe5\xae")], NOT_UTF8),
        row("8.1", "a close reason that is not UTF-8", &[close(1000, b"\xff")], NOT_UTF8),
        row("8.1", "a close reason cut inside a character", &[close(1000, b"\xe5\xae")], NOT_UTF8),
    ];
    for (what, letters, answers) in [
        ("two bytes", &b"\xc3\xa9"[..], READ),
        ("three bytes", "客".as_bytes(), READ),
        ("four bytes", "😀".as_bytes(), READ),
        ("U+FFFF", b"\xef\xbf\xbf", READ),
        ("U+10FFFF", b"\xf4\x8f\xbf\xbf", READ),
        ("above U+10FFFF", b"\xf4\x90\x80\x80", NOT_UTF8),
        ("no first byte", b"\xff", NOT_UTF8),
        ("a continuation byte alone", b"\x80", NOT_UTF8),
        ("overlong in two", b"\xc0\xaf", NOT_UTF8),
        ("overlong in three", b"\xe0\x80\xaf", NOT_UTF8),
        ("a surrogate", b"\xed\xa0\x80", NOT_UTF8),
        ("cut inside a character", b"\xe5\xae", NOT_UTF8),
    ] {
        let whole = action(letters);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        rows.push(row("8.1", what, &[frame(TEXT, &whole), bye()], answers));
        rows.push(row("8.1", &format!("{what}, in fragments of a byte"), &[fragments(&bytes), bye()], answers));
    }
    rows
}

#[rustfmt::skip]
fn sizes() -> Vec<Row> {
    const MIB: usize = 1024 * 1024;
    const READ: &[&str] = &["error bad_json", "close"];
    let half = &*vec![b'x'; 32 * 1024];
    vec![
        row("10.4", "64 KiB", &[frame(TEXT, &half.repeat(2)), bye()], READ),
        row("10.4", "64 KiB in two fragments", &[fragments(&[half, half]), bye()], READ),
        row("10.4", "64 KiB and one byte", &[frame(TEXT, &[half, half, b"x"].concat())], TOO_BIG),
        row("10.4", "64 KiB and one byte in fragments", &[fragments(&[half, half, b"x"])], TOO_BIG),
        row("10.4", "1 MiB", &[frame(TEXT, &vec![b'x'; MIB])], TOO_BIG),
        row("10.4", "1 MiB announced", &[frame_with(TEXT, &long(MIB as u64), b"")], TOO_BIG),
        row("10.4", "1 MiB of binary announced", &[frame_with(BINARY, &long(MIB as u64), b"")], TOO_BIG),
        row("10.4", "1 MiB of ping announced", &[frame_with(PING, &long(MIB as u64), b"")], TOO_BIG),
    ]
}
