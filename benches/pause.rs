//! How long a scan keeps pings waiting: `cargo bench --bench pause`.
//!
//! A partition of 5 M devices (half a country of 10 M on two cores) scans circles; the longest
//! slice, in wall time, is the longest wait of a ping batch behind it.

#![expect(clippy::print_stdout, reason = "it prints its figures")]

mod common;

use std::time::{Duration, Instant};

use common::{populated, publish};
use hexcast::engine::Output;
use hexcast::limits::SCAN_SLICE_DEVICES;

const DEVICES: u64 = 5_000_000;

fn main() {
    println!("{}", processor());
    let mut partition = populated(DEVICES, true);
    let mut out = Output::default();
    for (no, radius_km) in [100.0, 500.0, 2_000.0].into_iter().enumerate() {
        let started = Instant::now();
        partition.order(&publish(no as u32, 34.0, 111.0, radius_km), no as u64, &mut out);
        let mut longest = started.elapsed();
        let (mut slices, mut matches, mut first) = (1, 0, None::<Duration>);
        loop {
            let slice = Instant::now();
            let more = partition.work(SCAN_SLICE_DEVICES, &mut out);
            longest = longest.max(slice.elapsed());
            slices += 1;
            matches += out.len();
            if !out.is_empty() {
                first.get_or_insert_with(|| started.elapsed());
            }
            out.clear();
            if !more {
                break;
            }
        }
        println!(
            "{DEVICES} devices, circle of {radius_km} km: {matches} matches in {:.1} ms, first after {:.2} ms, \
             {slices} slices, the longest {:.2} ms",
            started.elapsed().as_secs_f64() * 1e3,
            first.unwrap_or_default().as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3,
        );
    }
}

/// The processor's name, for the figure's sake.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    format!("processor:{}", name.unwrap_or(" unknown"))
}
