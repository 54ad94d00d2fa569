//! Whether the engine serves: starting, serving, stopping, and whether something broke for good.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use super::lock;

/// Where an engine is in its life. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It recovers what it kept, and opens its doors.
    Starting = 0,
    /// It takes pings and actions.
    Serving = 1,
    /// It takes nothing more, and applies what it took.
    Stopping = 2,
}

impl Phase {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// Why an engine is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// Where it is in its life.
    pub phase: Phase,
    /// Why, for people.
    pub why: String,
}

/// An engine's health.
#[derive(Debug, Default)]
pub struct Health {
    phase: AtomicU8,
    /// What it does until it serves.
    doing: Mutex<String>,
    fatal: OnceLock<String>,
}

impl Health {
    /// Says what the start is at, such as `reading the snapshot`.
    pub fn doing(&self, what: impl Into<String>) {
        *lock(&self.doing) = what.into();
    }

    /// The start is done: recovered, partitions run, doors are open.
    pub fn serving(&self) {
        self.phase.fetch_max(Phase::Serving as u8, Ordering::Relaxed);
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.phase.fetch_max(Phase::Stopping as u8, Ordering::Relaxed);
    }

    /// Something broke that only a restart mends. The first reason stands.
    pub fn fatal(&self, why: impl Into<String>) {
        let why = why.into();
        tracing::error!(why, "fatal: this process must be restarted");
        // A later reason is often a consequence of the first.
        let _ = self.fatal.set(why);
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    /// What broke for good.
    pub fn broken(&self) -> Option<&str> {
        self.fatal.get().map(String::as_str)
    }

    /// Whether pings and actions are taken now.
    pub fn ready(&self) -> Result<(), NotReady> {
        let phase = self.phase();
        let why = match (self.broken(), phase) {
            (Some(why), _) => why.to_owned(),
            (None, Phase::Serving) => return Ok(()),
            (None, Phase::Starting) => match lock(&self.doing).as_str() {
                "" => "the engine is starting".into(),
                doing => format!("the engine is starting: {doing}"),
            },
            (None, Phase::Stopping) => "the engine is shutting down".into(),
        };
        Err(NotReady { phase, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_between_start_and_end_unless_something_broke() {
        let why = |health: &Health| health.ready().err().map(|not| format!("{:?}: {}", not.phase, not.why));
        let health = Health::default();
        assert_eq!(why(&health).unwrap(), "Starting: the engine is starting");
        health.doing("reading the snapshot");
        assert_eq!(why(&health).unwrap(), "Starting: the engine is starting: reading the snapshot");
        health.serving();
        assert_eq!(why(&health), None);
        health.stopping();
        health.serving();
        assert_eq!(why(&health).unwrap(), "Stopping: the engine is shutting down");

        let health = Health::default();
        health.serving();
        assert_eq!(health.broken(), None);
        health.fatal("a sync failed");
        health.fatal("all else failed too");
        assert_eq!(health.broken(), Some("a sync failed"));
        assert_eq!(why(&health).unwrap(), "Serving: a sync failed");
    }
}
