//! What users may ask to see, and what is said without being kept: pages of history, transcripts,
//! lists of conversations, typing; and the limits of what one user may send. Real processes.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod conversations;
mod direct;
mod faults;
mod limits;
mod pages;
mod readers;
mod scene;
mod supervisors;
mod transcript;
mod typing;
