//! What can be asked, by subject.

pub(crate) mod messages;
pub(crate) mod webhooks;
