//! Waiting for an event with a deadline, which is the only way tests wait.

use std::time::{Duration, Instant};

/// How long anything that should simply happen may take, on a slow machine too.
pub const DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer; panics with `what` after `limit`. Returns the answer and
/// how long it took.
pub async fn within<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return (answer, start.elapsed());
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// [`within`] the usual [`DEADLINE`], for callers who do not mind how long it took.
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, DEADLINE, probe).await.0
}

/// [`until`] for callers without async.
pub fn until_blocking<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(POLL);
    }
}
