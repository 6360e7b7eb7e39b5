//! Identifiers, and the rules that make them safe to put into a key, a channel name or a script.
//!
//! Every id that comes from outside goes through a `parse` here before it comes near Redis: the
//! alphabets hold no `{`, `}`, `*`, `|`, `,`, space or control character.
//!
//! A text id is shared when it is cloned: each event of a socket names its site, user and connection.

use std::{borrow::Borrow, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;
use xxhash_rust::xxh64::xxh64;

/// How many shards the sites are spread over. Fixed at a cluster's first boot.
pub const SHARDS: u8 = 16;
/// How many lanes (event streams) a shard has. Fixed at a cluster's first boot.
pub const LANES: u8 = 8;
/// Longest site or user id, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Length of a [`BootId`]: 16 random bytes in base64url.
pub const BOOT_ID_BYTES: usize = 22;
/// Length of a [`ClientId`]: the gateway's boot id, then the connection's own 16 random bytes.
pub const CLIENT_ID_BYTES: usize = 2 * BOOT_ID_BYTES;

/// Why an id was refused. `Display` names the rule, not the offending text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty or longer than allowed.
    #[error("must have 1 to {0} characters")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("may hold only letters, digits and {0}")]
    Alphabet(&'static str),
    /// Does not have the fixed form of such an id.
    #[error("is not a well-formed id")]
    Form,
}

fn check(text: &str, max: usize, extra: &'static str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > max {
        return Err(IdError::Length(max));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    if !text.chars().all(allowed) {
        return Err(IdError::Alphabet(extra));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $extra:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and alphabet.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, MAX_ID_BYTES, $extra)?;
                // A leading letter or digit keeps ids apart from the markers that keys use.
                if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                    return Err(IdError::Form);
                }
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A tenant. `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    Site,
    "._-"
);
text_id!(
    /// A user, unique in a site. `[A-Za-z0-9][A-Za-z0-9._@-]{0,63}`.
    Uid,
    "._@-"
);
text_id!(
    /// A sender's own id of a message, for deduplication. `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`.
    MessageRef,
    "._:-"
);
text_id!(
    /// A conversation: the id of the event that began it, with `.n` for the n-th thing it made.
    ConversationId,
    ".-"
);
text_id!(
    /// An entry of a conversation's log: the id of the event that made it, with `.n` as above.
    MessageId,
    ".-"
);

text_id!(
    /// A webhook of a site: the id of the event that made it, with `.n` as above.
    HookId,
    ".-"
);

impl Uid {
    /// A new unguessable user id, for somebody who came without one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string().into())
    }

    /// The same for an anonymous customer: staff see that nobody vouches for the name.
    pub fn visitor() -> Self {
        Self(format!("visitor-{}", Uuid::new_v4().simple()).into())
    }
}

impl MessageRef {
    /// A new one, for who names none.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string().into())
    }
}

/// One start of one gateway. Names its channel; never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BootId(Arc<str>);

impl BootId {
    /// A new boot id.
    pub fn random() -> Self {
        Self(random_22().into())
    }

    /// Checks the form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() != BOOT_ID_BYTES {
            return Err(IdError::Form);
        }
        check(text, BOOT_ID_BYTES, "-_")?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One socket: opaque, unguessable, never reused. Its first half is the gateway's [`BootId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// A new connection of the gateway `boot`.
    pub fn random(boot: &BootId) -> Self {
        Self(format!("{boot}{}", random_22()).into())
    }

    /// Checks the form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() != CLIENT_ID_BYTES {
            return Err(IdError::Form);
        }
        check(text, CLIENT_ID_BYTES, "-_")?;
        Ok(Self(text.into()))
    }

    /// The gateway's boot id.
    pub fn boot(&self) -> &str {
        &self.0[..BOOT_ID_BYTES]
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that maps can be asked with the text of a push.
impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn random_22() -> String {
    URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes())
}

/// A shard number, `0..SHARDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// The shard that holds a site.
    pub fn of(site: &Site) -> Self {
        Self(bucket(site.as_str(), SHARDS))
    }

    /// Every shard.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The shard with this number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (number < SHARDS).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A lane number within a shard, `0..LANES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(u8);

impl Lane {
    /// The lane that orders everything one user does.
    pub fn of(uid: &Uid) -> Self {
        Self(bucket(uid.as_str(), LANES))
    }

    /// Every lane.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LANES).map(Self)
    }

    /// The lane with this number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (number < LANES).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

fn bucket(text: &str, buckets: u8) -> u8 {
    // The modulus is below 256, so the cast keeps the value.
    #[allow(clippy::cast_possible_truncation)]
    {
        (xxh64(text.as_bytes(), 0) % u64::from(buckets)) as u8
    }
}

/// A stream id, ordered by both halves as numbers (as text, `9-0` would follow `10-0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId {
    /// Redis's clock at the append, in milliseconds.
    pub ms: u64,
    /// The counter within that millisecond.
    pub seq: u64,
}

impl StreamId {
    /// Before every entry.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// Reads `<ms>-<seq>`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (ms, seq) = text.split_once('-').ok_or(IdError::Form)?;
        let number = |s: &str| s.parse().map_err(|_| IdError::Form);
        Ok(Self {
            ms: number(ms)?,
            seq: number(seq)?,
        })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The id of an event in the whole cluster: `<shard>.<lane>.<ms>-<seq>`.
/// It is the one id that follows an event from the socket to the push in all logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Its shard.
    pub shard: Shard,
    /// Its lane.
    pub lane: Lane,
    /// Its place in the lane's stream.
    pub stream: StreamId,
}

impl EventId {
    /// Reads `<shard>.<lane>.<ms>-<seq>`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(IdError::Form);
        let number = |text: &str| text.parse().map_err(|_| IdError::Form);
        let (shard, lane, stream) = (number(next()?)?, number(next()?)?, next()?);
        Ok(Self {
            shard: Shard::new(shard).ok_or(IdError::Form)?,
            lane: Lane::new(lane).ok_or(IdError::Form)?,
            stream: StreamId::parse(stream)?,
        })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.shard.0, self.lane.0, self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_refused() {
        for bad in [
            "", "{s07}", "a*", "a\nb", "a b", "a|b", "a,b", "客服", "-", "..",
        ] {
            assert!(Uid::parse(bad).is_err(), "{bad:?}");
            assert!(Site::parse(bad).is_err(), "{bad:?}");
            assert!(MessageRef::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Uid::parse(&"a".repeat(65)).is_err());
        assert!(Uid::parse(&"a".repeat(64)).is_ok());
        assert!(ClientId::parse("abc").is_err());
        assert!(BootId::parse(&"{".repeat(22)).is_err());
    }

    #[test]
    fn a_client_id_leads_to_its_gateway() {
        let boot = BootId::random();
        let client = ClientId::random(&boot);
        assert_eq!(client.boot(), boot.as_str());
        assert_eq!(ClientId::parse(client.as_str()), Ok(client));
    }

    #[test]
    fn stream_ids_compare_as_numbers() {
        let id = |s| StreamId::parse(s).unwrap_or_default();
        assert!(id("9-0") < id("10-0"));
        assert!(id("10-9") < id("10-10"));
        assert!(StreamId::parse("1").is_err());
    }

    #[test]
    fn an_event_id_is_read_as_it_is_written() {
        let id = EventId::parse("6.1.1763832985123-4").expect("well-formed");
        assert_eq!((id.shard.number(), id.lane.number()), (6, 1));
        assert_eq!(id.to_string(), "6.1.1763832985123-4");
        for bad in [
            "",
            "6.1",
            "16.1.1-0",
            "6.8.1-0",
            "6.1.1",
            "6.1.1-0.1",
            "a.1.1-0",
        ] {
            assert!(EventId::parse(bad).is_err(), "{bad}");
        }
    }

    /// The placement is on disk in every cluster: a change of the hash would lose users.
    #[test]
    fn placement_never_changes() -> Result<(), IdError> {
        assert_eq!(Shard::of(&Site::parse("default")?).number(), PLACE_DEFAULT);
        assert_eq!(Lane::of(&Uid::parse("alice")?).number(), PLACE_ALICE);
        Ok(())
    }
    const PLACE_DEFAULT: u8 = 6;
    const PLACE_ALICE: u8 = 1;
}
