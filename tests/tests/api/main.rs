//! The HTTP API against real gateways and workers.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod asking;
mod messages;
