//! How long this machine let nobody run, so that a limit of time can leave it out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A thread that asks for a short sleep, again and again, and sums up how much longer it took.
#[derive(Debug)]
pub struct Stalls(Arc<AtomicU64>);

impl Stalls {
    /// Begins to watch; ends with the value.
    pub fn watch() -> Self {
        const NAP: Duration = Duration::from_millis(10);
        let total = Arc::new(AtomicU64::new(0));
        let sum = Arc::downgrade(&total);
        std::thread::spawn(move || {
            while let Some(sum) = sum.upgrade() {
                let began = Instant::now();
                std::thread::sleep(NAP);
                let over = began.elapsed().saturating_sub(2 * NAP);
                let over = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
                sum.fetch_add(over, Ordering::Relaxed);
            }
        });
        Self(total)
    }

    /// The sum until now.
    pub fn so_far(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
