//! The HTTP API against real gateways and workers: who may ask what, that it is done once, and what is answered
//! when something fails.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod asking;
mod bounds;
mod conversations;
mod faults;
mod messages;
mod pages;
mod roles;
mod scene;
mod schema;
mod slow;
mod tokens;
