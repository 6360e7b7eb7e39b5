//! Every transition on a real Redis, and on a Redis Cluster of one node, where a key of another slot
//! would be refused: the state before, the call, and every key, value and TTL after. Each call is
//! made by two clients at once and then again: it takes effect once.
//!
//! A change is written as lines: `-` was, `+` is, `>` was told. Names stand for ids: `alice.1` is
//! alice's first connection, `g1` its gateway, `e3` the third event, `e3.1` the first thing it made.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]
#![allow(
    clippy::too_many_lines,
    reason = "most lines of a test are what is expected"
)]

/// Each test once on a plain Redis and once on a Redis Cluster.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod standalone {
            $(#[tokio::test]
            async fn $name() {
                super::$name(frontdesk_tests::redis_server::Options::default()).await;
            })*
        }
        mod one_node_cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(frontdesk_tests::redis_server::Options::default().cluster()).await;
            })*
        }
    };
}

mod askers;
mod connections;
mod crowds;
mod customers;
mod direct;
mod hook_acts;
mod hook_calls;
mod hook_hand;
mod hooks;
mod identity;
mod idle;
mod left;
mod limits;
mod lists;
mod lost;
mod marks;
mod membership;
mod recall;
mod requests;
mod resume;
mod retention;
mod scene;
mod shard;
mod staff;
mod words;
