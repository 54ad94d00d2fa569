//! The laws of frames.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use zerocopy::IntoBytes as _;

use super::{Format, is_one_line};
use crate::domain::{DeviceId, Offset, PingRow};
use crate::limits::{
    BATCH_HEAD_BYTES, MATCH_BATCH_MATCHES_MAX, MATCH_CHUNK, PING_BATCH_PINGS_MAX, PING_COLUMNS_HEAD_BYTES,
};
use crate::wire::{
    Ack, Body, ColumnsBuilder, Encoding, FrameReader, Header, Kind, MatchColumns, MatchRow, MatchesView,
    PingBatch, ReadError, frame_of, matches_frame, ping_frame,
};

/// The first eight bytes.
pub(super) fn head(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first_chunk() else { return false };
    match Header::read(*first) {
        Ok(header) => {
            assert_eq!(header.to_bytes(), *first);
            assert!(header.length <= header.kind.bytes_max(header.encoding));
            assert!(header.kind.encodings().contains(&header.encoding));
            true
        }
        Err(why) => {
            is_one_line(&why.to_string());
            false
        }
    }
}

/// A stream that gives a few bytes at a time.
struct Dribble<'a> {
    rest: &'a [u8],
    turn: usize,
}

impl AsyncRead for Dribble<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.turn += 1;
        let (now, rest) =
            self.rest.split_at(self.rest.len().min(into.remaining()).min(1 + self.turn * 7 % 97));
        into.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// Frame after frame of a stream: together they are its bytes, and what is left is said.
pub(super) fn stream(bytes: &[u8]) -> bool {
    let mut reader = FrameReader::new(Dribble { rest: bytes, turn: 0 });
    let mut rest = bytes;
    let mut any = false;
    loop {
        let next = match pin!(reader.next()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => next,
            Poll::Pending => Ok(None),
        };
        match next {
            Ok(Some(frame)) => {
                any = true;
                let header =
                    Header { kind: frame.kind, encoding: frame.encoding, length: frame.content.len() };
                let after = rest.strip_prefix(&header.to_bytes());
                let after = after.and_then(|rest| rest.strip_prefix(frame.content.as_ref()));
                assert!(after.is_some(), "a frame that the stream does not hold");
                rest = after.unwrap_or_default();
            }
            Ok(None) => {
                assert!(rest.is_empty(), "it ends before its end");
                return any;
            }
            Err(ReadError::Truncated(held)) => {
                assert_eq!(held, rest.len(), "bytes of the last frame");
                return any;
            }
            Err(ReadError::Frame(why)) => {
                is_one_line(&why.to_string());
                return any;
            }
            Err(ReadError::Broken(why)) => assert!(why.to_string().is_empty(), "it cannot break: {why}"),
        }
    }
}

/// The length is looked at before the content, as on the wire.
fn within(kind: Kind, encoding: Encoding, content: &[u8]) -> Result<(), String> {
    if content.len() <= kind.bytes_max(encoding) { Ok(()) } else { Err("too long".into()) }
}

/// Frames written as fields.
pub(super) struct Fields<B>(PhantomData<B>);

impl<B: Body> Format for Fields<B> {
    type Value = B;
    const EXACT: bool = true;

    fn read(bytes: &[u8]) -> Result<B, String> {
        within(B::KIND, Encoding::Fields, bytes)?;
        B::read(bytes).map_err(|why| why.to_string())
    }

    fn write(value: &B) -> Option<Vec<u8>> {
        let frame = frame_of(value);
        assert!(frame.is_ok(), "what was read does not fit its frame: {:?}", frame.err());
        frame.ok().map(|frame| frame[Header::BYTES..].to_vec())
    }

    fn same(a: &B, b: &B) -> bool {
        Self::write(a) == Self::write(b)
    }

    fn hold(_: &B) {}
}

/// Acknowledgements, whose counts a server may make up.
pub(super) struct Acks;

impl Format for Acks {
    type Value = Ack;
    const EXACT: bool = true;

    fn read(bytes: &[u8]) -> Result<Ack, String> {
        Fields::<Ack>::read(bytes)
    }

    fn write(value: &Ack) -> Option<Vec<u8>> {
        Fields::write(value)
    }

    fn same(a: &Ack, b: &Ack) -> bool {
        a == b
    }

    fn hold(value: &Ack) {
        let counts = value.counts();
        assert_eq!((counts.accepted, counts.stale), (value.accepted, value.stale));
        assert!(counts.total() >= counts.rejected_total() && counts.total() >= counts.accepted);
    }
}

/// A ping batch and its rows.
pub(super) struct Pings {
    batch: PingBatch,
    rows: Vec<PingRow>,
    content: Bytes,
}

impl Pings {
    fn read(encoding: Encoding, bytes: &[u8]) -> Result<Self, String> {
        within(Kind::PingBatch, encoding, bytes)?;
        let content = Bytes::copy_from_slice(bytes);
        let batch = PingBatch::read(encoding, &content).map_err(|why| why.to_string())?;
        let mut buffer = Vec::new();
        let rows = batch.rows(&mut buffer).to_vec();
        Ok(Self { batch, rows, content })
    }

    /// As a partition does: rows that lie in the frame are not copied.
    fn decode(encoding: Encoding, bytes: &[u8]) -> bool {
        let Ok(batch) = PingBatch::read(encoding, &Bytes::copy_from_slice(bytes)) else { return false };
        batch.own_rows(&mut Vec::new()).0.len() <= batch.len()
    }

    fn write(&self, encoding: Encoding) -> Option<Vec<u8>> {
        let (mut out, batch) = (Vec::new(), &self.batch);
        let written =
            ping_frame(encoding, batch.number(), batch.base(), batch.target(), &self.rows, &mut out);
        assert!(written.is_ok(), "{:?}", written.err());
        Some(out.split_off(Header::BYTES))
    }

    fn same(&self, other: &Self) -> bool {
        let head = |pings: &Self| (pings.batch.number(), pings.batch.base(), pings.batch.target());
        head(self) == head(other) && self.rows == other.rows
    }

    fn hold(&self) {
        let (batch, rows) = (&self.batch, &self.rows);
        assert!((1..=PING_BATCH_PINGS_MAX).contains(&rows.len()) && batch.len() == rows.len());
        assert!(batch.target().is_none_or(|target| target.partition < target.of));
        let mut buffer = Vec::new();
        let (own, strangers) = batch.own_rows(&mut buffer);
        let mine =
            |row: &&PingRow| batch.target().is_none_or(|target| target.owns(DeviceId(row.device.get())));
        assert!(own.iter().eq(rows.iter().filter(mine)) && own.len() + strangers == rows.len());
        for row in rows {
            if let Ok(ping) = row.read(batch.base()) {
                let again = PingRow::write(&ping, batch.base()).map(|row| row.read(batch.base()));
                assert_eq!(again, Some(Ok(ping)));
            }
        }
    }
}

/// The rows of a checked batch by columns, bit by bit as `docs/protocol.md` says.
fn slow_rows(content: &[u8], count: usize) -> Vec<PingRow> {
    let mut columns = content.get(BATCH_HEAD_BYTES + PING_COLUMNS_HEAD_BYTES..).unwrap_or_default();
    let head = content.get(BATCH_HEAD_BYTES..BATCH_HEAD_BYTES + PING_COLUMNS_HEAD_BYTES).unwrap_or_default();
    let number = |from: usize, to: usize| {
        head[from..to].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let values = [20, 21, 22, 23, 24].map(|width| {
        let width = usize::from(head[width]);
        let bit = |at: usize| u64::from(columns[at / 8] >> (at % 8) & 1);
        let value = |nth: usize| (0..width).map(|place| bit(nth * width + place) << place).sum::<u64>();
        let values: Vec<u64> = (0..count).map(value).collect();
        columns = &columns[(count * width).div_ceil(8)..];
        values
    });
    let [devices, lats, lons, times, accuracies] = values;
    let mut device = number(0, 8);
    let row = |nth: usize| {
        let own = device.wrapping_add(devices[nth]);
        if head[25] == 1 {
            device = own;
        }
        let accuracy = (number(16, 20) + accuracies[nth]).min((1 << 17) - 1) as u32;
        PingRow {
            device: own.into(),
            lat_e7: (number(8, 12).wrapping_add(lats[nth]) as i32).into(),
            lon_e7: (number(12, 16).wrapping_add(lons[nth]) as i32).into(),
            time_and_accuracy: (times[nth] as u32 | accuracy << 15).into(),
        }
    };
    (0..count).map(row).collect()
}

/// Ping batches by rows.
pub(super) struct PingRows;

impl Format for PingRows {
    type Value = Pings;
    const EXACT: bool = true;

    fn read(bytes: &[u8]) -> Result<Pings, String> {
        Pings::read(Encoding::Rows, bytes)
    }

    fn write(value: &Pings) -> Option<Vec<u8>> {
        value.write(Encoding::Rows)
    }

    fn same(a: &Pings, b: &Pings) -> bool {
        a.same(b)
    }

    fn hold(value: &Pings) {
        value.hold();
    }

    fn decode(bytes: &[u8]) -> bool {
        Pings::decode(Encoding::Rows, bytes)
    }
}

/// Ping batches by columns. The same rows have many spellings.
pub(super) struct PingColumns;

impl Format for PingColumns {
    type Value = Pings;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Pings, String> {
        Pings::read(Encoding::Columns, bytes)
    }

    fn write(value: &Pings) -> Option<Vec<u8>> {
        value.write(Encoding::Columns)
    }

    fn same(a: &Pings, b: &Pings) -> bool {
        a.same(b)
    }

    fn hold(value: &Pings) {
        value.hold();
        assert!(slow_rows(&value.content, value.rows.len()) == value.rows, "read bit by bit it is another");
    }

    fn decode(bytes: &[u8]) -> bool {
        Pings::decode(Encoding::Columns, bytes)
    }
}

/// Match batches by rows.
pub(super) struct MatchRows;

impl Format for MatchRows {
    type Value = (Offset, Vec<MatchRow>);
    // Its head's reserved bytes are not looked at.
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Self::Value, String> {
        within(Kind::MatchBatch, Encoding::Rows, bytes)?;
        let view = MatchesView::read(bytes).map_err(|why| why.to_string())?;
        Ok((view.next, view.rows.to_vec()))
    }

    fn write((next, rows): &Self::Value) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let written = matches_frame(*next, rows, &mut out);
        assert!(written.is_ok(), "{:?}", written.err());
        Some(out.split_off(Header::BYTES))
    }

    fn same(a: &Self::Value, b: &Self::Value) -> bool {
        a.0 == b.0 && a.1.as_bytes() == b.1.as_bytes()
    }

    fn hold((next, rows): &Self::Value) {
        assert!(rows.len() <= MATCH_BATCH_MATCHES_MAX);
        match (MatchesView { next: *next, rows }).to_columns() {
            Ok(columns) => {
                let plain =
                    |row: &MatchRow| row.read().map(|(offset, found)| MatchRow::write(offset, &found));
                let expect: Vec<_> = rows.iter().filter_map(plain).collect();
                assert_eq!(
                    rows_of(&columns).as_bytes(),
                    expect.as_bytes(),
                    "by columns it says something else"
                );
                assert_eq!((columns.next(), columns.len()), (*next, rows.len()));
            }
            Err(why) => is_one_line(&why.to_string()),
        }
    }
}

fn rows_of(columns: &MatchColumns) -> Vec<MatchRow> {
    columns.iter().map(|(offset, found)| MatchRow::write(offset, &found)).collect()
}

/// Match batches by columns.
pub(super) struct Matches;

impl Format for Matches {
    type Value = MatchColumns;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<MatchColumns, String> {
        within(Kind::MatchBatch, Encoding::Columns, bytes)?;
        MatchColumns::read(&Bytes::copy_from_slice(bytes)).map_err(|why| why.to_string())
    }

    fn write(value: &MatchColumns) -> Option<Vec<u8>> {
        let (mut builder, mut due) = (ColumnsBuilder::default(), None::<u64>);
        for (first, head, devices) in value.runs() {
            if due.is_some_and(|due| first.0 - due > u64::from(u32::MAX)) {
                // A gap that a log's own chunk never has.
                return None;
            }
            due = Some(first.0 + devices.len() as u64);
            builder.push_run(first, &head, devices);
        }
        Some(builder.frame(value.next()).split_off(Header::BYTES))
    }

    fn same(a: &MatchColumns, b: &MatchColumns) -> bool {
        a.next() == b.next() && rows_of(a).as_bytes() == rows_of(b).as_bytes()
    }

    fn hold(value: &MatchColumns) {
        let (mut due, mut count) = (0, 0);
        for (first, _, devices) in value.runs() {
            assert!(first.0 >= due && devices.len() > 0, "runs go up and hold something");
            due = first.0 + devices.len() as u64;
            count += devices.len();
        }
        assert!(count == value.len() && count <= MATCH_CHUNK && due <= value.next().0);
        assert_eq!((value.iter().count(), value.is_empty()), (count, count == 0));
    }
}
