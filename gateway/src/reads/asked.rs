//! What one socket has asked: one question is answered at a time, page by page, a few wait.

use std::{collections::VecDeque, future::pending, sync::Arc};

use frontdesk_shared::{ids::MessageRef, protocol::read::Read};
use tokio::task::JoinHandle;

use super::{Answer, Asker, Step, refusal};
use crate::presence::Presence;

/// Most questions of a socket that wait while one is being answered.
const MAX_WAITING: usize = 3;

/// A socket's questions. Idle sockets pay for a pointer.
#[derive(Debug, Default)]
pub(crate) struct Asked(Option<Box<Questions>>);

#[derive(Debug)]
struct Questions {
    current: Current,
    waiting: VecDeque<Read>,
}

/// The page that comes next.
#[derive(Debug)]
enum Current {
    /// Not begun: the page before may still be on its way to the client.
    Next(Step),
    /// A task of its own, so that a slow socket keeps no permit, and one that ends cuts nothing off.
    Reading(JoinHandle<Answer>, Option<MessageRef>),
}

impl Asked {
    /// Takes a question, or gives it back when too many wait.
    pub(crate) fn ask(&mut self, read: Read) -> Result<(), Read> {
        match &mut self.0 {
            None => {
                self.0 = Some(Box::new(Questions {
                    current: Current::Next(Step::first(read)),
                    waiting: VecDeque::new(),
                }));
            }
            Some(questions) if questions.waiting.len() < MAX_WAITING => {
                questions.waiting.push_back(read);
            }
            Some(_) => return Err(read),
        }
        Ok(())
    }

    /// The next frame of an answer. Waits for ever while nothing is asked. Loses nothing when
    /// cancelled; the next page is read only when this is asked again.
    pub(crate) async fn answer(&mut self, presence: &Presence) -> String {
        let Some(questions) = &mut self.0 else {
            return pending().await;
        };
        if let Current::Next(step) = &questions.current {
            let reference = step.reference.clone();
            let (gateway, step) = (Arc::clone(&presence.gateway), step.clone());
            let asker = Asker {
                identity: presence.identity.clone(),
                client: Some(presence.client.clone()),
            };
            let reading = async move { gateway.reads.answer(&asker, step).await };
            questions.current = Current::Reading(tokio::spawn(reading), reference);
        }
        let Current::Reading(reading, reference) = &mut questions.current else {
            return pending().await; // never: it was begun above
        };
        let answer = reading.await.unwrap_or_else(|_panic| Answer {
            frame: refusal(presence.identity.lang, "internal", reference.as_ref()),
            rest: None,
        });
        let next = answer.rest;
        match next.or_else(|| questions.waiting.pop_front().map(Step::first)) {
            Some(step) => questions.current = Current::Next(step),
            None => self.0 = None,
        }
        answer.frame
    }
}
