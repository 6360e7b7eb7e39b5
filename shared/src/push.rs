//! What is published on a gateway's channel: bytes framed so that the gateway finds the
//! targets without parsing any JSON.
//!
//! ```text
//! 1 <shard> <counter>\n
//! <kind> <event id> <length> <client_id>[,<client_id>…]\n
//! <length bytes>\n
//! …more records
//! ```
//! `counter` numbers the scripts' payloads per (shard, boot) from 1, so a gateway sees a hole at
//! once; `0` marks payloads outside that numbering (acks; answers to requests; who is typing). The scripts write the same bytes in
//! `worker/lua/push.lua`.
//!
//! A gateway also publishes on its own channel: `P <n>\n` is its [`probe`], by which it notices a
//! subscription that has died without a word.

use bytes::Bytes;

/// The version of the format.
pub const VERSION: &str = "1";

/// What to do with a record's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Send them as a text frame.
    Frame,
    /// The `open` of these connections is applied: send them as a text frame, then serve.
    Welcome,
    /// Close the sockets; the bytes are a close code as decimal text.
    Close,
    /// The answer to a request of the HTTP API, whose address is its target: the frame that a socket would get.
    Answer,
}

/// One record of a payload. Borrows nothing: `bytes` shares the payload's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What to do.
    pub kind: Kind,
    /// The event that made it.
    pub event: Bytes,
    /// The connections, as text, separated by commas.
    pub targets: Bytes,
    /// The frame, or the close code.
    pub bytes: Bytes,
}

impl Record {
    /// The connections it is for.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        std::str::from_utf8(&self.targets)
            .unwrap_or_default()
            .split(',')
    }
}

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Which shard published it.
    pub shard: u8,
    /// Its number per (shard, boot), or 0.
    pub counter: u64,
    /// Its records.
    pub records: Vec<Record>,
}

/// A payload that does not follow the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("push payload is malformed: {0}")]
pub struct Malformed(&'static str);

/// Takes a payload apart without copying its bytes.
pub fn decode(payload: &Bytes) -> Result<Payload, Malformed> {
    let mut rest = payload.clone();
    let head = line(&mut rest)?;
    let mut words = words(&head);
    if words.next() != Some(VERSION) {
        return Err(Malformed("version"));
    }
    let shard = number(words.next())?;
    let counter = number(words.next())?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(record(&mut rest)?);
    }
    let shard = u8::try_from(shard).map_err(|_| Malformed("shard"))?;
    Ok(Payload {
        shard,
        counter,
        records,
    })
}

fn record(rest: &mut Bytes) -> Result<Record, Malformed> {
    let head = line(rest)?;
    let mut words = words(&head);
    let kind = match words.next() {
        Some("F") => Kind::Frame,
        Some("W") => Kind::Welcome,
        Some("C") => Kind::Close,
        Some("A") => Kind::Answer,
        _ => return Err(Malformed("kind")),
    };
    let event = words.next().ok_or(Malformed("event"))?;
    let length = usize::try_from(number(words.next())?).map_err(|_| Malformed("length"))?;
    let targets = words.next().ok_or(Malformed("targets"))?;
    if rest.len() <= length || rest[length] != b'\n' {
        return Err(Malformed("length"));
    }
    let (event, targets) = (
        head.slice_ref(event.as_bytes()),
        head.slice_ref(targets.as_bytes()),
    );
    let bytes = rest.split_to(length);
    let _newline = rest.split_to(1);
    Ok(Record {
        kind,
        event,
        targets,
        bytes,
    })
}

fn line(rest: &mut Bytes) -> Result<Bytes, Malformed> {
    let end = rest
        .iter()
        .position(|b| *b == b'\n')
        .ok_or(Malformed("line"))?;
    let line = rest.split_to(end);
    let _newline = rest.split_to(1);
    Ok(line)
}

fn words(line: &Bytes) -> std::str::Split<'_, char> {
    std::str::from_utf8(line).unwrap_or_default().split(' ')
}

fn number(word: Option<&str>) -> Result<u64, Malformed> {
    word.and_then(|w| w.parse().ok()).ok_or(Malformed("number"))
}

/// What precedes the number in a probe. No version of a payload begins so.
const PROBE: &str = "P ";

/// A gateway's probe of its own subscription.
pub fn probe(number: u64) -> String {
    format!("{PROBE}{number}\n")
}

/// The number of a probe, if the message is one.
pub fn read_probe(message: &[u8]) -> Option<u64> {
    let number = message
        .strip_prefix(PROBE.as_bytes())?
        .strip_suffix(b"\n")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Builds a payload outside the numbering (counter 0): acks, answers, who is typing.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A payload without records.
    pub fn new(shard: u8) -> Self {
        Self {
            bytes: format!("{VERSION} {shard} 0\n").into_bytes(),
        }
    }

    /// Adds a text frame for a connection, or several separated by commas.
    pub fn frame(&mut self, event: &str, target: &str, frame: &str) {
        self.record('F', event, target, frame);
    }

    /// Adds the answer to a request.
    pub fn answer(&mut self, event: &str, target: &str, frame: &str) {
        self.record('A', event, target, frame);
    }

    fn record(&mut self, kind: char, event: &str, target: &str, text: &str) {
        let head = format!("{kind} {event} {} {target}\n", text.len());
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }

    /// The payload.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_survives_the_channel() {
        let mut builder = Builder::new(7);
        builder.frame("7.3.1-0", "abc", "{\"a\":\"\n\"}");
        builder.frame("7.3.1-0", "def,ghi", "");
        builder.answer("7.3.2-0", "jkl", "{}");
        let payload = decode(&builder.finish().into()).expect("well-formed");
        assert_eq!((payload.shard, payload.counter), (7, 0));
        assert_eq!(&payload.records[0].bytes[..], b"{\"a\":\"\n\"}");
        assert_eq!(
            payload.records[1].targets().collect::<Vec<_>>(),
            ["def", "ghi"]
        );
        let kinds: Vec<Kind> = payload.records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [Kind::Frame, Kind::Frame, Kind::Answer]);
    }

    #[test]
    fn a_probe_is_no_payload_and_a_payload_is_no_probe() {
        let sent = probe(12);
        assert_eq!(read_probe(sent.as_bytes()), Some(12));
        assert!(decode(&sent.into()).is_err());
        for other in [&b"P \n"[..], b"P 1", b"P -1\n", b"1 0 1\n", b"P \xff\n"] {
            assert_eq!(read_probe(other), None, "{other:?}");
        }
    }

    #[test]
    fn malformed_payloads_are_refused() {
        for bad in [
            "",
            "1",
            "2 0 0\n",
            "1 0 0\nF",
            "1 0 0\nX 1 0 a\n\n",
            "1 0 0\nF e 9 a\nshort\n",
            "1 0 0\nF e 1 a\nab\n",
            "1 999 0\n",
        ] {
            assert!(
                decode(&Bytes::from_static(bad.as_bytes())).is_err(),
                "{bad:?}"
            );
        }
    }
}
