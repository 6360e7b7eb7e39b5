//! Frames, good and bad, in three deliveries, and all that is answered to them.

use super::{
    rows::{self, Row},
    wire::{Delivery, exchange},
};
use crate::harness::Bench;

/// The longest row that is sent byte by byte.
const SHORT: usize = 1024;

/// Sends every row that way, and tells of all that were not answered as they should be.
async fn check(delivery: Delivery) {
    let bench = Bench::start().await;
    let mut wrong = Vec::new();
    for row in rows::all() {
        if delivery == Delivery::ByteByByte && row.sent.len() > SHORT {
            continue;
        }
        let hang_up = row.what.starts_with("the stream ends");
        let answers = exchange(bench.address, &row.sent, delivery, hang_up).await;
        if answers != row.answers {
            let Row {
                section,
                what,
                answers: expected,
                ..
            } = row;
            wrong.push(format!(
                "§{section} {what}: expected {expected:?}, got {answers:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn frames_after_the_handshake_are_answered_as_the_rfc_says() {
    check(Delivery::AfterTheHandshake).await;
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_answered_alike() {
    check(Delivery::WithTheHandshake).await;
}

#[tokio::test]
async fn frames_that_come_byte_by_byte_are_answered_alike() {
    check(Delivery::ByteByByte).await;
}
