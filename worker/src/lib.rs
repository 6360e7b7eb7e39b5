//! The Frontdesk worker, and the library that runs an [`app::App`] on the event log.
//!
//! The path of one event: [`lane::reader`] reads it from its lane's stream, [`lane::apply`] decodes
//! it, the App ([`desk`]) prepares its transition, [`library`] calls the one script that applies
//! it (`lua/apply.lua`), and [`lane::acks`] tells the sender once the reply is here.
//!
//! Around it: [`membership`] says which workers live, [`lane::lease`] which lanes are ours,
//! [`timers`] drives the clocks of the shards whose lane 0 we hold, [`reaper`] finds dead gateways, [`hooks`] delivers
//! webhooks.
//! [`operator`] is what the program does instead for people: `status`, `watch`, `dead`.

pub mod app;
pub mod config;
pub mod desk;
pub mod hooks;
pub mod lane;
pub mod library;
pub mod membership;
pub mod metrics;
pub mod operator;
pub mod reaper;
pub mod run;
pub mod timers;
