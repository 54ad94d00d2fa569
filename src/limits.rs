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
/// Most unconfirmed sighting reports that wait on one alert. A further one is rejected.
pub const REPORTS_MAX: usize = 1_000;

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

/// Pings of one batch of a replay, and how many go between two writes of matches (so a replay
/// holds the matches of that many pings, not of the whole file).
pub const REPLAY_BATCH_PINGS: usize = 8_192;
/// See [`REPLAY_BATCH_PINGS`].
pub const REPLAY_EPOCH_PINGS: usize = 1 << 20;

const _: () = assert!(PINGS_QUEUED_MAX <= i32::MAX as u32, "a semaphore counts them");
const _: () = assert!(PARTS_MAX <= u8::MAX as usize + 1, "a match names its part in a byte");
const _: () = assert!(STAGES_MAX <= u8::MAX as usize + 1, "a match names its stage in a byte");
const _: () = assert!(ACCURACY_M_MAX < 1 << 17, "a ping row holds the accuracy in 17 bits");

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
