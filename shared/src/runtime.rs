//! The threads of a program.

use tokio::runtime::{Builder, Runtime};

/// A runtime of so many threads. One needs no other to be woken and shares nothing, which is cheaper per
/// message; so it has a runtime of its own kind.
pub fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()
}
