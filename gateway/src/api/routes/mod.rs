//! What can be asked, by subject.

pub(crate) mod conversations;
pub(crate) mod desk;
pub(crate) mod identity;
pub(crate) mod messages;
pub(crate) mod webhooks;
