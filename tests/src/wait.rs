//! Waiting for an event with a deadline, which is the only way tests wait.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::stalls::Stalls;

/// How long anything that should simply happen may take, on a slow machine too.
pub const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer; panics with `what` after `limit`, not counting the time for
/// which the machine let nobody run. Returns the answer and how long it took.
pub async fn within<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    let answer = ends_within(what, limit, async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    (answer, start.elapsed())
}

/// What `future` answers; panics as [`within`] does.
pub async fn ends_within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let (start, stalls) = (Instant::now(), Stalls::watch());
    let late = async {
        while start.elapsed() < limit + stalls.so_far() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        biased;
        answer = future => answer,
        () = late => panic!("not within {limit:?}, stalls of {:?} left out: {what}", stalls.so_far()),
    }
}

/// [`within`] the usual [`DEADLINE`].
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
