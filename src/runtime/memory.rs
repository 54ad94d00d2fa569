//! Threads that have memory given to the tables before pings need it (`engine::give_memory`), one set a process.

use std::sync::Once;

use crate::limits::MEMORY_THREADS;

/// Starts them, where they do not run. They end with the process and wait where nothing is wanted; without one, each
/// partition touches its memory itself.
pub fn give_memory() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        for n in 0..MEMORY_THREADS {
            let started = std::thread::Builder::new()
                .name(format!("memory-{n}"))
                .spawn(|| crate::engine::give_memory());
            if let Err(why) = started {
                tracing::warn!("no thread gives memory ahead: {why}");
            }
        }
    });
}
