//! Who held the run back: the load generator judges itself before anybody judges the server.
//!
//! An open loop that kept its schedule was held back by nobody. Otherwise, and as fast as
//! acknowledgements allow, something was: the processors that generator and server share (with others, it
//! may be), the generator itself (its sessions made and encoded pings nearly all the time, while the server would have taken
//! more), or the server (sessions waited for it). Only in the last case a figure says what the server can do.

use serde::Serialize;

/// Share of the processors in use from which on they are all busy.
const CORES_BUSY: f64 = 0.9;
/// Share of its time that a session works from which on it is the bottleneck.
const SESSION_BUSY: f64 = 0.8;
/// Share of the pings due that a schedule which was kept has sent.
const SENT_SHARE: f64 = 0.99;
/// How late the 99th percentile of a schedule that was kept may be, ms.
const LATE_MS: f64 = 50.0;

/// Who held it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bottleneck {
    /// Nobody: the schedule was kept.
    None,
    Server,
    Generator,
    /// Both run here, and all processors are in use.
    Processors,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Whether there was a schedule.
    pub(crate) open_loop: bool,
    pub(crate) due: u64,
    pub(crate) sent: u64,
    /// By how much sending was late, ms, 99th percentile of pings.
    pub(crate) late_p99_ms: f64,
    /// Share of its time that the busiest session made and encoded pings.
    pub(crate) busiest: f64,
    /// Share of their time that sessions waited for the server or the network.
    pub(crate) waiting: f64,
    /// Processors that the generator used, on average.
    pub(crate) own_cores: Option<f64>,
    /// Processors that the engine used, where it runs here.
    pub(crate) engine_cores: Option<f64>,
    /// Processors of this machine in use by anybody, on average.
    pub(crate) busy_cores: Option<f64>,
    /// Processors of this machine.
    pub(crate) cores: usize,
}

/// Who held the run back, and a sentence on it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) bottleneck: Bottleneck,
    pub(crate) says: String,
}

impl Known {
    pub(crate) fn verdict(&self) -> Verdict {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let kept = self.sent as f64 >= SENT_SHARE * self.due as f64 && self.late_p99_ms <= LATE_MS;
        if self.open_loop && kept {
            let says = "the schedule was kept: the times are the server's";
            return Verdict { bottleneck: Bottleneck::None, says: says.into() };
        }
        let behind = if self.open_loop {
            format!(
                "behind schedule ({} of {} pings due were sent, {:.0} ms late at p99): ",
                self.sent, self.due, self.late_p99_ms
            )
        } else {
            String::new()
        };
        let cores = self.cores as f64;
        let own = self.own_cores.unwrap_or_default();
        let (bottleneck, says) = match self.engine_cores {
            Some(engine) if self.busy_cores.unwrap_or_default().max(own + engine) >= CORES_BUSY * cores => {
                let others = (self.busy_cores.unwrap_or_default() - own - engine).max(0.0);
                let says = format!(
                    "the {cores} processors of this machine were all busy: generator {own:.2}, server {engine:.2}, \
                     others {others:.2}; with the generator elsewhere the server would take more"
                );
                (Bottleneck::Processors, says)
            }
            _ if self.busiest >= SESSION_BUSY => (
                Bottleneck::Generator,
                format!(
                    "the generator was the bottleneck, not the server: a session made and encoded pings {} of its \
                     time; use more --connections, or more machines",
                    percent(self.busiest)
                ),
            ),
            None if self.busy_cores.unwrap_or(own) >= CORES_BUSY * cores => (
                Bottleneck::Generator,
                format!(
                    "the generator was the bottleneck, not the server: the {cores} processors of its machine were all \
                     busy, {own:.2} of them with it; use more machines"
                ),
            ),
            _ => (
                Bottleneck::Server,
                format!("the server: sessions waited for it {} of their time", percent(self.waiting)),
            ),
        };
        Verdict { bottleneck, says: behind + &says }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_knows_when_it_is_the_bottleneck_itself() {
        let kept = Known {
            open_loop: true,
            due: 1_000,
            sent: 1_000,
            late_p99_ms: 1.5,
            busiest: 0.1,
            waiting: 0.05,
            own_cores: Some(0.3),
            engine_cores: Some(0.2),
            busy_cores: Some(0.6),
            cores: 4,
        };
        let max = Known { open_loop: false, waiting: 0.7, ..kept };
        for (known, bottleneck, says) in [
            (kept, Bottleneck::None, "the schedule was kept"),
            // A schedule that is kept by a busy generator is still kept.
            (Known { busiest: 0.95, ..kept }, Bottleneck::None, "the schedule was kept"),
            (
                Known { sent: 500, waiting: 0.9, ..kept },
                Bottleneck::Server,
                "500 of 1000 pings due were sent",
            ),
            (Known { late_p99_ms: 51.0, waiting: 0.9, ..kept }, Bottleneck::Server, "waited for it 90 %"),
            (Known { sent: 500, busiest: 0.9, ..kept }, Bottleneck::Generator, "90 % of its time"),
            (max, Bottleneck::Server, "the server: sessions waited for it 70 %"),
            (Known { busiest: 0.85, ..max }, Bottleneck::Generator, "not the server"),
            (
                Known { own_cores: Some(2.0), engine_cores: Some(1.7), ..max },
                Bottleneck::Processors,
                "the 4 processors of this machine were all busy: generator 2.00, server 1.70, others 0.00",
            ),
            (
                Known { engine_cores: Some(0.7), busy_cores: Some(3.7), ..max },
                Bottleneck::Processors,
                "generator 0.30, server 0.70, others 2.70",
            ),
            (
                Known { own_cores: Some(3.5), busy_cores: Some(3.9), engine_cores: None, ..max },
                Bottleneck::Generator,
                "all busy, 3.50 of them with it",
            ),
        ] {
            let verdict = known.verdict();
            assert_eq!(verdict.bottleneck, bottleneck, "{known:?}");
            assert!(verdict.says.contains(says), "{}", verdict.says);
        }
    }
}
