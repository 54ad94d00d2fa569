//! What the benches share: a country's pings made outside of the timed region, a partition that is
//! watched while it takes them, clocks and memory.
//!
//! Each bench is a plain program: `cargo bench --bench NAME -- --help` lists its options. Run as a
//! test (without the `--bench` that `cargo bench` adds) it only shows that it runs.

#![allow(dead_code, unused_imports, reason = "no bench uses all of it")]
#![expect(unreachable_pub, reason = "shared by the benches, each of which is a crate")]
#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]

mod alerts;
mod measure;
mod watched;
mod world;

pub use alerts::{SCAN_KM, cancel, circle, publish, publish_at};
pub use measure::{Spent, cpu_now, median, processor, rss_bytes};
pub use watched::{Longest, Watched};
pub use world::{BATCH, CHUNK, Chunk, START, World};

/// A page-wise allocator: the one that the program runs with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Devices of a run that only shows that the bench works.
pub const DEVICES_OF_A_TEST: u64 = 20_000;

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds.
pub fn ms(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
