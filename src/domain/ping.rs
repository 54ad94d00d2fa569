//! A ping, and its 20-byte row as the wire carries it and the engine reads it in place.

use zerocopy::byteorder::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DeviceId, EventTime, Position};
use crate::limits::ACCURACY_M_MAX;

/// One report of where a device is, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Whose.
    pub device: DeviceId,
    /// When, by the device's or the network's clock.
    pub at: EventTime,
    /// Where.
    pub position: Position,
    /// Radius of uncertainty, metres, 0 to 100,000.
    pub accuracy_m: u32,
}

/// Why a ping was not taken. A reject never stops the rest of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum PingReject {
    /// Latitude outside [-90, 90] or longitude outside [-180, 180].
    #[error("position outside [-90, 90] x [-180, 180]")]
    Position = 0,
    /// Accuracy outside [0, 100000] metres.
    #[error("accuracy outside [0, 100000] m")]
    Accuracy = 1,
    /// `at` further in the future than the allowed clock skew (wall clock only).
    #[error("time further ahead of the server than the allowed clock skew")]
    Future = 2,
    /// A tower that the tower file does not have.
    #[error("unknown tower")]
    Tower = 3,
    /// `at` outside the years 0000 to 9999.
    #[error("time outside the years 0000 to 9999")]
    Time = 4,
    /// In a batch for one partition, a device of another.
    #[error("sent for a partition that the device does not belong to")]
    Partition = 5,
}

impl PingReject {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Position, Self::Accuracy, Self::Future, Self::Tower, Self::Time, Self::Partition];
}

/// What became of pings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingCounts {
    /// Taken as their device's newest.
    pub accepted: u64,
    /// Older than their device's newest: dropped.
    pub stale: u64,
    /// Rejected, by [`PingReject`] code.
    pub rejected: [u64; PingReject::ALL.len()],
}

impl PingCounts {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.stale += other.stale;
        for (mine, theirs) in self.rejected.iter_mut().zip(other.rejected) {
            *mine += theirs;
        }
    }

    /// Counts one rejected ping.
    pub fn reject(&mut self, reason: PingReject) {
        self.rejected[reason as usize] += 1;
    }

    /// All rejected pings; held at the largest number, since a server may claim any.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All pings counted; held at the largest number.
    pub fn total(&self) -> u64 {
        self.accepted.saturating_add(self.stale).saturating_add(self.rejected_total())
    }
}

/// Whole metres of an accuracy: ranges are checked first, then it is rounded up.
pub fn accuracy_m_from_f64(metres: f64) -> Result<u32, PingReject> {
    if (0.0..=f64::from(ACCURACY_M_MAX)).contains(&metres) {
        Ok(metres.ceil() as u32)
    } else {
        Err(PingReject::Accuracy)
    }
}

/// A ping of a batch in 20 little-endian bytes: device, latitude and longitude in 1e-7 degree,
/// and one word of 15 bits of milliseconds after the batch's base (low) and 17 of accuracy in
/// metres (high). Every bit pattern is a row; [`PingRow::read`] says which are pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PingRow {
    /// The device's pseudonym.
    pub device: U64,
    /// Latitude, 1e-7 degree.
    pub lat_e7: I32,
    /// Longitude, 1e-7 degree.
    pub lon_e7: I32,
    /// Bits 0-14: milliseconds after the base. Bits 15-31: accuracy in metres.
    pub time_and_accuracy: U32,
}

impl PingRow {
    /// Bytes of a row.
    pub const BYTES: usize = 20;
    /// Most milliseconds that a row can lie after its batch's base.
    pub const MS_AFTER_BASE_MAX: i64 = (1 << 15) - 1;

    /// Writes a ping relative to its batch's base; `None` where its time does not fit: then
    /// another batch must start.
    pub fn write(ping: &Ping, base: EventTime) -> Option<Self> {
        let after = ping.at.0.checked_sub(base.0)?;
        if !(0..=Self::MS_AFTER_BASE_MAX).contains(&after) || ping.accuracy_m > ACCURACY_M_MAX {
            return None;
        }
        Some(Self {
            device: U64::new(ping.device.0),
            lat_e7: I32::new(ping.position.lat_e7()),
            lon_e7: I32::new(ping.position.lon_e7()),
            time_and_accuracy: U32::new(after as u32 | ping.accuracy_m << 15),
        })
    }

    /// The time of the row, milliseconds after its batch's base.
    #[inline]
    pub fn ms_after_base(&self) -> i64 {
        i64::from(self.time_and_accuracy.get() & 0x7fff)
    }

    /// Reads the ping, or says why the row is none.
    #[inline]
    pub fn read(&self, base: EventTime) -> Result<Ping, PingReject> {
        let word = self.time_and_accuracy.get();
        let accuracy_m = word >> 15;
        if accuracy_m > ACCURACY_M_MAX {
            return Err(PingReject::Accuracy);
        }
        let position =
            Position::from_e7(self.lat_e7.get(), self.lon_e7.get()).map_err(|_| PingReject::Position)?;
        let at =
            EventTime::from_unix_ms(base.plus_ms(self.ms_after_base()).0).map_err(|_| PingReject::Time)?;
        Ok(Ping { device: DeviceId(self.device.get()), at, position, accuracy_m })
    }
}

const _: () = assert!(size_of::<PingRow>() == PingRow::BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_back_its_ping_or_does_not_take_it() {
        let base = EventTime(1_779_000_000_000);
        let ping = |after, accuracy_m| Ping {
            device: DeviceId(u64::MAX),
            at: base.plus_ms(after),
            position: Position::from_e7(-900_000_000, 1_799_999_999).unwrap(),
            accuracy_m,
        };
        for (after, accuracy_m) in [(0, 0), (32_767, 100_000), (1, 1)] {
            let row = PingRow::write(&ping(after, accuracy_m), base).unwrap();
            assert_eq!(row.read(base), Ok(ping(after, accuracy_m)));
        }
        assert!(PingRow::write(&ping(32_768, 0), base).is_none());
        assert!(PingRow::write(&ping(-1, 0), base).is_none());
    }

    #[test]
    fn counts_that_a_server_makes_up_do_not_overflow() {
        let counts = PingCounts { accepted: u64::MAX, stale: 1, rejected: [u64::MAX; 6] };
        assert_eq!((counts.rejected_total(), counts.total()), (u64::MAX, u64::MAX));
    }

    #[test]
    fn impossible_rows_are_rejected_under_their_reason() {
        let base = EventTime(0);
        let row = |lat: i32, lon: i32, word: u32| PingRow {
            device: U64::new(1),
            lat_e7: I32::new(lat),
            lon_e7: I32::new(lon),
            time_and_accuracy: U32::new(word),
        };
        assert_eq!(row(900_000_001, 0, 0).read(base), Err(PingReject::Position));
        assert_eq!(row(0, i32::MIN, 0).read(base), Err(PingReject::Position));
        assert_eq!(row(0, 0, 100_001 << 15).read(base), Err(PingReject::Accuracy));
        assert_eq!(row(0, 0, 1).read(EventTime(i64::MAX)), Err(PingReject::Time));
        assert_eq!(accuracy_m_from_f64(0.1), Ok(1));
        assert_eq!(accuracy_m_from_f64(100_000.5), Err(PingReject::Accuracy));
        assert_eq!(accuracy_m_from_f64(-0.5), Err(PingReject::Accuracy));
    }
}
