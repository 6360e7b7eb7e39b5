//! Others than the drill's own people: programs of other make that live on its cluster. They say what
//! happens to them, and are judged by the same rules.

use std::{
    future::Future,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use serde_json::Value;

use super::{Act, Drill, Settled, history::What, person::Stage};

/// What guests need of the drill; clones are the same.
#[derive(Debug, Clone)]
pub struct Guests {
    stage: Stage,
}

impl Drill {
    /// For whoever lets guests in.
    pub fn guests(&self) -> Guests {
        Guests {
            stage: self.stage.clone(),
        }
    }

    /// Lets guests in: `settled` is theirs to set, and `lives` ends after they were told to leave.
    pub fn enter_guests(
        &mut self,
        settled: Arc<Settled>,
        lives: impl Future<Output = ()> + Send + 'static,
    ) {
        self.settled.push(settled);
        self.people.spawn(lives);
    }
}

impl Guests {
    /// What everybody is to do now.
    pub fn act(&self) -> Act {
        *self.stage.act.borrow()
    }

    /// Numbers a socket of a device, which resumes: `site/uid#device`.
    pub fn socket(&self, device: &str) -> u64 {
        let number = self.stage.sockets.fetch_add(1, Ordering::SeqCst) + 1;
        let devices = self.stage.devices.lock();
        let mut devices = devices.unwrap_or_else(PoisonError::into_inner);
        devices.insert(number, device.to_owned());
        number
    }

    /// Writes down what happened to somebody (`site/uid`) on a socket.
    pub fn note(&self, who: &str, socket: u64, what: What) {
        if matches!(&what, What::Told(frame) if is_ack(frame)) {
            self.stage.acks.fetch_add(1, Ordering::Relaxed);
        }
        self.stage.history.note(who, socket, what);
    }
}

fn is_ack(frame: &Value) -> bool {
    frame["action"] == "ack"
}
