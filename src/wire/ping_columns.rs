//! Pings by columns: frame of reference and bit packing.
//!
//! A column is written as the difference of each value from a reference in the head, in as many
//! bits as the largest needs, the first value in the lowest bits. Devices may instead be
//! differences from the device before, where they stand sorted. Reading is a load of eight bytes,
//! a shift and a mask a value: a width is at most 56 bits, so that every value lies in eight bytes
//! from its first, or 64, and then it starts at a byte.
//!
//! Reference: Lemire and Boytsov, "Decoding billions of integers per second through
//! vectorization", 2015 (frame of reference, deltas). Invariant: what is read was checked whole,
//! and gives as many rows as its head says, whatever the bits are.

use zerocopy::byteorder::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::domain::{DeviceId, PingRow};
use crate::limits::PING_COLUMNS_HEAD_BYTES;

use super::ingest::Target;

/// Device, latitude, longitude, time, accuracy.
const COLUMNS: usize = 5;
/// Zero bytes after the last column, so that eight bytes can be loaded from any value's first.
pub(super) const PADDING: usize = 8;
/// Bits of a row's time and accuracy.
const TIME_BITS: u32 = 15;
const ACCURACY_MAX: u32 = (1 << 17) - 1;
/// Most bits of each column.
const WIDTHS_MAX: [u8; COLUMNS] = [64, 32, 32, TIME_BITS as u8, 17];

/// What stands between a batch's head and its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ColumnsHead {
    device: U64,
    lat_e7: I32,
    lon_e7: I32,
    accuracy_m: U32,
    /// Bits of a value, by column.
    widths: [u8; COLUMNS],
    /// 0: a device is its value above the reference. 1: above the device before it.
    deltas: u8,
    reserved: [u8; 6],
}

const _: () = assert!(size_of::<ColumnsHead>() == PING_COLUMNS_HEAD_BYTES);

fn bytes_of(count: usize, width: u8) -> usize {
    (count * usize::from(width)).div_ceil(8)
}

fn bits(largest: u64) -> u8 {
    match 64 - largest.leading_zeros() as u8 {
        57..=64 => 64,
        width => width,
    }
}

impl ColumnsHead {
    /// Checks a batch of `count` rows: this head and the bytes after it.
    pub(super) fn check(&self, count: usize, columns: &[u8]) -> Result<(), String> {
        for (width, max) in self.widths.iter().zip(WIDTHS_MAX) {
            if *width > max || (57..64).contains(width) {
                return Err(format!("columns of {:?} bits, use at most {WIDTHS_MAX:?}", self.widths));
            }
        }
        if self.deltas > 1 || self.reserved != [0; 6] {
            return Err("a reserved byte of its columns is not zero".into());
        }
        if self.accuracy_m.get() > ACCURACY_MAX {
            return Err("its least accuracy is beyond a row's".into());
        }
        let mut at = 0;
        for width in self.widths {
            let used = count * usize::from(width);
            let spare_bits = (8 - used % 8) % 8;
            at += bytes_of(count, width);
            let last = if used == 0 { 0 } else { columns.get(at - 1).copied().unwrap_or(0) };
            if spare_bits > 0 && last >> (8 - spare_bits) != 0 {
                return Err("bits after a column are not zero".into());
            }
        }
        if columns.len() != at + PADDING || columns[at..] != [0; PADDING] {
            let widths = self.widths;
            let had = columns.len();
            return Err(format!("{count} rows of {widths:?} bits and {PADDING} zero bytes in {had} bytes"));
        }
        Ok(())
    }

    /// Adds the rows to `out`. Returns how many of them are of other partitions than the target.
    pub(super) fn rows_into(
        &self,
        count: usize,
        columns: &[u8],
        target: Option<Target>,
        out: &mut Vec<PingRow>,
    ) -> usize {
        let mut at = 0;
        let [mut devices, mut lats, mut lons, mut times, mut accuracies] = self.widths.map(|width| {
            let column = Reader::new(columns.get(at..).unwrap_or_default(), width);
            at += bytes_of(count, width);
            column
        });
        let (lat, lon) = (self.lat_e7.get() as u32, self.lon_e7.get() as u32);
        let accuracy = self.accuracy_m.get();
        let deltas = if self.deltas == 1 { u64::MAX } else { 0 };
        let mut reference = self.device.get();
        let mut strangers = 0;
        // Of a known length, so that nothing is checked or moved row by row.
        out.extend((0..count).map(|_| {
            let device = reference.wrapping_add(devices.next());
            // Without a branch: the next reference is this device, or the same as before.
            reference = (device & deltas) | (reference & !deltas);
            let accuracy_m = (accuracy + accuracies.next() as u32).min(ACCURACY_MAX);
            if let Some(target) = target {
                strangers += usize::from(!target.owns(DeviceId(device)));
            }
            PingRow {
                device: U64::new(device),
                lat_e7: I32::new(lat.wrapping_add(lats.next() as u32) as i32),
                lon_e7: I32::new(lon.wrapping_add(lons.next() as u32) as i32),
                time_and_accuracy: U32::new(times.next() as u32 | accuracy_m << TIME_BITS),
            }
        }));
        strangers
    }
}

/// Reads the values of one column.
struct Reader<'a> {
    bytes: &'a [u8],
    bit: usize,
    width: usize,
    mask: u64,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], width: u8) -> Self {
        let mask = u64::MAX.checked_shr(64 - u32::from(width)).unwrap_or(0);
        Self { bytes, bit: 0, width: usize::from(width), mask }
    }

    /// The next value. Zero past the end, which a checked head never comes to.
    #[inline(always)]
    fn next(&mut self) -> u64 {
        let first = self.bit >> 3;
        let shift = self.bit & 7;
        self.bit += self.width;
        let word = self.bytes.get(first..first + 8).and_then(|eight| eight.first_chunk());
        (word.map_or(0, |eight| u64::from_le_bytes(*eight)) >> shift) & self.mask
    }
}

/// Appends the columns of `rows`, of which there is at least one: the head and what follows it.
pub(super) fn write(rows: &[PingRow], out: &mut Vec<u8>) {
    let (mut devices, mut lats, mut lons) = (Span::default(), Span::default(), Span::default());
    let (mut times, mut accuracies) = (0_u32, Span::default());
    let (mut sorted, mut last, mut delta_max) = (true, None, 0);
    for row in rows {
        let device = row.device.get();
        devices.take(device);
        if let Some(last) = last {
            sorted &= last <= device;
            delta_max = delta_max.max(device.wrapping_sub(last));
        }
        last = Some(device);
        lats.take(flipped(row.lat_e7.get()));
        lons.take(flipped(row.lon_e7.get()));
        let word = row.time_and_accuracy.get();
        times = times.max(word & ((1 << TIME_BITS) - 1));
        accuracies.take(u64::from(word >> TIME_BITS));
    }
    let deltas = sorted && bits(delta_max) < bits(devices.width());
    let device_width = if deltas { bits(delta_max) } else { bits(devices.width()) };
    let widths = [
        device_width,
        bits(lats.width()),
        bits(lons.width()),
        bits(u64::from(times)),
        bits(accuracies.width()),
    ];
    let head = ColumnsHead {
        device: U64::new(devices.least),
        lat_e7: I32::new(lats.least as u32 as i32 ^ i32::MIN),
        lon_e7: I32::new(lons.least as u32 as i32 ^ i32::MIN),
        accuracy_m: U32::new(accuracies.least as u32),
        widths,
        deltas: u8::from(deltas),
        reserved: [0; 6],
    };
    out.reserve(
        size_of::<ColumnsHead>() + widths.map(|w| bytes_of(rows.len(), w)).iter().sum::<usize>() + 64,
    );
    out.extend_from_slice(head.as_bytes());
    let [device, lat, lon, time, accuracy] = widths;
    if deltas {
        let mut before = devices.least;
        pack(out, device, rows, |row| row.device.get() - std::mem::replace(&mut before, row.device.get()));
    } else {
        pack(out, device, rows, |row| row.device.get() - devices.least);
    }
    pack(out, lat, rows, |row| flipped(row.lat_e7.get()) - lats.least);
    pack(out, lon, rows, |row| flipped(row.lon_e7.get()) - lons.least);
    pack(out, time, rows, |row| u64::from(row.time_and_accuracy.get() & ((1 << TIME_BITS) - 1)));
    pack(out, accuracy, rows, |row| u64::from(row.time_and_accuracy.get() >> TIME_BITS) - accuracies.least);
    out.extend_from_slice(&[0; PADDING]);
}

/// A signed number in the order of unsigned ones.
fn flipped(signed: i32) -> u64 {
    u64::from((signed ^ i32::MIN) as u32)
}

#[derive(Clone, Copy)]
struct Span {
    least: u64,
    most: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self { least: u64::MAX, most: 0 }
    }
}

impl Span {
    #[inline]
    fn take(&mut self, value: u64) {
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    fn width(&self) -> u64 {
        self.most - self.least
    }
}

/// Appends a column of values below 2^`width`.
#[inline(always)]
fn pack(out: &mut Vec<u8>, width: u8, rows: &[PingRow], mut value: impl FnMut(&PingRow) -> u64) {
    let width = u32::from(width);
    if width == 0 {
        return;
    }
    if width == 64 {
        out.extend(rows.iter().flat_map(|row| value(row).to_le_bytes()));
        return;
    }
    let (begin, end) = (out.len(), out.len() + bytes_of(rows.len(), width as u8));
    // Room for the last word whole, so that no write needs a look at it.
    out.resize(end + size_of::<u64>(), 0);
    let mut words = out.get_mut(begin..).unwrap_or_default().chunks_exact_mut(size_of::<u64>());
    let mut put = |word: u64| {
        if let Some(place) = words.next() {
            place.copy_from_slice(&word.to_le_bytes());
        }
    };
    // Values are gathered in a word from the bottom up, and a full word is written.
    let (mut word, mut filled) = (0_u64, 0_u32);
    for row in rows {
        let value = value(row);
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            put(word);
            filled -= 64;
            word = value.checked_shr(width - filled).unwrap_or(0);
        }
    }
    put(word);
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::partition_of;

    fn row(device: u64, lat: i32, lon: i32, word: u32) -> PingRow {
        PingRow {
            device: U64::new(device),
            lat_e7: I32::new(lat),
            lon_e7: I32::new(lon),
            time_and_accuracy: U32::new(word),
        }
    }

    fn read(bytes: &[u8], count: usize, target: Option<Target>) -> Result<(Vec<PingRow>, usize), String> {
        let (head, columns) = ColumnsHead::ref_from_prefix(bytes).map_err(|_| "short")?;
        head.check(count, columns)?;
        let mut rows = Vec::new();
        let strangers = head.rows_into(count, columns, target, &mut rows);
        Ok((rows, strangers))
    }

    fn rows() -> impl Strategy<Value = Vec<PingRow>> {
        // Widths of every size, by masks.
        let masks = (0..=64_u32, 0..=32_u32, 0..=32_u32, any::<u64>(), any::<i32>(), any::<bool>());
        (
            masks,
            prop::collection::vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()), 1..90),
            0..=32_u32,
        )
            .prop_map(|((d, la, lo, base, place, sorted), values, t)| {
                let low = |value: u64, bits: u32| value & u64::MAX.checked_shr(64 - bits).unwrap_or(0);
                let mut rows: Vec<PingRow> = values
                    .into_iter()
                    .map(|(device, lat, lon, word)| {
                        row(
                            base.wrapping_add(low(device, d)),
                            place.wrapping_add(low(lat.into(), la) as i32),
                            place.wrapping_add(low(lon.into(), lo) as i32),
                            (low(word.into(), t) as u32).rotate_left(t / 2),
                        )
                    })
                    .collect();
                if sorted {
                    rows.sort_by_key(|row| row.device.get());
                }
                rows
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_come_back_exact_and_in_order_and_take_no_more_than_plain(rows in rows()) {
            let mut bytes = Vec::new();
            write(&rows, &mut bytes);
            prop_assert!(bytes.len() <= size_of::<ColumnsHead>() + rows.len() * PingRow::BYTES + PADDING + COLUMNS);
            prop_assert_eq!(read(&bytes, rows.len(), None), Ok((rows.clone(), 0)));
            // Those of other partitions are counted.
            let target = Target { partition: 1, of: 3 };
            let own: Vec<PingRow> = rows.iter()
                .filter(|row| partition_of(DeviceId(row.device.get()), 3) == 1).copied().collect();
            let strangers = rows.len() - own.len();
            prop_assert_eq!(read(&bytes, rows.len(), Some(target)), Ok((rows.clone(), strangers)));
            // Another count, a cut or a longer frame is none.
            for cut in 0..bytes.len() {
                prop_assert!(read(&bytes[..cut], rows.len(), None).is_err());
            }
            bytes.push(0);
            prop_assert!(read(&bytes, rows.len(), None).is_err());
        }

        /// Whatever the bytes are: an error, or as many rows as the head says.
        #[test]
        fn hostile_bytes_give_their_count_or_an_error(
            mut bytes in prop::collection::vec(any::<u8>(), 32..400),
            widths in prop::array::uniform5(0_u8..=64),
            count in 1_usize..60,
            whole in any::<bool>(),
        ) {
            bytes[20..25].copy_from_slice(&widths);
            bytes[25] &= 1;
            bytes[26..32].fill(0);
            bytes[18..20].fill(0);
            if whole {
                let columns = widths.map(|width| bytes_of(count, width)).iter().sum::<usize>();
                bytes.truncate(32);
                bytes.resize(32 + columns + PADDING, 0);
            }
            if let Ok((rows, strangers)) = read(&bytes, count, None) {
                prop_assert_eq!((rows.len(), strangers), (count, 0));
            } else {
                prop_assert!(!whole || widths.iter().zip(WIDTHS_MAX).any(|(w, max)| *w > max || (57..64).contains(w)));
            }
        }
    }

    #[test]
    fn sorted_devices_are_written_as_small_steps_and_equal_ones_keep_their_order() {
        let rows: Vec<PingRow> =
            (0..1_000_u64).map(|n| row(u64::MAX - 999 * 16 + n / 2 * 16, n as i32, 0, 0)).collect();
        let mut bytes = Vec::new();
        write(&rows, &mut bytes);
        // 5 bits a device and 10 a latitude.
        assert_eq!(bytes.len(), 32 + 1_000 * 15 / 8 + PADDING);
        assert_eq!(read(&bytes, 1_000, None), Ok((rows, 0)));
    }
}
