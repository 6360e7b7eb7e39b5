//! Looks up names of receivers: each name once at a time, whoever asks, and never with all threads for names that
//! are not found.
//!
//! The system's way to look a name up cannot be ended: with dead name servers it keeps its thread for half a
//! minute. So names that were not found have few of the lookups, those that nobody knows yet have half, and
//! the others always have some.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// How the addresses of a name are found; may block.
pub type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Most names that are looked up at once: each takes a thread, also when nobody waits for it any more.
const MAX_LOOKUPS: usize = 24;
/// Most of them of names that nobody knows yet.
const MAX_UNKNOWN: usize = 12;
/// Most of them of names that were not found at last.
const MAX_FAILED: usize = 4;
/// For how long a name that was not found is not looked up again.
const FAILED_FOR: Duration = Duration::from_secs(3);
/// Most names that are remembered.
const MAX_NAMES: usize = 10_000;

/// The name has no address that can be found now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name was not found")]
pub(super) struct NotFound;

type Found = Result<Vec<IpAddr>, NotFound>;

/// What is known of a name.
enum Known {
    UnderWay(watch::Receiver<Option<Found>>),
    Found,
    Failed(Instant),
}

/// Lookups, and what is remembered of names.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Arc<Lookup>,
    remembered: Arc<Mutex<HashMap<String, Known>>>,
    all: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
    failed: Arc<Semaphore>,
}

impl Names {
    pub(super) fn new(lookup: Arc<Lookup>) -> Self {
        Self {
            lookup,
            remembered: Arc::default(),
            all: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            unknown: Arc::new(Semaphore::new(MAX_UNKNOWN)),
            failed: Arc::new(Semaphore::new(MAX_FAILED)),
        }
    }

    /// The addresses of a name, looked up now; of one that is being looked up, what that finds.
    pub(super) async fn find(&self, name: &str) -> Found {
        let mut answer = self.begin(name)?;
        let found = answer.wait_for(Option::is_some).await;
        let found = found.map_err(|_| NotFound)?;
        found.clone().unwrap_or(Err(NotFound))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing under this lock can panic.
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, name: &str) -> Result<watch::Receiver<Option<Found>>, NotFound> {
        let mut known = self.known();
        let share = match known.get(name) {
            Some(Known::UnderWay(answer)) => return Ok(answer.clone()),
            Some(Known::Failed(at)) if at.elapsed() < FAILED_FOR => return Err(NotFound),
            Some(Known::Failed(_)) => Some(&self.failed),
            Some(Known::Found) => None,
            None => Some(&self.unknown),
        };
        if known.len() >= MAX_NAMES {
            known.retain(|_, known| matches!(known, Known::UnderWay(_)));
            if known.len() >= MAX_NAMES {
                return Err(NotFound);
            }
        }
        let (tell, answer) = watch::channel(None);
        known.insert(name.to_owned(), Known::UnderWay(answer.clone()));
        let looking = self
            .clone()
            .look_up(name.to_owned(), share.map(Arc::clone), tell);
        // It goes on when nobody waits for it any more.
        tokio::spawn(looking);
        Ok(answer)
    }

    async fn look_up(
        self,
        name: String,
        share: Option<Arc<Semaphore>>,
        tell: watch::Sender<Option<Found>>,
    ) {
        // The semaphores are never closed.
        let _of_share = match &share {
            Some(share) => share.acquire().await.ok(),
            None => None,
        };
        let _one = self.all.acquire().await.ok();
        let (lookup, asked) = (Arc::clone(&self.lookup), name.clone());
        let looked = tokio::task::spawn_blocking(move || lookup(&asked)).await;
        let found = looked.map_err(|_| NotFound);
        let found = found.and_then(|found| found.map_err(|_| NotFound));
        let known = match found {
            Ok(_) => Known::Found,
            Err(NotFound) => Known::Failed(Instant::now()),
        };
        self.known().insert(name, known);
        tell.send_replace(Some(found));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_asks_for_the_same_name_is_answered_by_one_lookup() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let names = Names::new(Arc::new(move |_: &str| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().map(|wait| wait.recv());
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        }));
        go.send(()).expect("somebody looks up");
        for found in join_all((0..5).map(|_| names.find("a.test"))).await {
            assert_eq!(found, Ok(vec![IpAddr::from([127, 0, 0, 1])]));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // What was found is not remembered.
        drop(go);
        assert!(names.find("a.test").await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn names_that_hang_leave_lookups_to_those_that_were_found() {
        let (end, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let names = Names::new(Arc::new(move |name: &str| {
            if name != "good.test" {
                let _ = hang.lock().map(|hang| hang.recv());
                return Err(io::Error::other("no name server answers"));
            }
            Ok(Vec::new())
        }));
        assert_eq!(names.find("good.test").await, Ok(Vec::new()));
        let hanging: Vec<_> = (0..2 * MAX_LOOKUPS)
            .map(|n| {
                let names = names.clone();
                tokio::spawn(async move { names.find(&format!("{n}.test")).await })
            })
            .collect();
        while names.unknown.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(names.find("good.test").await, Ok(Vec::new()));
        drop(end);
        for one in hanging {
            assert_eq!(one.await.expect("no panic"), Err(NotFound));
        }
        // For a while that is known, without a lookup.
        assert!(matches!(names.known()["0.test"], Known::Failed(_)));
        assert_eq!(names.find("0.test").await, Err(NotFound));
    }
}
