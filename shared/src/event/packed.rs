//! An entry of version 2 has its fields in one, each name and each value with its length before it:
//! `4:site7:default3:uid5:alice…`. `worker/lua/dead.lua` takes them apart, too.

/// The field.
pub const FIELD: &str = "e";
/// What a short message takes.
pub(super) const USUAL_BYTES: usize = 320;
/// Most fields that are looked at; no event has half as many.
const MAX_FIELDS: usize = 64;

/// Where a name or a value stands.
type Span = std::ops::Range<usize>;

/// Fields, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Packed {
    bytes: Vec<u8>,
    fields: Vec<(Span, Span)>,
}

/// Adds a name or a value, or any text that is handed over so.
pub fn put(packed: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), text.len());
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    packed.extend_from_slice(&digits[at..]);
    packed.push(b':');
    packed.extend_from_slice(text);
}

impl Packed {
    /// Takes fields apart. What is not well-formed has none.
    pub fn read(bytes: Vec<u8>) -> Self {
        match spans(&bytes) {
            Some(fields) => Self { bytes, fields },
            None => Self::default(),
        }
    }

    /// The text of a field; of a name that is there twice, the last.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut from_the_last = self.fields.iter().rev();
        let (_, value) =
            from_the_last.find(|(it, _)| self.bytes[it.clone()] == *name.as_bytes())?;
        std::str::from_utf8(&self.bytes[value.clone()]).ok()
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

fn spans(bytes: &[u8]) -> Option<Vec<(Span, Span)>> {
    let (mut at, mut fields) = (0, Vec::with_capacity(12));
    while at < bytes.len() {
        if fields.len() == MAX_FIELDS {
            return None;
        }
        let name = span(bytes, at)?;
        let value = span(bytes, name.end)?;
        at = value.end;
        fields.push((name, value));
    }
    Some(fields)
}

/// The text whose length stands at this place.
fn span(bytes: &[u8], at: usize) -> Option<Span> {
    let rest = bytes.get(at..)?;
    let digits = rest.iter().position(|b| *b == b':')?;
    let length = std::str::from_utf8(&rest[..digits]).ok()?;
    let begin = at + digits + 1;
    let end = begin.checked_add(length.parse().ok()?)?;
    (end <= bytes.len() && !length.starts_with('+')).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_they_hold() {
        let mut bytes = Vec::new();
        for text in [
            "uid",
            "alice",
            "",
            "1:x",
            "body",
            "\"12:你好\"",
            "uid",
            "bob",
        ] {
            put(&mut bytes, text);
        }
        let packed = Packed::read(bytes);
        assert_eq!(packed.text("uid"), Some("bob"), "the last");
        assert_eq!(packed.text(""), Some("1:x"));
        assert_eq!(packed.text("body"), Some("\"12:你好\""));
        assert_eq!(packed.text("x"), None);
    }

    #[test]
    fn what_is_malformed_has_no_fields() {
        for bad in [
            &b"3"[..],
            b"3:uid",
            b"3:uid5:alic",
            b"3:uid+5:alice",
            b"3:uid-1:",
            b"3:uid99999999999999999999:a",
            b"3:uid18446744073709551615:a",
            b":a",
            b"1:u1:a\xff",
        ] {
            assert_eq!(Packed::read(bad.to_vec()), Packed::default(), "{bad:?}");
        }
        let many = "1:a1:b".repeat(MAX_FIELDS + 1);
        assert_eq!(Packed::read(many.into_bytes()), Packed::default());
        let not_text = Packed::read(b"1:a1:\xff".to_vec());
        assert_eq!(not_text.text("a"), None);
    }
}
