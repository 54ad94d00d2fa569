//! The clock of patience: how long a partner has been silent is judged by it, and a test may
//! hold its hands.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Milliseconds that pass. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ticks(Source);

#[derive(Clone, Debug)]
enum Source {
    Real { begun: Instant },
    Hand(watch::Receiver<u64>),
}

/// Moves the clock of a test. Time stands still without it.
#[derive(Debug)]
pub struct TicksHand(watch::Sender<u64>);

impl TicksHand {
    /// Lets so many milliseconds pass.
    pub fn pass(&self, ms: u64) {
        self.0.send_modify(|now| *now += ms);
    }
}

impl Ticks {
    /// Time as it passes.
    pub fn real() -> Self {
        Self(Source::Real { begun: Instant::now() })
    }

    /// Time as a test has it.
    pub fn by_hand() -> (Self, TicksHand) {
        let (hand, ticks) = watch::channel(0);
        (Self(Source::Hand(ticks)), TicksHand(hand))
    }

    /// Milliseconds since it began.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::Real { begun } => u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Hand(ticks) => *ticks.borrow(),
        }
    }

    /// Waits until so many milliseconds have passed since it began.
    pub async fn reach(&self, ms: u64) {
        match &self.0 {
            Source::Real { begun } => match begun.checked_add(Duration::from_millis(ms)) {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            },
            Source::Hand(ticks) => {
                // Where the hand is gone, time stands still.
                if ticks.clone().wait_for(|now| *now >= ms).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}
