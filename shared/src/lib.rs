//! What the Frontdesk gateway and worker agree on.
//!
//! The path of one message: a socket's text frame is decoded by [`protocol`], becomes an [`event`]
//! appended to the stream that [`ids`] and [`keys`] name; the worker's script answers with
//! [`push`]es published on the gateway's channel.
//!
//! [`hooks`] says what webhooks are, [`token`] makes identities, [`redis`] opens connections and judges the server's settings, [`stream`] reads entries,
//! [`config`] holds the settings both programs have, [`runtime`] is their threads, [`http`] serves a router with
//! bounded handshakes, [`telemetry`] is logs and metrics, [`output`] is what operators' commands print with.

pub mod config;
pub mod event;
pub mod hooks;
pub mod http;
pub mod ids;
pub mod keys;
pub mod output;
pub mod protocol;
pub mod push;
pub mod redis;
pub mod runtime;
pub mod stream;
pub mod telemetry;
pub mod token;
