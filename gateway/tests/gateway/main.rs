//! The gateway against a real Redis: each test starts its own server and its own gateway.

// clippy.toml allows it in `#[test]` functions; the harness around them is test code, too.
#![allow(clippy::expect_used)]

mod bad_input;
mod busy;
mod client_js;
mod conformance;
mod door;
mod harness;
mod life;
mod log;
mod membership;
mod process;
mod pushes;
mod resume;
mod roll_call;
