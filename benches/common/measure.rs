//! Clocks, memory, the machine.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used: what others take of a shared core is not in it.
pub fn cpu_now() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// Time by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Processor time of the thread.
    pub cpu: Duration,
    /// By the clock on the wall.
    pub wall: Duration,
}

impl Spent {
    /// What `act` takes.
    pub fn on<T>(act: impl FnOnce() -> T) -> (T, Self) {
        let (wall, cpu) = (Instant::now(), cpu_now());
        let done = act();
        (done, Self { cpu: cpu_now() - cpu, wall: wall.elapsed() })
    }
}

impl Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, wall: self.wall + other.wall }
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), wall: self.wall.saturating_sub(other.wall) }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Spent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Bytes of memory that this process holds.
pub fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1_024
}

/// The middle one; 0 of none.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The processor in a line, for the figures' sake.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("processor: {}, {cores} cores", name.unwrap_or("unknown").trim())
}
