//! Requests under way: whose answer goes where. A bounded table from a request's address to who waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use frontdesk_shared::ids::{BootId, ClientId};
use tokio::sync::oneshot;

use crate::front::MAX_REQUESTS;

/// Most requests of one gateway that wait for their answer.
pub(crate) const MAX_UNDER_WAY: usize = MAX_REQUESTS;

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<ClientId, oneshot::Sender<Bytes>>>);

/// One that waits; dropping it gives its place up.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Calls>,
    /// Where its answer goes.
    pub(crate) client: ClientId,
    answer: oneshot::Receiver<Bytes>,
}

impl Calls {
    /// A place and an address for one more, if there is one.
    pub(crate) fn begin(self: &Arc<Self>, boot: &BootId) -> Option<Call> {
        let (answer, waiting) = oneshot::channel();
        let client = ClientId::random(boot);
        let mut table = self.lock();
        if table.len() >= MAX_UNDER_WAY {
            return None;
        }
        table.insert(client.clone(), answer);
        drop(table);
        Some(Call {
            calls: Arc::clone(self),
            client,
            answer: waiting,
        })
    }

    /// Hands an answer over; false if nobody waits for it (any more).
    pub(crate) fn answer(&self, client: &str, frame: Bytes) -> bool {
        let waiting = self.lock().remove(client);
        waiting.is_some_and(|waiting| waiting.send(frame).is_ok())
    }

    // A map is whole after any panic under its lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, oneshot::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Waits for the answer. Cancelling loses nothing.
    pub(crate) async fn answer(&mut self) -> Option<Bytes> {
        (&mut self.answer).await.ok() // its sender is dropped only with an answer
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.lock().remove(self.client.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_finds_who_waits_for_it_once() {
        let calls = Arc::new(Calls::default());
        let mut call = calls.begin(&BootId::random()).expect("room");
        let client = call.client.to_string();
        assert!(!calls.answer("somebody else", Bytes::new()));
        assert!(calls.answer(&client, Bytes::from_static(b"{}")));
        assert_eq!(call.answer().await, Some(Bytes::from_static(b"{}")));
        assert!(!calls.answer(&client, Bytes::new()), "answered before");
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let (calls, boot) = (Arc::new(Calls::default()), BootId::random());
        let mut under_way: Vec<Call> = std::iter::from_fn(|| calls.begin(&boot)).collect();
        assert_eq!(under_way.len(), MAX_UNDER_WAY);
        under_way.pop();
        assert!(calls.begin(&boot).is_some());
        let gone = under_way.pop().expect("many").client.to_string();
        assert!(!calls.answer(&gone, Bytes::new()));
    }
}
