//! Every bound of hexcast in one place: what it is, its unit, and why this value.
//!
//! A queue, frame, table or retry without a line here is a defect. What happens when a bound
//! is reached stands beside it.

/// Largest accuracy of a ping, metres (the rules' bound; a ping above it is rejected).
pub const ACCURACY_M_MAX: u32 = 100_000;
/// Largest radius of a stage, km (the rules' bound; a policy above it is rejected).
pub const RADIUS_KM_MAX: f64 = 5_000.0;
/// Most stages of a policy (the rules' bound).
pub const STAGES_MAX: usize = 100;
/// Most parts of an alert: its own area and its sightings (the rules' bound).
pub const PARTS_MAX: usize = 32;
/// Most corners in all rings of a polygon, closing corners not counted (the rules' bound).
pub const POLYGON_CORNERS_MAX: usize = 1_000;
/// Most shapes in one area. The rules name none; 64 shapes of 1,000 corners stay below a
/// megabyte of JSON. An area above it is rejected.
pub const SHAPES_MAX: usize = 64;

/// Longest device name in a ping file, bytes (the rules' bound; a longer one is a bad row).
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// Longest namespace name, bytes. Keeps log lines and frames short; a longer one is refused.
pub const NAMESPACE_BYTES_MAX: usize = 64;
/// Longest alert id, bytes. CAP identifiers in use stay below 100.
pub const ALERT_ID_BYTES_MAX: usize = 128;
/// Largest alert as JSON, bytes: photos are usually links; a few thumbnails fit too.
pub const ALERT_JSON_BYTES_MAX: usize = 1 << 20;

/// Share of bad rows in a ping file above which a command ends with an error.
pub const BAD_ROWS_SHARE_MAX: f64 = 0.01;

/// How far a ping's time may lie ahead of the server's, milliseconds, unless configured.
pub const CLOCK_SKEW_MS: i64 = 60_000;
/// How long a device is known after its newest ping, milliseconds, unless configured.
pub const MAX_AGE_MS: i64 = 24 * 3_600_000;

/// Most alerts that the desk holds, ended ones included. Publishing beyond it is rejected.
pub const ALERTS_MAX: usize = 100_000;
/// Most bytes of memory that the newest versions of all alerts take at the desk: JSON, content, areas as drawn and
/// as prepared for the partitions. A publication or update beyond it is rejected. 1 GiB is 100,000 alerts of 10 KiB
/// each, of which somewhat less than a half is JSON.
pub const ALERTS_BYTES_MAX: usize = 1 << 30;
/// Most actions that wait for their time on the event clock. A further one is refused.
pub const ACTIONS_WAITING_MAX: usize = 10_000;
/// Most bytes (roughly) of the actions that wait. A further one is refused.
pub const ACTIONS_WAITING_BYTES_MAX: usize = 256 << 20;
/// How many rejections of waiting actions the desk remembers for its list; the oldest go first.
pub const REJECTIONS_KEPT: usize = 1_000;
/// Most alerts in one list, the newest first. The list says how many there are.
pub const LIST_MAX: usize = 1_000;
/// Most unconfirmed sighting reports that wait on one alert. A further one is rejected.
pub const REPORTS_MAX: usize = 1_000;
/// Most unconfirmed sighting reports that wait on all alerts. A further one is rejected.
pub const REPORTS_TOTAL_MAX: usize = 20_000;

/// A journal smaller than this is never compacted, bytes: reading it takes a blink.
pub const JOURNAL_BYTES_MIN: u64 = 128 << 20;
/// A journal is compacted where it is so many times what still counts in it; each byte that counts
/// is then written again once for at least three that do not.
pub const JOURNAL_GARBAGE_FACTOR: u64 = 4;
/// What stands around a record in the journal, for the account of what counts in it, bytes.
pub const JOURNAL_RECORD_COST: usize = 64;
/// What an action's record may take beyond what it says itself, bytes: the stages that its policy's
/// name stood for.
pub const JOURNAL_POLICY_BYTES_MAX: usize = 16 * STAGES_MAX + 256;
/// Bytes of records that wait for the journal's disk: some dozen of the largest alerts. A further
/// one is refused.
pub const JOURNAL_WAITING_BYTES_MAX: usize = 64 << 20;
/// Length of a segment of the action journal, bytes: a group and then some. One in use and a spare one are
/// reserved from the first start on.
pub const JOURNAL_SEGMENT_BYTES: u64 = 32 << 20;
/// How much of the journal is read at once at a start, bytes.
pub const JOURNAL_READ_BYTES: usize = 1 << 20;
/// Longest reason of a rejected report that the journal keeps, bytes. A longer one is cut.
pub const REPORT_REASON_BYTES_MAX: usize = 1_024;

const _: () =
    assert!(JOURNAL_BYTES_MIN > 3 * JOURNAL_SEGMENT_BYTES, "reserved segments alone are no garbage");
const _: () = assert!(JOURNAL_SEGMENT_BYTES > 2 * LOG_GROUP_BYTES_MAX as u64, "half of one takes a group");
const _: () = assert!(LOG_RECORD_BYTES_MAX > CONTROL_BYTES_MAX, "the largest journal record fits its log");
const _: () = assert!(JOURNAL_GARBAGE_FACTOR > 1, "else a compacted journal is compacted again");
const _: () =
    assert!(JOURNAL_WAITING_BYTES_MAX > 8 * ALERT_JSON_BYTES_MAX, "several alerts may wait together");

/// Most matches in one chunk of a match log: a frame, the unit that is dropped, and the most that a
/// reader copies under the log's lock (some 256 KiB where runs are long, 1.3 MiB where each match
/// is a run of its own).
pub const MATCH_CHUNK: usize = 32_768;
/// An append of so many matches becomes chunks of its own at once; smaller ones gather in the
/// open chunk, so that no chunk is nearly empty but the last before a large append.
pub const MATCH_CHUNK_AT_ONCE: usize = 4_096;
/// What a chunk costs beside its bytes, at most, for the account of memory.
pub const MATCH_CHUNK_COST: usize = 256;
/// Most bytes of all match logs in memory, shared out evenly among the namespaces: 80 million
/// matches of one alert (8 bytes each), 16 million that come one by one (40 bytes). Beyond it a log
/// drops its oldest chunk; a reader that wanted it is told.
pub const MATCH_LOGS_BYTES_MAX: usize = 640 << 20;
/// Most bytes of all alert versions kept for subscribers, their JSON and what stands around it. Beyond it the oldest
/// superseded versions go first; an alert's newest version always stays.
pub const ALERT_VERSIONS_BYTES_MAX: usize = 2 << 30;

/// Matches that may wait for a partner's acknowledgement, unless configured: everybody of a large country a
/// dozen times over. A partner that lets more wait is cut off, and told why.
pub const LAG_MATCHES_MAX: u64 = 1 << 30;
/// How long a match may wait for a partner's acknowledgement, ms, unless configured. Who lets one wait
/// longer is cut off.
pub const LAG_AGE_MS_MAX: u64 = 24 * 3_600_000;
/// How long a partner may acknowledge nothing while matches wait, ms: long enough to hand on the largest
/// frame at a hundred notifications a second. Who is silent for longer is cut off.
pub const PARTNER_SILENT_MS_MAX: u64 = 330_000;
/// How often at least a partner that lags is looked at, ms.
pub const LAG_LOOK_MS: u64 = 1_000;
/// A partner's cursor is written at most this often, ms, and at the end of its session.
pub const CURSOR_WRITE_MS: u64 = 200;
/// Reads of old matches from the disk at a time, each on a thread of its own and of one chunk. A further one waits
/// for its turn, and with it one partner's session.
pub const COLD_READS_MAX: usize = 16;
/// Of these, how many one partner has, so that its sessions leave room for others.
pub const COLD_READS_PER_PARTNER_MAX: usize = 4;
/// Most cursors that are held, each of an identity in a namespace. Beyond it the one that stood still for
/// longest is forgotten.
pub const CURSORS_MAX: usize = 1 << 14;

const _: () = assert!(PARTNER_SILENT_MS_MAX >= 10 * MATCH_CHUNK as u64, "a chunk at a hundred a second");
const _: () = assert!(PARTNER_SILENT_MS_MAX < LAG_AGE_MS_MAX, "each bound says something of its own");
const _: () = assert!(MATCH_CHUNK as u64 <= LAG_MATCHES_MAX, "one frame cuts nobody off");
const _: () = assert!(2 * COLD_READS_PER_PARTNER_MAX <= COLD_READS_MAX, "no partner has most of them");

/// Most partitions of a server: one a core is enough, and no machine in sight has more cores.
pub const PARTITIONS_MAX: u32 = 256;
/// Most namespaces of a server: each costs a state machine in every partition.
pub const NAMESPACES_MAX: usize = 1_024;
/// Pings that may wait in the queues of all partitions together (20 bytes each, so 40 MiB).
/// When they are taken, submitting waits, the stream is not read, and QUIC holds the sender back.
pub const PINGS_QUEUED_MAX: u32 = 2 << 20;
/// What a batch or watermark takes of [`PINGS_QUEUED_MAX`] at least, so that small ones are
/// bounded in number too.
pub const BATCH_QUEUE_COST_MIN: u32 = 64;
/// Orders and previews that may wait for a partition; telling a further one waits.
pub const ORDERS_QUEUED_MAX: usize = 1_024;
/// Devices that a scan looks at before pings get their turn: about a millisecond of work.
pub const SCAN_SLICE_DEVICES: usize = 16_384;

/// Bytes of rows that changed while a snapshot is written and wait to be written themselves, for one
/// partition. At more, they are written before further pings are taken.
pub const SNAPSHOT_ASIDE_BYTES_MAX: usize = 4 << 20;

/// Pings of one batch of a replay, and how many go between two writes of matches (so a replay
/// holds the matches of that many pings, not of the whole file).
pub const REPLAY_BATCH_PINGS: usize = 8_192;
/// See [`REPLAY_BATCH_PINGS`].
pub const REPLAY_EPOCH_PINGS: usize = 1 << 20;

const _: () = assert!(PINGS_QUEUED_MAX <= i32::MAX as u32, "a semaphore counts them");
const _: () = assert!(PARTS_MAX <= u8::MAX as usize + 1, "a match names its part in a byte");
const _: () = assert!(STAGES_MAX <= u8::MAX as usize + 1, "a match names its stage in a byte");
const _: () = assert!(ACCURACY_M_MAX < 1 << 17, "a ping row holds the accuracy in 17 bits");
const _: () = assert!(
    ALERT_VERSIONS_BYTES_MAX >= ALERTS_BYTES_MAX,
    "the newest versions, which the desk bounds, must fit into what delivery keeps"
);
const _: () = assert!(200 * ALERT_JSON_BYTES_MAX < ALERTS_BYTES_MAX, "the largest alert must fit");
const _: () = assert!(MATCH_CHUNK_AT_ONCE <= MATCH_CHUNK, "what gathers fits a chunk");
const _: () = assert!(MATCH_COLUMNS_BYTES_MAX < MATCH_LOGS_BYTES_MAX, "a log holds at least a chunk");

/// Longest identity name, bytes: it is a file name and stands in log lines.
pub const IDENTITY_NAME_BYTES_MAX: usize = 64;
/// Most namespaces of one identity. A longer list is refused at issue and in a certificate.
pub const GRANT_NAMESPACES_MAX: usize = 64;
/// Largest grant in a certificate, bytes: name and namespaces at their longest fit. A larger
/// one is refused.
pub const GRANT_BYTES_MAX: usize = 8 << 10;
/// Largest key or certificate file that is read, bytes: a chain of a few certificates.
pub const PEM_BYTES_MAX: u64 = 64 << 10;

const _: () = assert!(
    GRANT_BYTES_MAX > GRANT_NAMESPACES_MAX * (NAMESPACE_BYTES_MAX + 3) + 256,
    "the largest grant fits its certificate"
);
const _: () = assert!(GRANT_BYTES_MAX < 1 << 16, "a grant's DER length has two bytes at most");

/// Most pings of a batch. Enough to spread the cost of a frame, few enough that a batch is
/// applied within milliseconds. A larger batch ends its session.
pub const PING_BATCH_PINGS_MAX: usize = 16_384;
/// Bytes before the rows of a ping batch.
pub const BATCH_HEAD_BYTES: usize = 24;
/// Largest ping batch, bytes without the frame's header.
pub const PING_BATCH_BYTES_MAX: usize = BATCH_HEAD_BYTES + PING_BATCH_PINGS_MAX * 20;
/// Bytes between the head and the columns of a ping batch by columns.
pub const PING_COLUMNS_HEAD_BYTES: usize = 32;
/// Largest ping batch by columns, bytes without the frame's header: no column takes more than in
/// rows, and eight zero bytes follow.
pub const PING_COLUMNS_BYTES_MAX: usize = PING_BATCH_BYTES_MAX + PING_COLUMNS_HEAD_BYTES + 8;
/// Most matches of a frame: 192 KiB. More go into further frames.
pub const MATCH_BATCH_MATCHES_MAX: usize = 4_096;
/// Bytes before the rows of a match batch.
pub const MATCH_HEAD_BYTES: usize = 16;
/// Bytes of a match on the wire.
pub const MATCH_ROW_BYTES: usize = 48;
/// Largest match batch, bytes without the frame's header.
pub const MATCH_BATCH_BYTES_MAX: usize = MATCH_HEAD_BYTES + MATCH_BATCH_MATCHES_MAX * MATCH_ROW_BYTES;
/// Bytes of a run on the wire: what its matches have in common.
pub const MATCH_RUN_BYTES: usize = 32;
/// Largest match batch by columns, bytes without the frame's header: a whole chunk of a log in
/// which each match is a run of its own.
pub const MATCH_COLUMNS_BYTES_MAX: usize = 24 + MATCH_CHUNK * (MATCH_RUN_BYTES + 8);
/// Largest hello or answer to it, bytes: names at their longest fit many times.
pub const HELLO_BYTES_MAX: usize = 1 << 10;
/// Largest frame of a few numbers, bytes.
pub const SMALL_FRAME_BYTES_MAX: usize = 256;
/// Longest line of an error frame, bytes. A longer one is cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 2 << 10;
/// Largest frame that carries JSON, bytes: an alert at its largest inside a view of it.
pub const CONTROL_BYTES_MAX: usize = 3 << 20;
/// Longest name of a ping source, bytes. A longer one is a bad hello.
pub const SOURCE_NAME_BYTES_MAX: usize = 64;
/// Most ping sources of which the last safe batch is kept; beyond that those go that have been without a session longest.
pub const SOURCES_MAX: usize = 4_096;

const _: () = assert!(CONTROL_BYTES_MAX > 2 * ALERT_JSON_BYTES_MAX, "an alert fits its frames");
const _: () = assert!(HELLO_BYTES_MAX > 4 * (NAMESPACE_BYTES_MAX + SOURCE_NAME_BYTES_MAX), "a hello fits");

/// Most QUIC connections. A further one is refused before its handshake.
pub const CONNECTIONS_MAX: usize = 256;
/// Most connections of one identity, so that one cannot take them all. A further one is closed.
pub const CONNECTIONS_PER_IDENTITY_MAX: usize = 64;
/// Connections from which on a newcomer must first prove its address (a QUIC retry).
pub const CONNECTIONS_UNPROVEN_MAX: usize = 32;
/// Sessions of one connection at a time. The peer cannot open more streams. QUIC tells it of
/// ended ones when more than an eighth have, so 16 are what it can rely on.
pub const SESSIONS_PER_CONNECTION_MAX: u32 = 18;
/// Bytes that one stream may be ahead of its reader: 4 MiB keep a gigabit busy over 30 ms.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes that all streams of a connection may be ahead of their readers.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of one connection that are sent and not yet acknowledged. A writer waits at more.
pub const SEND_WINDOW_BYTES: u64 = 8 << 20;
/// Pings of one session that are taken and not yet applied. The stream is not read at more.
pub const UNAPPLIED_PINGS_MAX: u32 = 1 << 18;
/// Batches of one session that are taken and not yet applied. The stream is not read at more.
pub const UNAPPLIED_BATCHES_MAX: u32 = 1_024;
/// Versions of alerts that a subscription remembers to have shown. At more it forgets all, and
/// shows them again. The versions of a chunk of the log fit.
pub const VERSIONS_SHOWN_MAX: usize = 1 << 16;
const _: () = assert!(MATCH_CHUNK <= VERSIONS_SHOWN_MAX, "a chunk's versions are remembered");
/// How long a QUIC handshake may take, ms.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// How long a session's hello may take, ms.
pub const HELLO_MS_MAX: u64 = 10_000;
/// How long the rest of a frame may take after its first byte, ms: 3 MiB at 100 kB/s.
pub const FRAME_MS_MAX: u64 = 30_000;
/// How long a session's last frame may wait for the peer to read, ms.
pub const FAREWELL_MS_MAX: u64 = 1_000;
/// How long a shutdown waits for sessions to end, ms.
pub const SHUTDOWN_MS_MAX: u64 = 5_000;
/// Silence after which a connection is given up, ms.
pub const CONNECTION_IDLE_MS_MAX: u32 = 30_000;
/// How often a silent end shows that it lives, ms.
pub const KEEP_ALIVE_MS: u64 = 10_000;

const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES, "one stream can use its window");
const _: () = assert!(UNAPPLIED_PINGS_MAX as usize >= PING_BATCH_PINGS_MAX, "the largest batch is taken");
const _: () = assert!(UNAPPLIED_PINGS_MAX <= PINGS_QUEUED_MAX, "one session cannot fill the queues twice");
const _: () = assert!(KEEP_ALIVE_MS * 2 < CONNECTION_IDLE_MS_MAX as u64, "two lost signs of life do no harm");
const _: () = assert!(CONNECTIONS_PER_IDENTITY_MAX < CONNECTIONS_MAX, "others find room");

/// Most HTTP connections. A further one waits to be accepted.
pub const HTTP_CONNECTIONS_MAX: usize = 64;
/// Most headers of an HTTP request. More: 431.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Most bytes of an HTTP request's line and headers. More: 431.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 << 10;
/// Largest body of an HTTP request, bytes. Nothing that is served now takes one. More: 413.
pub const HTTP_BODY_BYTES_MAX: u64 = 64 << 10;
/// How long an HTTP request's headers may take, and how long a connection may be idle, ms: longer
/// than the minute that scrapers leave at most between two requests.
pub const HTTP_HEADERS_MS_MAX: u64 = 75_000;
/// How long an HTTP request may take to be answered, ms. Longer: 503.
pub const HTTP_ANSWER_MS_MAX: u64 = 10_000;
/// How long an HTTP connection may live, ms; then it ends after its request, or is cut off. So a
/// peer that does not read cannot hold its place.
pub const HTTP_CONNECTION_MS_MAX: u64 = 600_000;
/// How long a shutdown waits for HTTP requests under way, ms.
pub const HTTP_SHUTDOWN_MS_MAX: u64 = 1_000;

/// Most alerts whose first match is awaited for a histogram. Beyond it the one that has waited
/// longest is not timed.
pub const FIRST_MATCHES_AWAITED_MAX: usize = 1_024;
/// Appends of a match log whose times are kept for a histogram, the newest: beyond it a match's way
/// to a partner is not timed.
pub const MATCH_TIMES_KEPT: usize = 256;

/// Bytes of pings that a source keeps until they are safe, unless it is told otherwise.
pub const SOURCE_KEEPS_BYTES: usize = 256 << 20;
/// How long a follower or a source waits before it connects again, ms; each try doubles it.
pub const RECONNECT_MS_FIRST: u64 = 250;
/// How long they wait at most before it connects again, ms.
pub const RECONNECT_MS_MAX: u64 = 10_000;

/// Longest line of a ping or tower file, bytes. Real rows stay below 200; a longer one is a bad
/// row, read past without being held.
pub const CSV_LINE_BYTES_MAX: usize = 64 << 10;
/// Longest line of an action file, bytes: the largest alert and the action around it. A longer
/// one is not read.
pub const ACTION_LINE_BYTES_MAX: usize = ALERT_JSON_BYTES_MAX + 4_096;
/// Most actions in one file. A larger file is not read.
pub const ACTIONS_MAX: usize = 1_000_000;
/// Most warnings kept of one alert or action file; further ones are dropped.
pub const WARNINGS_MAX: usize = 100;
/// Most device names that a tool remembers to print them back (about 100 bytes each). Devices
/// beyond it are printed by their pseudonym.
pub const DEVICE_NAMES_MAX: usize = 4_000_000;
/// Most towers held (about 64 bytes each). OpenCelliD has some 50 million in all; a larger file
/// is not read.
pub const TOWERS_MAX: usize = 100_000_000;

/// Length of a log's segment, bytes, unless configured: reserved twice a log (in use, and spare), and what
/// retention removes at a time.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Most bytes of one record of a log: the largest match chunk, alert or ping batch fits. A larger one is refused.
pub const LOG_RECORD_BYTES_MAX: usize = 4 << 20;
/// Most bytes of a group, what is written and synced at once: some milliseconds of a disk. Further records wait for
/// the next group.
pub const LOG_GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes of a segment between two entries of its index in memory: 16 bytes an entry, so 32 KiB for 64 MiB, and a
/// read that seeks checks half of it for nothing.
pub const LOG_INDEX_BYTES: u64 = 32 << 10;
/// Bytes that a reader of a log asks the disk for at least: an index entry's reach.
pub const LOG_READ_BYTES_MIN: usize = 64 << 10;
/// Bytes that a reader of a log asks the disk for at most, but for a record that is longer.
pub const LOG_READ_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(LOG_GROUP_BYTES_MAX > LOG_RECORD_BYTES_MAX + 4_096, "the largest record fits a group");
const _: () = assert!(LOG_SEGMENT_BYTES > LOG_GROUP_BYTES_MAX as u64 + 8_192, "the largest group fits");
const _: () = assert!(LOG_RECORD_BYTES_MAX > MATCH_COLUMNS_BYTES_MAX + 4_096, "a match chunk is a record");
const _: () = assert!(LOG_RECORD_BYTES_MAX > ACTION_LINE_BYTES_MAX, "an action is a record");
const _: () = assert!(LOG_RECORD_BYTES_MAX > PING_COLUMNS_BYTES_MAX + 4_096, "a ping batch is a record");

/// Most bytes of one block of a snapshot file. A larger one is refused.
pub const SNAPSHOT_BLOCK_BYTES_MAX: usize = 16 << 20;
/// Bytes of blocks that gather before they are written: large enough that a write costs no more than its bytes.
pub const SNAPSHOT_WRITE_BYTES: usize = 4 << 20;
/// Bytes of a snapshot file that are read at a time, but for a block that is longer. It stays in a core's cache
/// between the copy and the check.
pub const SNAPSHOT_READ_BYTES: usize = 1 << 20;
/// Most bytes of a snapshot's manifest: a file for each of 256 partitions of 1,024 namespaces would be some 80 MiB.
pub const SNAPSHOT_MANIFEST_BYTES_MAX: usize = 128 << 20;

/// Snapshots that are kept: where the newest cannot be read, the one before can.
pub const SNAPSHOTS_KEPT: usize = 2;
/// How often a snapshot is begun, ms; longer where one takes long.
pub const SNAPSHOT_EVERY_MS: u64 = 60_000;
/// Least of it, ms.
pub const SNAPSHOT_EVERY_MS_MIN: u64 = 1_000;
/// Blocks of a snapshot that wait for the disk, of half a MiB each, a partition.
pub const SNAPSHOT_BLOCKS_QUEUED_MAX: usize = 4;
/// Bytes that a partition puts aside for a snapshot before its pings wait for the disk.
pub const SNAPSHOT_DEBT_BYTES_MAX: usize = 64 << 20;
/// Threads of a process that give tables their memory ahead: two, since a page may take ten milliseconds to come from a
/// hypervisor, and another table's is wanted meanwhile.
pub const MEMORY_THREADS: usize = 2;
/// Bytes of a match log that recovery reads at a time.
pub const RECOVERY_READ_BYTES: usize = 4 << 20;
