//! Pages of a conversation's log, and transcripts, which are one page after the other.

use std::fmt::Write as _;

use frontdesk_shared::{
    ids::{ConversationId, MessageRef},
    keys,
    protocol::read::{From, MAX_PAGE},
    redis::text,
};
use redis::Value;

use super::{Failure, Malformed, PAGE_BYTES, Page, Part, Reads, entry::Raw, list};
use crate::auth::Identity;

/// A page that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) conversation: ConversationId,
    pub(super) from: From,
    pub(super) limit: u64,
}

/// What is left of a transcript.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    conversation: ConversationId,
    /// The last entry that was given.
    after: u64,
    /// The newest entry when the first part was read: a transcript does not run after those who talk.
    head: Option<u64>,
}

impl Whole {
    /// A transcript from the beginning.
    pub(super) fn of(conversation: ConversationId) -> Self {
        Self {
            conversation,
            after: 0,
            head: None,
        }
    }
}

impl Reads {
    /// One page.
    pub(super) async fn history(
        &self,
        asker: &Identity,
        ask: &Ask,
        reference: Option<&MessageRef>,
    ) -> Part {
        let entries = self.entries(asker, ask).await?;
        let frame = entries.frame(&ask.conversation, entries.more, reference);
        Ok((frame, None))
    }

    /// The next part of a transcript.
    pub(super) async fn transcript(
        &self,
        asker: &Identity,
        whole: Whole,
        reference: Option<&MessageRef>,
    ) -> Part {
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
        let more = next.is_some_and(|seq| seq < head);
        let frame = entries.frame(&ask.conversation, more, reference);
        let rest = more.then(|| {
            Page::Transcript(Whole {
                conversation: ask.conversation,
                after: next.unwrap_or(head),
                head: Some(head),
            })
        });
        Ok((frame, rest))
    }

    async fn entries(&self, asker: &Identity, ask: &Ask) -> Result<Entries, Failure> {
        let (site, conversation) = (&asker.site, &ask.conversation);
        let keys = [
            keys::conversation(site, conversation),
            keys::log(site, conversation),
            keys::recalled(site, conversation),
        ];
        let prefix = keys::site_prefix(site);
        let (direction, seq) = match ask.from {
            From::Newest => ("back", String::new()),
            From::Before(seq) => ("back", seq.to_string()),
            From::After(seq) => ("on", seq.to_string()),
        };
        let args = [
            &prefix,
            conversation.as_str(),
            asker.uid.as_str(),
            asker.role.as_str(),
            self.originals_for(asker),
            direction,
            &seq,
            &ask.limit.to_string(),
            &PAGE_BYTES.to_string(),
        ];
        let reply = self.call(&self.history, &keys, &args).await?;
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

    /// The frame. `more`: in the same direction.
    fn frame(
        &self,
        conversation: &ConversationId,
        more: bool,
        reference: Option<&MessageRef>,
    ) -> String {
        let length: usize = self.list.iter().map(|entry| entry.json.len() + 1).sum();
        let mut frame = String::with_capacity(length + 256);
        let _ = write!(
            frame,
            r#"{{"action":"history","payload":{{"conversation":"{conversation}","entries":["#
        );
        for (at, entry) in self.list.iter().enumerate() {
            frame.push_str(if at == 0 { "" } else { "," });
            frame.push_str(&entry.json);
        }
        let _ = write!(frame, r#"],"more":{more}"#);
        if let Some(reference) = reference {
            let _ = write!(frame, r#","ref":"{reference}""#);
        }
        frame.push_str("}}");
        frame
    }
}
