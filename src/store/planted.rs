//! Defects that a test switches on to see them caught. Outside tests none exists: [`on`] is a constant.

/// A defect of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// What no seal names is shown where it lies, without a copy that is synced.
    NoTailCopy,
    /// The folder is not synced after a segment is made.
    NoFolderSync,
    /// What follows an unreadable record is taken too.
    SkipsUnreadable,
    /// The reader does not look at the check sum of what it returns.
    NoCheckOnRead,
    /// Recovery does not look at the check sum of a payload.
    NoCheckOnOpen,
    /// A group begins in the sector in which the one before ended.
    SharesSector,
    /// Visible is what is written, not what a synced seal names.
    VisibleTooEarly,
    /// A file is used on after a failed sync.
    IgnoresFailedSync,
    /// Recovery cuts at the first unreadable frame without a look for seals behind it.
    NoLookBehind,
    /// A frame's own position is not compared.
    NoPosition,
    /// A new segment does not say where the one before ends.
    ForgetsEnd,
    /// Segments are removed newest first.
    TrimsNewestFirst,
    /// What a full disk refused counts.
    FullCounts,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Whether this defect is switched on for this thread.
#[cfg(test)]
pub(super) fn on(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Whether this defect is switched on: never.
#[cfg(not(test))]
pub(super) const fn on(_: Plant) -> bool {
    false
}

/// Runs `work` with the defect.
#[cfg(test)]
pub(crate) fn with<T>(plant: Option<Plant>, work: impl FnOnce() -> T) -> T {
    PLANTED.set(plant);
    let done = work();
    PLANTED.set(None);
    done
}

#[cfg(test)]
impl Plant {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::NoTailCopy,
        Self::NoFolderSync,
        Self::SkipsUnreadable,
        Self::NoCheckOnRead,
        Self::NoCheckOnOpen,
        Self::SharesSector,
        Self::VisibleTooEarly,
        Self::IgnoresFailedSync,
        Self::NoLookBehind,
        Self::NoPosition,
        Self::ForgetsEnd,
        Self::TrimsNewestFirst,
        Self::FullCounts,
    ];
}
