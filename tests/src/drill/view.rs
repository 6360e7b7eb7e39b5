//! What a client that resumes has of its conversations, as docs/PROTOCOL.md asks of one: entries by
//! place, each with its id; what does not fit is not taken but asked for. People of drills keep one, and
//! the checker makes it again from what they were told.

use std::collections::BTreeMap;

use serde_json::Value;

/// An entry as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// The id before it, if that was told.
    prev: Option<String>,
    /// Its words, if it is a message and not one's own that was only acknowledged.
    pub words: Option<String>,
    /// It was told with what came before it; an ack alone does not say that.
    told: bool,
}

/// One conversation.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Where it begins: later than 1 if a reset showed only the newest.
    first: u64,
    /// What there is of it.
    pub entries: BTreeMap<u64, Seen>,
}

/// All conversations of a client.
#[derive(Debug, Clone, Default)]
pub struct Views(pub BTreeMap<String, View>);

/// What became of something told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// It contradicts what is there: the client resumes.
    Wrong,
}

impl View {
    /// Where the unbroken part from the beginning ends.
    fn end(&self) -> u64 {
        let first = self.first.max(1);
        let unbroken = (first..).zip(self.entries.range(first..));
        let unbroken = unbroken.take_while(|(place, (seq, _))| place == *seq);
        unbroken.last().map_or(0, |(place, _)| place)
    }

    /// Whether nothing is missing between what there is.
    fn is_whole(&self) -> bool {
        self.entries
            .last_key_value()
            .is_none_or(|(last, _)| self.end() == *last)
    }

    fn take(&mut self, seq: u64, seen: Seen) -> Taken {
        if let Some(known) = self.entries.get_mut(&seq) {
            if known.id != seen.id {
                return Taken::Wrong;
            }
            let was_told = known.told;
            if seen.told {
                *known = seen;
            }
            return if was_told { Taken::Known } else { Taken::New };
        }
        let before = seq.checked_sub(1).and_then(|seq| self.entries.get(&seq));
        let after = self.entries.get(&(seq + 1));
        let fits_before =
            before.is_none_or(|b| seen.prev.as_ref().is_none_or(|prev| *prev == b.id));
        let fits_after = after.is_none_or(|a| a.prev.as_ref().is_none_or(|prev| *prev == seen.id));
        if !fits_before || !fits_after {
            return Taken::Wrong;
        }
        self.entries.insert(seq, seen);
        Taken::New
    }
}

impl Views {
    /// Takes a pushed frame with a place in a conversation; `None` if it has none.
    pub fn push(&mut self, payload: &Value) -> Option<Taken> {
        let conversation = payload["conversation"].as_str()?;
        let (seq, seen) = entry(payload, payload["from"].is_string())?;
        let view = self.0.entry(conversation.to_owned()).or_default();
        Some(view.take(seq, seen))
    }

    /// Takes an ack of one's own words.
    pub fn acked(&mut self, payload: &Value) -> Option<Taken> {
        let conversation = payload["conversation"].as_str()?;
        let (seq, mut seen) = entry(payload, false)?;
        seen.told = false;
        let view = self.0.entry(conversation.to_owned()).or_default();
        Some(view.take(seq, seen))
    }

    /// Takes a `history` frame: the truth after the position. An error is what the client was told and is
    /// otherwise now, which only a loss can explain.
    pub fn history(&mut self, payload: &Value) -> Result<(), String> {
        let name = payload["conversation"].as_str().unwrap_or_default();
        let entries = payload["entries"].as_array().cloned().unwrap_or_default();
        if payload["reset"] == true {
            self.0.remove(name);
            if entries.is_empty() {
                return Ok(());
            }
        }
        let mut wrong = Ok(());
        let view = self.0.entry(name.to_owned()).or_default();
        if payload["reset"] == true {
            view.first = entries[0]["seq"].as_u64().unwrap_or(1);
        }
        for line in &entries {
            let (seq, seen) = entry(line, line["kind"] == "message").ok_or("no entry")?;
            // What was acknowledged only, or told beyond a hole, may be what Redis has lost since.
            let certain = view.entries.get(&seq).is_some_and(|known| known.told);
            if view.take(seq, seen.clone()) == Taken::Wrong {
                view.entries.split_off(&seq);
                view.take(seq, seen);
                if certain {
                    wrong = Err(format!("{line} contradicts what was told, and no reset"));
                }
            }
        }
        wrong
    }

    /// The last entry of which it is certain what came before.
    pub fn position(&self, conversation: &str) -> Option<(u64, String)> {
        let view = self.0.get(conversation)?;
        let end = view.end();
        let mut told = view.entries.range(..=end).rev();
        let (seq, seen) = told.find(|(_, seen)| seen.told)?;
        Some((*seq, seen.id.clone()))
    }

    /// How far a conversation is known without a hole.
    pub fn end(&self, conversation: &str) -> u64 {
        self.0.get(conversation).map_or(0, View::end)
    }

    /// Whether nothing is missing anywhere.
    pub fn are_whole(&self) -> bool {
        self.0.values().all(View::is_whole)
    }
}

fn entry(payload: &Value, has_words: bool) -> Option<(u64, Seen)> {
    let seen = Seen {
        id: payload["id"].as_str()?.to_owned(),
        prev: payload["prev"].as_str().map(str::to_owned),
        words: payload["message"]
            .as_str()
            .filter(|_| has_words)
            .map(str::to_owned),
        told: true,
    };
    Some((payload["seq"].as_u64()?, seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn push(seq: u64, id: &str, prev: &str) -> Value {
        json!({"conversation": "c", "seq": seq, "id": id, "prev": prev, "from": "staff", "message": id})
    }

    #[test]
    fn what_fits_is_taken_and_acks_do_not_move_the_position() {
        let mut views = Views::default();
        let first = json!({"conversation": "c", "seq": 1, "id": "a"});
        assert_eq!(views.push(&first), Some(Taken::New));
        assert_eq!(views.push(&push(3, "c", "b")), Some(Taken::New));
        assert!(!views.are_whole());
        assert_eq!(views.position("c"), Some((1, "a".into())));
        let ack = json!({"ref": "m1", "conversation": "c", "seq": 2, "id": "b"});
        assert_eq!(views.acked(&ack), Some(Taken::New));
        assert!(views.are_whole());
        assert_eq!(views.position("c"), Some((3, "c".into())));
        let ack = json!({"ref": "m2", "conversation": "c", "seq": 4, "id": "d"});
        views.acked(&ack);
        assert_eq!(views.position("c"), Some((3, "c".into())), "still");
        assert_eq!(views.push(&push(3, "c", "b")), Some(Taken::Known));
        assert_eq!(views.push(&push(5, "e", "x")), Some(Taken::Wrong));
        assert_eq!(views.push(&push(3, "y", "b")), Some(Taken::Wrong));
    }

    #[test]
    fn a_history_goes_on_and_a_reset_begins_anew() {
        let mut views = Views::default();
        let entries = json!([{"seq": 1, "id": "a", "kind": "assigned"},
            {"seq": 2, "id": "b", "prev": "a", "kind": "message", "message": "hi"}]);
        let history = json!({"conversation": "c", "entries": entries});
        assert_eq!(views.history(&history), Ok(()));
        assert_eq!(views.0["c"].entries[&2].words.as_deref(), Some("hi"));
        let other = json!([{"seq": 2, "id": "x", "prev": "a", "kind": "message", "message": "ho"}]);
        let history = json!({"conversation": "c", "entries": other});
        assert!(views.history(&history).is_err());
        let newest = json!([{"seq": 7, "id": "g", "prev": "f", "kind": "message", "message": "7"}]);
        let history = json!({"conversation": "c", "entries": newest, "reset": true});
        assert_eq!(views.history(&history), Ok(()));
        assert!(views.are_whole());
        assert_eq!(views.position("c"), Some((7, "g".into())));
        let gone = json!({"conversation": "c", "entries": [], "reset": true});
        assert_eq!((views.history(&gone), views.position("c")), (Ok(()), None));
    }
}
