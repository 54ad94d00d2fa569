//! Defects that a test switches on, to see that the simulation, or a check of the defect's room, finds them.
//! Outside tests there are none: [`on`] is a constant there.

/// A defect that may be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Recovery leaves its last order's scan to live slices, behind the filter's end.
    RecoveryUnfinished,
    /// Stages that are due wait for a task.
    StagesForgotten,
    /// Matches are handed on with the wrong namespace.
    WrongNamespace,
    /// An action that the snapshot lacks is not applied again.
    SkipsOrder,
    /// Actions that the snapshot has are applied again.
    RepeatsOrders,
    /// A stage due at the very moment of a snapshot is active in it, applied or not.
    StageOfMomentEarly,
    /// Such a stage is not active, applied or not.
    StageOfMomentLate,
    /// A snapshot that is found is not made to last before anything rests on it.
    SnapshotNotAdopted,
    /// Partitions are told before the journal is durable.
    ToldBeforeDurable,
    /// An action is given the server's time where that is before the last one's.
    DecidesInThePast,
    /// Of a partner's cursors the first counts after a restart.
    OldestCursor,
    /// After a restart the match log goes on an offset too far.
    LogStartsLate,
    /// A reader inside of the open chunk gets it from its start.
    ReadsFromChunk,
    /// An update does not raise the version.
    VersionKept,
    /// An update tells nobody new.
    UpdateWithoutScan,
    /// Alerts do not expire.
    NoExpiry,
    /// A part begins at its first stage, whenever it starts.
    PartAtFirstStage,
    /// A stage at the instant of expiry is applied.
    StageAtExpiry,
    /// Scans find devices that are not known any more.
    ForgottenScanned,
    /// A match carries a ping's time though the alert was published later.
    EnterBeforePublication,
    /// A ping moves its device before an unfinished scan has judged it.
    MovesUnjudged,
    /// Stale pings are taken.
    StaleTaken,
    /// Who is told by a ping is not noted.
    ToldNotNoted,
    /// An index that grows loses an entry of each block.
    GrowthLosesEntry,
    /// Who is forgotten is forgotten for good, notified or not.
    ForgetsNotified,
    /// Who was forgotten keeps a row when nobody will tell it anything.
    DepartedStay,
    /// Partitions that become others stand each at a time of its own.
    DealtAtOwnTimes,
    /// A preview counts devices that are not known any more.
    PreviewCountsForgotten,
    /// A journal that is written anew has no cursors.
    CompactionForgetsCursors,
    /// A journal that is written anew has its first records only.
    CompactionLosesAction,
    /// The old journal is removed before the new one has its name.
    OldJournalGoesFirst,
    /// After a crash the old journal is removed before the new one's name lasts.
    RenameNotAdopted,
    /// A journal is written anew on a disk without room for it.
    CompactsFullDisk,
    /// Cursors are written on a full disk.
    CursorsFillDisk,
    /// Retention does not look at cursors.
    CursorsNotKept,
    /// Retention looks at cursors that a crash would take.
    CursorsInMemoryCount,
    /// A partner that owes nothing is cut off for what the server has not sent.
    WhoOwesNothingIsCutOff,
    /// A new device has the notified set of one that was there.
    RowKeepsSet,
    /// A notified set that nobody has stays.
    SetsStay,
    /// A match log keeps in memory what is kept on the disk, however much.
    OldChunksStay,
    /// New alerts are taken on a full disk.
    FullDiskTakesAlerts,
    /// Memory drops matches that are not kept yet.
    UnkeptGo,
    /// Of an alert that is yet to be published again nobody counts as notified.
    ForgetsWhoIsNoted,
    /// Pings are said to be kept before the ping log shows them.
    KeptUnsynced,
    /// A batch is said to be kept when its first part is.
    FirstPartKept,
    /// A ping log keeps what the newest snapshot needs, not what the older one needs.
    PingLogTrimmedToNewest,
    /// Pings of the ping log are not applied again.
    SkipsPingLog,
    /// Orders that recovery carried out are not entered in the ping log.
    AppliedOrdersNotLogged,
    /// Stages are not entered in the ping log.
    StagesNotLogged,
    /// Pings of the ping log are applied again at the time of the restart.
    LoggedPingsAtNow,
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

/// What a new thread does, with the defect of the thread that starts it.
#[cfg(test)]
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let planted = PLANTED.get();
    move || {
        plant(planted);
        work()
    }
}

/// What a new thread does.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    work
}

/// Fails where a check passes though the defect is there. That it passes without is for a test of its own.
#[cfg(test)]
pub(crate) fn must_be_found(defect: Defect, check: impl FnOnce()) {
    plant(Some(defect));
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    plant(None);
    assert!(checked.is_err(), "{defect:?} is not found");
}

#[cfg(test)]
impl Defect {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::LogNotNoted,
        Self::UpdatesNotFiltered,
        Self::UpdatesAllFiltered,
        Self::CancelsNotFiltered,
        Self::FirstVersionKept,
        Self::RecoveryUnfinished,
        Self::StagesForgotten,
        Self::WrongNamespace,
        Self::SkipsOrder,
        Self::RepeatsOrders,
        Self::StageOfMomentEarly,
        Self::StageOfMomentLate,
        Self::SnapshotNotAdopted,
        Self::ToldBeforeDurable,
        Self::DecidesInThePast,
        Self::OldestCursor,
        Self::LogStartsLate,
        Self::ReadsFromChunk,
        Self::VersionKept,
        Self::UpdateWithoutScan,
        Self::NoExpiry,
        Self::PartAtFirstStage,
        Self::StageAtExpiry,
        Self::ForgottenScanned,
        Self::EnterBeforePublication,
        Self::MovesUnjudged,
        Self::StaleTaken,
        Self::ToldNotNoted,
        Self::GrowthLosesEntry,
        Self::ForgetsNotified,
        Self::DepartedStay,
        Self::DealtAtOwnTimes,
        Self::PreviewCountsForgotten,
        Self::CompactionForgetsCursors,
        Self::CompactionLosesAction,
        Self::OldJournalGoesFirst,
        Self::RenameNotAdopted,
        Self::CompactsFullDisk,
        Self::CursorsFillDisk,
        Self::CursorsNotKept,
        Self::CursorsInMemoryCount,
        Self::WhoOwesNothingIsCutOff,
        Self::RowKeepsSet,
        Self::SetsStay,
        Self::OldChunksStay,
        Self::FullDiskTakesAlerts,
        Self::UnkeptGo,
        Self::ForgetsWhoIsNoted,
        Self::KeptUnsynced,
        Self::FirstPartKept,
        Self::PingLogTrimmedToNewest,
        Self::SkipsPingLog,
        Self::AppliedOrdersNotLogged,
        Self::StagesNotLogged,
        Self::LoggedPingsAtNow,
    ];
}
