//! What is measured of a server, and how figures are made of measurements.

use std::time::Duration;

use serde::Serialize;

use super::check::Differences;
use crate::machine;

/// The circles around the city, km.
pub(super) const RADII_KM: [f64; 4] = [1.0, 10.0, 100.0, 500.0];
/// Alerts of each radius; the median counts.
pub(super) const ALERTS: usize = 7;

/// What a server came to.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// Its name and version.
    pub(super) server: String,
    /// How it was set and spoken to.
    pub(super) settings: String,
    /// Positions taken in a second, from the first command to the last answer.
    pub(super) updates_per_second: f64,
    /// The same while alerts of all radii stand and tell of everybody who comes in; none where it has no
    /// such thing.
    pub(super) standing_updates_per_second: Option<f64>,
    /// How much of the time its core was busy with updates.
    pub(super) server_busy: Option<f64>,
    /// How much of the time the client's was.
    pub(super) client_busy: Option<f64>,
    /// What its memory grew by when it knew all devices, by device.
    pub(super) bytes_per_device: Option<f64>,
    pub(super) alerts: Vec<AlertMeasured>,
}

/// What the alerts of one radius came to.
#[derive(Debug, Serialize)]
pub(super) struct AlertMeasured {
    pub(super) radius_km: f64,
    /// Devices that it found.
    pub(super) matched: u64,
    /// From the command to the last byte of the last device, median.
    pub(super) ms: f64,
    /// The same by device; none where it found nobody.
    pub(super) ns_per_match: Option<f64>,
    pub(super) differences: Differences,
}

impl AlertMeasured {
    pub(super) fn new(radius_km: f64, matched: usize, took: Vec<Duration>, differences: Differences) -> Self {
        let ms = median(took).as_secs_f64() * 1e3;
        let ns_per_match = (matched > 0).then(|| ms * 1e6 / matched as f64);
        Self { radius_km, matched: matched as u64, ms, ns_per_match, differences }
    }
}

/// Pings that were sent and answered.
pub(super) struct Sent {
    pub(super) pings: u64,
    pub(super) took: Duration,
    server_cpu: Option<f64>,
    client_cpu: Option<f64>,
}

impl Sent {
    pub(super) fn per_second(&self) -> f64 {
        self.pings as f64 / self.took.as_secs_f64()
    }

    pub(super) fn server_busy(&self) -> Option<f64> {
        self.server_cpu.map(|seconds| seconds / self.took.as_secs_f64())
    }

    pub(super) fn client_busy(&self) -> Option<f64> {
        self.client_cpu.map(|seconds| seconds / self.took.as_secs_f64())
    }
}

/// The processor time of a server and of this process, from now on.
pub(super) struct Meter {
    server: u32,
    before: [Option<f64>; 2],
    begun: std::time::Instant,
}

impl Meter {
    pub(super) fn start(server: u32) -> Self {
        let before = [server, std::process::id()].map(machine::cpu_seconds);
        Self { server, before, begun: std::time::Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What came of it, so many pings being answered now.
    pub(super) fn stop(self, pings: u64) -> Sent {
        let took = self.begun.elapsed();
        let after = [self.server, std::process::id()].map(machine::cpu_seconds);
        let [server_cpu, client_cpu] =
            [0, 1].map(|i| after[i].zip(self.before[i]).map(|(after, before)| after - before));
        Sent { pings, took, server_cpu, client_cpu }
    }
}

/// What a server's memory grew by, by device.
pub(super) fn bytes_per_device(before: Option<u64>, after: Option<u64>, devices: u32) -> Option<f64> {
    let grown = after?.saturating_sub(before?);
    Some(grown as f64 / f64::from(devices))
}

/// The middle one, of an even number the lower; zero of none.
pub(super) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_made_as_they_say() {
        let ms = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(median(ms(&[9, 1, 5])), Duration::from_millis(5));
        assert_eq!(median(ms(&[4, 1])), Duration::from_millis(1));
        assert_eq!(median(vec![]), Duration::ZERO);
        let alert = AlertMeasured::new(10.0, 4, ms(&[2, 2, 8]), Differences::default());
        assert_eq!((alert.ms, alert.ns_per_match), (2.0, Some(500_000.0)));
        let nobody = AlertMeasured::new(10.0, 0, ms(&[2]), Differences::default());
        assert_eq!(nobody.ns_per_match, None);
        assert_eq!(bytes_per_device(Some(1_000), Some(5_000), 100), Some(40.0));
        assert_eq!(bytes_per_device(Some(5_000), Some(1_000), 100), Some(0.0));
        assert_eq!(bytes_per_device(None, Some(1), 100), None);
        let took = Duration::from_secs(2);
        let sent = Sent { pings: 3_000, took, server_cpu: Some(1.0), client_cpu: None };
        assert_eq!((sent.per_second(), sent.server_busy(), sent.client_busy()), (1_500.0, Some(0.5), None));
    }
}
