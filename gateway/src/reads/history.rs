//! Pages of a conversation's log, and transcripts, which are one page after the other.

use std::fmt::Write as _;

use frontdesk_shared::{
    ids::ConversationId,
    keys,
    protocol::read::{From, MAX_PAGE},
    redis::text,
};
use redis::Value;

use super::{Asker, Failure, Malformed, PAGE_BYTES, Page, Part, Reads, entry::Raw, list};

/// A page that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) conversation: ConversationId,
    pub(super) from: From,
    pub(super) limit: u64,
}

/// What is left of a transcript.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    conversation: ConversationId,
    /// The last entry that was given.
    after: u64,
    /// The newest entry when the first part was read: a transcript does not run after those who talk.
    head: Option<u64>,
}

/// A part of a transcript: entries as JSON, joined by commas, and what is left.
pub(crate) struct Pages {
    pub(crate) entries: String,
    pub(crate) rest: Option<Whole>,
}

impl Whole {
    /// A transcript from the beginning.
    pub(crate) fn of(conversation: ConversationId) -> Self {
        Self {
            conversation,
            after: 0,
            head: None,
        }
    }
}

impl Reads {
    /// One page.
    pub(super) async fn history(&self, asker: &Asker, ask: &Ask) -> Result<Part, Failure> {
        let entries = self.entries(asker, ask).await?;
        Ok(Part {
            action: "history",
            open: entries.open(&ask.conversation, entries.more),
            rest: None,
        })
    }

    /// The next part of a transcript.
    pub(super) async fn transcript(&self, asker: &Asker, whole: Whole) -> Result<Part, Failure> {
        let conversation = whole.conversation.clone();
        let (entries, rest) = self.part(asker, whole).await?;
        Ok(Part {
            action: "history",
            open: entries.open(&conversation, rest.is_some()),
            rest: rest.map(Page::Transcript),
        })
    }

    /// The same for a request, or the code of an error.
    pub(crate) async fn pages(&self, asker: &Asker, whole: Whole) -> Result<Pages, &'static str> {
        let (entries, rest) = self.judged(asker, self.part(asker, whole)).await?;
        let entries: Vec<String> = entries.list.into_iter().map(|entry| entry.json).collect();
        Ok(Pages {
            entries: entries.join(","),
            rest,
        })
    }

    async fn part(&self, asker: &Asker, whole: Whole) -> Result<(Entries, Option<Whole>), Failure> {
        let ask = Ask {
            conversation: whole.conversation,
            from: From::After(whole.after),
            limit: MAX_PAGE,
        };
        let mut entries = self.entries(asker, &ask).await?;
        let head = whole.head.unwrap_or(entries.head);
        entries.list.retain(|entry| entry.seq <= head);
        // An empty page before the head: the log has expired meanwhile.
        let next = entries.list.last().map(|last| last.seq);
        let rest = next.filter(|seq| *seq < head).map(|after| Whole {
            conversation: ask.conversation,
            after,
            head: Some(head),
        });
        Ok((entries, rest))
    }

    async fn entries(&self, asker: &Asker, ask: &Ask) -> Result<Entries, Failure> {
        let (site, conversation) = (&asker.identity.site, &ask.conversation);
        let keys = [
            keys::conversation(site, conversation),
            keys::log(site, conversation),
            keys::recalled(site, conversation),
        ];
        let (direction, seq) = match ask.from {
            From::Newest => ("back", String::new()),
            From::Before(seq) => ("back", seq.to_string()),
            From::After(seq) => ("on", seq.to_string()),
        };
        let args = [
            conversation.as_str(),
            self.originals_for(asker),
            direction,
            &seq,
            &ask.limit.to_string(),
            &PAGE_BYTES.to_string(),
        ];
        let reply = self.call(&self.history, asker, &keys, &args).await?;
        Ok(Entries::read(list(&reply)?, direction == "back")?)
    }
}

/// A page of entries in the order in which they are given: away from where it was asked.
#[derive(Debug)]
struct Entries {
    /// The newest entry of the whole log.
    head: u64,
    more: bool,
    list: Vec<Entry>,
}

/// An entry, and its JSON.
#[derive(Debug)]
struct Entry {
    seq: u64,
    json: String,
}

impl Entries {
    /// Reads what `lua/history.lua` returns.
    fn read(reply: &[Value], back: bool) -> Result<Self, Malformed> {
        let [head, more, edge, raw @ ..] = reply else {
            return Err(Malformed("length"));
        };
        let raw: Vec<Raw<'_>> = raw.iter().map(Raw::read).collect::<Result<_, _>>()?;
        let edge = text(edge).ok_or(Malformed("edge"))?;
        let mut list = Vec::with_capacity(raw.len());
        for (at, entry) in raw.iter().enumerate() {
            let before = if back {
                raw.get(at + 1)
            } else {
                at.checked_sub(1).and_then(|before| raw.get(before))
            };
            let prev = before.map_or(edge, |entry| entry.id);
            list.push(Entry {
                seq: entry.seq,
                json: entry.json(prev)?,
            });
        }
        Ok(Self {
            head: text(head)
                .and_then(|seq| seq.parse().ok())
                .ok_or(Malformed("head"))?,
            more: *more == Value::Int(1),
            list,
        })
    }

    /// A JSON object without its closing brace. `more`: in the same direction.
    fn open(&self, conversation: &ConversationId, more: bool) -> String {
        let length: usize = self.list.iter().map(|entry| entry.json.len() + 1).sum();
        let mut open = String::with_capacity(length + 256);
        let _ = write!(open, r#"{{"conversation":"{conversation}","entries":["#);
        for (at, entry) in self.list.iter().enumerate() {
            open.push_str(if at == 0 { "" } else { "," });
            open.push_str(&entry.json);
        }
        let _ = write!(open, r#"],"more":{more}"#);
        open
    }
}
