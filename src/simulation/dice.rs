//! What makes a run one of a kind and the same again: random numbers from the seed, and the trace
//! of what happened, as a hash and, when asked, as lines.

use crate::store::faulty::Chance;

/// What the seed decides.
pub(super) struct Dice(Chance);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Another sequence than the disk's.
        Self(Chance::new(seed ^ 0x517c_c1b7_2722_0a95))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    pub(super) fn range(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from + 1) as usize) as i64
    }

    /// True in one of `n` cases.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What happened.
pub(super) struct Trace {
    pub(super) hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(told: bool) -> Self {
        Self { hash: 0, lines: told.then(Vec::new) }
    }

    /// Something happened: a word and its numbers.
    pub(super) fn note(&mut self, what: &'static str, numbers: &[i64]) {
        self.hash = mix(self.hash ^ what.len() as u64 ^ u64::from(what.as_bytes()[0]) << 32);
        for number in numbers {
            self.hash = mix(self.hash.wrapping_add(*number as u64));
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{what} {numbers:?}"));
        }
    }

    /// The last lines.
    pub(super) fn tail(&self, count: usize) -> String {
        let lines = self.lines.as_deref().unwrap_or_default();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

/// Names a set of situations that a run counts.
macro_rules! situations {
    ($($name:ident: $text:literal,)*) => {
        /// What must have happened in a run of enough seeds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Situation { $($name,)* }

        impl Situation {
            pub(super) const TEXTS: &[&str] = &[$($text,)*];
        }
    };
}

situations! {
    Publish: "alert published",
    Update: "alert updated",
    UpdateRevives: "update brings an alert back from expiry",
    Sighting: "sighting confirmed",
    Cancel: "alert cancelled",
    CancelExpired: "expired alert cancelled",
    ActionRejected: "action rejected by the alert's life",
    ActionDoubled: "action delivered twice",
    ActionResent: "authority unsure, asks again",
    Enter: "match by a ping",
    Escalation: "match by a stage",
    ScanMeetsPing: "ping taken into an unfinished scan",
    ScanMeetsOrder: "order waits for an unfinished scan",
    PingStale: "stale ping",
    PingFuture: "ping ahead of the server's clock",
    Forgotten: "device forgotten and back",
    ForgottenTold: "forgotten device hears of an update or the end",
    BatchDoubled: "batch delivered twice",
    StreamCut: "ping stream cut, the rest lost",
    ZombieStream: "batch of a stream that another has replaced",
    AckLost: "acknowledgement of pings lost",
    AckOld: "acknowledgement of pings overtaken by a later one",
    Kill: "process killed",
    PowerCut: "power cut",
    CrashInSync: "crash in the middle of a sync",
    CrashInRecovery: "crash while recovering",
    CrashHalfTold: "crash with some partitions told of an order",
    CrashMidScan: "crash in the middle of a scan",
    CrashUnconfirmed: "crash with an action not yet durable",
    CrashUnsynced: "crash with matches not yet durable",
    LogCompleted: "recovery emits what the log lacked",
    LogSuppressed: "recovery emits nothing that the log has",
    HalfUpdate: "update completed after a crash",
    HalfCancel: "cancellation completed after a crash",
    NotedUnknown: "device noted as notified that is not known",
    OutageTwoStages: "outage over two stages of an alert",
    OutageExpiry: "outage over an expiry",
    ClockBack: "server's clock set back",
    ClockBackRestart: "clock set back over a restart",
    ClockAhead: "server's clock a day ahead",
    ClockStalled: "server's clock stands",
    PartnerReplay: "partner reads offsets again after a crash",
    PartnerResumes: "partner resumes from its cursor",
    PartnerLies: "acknowledgement past the end",
    PartnerOldAck: "acknowledgement of an old offset",
    PartnerZombie: "partner reads and never acknowledges",
    MatchesLost: "matches lost on the way to a partner",
    TornTail: "torn tail cut off",
    TailCopied: "records that no seal named copied at the start",
    FailedSync: "sync failed, the process ended",
    DiskFull: "disk full at a sync",
    ActionRefusedFull: "new alert refused, the disk was full",
    BitFlip: "bits flipped at rest",
    Misdirected: "write misdirected or torn by the disk",
    DamageFound: "damage found, nothing served",
    Snapshot: "snapshot finished",
    SnapshotRestored: "restart from a snapshot",
    SnapshotSkipped: "unfinished or uncovered snapshot not taken",
    SnapshotDamaged: "damaged snapshot not taken",
    SnapshotMidCrash: "crash during a snapshot",
    SnapshotWaits: "snapshot waits for the match log",
    StagePending: "snapshot with a stage due at its very moment",
    LogTrimmed: "segments of a match log removed",
    TrimmedByAge: "matches removed that a partner of long ago has not acknowledged",
    OffsetGone: "partner's cursor is gone, it begins with the earliest",
    CutOffMatches: "partner cut off: too many matches wait",
    CutOffAge: "partner cut off: a match waits too long",
    CutOffSilent: "partner cut off: it is silent",
    PartitionsWait: "partitions wait: memory is full of matches that are not kept",
    CursorsWait: "cursors wait for room on the disk",
    Compacted: "action journal written anew",
    CrashInCompaction: "crash while the action journal is written anew",
    Dealt: "restart with another number of partitions",
    DealtUneven: "such a restart where partitions stood at different times",
    Growth: "crash while a table grows or shrinks",
    GrowthSaved: "snapshot of a table that grows or shrinks",
    RowReused: "row of a forgotten device taken by another while its alert stands",
    Preview: "preview counted",
    Idle: "partition forgets and gives memory back at leisure",
    WeeksPass: "weeks pass",
    RenameUndone: "rename undone by a power cut",
    PingsKept: "pings safe by a ping log",
    PingsAgain: "pings applied again from a ping log",
    DurableSwitched: "ping logs switched on or off over a restart",
    Covered: "snapshot that ping logs need before anything is served",
    SafeDamaged: "(limit) damage took a snapshot with pings that were safe, and was told",
    PingLogsGo: "ping logs that no snapshot names removed",
    PingsWait: "pings wait for room",
    SourceResumes: "source goes on where the server says",
    SourcesLogBehind: "server knew less of a source than that was told",
    LimitReached: "(limit) a misdirected write took records and their seal, which no snapshot knew yet",
    EndReached: "faults stopped, everything due arrived",
}

/// How often each situation happened.
#[derive(Clone)]
pub(super) struct Seen(pub(super) Vec<u64>);

impl Default for Seen {
    fn default() -> Self {
        Self(vec![0; Situation::TEXTS.len()])
    }
}

impl Seen {
    pub(super) fn hit(&mut self, what: Situation) {
        self.0[what as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}
