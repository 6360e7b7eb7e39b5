//! The fault matrix.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use frontdesk_tests::{
    cluster::Cluster,
    drill::{Cast, Drill},
};

#[tokio::test]
async fn a_calm_day_breaks_nothing() {
    let drill = Drill::start(Cluster::builder(), Cast::default()).await;
    drill.progress(300).await;
    drill.finish().await;
}
