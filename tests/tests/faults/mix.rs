//! Everything at random.

use frontdesk_tests::drill::faults::Kind;

use crate::{cluster, drill, rounds};

/// Memory of the programs is printed, for who looks whether it grows over a long mix.
#[tokio::test]
async fn anything_may_happen() {
    let mut drill = drill(cluster().proxies()).await;
    for _ in 0..rounds(6) {
        drill.anything().await;
        drill.progress(40).await;
    }
    drill.print_memory(Kind::Gateway);
    drill.print_memory(Kind::Worker);
    drill.finish().await;
}
