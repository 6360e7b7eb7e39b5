//! What is to be told, one slot for each connection and conversation: the latest word counts, at most one
//! goes out per interval, and the last one always does.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use frontdesk_shared::{
    ids::{ClientId, ConversationId},
    redis::Redis,
};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::Said;
use crate::{link::Link, metrics::METRICS};

/// Shortest time between two tellings of a connection in one conversation.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Most slots of all sockets together.
const MAX_SLOTS: usize = 8192;
/// Most slots of one connection: more conversations than anybody types in at once.
const MAX_PER_CONNECTION: usize = 8;

/// The sockets' side and the role's.
#[derive(Debug)]
pub(crate) struct Typing {
    slots: Mutex<Slots>,
    /// Something is ready.
    ready: Notify,
    pub(super) link: Link,
}

type Key = (ClientId, Option<ConversationId>);

#[derive(Debug, Default)]
struct Slots {
    /// The word that waits to be told, if there is one.
    waiting: HashMap<Key, Option<Said>>,
    /// How many slots each connection has.
    held: HashMap<ClientId, usize>,
    /// Slots whose word may be told now.
    ready: VecDeque<Key>,
    /// The others, by when the next word may be told: all wait equally long, so in order.
    resting: VecDeque<(Instant, Key)>,
}

impl Typing {
    pub(crate) fn new(redis: Redis) -> Self {
        Self {
            slots: Mutex::default(),
            ready: Notify::new(),
            link: Link::new(redis),
        }
    }

    /// Another Redis may be the one to ask.
    pub(crate) fn renew(&self) {
        self.link.renew();
    }

    /// Takes the latest word; never waits.
    pub(crate) fn say(&self, said: Said) {
        let taken = self.lock().say(said);
        match taken {
            Taken::First => self.ready.notify_one(),
            Taken::Later => {}
            Taken::Dropped => METRICS.typing.dropped.inc(),
        }
    }

    /// What is to be told next, at most so many, as soon as there is something.
    pub(super) async fn next(&self, most: usize) -> Vec<Said> {
        loop {
            let (batch, wake) = self.lock().take(Instant::now(), most);
            if !batch.is_empty() {
                return batch;
            }
            match wake {
                Some(at) => select! {
                    () = self.ready.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.ready.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // No code that runs under the lock can leave the slots half changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It can be told at once.
    First,
    /// It waits for its turn, in the place of any word before it.
    Later,
    Dropped,
}

impl Slots {
    fn say(&mut self, said: Said) -> Taken {
        let key = (said.client.clone(), said.conversation.clone());
        if let Some(slot) = self.waiting.get_mut(&key) {
            *slot = Some(said);
            return Taken::Later;
        }
        let held = self.held.get(&said.client).copied().unwrap_or(0);
        if self.waiting.len() >= MAX_SLOTS || held >= MAX_PER_CONNECTION {
            return Taken::Dropped;
        }
        self.held.insert(said.client.clone(), held + 1);
        self.waiting.insert(key.clone(), Some(said));
        self.ready.push_back(key);
        Taken::First
    }

    /// What may be told now; and, if that is nothing, when to look again.
    fn take(&mut self, now: Instant, most: usize) -> (Vec<Said>, Option<Instant>) {
        while self.resting.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.resting.pop_front()
        {
            if self.waiting.get(&key).is_some_and(Option::is_some) {
                self.ready.push_back(key);
            } else {
                self.forget(&key);
            }
        }
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some(key) = self.ready.pop_front()
        {
            batch.extend(self.waiting.get_mut(&key).and_then(Option::take));
            self.resting.push_back((now + INTERVAL, key));
        }
        (batch, self.resting.front().map(|(at, _)| *at))
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.remove(key);
        let (client, _) = key;
        match self.held.get_mut(client) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.held.remove(client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_shared::{
        ids::{BootId, Site, Uid},
        protocol::Lang,
    };

    fn said(client: &ClientId, conversation: &str, on: bool) -> Said {
        Said {
            site: Site::parse("default").expect("valid"),
            uid: Uid::parse("alice").expect("valid"),
            lang: Lang::En,
            client: client.clone(),
            conversation: ConversationId::parse(conversation).ok(),
            on,
        }
    }

    fn somebody() -> ClientId {
        ClientId::random(&BootId::random())
    }

    fn ons(batch: &[Said]) -> Vec<bool> {
        batch.iter().map(|said| said.on).collect()
    }

    #[test]
    fn a_flood_is_one_word_per_interval_and_the_last_is_told() {
        let (mut slots, client, now) = (Slots::default(), somebody(), Instant::now());
        assert_eq!(slots.say(said(&client, "a", true)), Taken::First);
        assert_eq!(ons(&slots.take(now, 9).0), [true]);
        for _ in 0..100 {
            assert_eq!(slots.say(said(&client, "a", true)), Taken::Later);
        }
        slots.say(said(&client, "a", false));
        let (early, wake) = slots.take(now + INTERVAL / 2, 9);
        assert_eq!((ons(&early), wake), (vec![], Some(now + INTERVAL)));
        assert_eq!(ons(&slots.take(now + INTERVAL, 9).0), [false]);
        // Silence ends it; nothing is kept.
        let (nothing, wake) = slots.take(now + 2 * INTERVAL, 9);
        assert_eq!((ons(&nothing), wake), (vec![], None));
        assert!(slots.waiting.is_empty() && slots.held.is_empty());
        assert_eq!(slots.say(said(&client, "a", true)), Taken::First);
    }

    #[test]
    fn conversations_and_connections_do_not_push_each_other_out() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let (flood, other) = (somebody(), somebody());
        for n in 0..100 {
            let taken = slots.say(said(&flood, &format!("a{n}"), true));
            assert_eq!(taken == Taken::First, n < MAX_PER_CONNECTION);
        }
        assert_eq!(slots.say(said(&other, "a1", false)), Taken::First);
        let (first, _) = slots.take(now, MAX_PER_CONNECTION);
        assert_eq!(first.len(), MAX_PER_CONNECTION);
        assert_eq!(ons(&slots.take(now, 9).0), [false]);
        slots.take(now + INTERVAL, 9);
        assert!(slots.waiting.is_empty() && slots.held.is_empty());
    }
}
