//! The harness of the system tests: everything here is real (redis-server, the two programs,
//! haproxy, sockets), starts on ports of its own in a temporary directory, and ends with the test,
//! whatever way the test ends.
//!
//! - [`ports`] leases ports, [`child`] holds a process, [`pty`] one on a terminal, [`wait`] polls with a deadline
//!   that leaves out what [`stalls`] saw, [`http`]
//!   asks for a page, [`watchdog`] ends who is stuck.
//! - [`redis_server`] is one Redis with the shipped configuration, [`redis_users`] its users; usable alone and
//!   without async.
//! - [`process`] is one gateway or worker, [`cluster`] a Redis with several of both.
//! - [`tokens`] makes and forges identities.
//! - [`client`] is a WebSocket client that checks every text against [`table`]; [`raw`] is a socket
//!   that may break the protocol; [`peer`] starts clients of other make, [`bystanders`] talk next door.
//! - [`conversation_log`] reads what the cluster wrote down, [`load`] talks under faults and compares the two.
//! - [`drill`] lets people live on a cluster while faults are done to it, and checks what they lived through.
//! - [`lane_driver`] applies events of [`socket`]s without any process, [`redis_dump`] shows all that changed,
//!   [`desk_model`] is the desk once more in plain Rust, [`desk_state`] compares it with Redis.
//! - [`fuzz`] deals out seeded inputs, [`hostile`] makes them, [`key_table`] is the documented keyspace.
//! - [`proxy`] does to connections what networks do. [`dns`] answers for the names that haproxy looks up.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test harness a panic with a sentence is how a failure is reported"
)]

pub mod asking;
pub mod bystanders;
pub mod child;
pub mod client;
pub mod cluster;
pub mod conversation_log;
pub mod desk_model;
pub mod desk_state;
pub mod dns;
pub mod drill;
pub mod fuzz;
pub mod hostile;
pub mod http;
pub mod key_table;
pub mod lane_driver;
pub mod load;
pub mod peer;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod pty;
pub mod raw;
pub mod redis_dump;
pub mod redis_server;
pub mod redis_users;
pub mod socket;
pub mod stalls;
pub mod table;
pub mod tokens;
pub mod wait;
pub mod watchdog;
