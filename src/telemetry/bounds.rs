//! What can fill: each bound of `limits` that a running engine can reach, with how full it is.
//!
//! Who holds a queue either says how full it is whenever that changes ([`Bounds::set`]), or is
//! asked at each scrape ([`Bounds::watch`]), which costs the queue nothing. Where a bound holds for
//! each of many (a session, a partition), the fullest is shown.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lock;
use crate::limits::*;

macro_rules! bounds {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, [$($limit:ident),+];)+) => {
        /// A bound that can be reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bound {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bound {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// The most that there may be: the product of its limits.
            pub fn max(self) -> u64 {
                match self { $(Self::$name => 1 $(* $limit as u64)+),+ }
            }

            /// The names in `limits`.
            pub fn limits(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$(stringify!($limit)),+]),+ }
            }
        }
    };
}

bounds! {
    /// Pings that wait for their partitions.
    PingsQueued = "pings_queued", [PINGS_QUEUED_MAX];
    /// Orders and previews that wait for the partition where most do.
    OrdersQueued = "orders_queued", [ORDERS_QUEUED_MAX];
    /// Ping sources of which the last safe batch is known.
    Sources = "sources", [SOURCES_MAX];
    /// QUIC connections.
    Connections = "connections", [CONNECTIONS_MAX];
    /// Connections of the identity that has most.
    IdentityConnections = "identity_connections", [CONNECTIONS_PER_IDENTITY_MAX];
    /// Sessions of all connections.
    Sessions = "sessions", [CONNECTIONS_MAX, SESSIONS_PER_CONNECTION_MAX];
    /// Pings taken and not yet applied, of the session that has most.
    UnappliedPings = "unapplied_pings", [UNAPPLIED_PINGS_MAX];
    /// Batches taken and not yet applied, of the session that has most.
    UnappliedBatches = "unapplied_batches", [UNAPPLIED_BATCHES_MAX];
    /// Versions of alerts that the subscription with most remembers to have shown.
    VersionsShown = "versions_shown", [VERSIONS_SHOWN_MAX];
    /// Alerts that the desk holds, ended ones included.
    Alerts = "alerts", [ALERTS_MAX];
    /// Bytes of their newest versions.
    AlertBytes = "alert_bytes", [ALERTS_BYTES_MAX];
    /// Bytes of the versions kept for subscribers.
    AlertVersionBytes = "alert_version_bytes", [ALERT_VERSIONS_BYTES_MAX];
    /// Actions that wait for the event clock.
    ActionsWaiting = "actions_waiting", [ACTIONS_WAITING_MAX];
    /// Bytes of the actions that wait.
    ActionsWaitingBytes = "actions_waiting_bytes", [ACTIONS_WAITING_BYTES_MAX];
    /// Rejections of waiting actions that are remembered; full is no trouble.
    Rejections = "rejections", [REJECTIONS_KEPT];
    /// Reports of sightings that wait, on all alerts.
    Reports = "reports", [REPORTS_TOTAL_MAX];
    /// Reports that wait on the alert with most.
    AlertReports = "alert_reports", [REPORTS_MAX];
    /// Bytes of records of the action journal that are not synced yet.
    JournalWaitingBytes = "journal_waiting_bytes", [JOURNAL_WAITING_BYTES_MAX];
    /// Cursors of partners, connected or not; the oldest is forgotten where it is full.
    Cursors = "cursors", [CURSORS_MAX];
    /// Bytes of the match logs in memory; full is no trouble where readers keep up.
    MatchLogBytes = "match_log_bytes", [MATCH_LOGS_BYTES_MAX];
    /// Reads of old matches from the disk that are under way; further ones wait.
    ColdReads = "cold_reads", [COLD_READS_MAX];
    /// Alerts whose first match is awaited, for the histogram.
    FirstMatchesAwaited = "first_matches_awaited", [FIRST_MATCHES_AWAITED_MAX];
    /// HTTP connections.
    HttpConnections = "http_connections", [HTTP_CONNECTIONS_MAX];
}

type Watch = Box<dyn Fn() -> u64 + Send + Sync>;

/// How full every bound is.
#[derive(Default)]
pub struct Bounds {
    set: [AtomicU64; Bound::ALL.len()],
    watched: Mutex<Vec<(Bound, Watch)>>,
    alerts_active: Mutex<Option<Watch>>,
}

impl Bounds {
    /// It is so full now.
    pub fn set(&self, bound: Bound, used: u64) {
        self.set[bound as usize].store(used, Relaxed);
    }

    /// Whom to ask how full it is. `used` must be quick and may not scrape.
    pub fn watch(&self, bound: Bound, used: impl Fn() -> u64 + Send + Sync + 'static) {
        lock(&self.watched).push((bound, Box::new(used)));
    }

    /// Whom to ask how many alerts are active now.
    pub fn watch_alerts_active(&self, active: impl Fn() -> u64 + Send + Sync + 'static) {
        *lock(&self.alerts_active) = Some(Box::new(active));
    }

    /// How many alerts are active now.
    pub fn alerts_active(&self) -> u64 {
        lock(&self.alerts_active).as_ref().map_or(0, |active| active())
    }

    /// How full it is: what was set, or the most that those who are asked say.
    pub fn used(&self, bound: Bound) -> u64 {
        let watched = lock(&self.watched);
        let asked = watched.iter().filter(|(of, _)| *of == bound).map(|(_, used)| used());
        asked.fold(self.set[bound as usize].load(Relaxed), u64::max)
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Limits that nothing fills while an engine runs, and why. Times (`_MS`) are none either.
    const NOT_FILLED: &[(&str, &[&str])] = &[
        (
            "sizes of one thing, checked when it comes",
            &[
                "ACCURACY_M_MAX",
                "SNAPSHOT_ASIDE_BYTES_MAX",
                "JOURNAL_SEGMENT_BYTES",
                "JOURNAL_READ_BYTES",
                "SNAPSHOTS_KEPT",
                "SNAPSHOT_BLOCKS_QUEUED_MAX",
                "SNAPSHOT_DEBT_BYTES_MAX",
                "RECOVERY_READ_BYTES",
                "RADIUS_KM_MAX",
                "STAGES_MAX",
                "PARTS_MAX",
                "POLYGON_CORNERS_MAX",
                "SHAPES_MAX",
                "DEVICE_NAME_BYTES_MAX",
                "NAMESPACE_BYTES_MAX",
                "ALERT_ID_BYTES_MAX",
                "ALERT_JSON_BYTES_MAX",
                "IDENTITY_NAME_BYTES_MAX",
                "GRANT_NAMESPACES_MAX",
                "GRANT_BYTES_MAX",
                "PEM_BYTES_MAX",
                "PING_BATCH_PINGS_MAX",
                "BATCH_HEAD_BYTES",
                "PING_BATCH_BYTES_MAX",
                "PING_COLUMNS_HEAD_BYTES",
                "PING_COLUMNS_BYTES_MAX",
                "MATCH_BATCH_MATCHES_MAX",
                "MATCH_HEAD_BYTES",
                "MATCH_ROW_BYTES",
                "MATCH_BATCH_BYTES_MAX",
                "MATCH_RUN_BYTES",
                "MATCH_COLUMNS_BYTES_MAX",
                "HELLO_BYTES_MAX",
                "SMALL_FRAME_BYTES_MAX",
                "ERROR_TEXT_BYTES_MAX",
                "CONTROL_BYTES_MAX",
                "SOURCE_NAME_BYTES_MAX",
                "HTTP_HEADERS_MAX",
                "HTTP_HEADER_BYTES_MAX",
                "HTTP_BODY_BYTES_MAX",
                "LIST_MAX",
                "JOURNAL_POLICY_BYTES_MAX",
                "REPORT_REASON_BYTES_MAX",
                "LOG_RECORD_BYTES_MAX",
                "LOG_GROUP_BYTES_MAX",
                "LOG_READ_BYTES_MIN",
                "LOG_READ_BYTES_MAX",
                "SNAPSHOT_BLOCK_BYTES_MAX",
                "SNAPSHOT_MANIFEST_BYTES_MAX",
            ],
        ),
        ("set at the start", &["PARTITIONS_MAX", "NAMESPACES_MAX"]),
        (
            "how work is cut, not how much of it there may be",
            &[
                "MATCH_CHUNK",
                "MATCH_CHUNK_AT_ONCE",
                "MATCH_CHUNK_COST",
                "BATCH_QUEUE_COST_MIN",
                "SCAN_SLICE_DEVICES",
                "CONNECTIONS_UNPROVEN_MAX",
                "MATCH_TIMES_KEPT",
                "JOURNAL_BYTES_MIN",
                "JOURNAL_GARBAGE_FACTOR",
                "JOURNAL_RECORD_COST",
                "LOG_SEGMENT_BYTES",
                "LOG_INDEX_BYTES",
                "SNAPSHOT_WRITE_BYTES",
                "SNAPSHOT_READ_BYTES",
            ],
        ),
        ("held against each partner, which `hexcast_partner_lag` shows", &["LAG_MATCHES_MAX"]),
        ("a partner's share of `cold_reads`", &["COLD_READS_PER_PARTNER_MAX"]),
        (
            "kept by QUIC, which does not say how full they are",
            &["STREAM_WINDOW_BYTES", "CONNECTION_WINDOW_BYTES", "SEND_WINDOW_BYTES"],
        ),
        ("threads that are always there", &["MEMORY_THREADS"]),
        (
            "of tools, not of the engine",
            &[
                "BAD_ROWS_SHARE_MAX",
                "SOURCE_KEEPS_BYTES",
                "REPLAY_BATCH_PINGS",
                "REPLAY_EPOCH_PINGS",
                "CSV_LINE_BYTES_MAX",
                "ACTION_LINE_BYTES_MAX",
                "ACTIONS_MAX",
                "WARNINGS_MAX",
                "DEVICE_NAMES_MAX",
                "TOWERS_MAX",
            ],
        ),
    ];

    #[test]
    fn every_limit_that_can_fill_is_shown() {
        let named: Vec<&str> = include_str!("../limits.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
            .collect();
        assert!(named.len() > 60, "the limits were not found");
        let shown: BTreeSet<&str> = Bound::ALL.iter().flat_map(|bound| bound.limits()).copied().collect();
        let exempt: BTreeSet<&str> = NOT_FILLED.iter().flat_map(|(_, names)| *names).copied().collect();
        for name in &named {
            let is_time = name.contains("_MS");
            assert!(
                is_time || shown.contains(name) || exempt.contains(name),
                "{name} has no metric: add it to `bounds!`, or to NOT_FILLED with a reason"
            );
        }
        for name in exempt {
            assert!(named.contains(&name) && !shown.contains(name), "{name} is gone, or is shown");
        }
    }

    #[test]
    fn labels_differ_and_maxima_are_those_of_limits() {
        let labels: BTreeSet<&str> = Bound::ALL.iter().map(|bound| bound.as_str()).collect();
        assert_eq!(labels.len(), Bound::ALL.len());
        assert!(Bound::ALL.iter().all(|bound| bound.max() > 0));
        assert_eq!(Bound::Sessions.max(), CONNECTIONS_MAX as u64 * u64::from(SESSIONS_PER_CONNECTION_MAX));
    }

    #[test]
    fn what_is_set_or_asked_for_is_shown() {
        let bounds = Bounds::default();
        bounds.set(Bound::Connections, 3);
        bounds.watch(Bound::PingsQueued, || 7);
        bounds.watch(Bound::PingsQueued, || 5);
        bounds.watch_alerts_active(|| 2);
        let used = [Bound::Connections, Bound::PingsQueued, Bound::Alerts].map(|bound| bounds.used(bound));
        assert_eq!((used, bounds.alerts_active()), ([3, 7, 0], 2));
    }
}
