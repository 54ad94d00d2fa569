//! What Linux tells of a process and of the machine, and what time it is there.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use hexcast::domain::EventTime;

/// Ticks of `/proc/*/stat` in a second: Linux has shown 100 to programs on every machine since
/// 2.6, whatever it counts with.
const TICKS_PER_SECOND: f64 = 100.0;

/// This machine's time.
pub(crate) fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes of memory that a process holds, where it can be told.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix(" kB")?
        .parse()
        .ok()?;
    Some(kib * 1_024)
}

/// Seconds of processor time that a process has used, where it can be told.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold anything; utime and stime are the
    // 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

/// Seconds that all processors of this machine together were in use, where it can be told.
pub(crate) fn busy_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let in_use = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|field| ticks.get(field));
    Some(in_use.sum::<f64>() / TICKS_PER_SECOND)
}

/// Seconds of processor time of this thread; where that cannot be told, of the wall's clock.
pub(crate) fn thread_seconds() -> f64 {
    let ns = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns: Option<f64> = ns.and_then(|text| text.split(' ').next()?.parse().ok());
    ns.map_or_else(|| now().0 as f64 / 1e3, |ns| ns / 1e9)
}

/// The machine in a line: processor, cores, memory, kernel.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let meminfo = read("/proc/meminfo");
    let kib: Option<f64> = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let gib = kib.unwrap_or_default() / (1 << 20) as f64;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpu}, {cores} cores, {gib:.1} GiB, {} {}", std::env::consts::OS, kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_machine() {
        assert!(rss_bytes(std::process::id()).unwrap() > 100_000);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(busy_seconds().unwrap() > 0.0 && thread_seconds() > 0.0);
        assert!(rss_bytes(0).is_none());
        assert!(describe().contains(" cores, "));
    }
}
