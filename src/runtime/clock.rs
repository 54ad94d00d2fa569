//! The server's time. The one place of the crate's core that reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::EventTime;

/// The server's time, as drivers ask for it; a simulation sets its own.
pub(crate) trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch; never before a time that was given earlier.
    fn now(&self) -> EventTime;
}

/// The wall clock, which never goes back within one process.
#[derive(Debug)]
pub(super) struct WallClock {
    newest: AtomicI64,
}

impl Default for WallClock {
    fn default() -> Self {
        Self { newest: AtomicI64::new(i64::MIN) }
    }
}

impl Clock for WallClock {
    /// Milliseconds since the Unix epoch; where the system's clock was set back, the newest time
    /// that was given before.
    fn now(&self) -> EventTime {
        let now = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        EventTime(self.newest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}
