//! What is asked by the HTTP API, by whoever is here or not, in the model: once for each key.

use frontdesk_shared::event::{Act, Request};

use super::{Acked, Field, Step, What};

/// What somebody is answered who has asked by a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The words are stored; whether they are kept for the staff.
    Acked(Acked, bool),
    /// What a connection would be told.
    Told(What),
    /// It was refused, for this reason.
    Refused(&'static str),
}

/// What was asked under a key.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    key: String,
    act: Act,
    answer: Answer,
}

impl Step<'_> {
    pub(super) fn request(&mut self, request: &Request) {
        let key = request.key.to_string();
        let mut asked = self.m.asked.get(&self.actor).into_iter().flatten();
        if let Some(asked) = asked.find(|asked| asked.key == key) {
            let same = asked.act == request.act;
            let answer = asked.answer.clone();
            self.effect.again = same;
            self.effect.answer = Some(if same {
                answer
            } else {
                Answer::Refused("key_reused")
            });
            return;
        }
        let answer = self.answered(request);
        self.effect.answer = Some(answer.clone());
        let act = request.act.clone();
        let asked = self.m.asked.entry(self.actor.clone()).or_default();
        asked.push(Asked { key, act, answer });
    }

    /// Does it. What a connection would be told is the answer.
    fn answered(&mut self, request: &Request) -> Answer {
        let Act::Verb(verb) = &request.act else {
            panic!("nobody has webhooks or is revoked by a request in these lives");
        };
        let address = request.client.as_str();
        self.asking = true;
        let done = self.verb(address, request.role, verb);
        let told = std::mem::take(&mut self.effect.told).into_iter();
        let (mut mine, others) = told.partition::<Vec<_>, _>(|told| told.client == address);
        self.effect.told = others;
        match (done, self.effect.ack.take(), mine.pop()) {
            (Err(code), _, _) => Answer::Refused(code),
            (Ok(()), Some(ack), still_queued) => Answer::Acked(ack, still_queued.is_some()),
            (Ok(()), None, Some(told)) => Answer::Told(told.what),
            (Ok(()), None, None) => panic!("{request:?} has no answer"),
        }
    }

    /// Tells who asks by a request what a connection is not told.
    pub(super) fn answer(&mut self, client: &str, what: What) {
        if self.asking {
            self.tell_one(client, what);
        }
    }

    /// Tells a connection why its frame is refused.
    pub(super) fn refuse(&mut self, client: &str, key: &'static str, id: Option<String>) {
        let mut fields = Vec::new();
        if let Some(id) = id {
            fields.push(("ref", Field::Json(format!("\"{id}\""))));
        }
        if key == "bad_field" {
            fields.push(("field", Field::Json("\"to\"".to_owned())));
        }
        self.tell_one(client, What::Notice { key, fields });
    }
}
