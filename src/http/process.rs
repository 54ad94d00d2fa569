//! What the kernel says about this process.

/// Bytes of memory that are resident; `None` where the kernel does not say (other than Linux).
pub(super) fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmRSS:  1234 kB` (proc_pid_status(5)); its kB are KiB.
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_bytes_are_read() {
        assert_eq!(resident_in("Name:\thexcast\nVmRSS:\t    1204 kB\nThreads:\t3\n"), Some(1_232_896));
        assert_eq!(resident_in("Name:\thexcast\n"), None);
        assert_eq!(resident_in("VmRSS: many kB\n"), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
