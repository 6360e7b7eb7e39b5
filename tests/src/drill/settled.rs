//! Whether somebody of a drill has settled, and what they wait for while they have not.

use std::sync::{Mutex, PoisonError};

/// Nothing is owed to them, and they owe nothing; or what is.
#[derive(Debug)]
pub struct Settled {
    who: String,
    owed: Mutex<Option<&'static str>>,
}

impl Settled {
    /// Somebody who has only come.
    pub fn new(who: String) -> Self {
        Self {
            who,
            owed: Mutex::new(Some("all")),
        }
    }

    /// What is owed now, if anything.
    pub fn set(&self, owed: Option<&'static str>) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = owed;
    }

    /// Who it is and what is owed; nothing once they have settled.
    pub(super) fn owed(&self) -> Option<String> {
        let owed = *self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.map(|owed| format!("{} is owed {owed}", self.who))
    }
}
