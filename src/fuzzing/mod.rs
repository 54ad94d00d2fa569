//! What every decoder must keep to, whatever bytes come: the checks that fuzzers and tests share.
//!
//! Not for users: this is public because `fuzz/fuzz_targets/` (which needs a nightly compiler) and
//! `tests/hostile.rs` (which replays the corpora on stable) call the same functions. A check never
//! returns that a law is broken: it panics, which is what a fuzzer looks for.
//!
//! The laws: no panic; what is refused is refused in one line of text; what is decoded is within
//! its bounds, and is decoded to the same once it is written again; a format that is exact is
//! written to the very bytes that were read; memory stays below a multiple of the input.
//!
//! **A new decoder** gets a type with `Format` in a file of its room's name here (`frames`,
//! `files`, `store`), a line in
//! [`TARGETS`], three lines in `fuzz/fuzz_targets/` and a `[[bin]]` in `fuzz/Cargo.toml`, and seeds
//! in `tests/hostile/seeds.rs`. A test fails while one of these is missing.

mod disk;
mod files;
mod frames;
mod store;

use crate::limits::{
    CONTROL_BYTES_MAX, CSV_LINE_BYTES_MAX, MATCH_COLUMNS_BYTES_MAX, PING_BATCH_BYTES_MAX,
    PING_COLUMNS_BYTES_MAX, SNAPSHOT_BLOCK_BYTES_MAX, SNAPSHOT_READ_BYTES,
};

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// Most bytes of an input that are worth trying.
    pub input_max: usize,
    /// Most memory that decoding takes, as a multiple of the input's bytes ...
    pub memory_times: usize,
    /// ... and so many bytes on top.
    pub memory_plus: usize,
    /// Decodes as users do and drops what comes; says whether it was taken.
    pub decode: fn(&[u8]) -> bool,
    /// Holds all laws against the bytes; says whether they were taken.
    pub check: fn(&[u8]) -> bool,
}

impl Target {
    const fn of<F: Format>(name: &'static str, input_max: usize, memory: (usize, usize)) -> Self {
        let (memory_times, memory_plus) = memory;
        Self { name, input_max, memory_times, memory_plus, decode: F::decode, check: check::<F> }
    }

    const fn plain(
        name: &'static str,
        input_max: usize,
        memory: (usize, usize),
        decode: fn(&[u8]) -> bool,
        check: fn(&[u8]) -> bool,
    ) -> Self {
        let (memory_times, memory_plus) = memory;
        Self { name, input_max, memory_times, memory_plus, decode, check }
    }
}

/// Memory of a few fields: a length is believed up to the limits in `wire::codec`.
const FIELDS: (usize, usize) = (34, 4 << 10);
/// A copy of the frame, and a line that says why not.
const IN_PLACE: (usize, usize) = (1, 4 << 10);
/// The copy, and rows as a batch has at most: a column of equal values takes no bytes.
const PING_COLUMNS: (usize, usize) = (1, PING_BATCH_BYTES_MAX + (4 << 10));
/// What a frame announces is taken as a whole, at most the largest frame.
const STREAM: (usize, usize) = (2, CONTROL_BYTES_MAX + MATCH_COLUMNS_BYTES_MAX);
/// A line is held at a time, in memory that doubles, and eight bytes for each of its fields, which
/// double too; a hundred problems are kept. However long the file is.
const CSV: (usize, usize) = (0, 16 * CSV_LINE_BYTES_MAX + (128 << 10));
/// A table of towers doubles: twelve bytes of text may be 48 bytes of two tables.
const TOWERS: (usize, usize) = (8, 16 * CSV_LINE_BYTES_MAX + (128 << 10));
/// Of JSON: see `docs/security.md`.
const JSON: (usize, usize) = (288, 16 << 10);

/// A small segment, the next one that is written, and copies of both.
const LOG: (usize, usize) = (0, 1 << 20);
/// What is read at a time; a block's length is believed up to the longest block.
const SNAPSHOT: (usize, usize) = (0, SNAPSHOT_READ_BYTES + SNAPSHOT_BLOCK_BYTES_MAX + (1 << 20));
/// A manifest's text, three times, and its structures.
const MANIFEST: (usize, usize) = (24, 16 << 10);
/// Tables of a partition (rows and index lie in mappings that are not counted here).
const PARTITION: (usize, usize) = (64, 256 << 10);

/// All decoders.
pub const TARGETS: &[Target] = &[
    Target::plain("frame_head", 16, (0, 1 << 10), frames::head, frames::head),
    Target::plain("frame_stream", 64 << 10, STREAM, frames::stream, frames::stream),
    Target::of::<frames::Fields<crate::wire::Hello>>("hello", 1 << 10, FIELDS),
    Target::of::<frames::Fields<crate::wire::HelloReply>>("hello_reply", 1 << 10, FIELDS),
    Target::of::<frames::Fields<crate::wire::ErrorFrame>>("error", 4 << 10, FIELDS),
    Target::of::<frames::Fields<crate::wire::Watermark>>("watermark", 256, FIELDS),
    Target::of::<frames::Acks>("ack", 256, FIELDS),
    Target::of::<frames::Fields<crate::wire::AlertContentFrame>>("alert_content", 16 << 10, FIELDS),
    Target::of::<frames::Fields<crate::wire::CursorAck>>("cursor_ack", 256, FIELDS),
    Target::of::<frames::Fields<crate::wire::Request>>("request", 16 << 10, FIELDS),
    Target::of::<frames::Fields<crate::wire::Response>>("response", 16 << 10, FIELDS),
    Target::of::<frames::PingRows>("ping_rows", PING_BATCH_BYTES_MAX, IN_PLACE),
    Target::of::<frames::PingColumns>("ping_columns", PING_COLUMNS_BYTES_MAX, PING_COLUMNS),
    Target::of::<frames::MatchRows>("match_rows", 64 << 10, (2, 4 << 10)),
    Target::of::<frames::Matches>("match_columns", 64 << 10, IN_PLACE),
    Target::of::<files::PingCsv>("ping_csv", 64 << 10, CSV),
    Target::of::<files::TowerCsv>("tower_csv", 64 << 10, TOWERS),
    Target::of::<files::AlertJson>("alert_json", 64 << 10, JSON),
    Target::of::<files::Actions>("actions", 64 << 10, JSON),
    Target::of::<store::JournalRecord>("journal_record", 64 << 10, JSON),
    Target::plain("log_segment", 32 << 10, LOG, store::open_segment, store::segment),
    Target::plain("snapshot_file", 32 << 10, SNAPSHOT, store::read_snapshot, store::snapshot),
    Target::of::<store::Manifests>("snapshot_manifest", 16 << 10, MANIFEST),
    Target::plain("partition_blocks", 64 << 10, PARTITION, store::restore, store::partition),
];

/// The check of a target by its name, for the fuzzers.
///
/// # Panics
/// Where there is no such target or a law is broken.
pub fn run(target: &str, bytes: &[u8]) {
    let known = TARGETS.iter().find(|known| known.name == target);
    assert!(known.is_some(), "no target {target}");
    known.into_iter().for_each(|known| {
        (known.check)(bytes);
    });
}

/// Seeds of stored files, by target and name.
pub fn stored_seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |target, seeds: Vec<(&'static str, Vec<u8>)>| {
        seeds.into_iter().map(move |(name, bytes)| (target, name, bytes))
    };
    let files = of("log_segment", store::seeds::segments());
    let files = files.chain(of("snapshot_file", store::seeds::snapshots()));
    files.chain(of("partition_blocks", store::seeds::partitions())).collect()
}

/// A decoder and its encoder.
trait Format {
    /// What is decoded.
    type Value;
    /// Whether there is one way to write a value: then what is written is what was read.
    const EXACT: bool;

    /// Decodes, or says why not.
    fn read(bytes: &[u8]) -> Result<Self::Value, String>;

    /// Encodes; `None` for a value that hexcast itself never writes.
    fn write(value: &Self::Value) -> Option<Vec<u8>>;

    /// Whether two values are the same to the bit.
    fn same(a: &Self::Value, b: &Self::Value) -> bool;

    /// Holds the laws of the format's own against a value.
    fn hold(value: &Self::Value);

    /// Decodes as users do, keeping nothing that they do not keep.
    fn decode(bytes: &[u8]) -> bool {
        Self::read(bytes).is_ok()
    }
}

fn check<F: Format>(bytes: &[u8]) -> bool {
    let value = match F::read(bytes) {
        Ok(value) => value,
        Err(why) => {
            is_one_line(&why);
            return false;
        }
    };
    F::hold(&value);
    if let Some(written) = F::write(&value) {
        if F::EXACT {
            assert!(written == bytes, "it is written to other bytes than were read");
        }
        let again = F::read(&written);
        assert!(again.is_ok(), "what was written is refused: {:?}", again.err());
        assert!(again.is_ok_and(|again| F::same(&value, &again)), "it is read to another value");
    }
    true
}

/// What is told of foreign bytes is a line, and not a long one.
fn is_one_line(text: &str) {
    assert!(!text.is_empty() && text.len() < 4 << 10, "a message of {} bytes", text.len());
    assert!(!text.contains(char::is_control), "a control character in {text:?}");
}
