//! Defects that a test switches on, to see that the simulation finds them. Outside tests there are
//! none: [`on`] is a constant there.

/// A defect that may be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "some are named in test code only"))]
pub(crate) enum Defect {
    /// Matches that the log holds are not noted after a restart.
    LogNotNoted,
    /// After a restart updates are emitted again, whatever the log holds.
    UpdatesNotFiltered,
    /// An update is taken for logged where its device was notified, of whatever version.
    UpdatesAllFiltered,
    /// A cancellation is emitted again, whatever the log holds.
    CancelsNotFiltered,
    /// The filter takes the first logged version of a device, not the newest.
    FirstVersionKept,
    /// The filter stays on after recovery.
    FilterStays,
    /// Recovery leaves its last order's scan to live slices, behind the filter's end.
    RecoveryUnfinished,
    /// Stages that are due wait for a task.
    StagesForgotten,
    /// Matches are handed on with the wrong namespace.
    WrongNamespace,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Whether a defect is switched on in this thread.
#[cfg(test)]
pub(crate) fn on(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

/// No defect is on outside tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn on(_: Defect) -> bool {
    false
}

/// Switches a defect on in this thread, or all off.
#[cfg(test)]
pub(crate) fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}
