//! Webhooks of a real cluster, received by servers in the test that answer, fail, hang, and worse.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod addresses;
mod deliveries;
mod documented;
mod encrypted;
mod failures;
mod isolation;
mod managing;
mod receiver;
mod site;
mod takeover;
