//! The one place that knows bincode: fixed-width little-endian integers, and a limit on what a
//! length in the input may make it allocate.
//!
//! bincode takes memory for a text or list as soon as it has read its length, and its limit is a
//! constant. So the limit of a short input is a short one: else a frame of 40 bytes would take 3 MiB.
//! A length is believed up to 32 times the input's bytes (96 times beyond 128 KiB), 1 KiB at least.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use crate::limits::CONTROL_BYTES_MAX;

type Config<const LIMIT: usize> = Configuration<LittleEndian, Fixint, Limit<LIMIT>>;

const fn config<const LIMIT: usize>() -> Config<LIMIT> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// What bincode counts of a list is its elements as memory holds them, which is up to three times
/// what the input has of them (an empty list, a shape without a radius).
const IN_MEMORY: usize = 4;

/// Appends `value` to `out`; `false` where it is larger than any frame may be, which also bounds a record of the journal. Then `out` is as
/// it was.
pub(crate) fn encode<T: Encode>(value: &T, out: &mut Vec<u8>) -> bool {
    match bincode::encode_to_vec(value, config::<CONTROL_BYTES_MAX>()) {
        Ok(bytes) => {
            out.extend(bytes);
            true
        }
        Err(_) => false,
    }
}

/// Reads a value that fills `bytes` exactly, or says why it does not.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, String> {
    let length = bytes.len();
    if length <= 256 {
        decode_within::<T, { IN_MEMORY * 256 }>(bytes)
    } else if length <= 2 << 10 {
        decode_within::<T, { IN_MEMORY * (2 << 10) }>(bytes)
    } else if length <= 16 << 10 {
        decode_within::<T, { IN_MEMORY * (16 << 10) }>(bytes)
    } else if length <= 128 << 10 {
        decode_within::<T, { IN_MEMORY * (128 << 10) }>(bytes)
    } else {
        decode_within::<T, { IN_MEMORY * CONTROL_BYTES_MAX }>(bytes)
    }
}

fn decode_within<T: Decode<()>, const LIMIT: usize>(bytes: &[u8]) -> Result<T, String> {
    let read = bincode::decode_from_slice(bytes, config::<LIMIT>());
    let (value, used) = read.map_err(|why| why.to_string())?;
    if used == bytes.len() { Ok(value) } else { Err(format!("{} bytes too many", bytes.len() - used)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_counts_fits_it_at_every_length() {
        // Texts and lists that fill an input of the last length of each limit, and of the next.
        for len in [256, 257, 2 << 10, (2 << 10) + 1, 16 << 10, 128 << 10, (128 << 10) + 1, CONTROL_BYTES_MAX]
        {
            let value = (Some(7_u64), "x".repeat((len - 9 - 16) % 8), vec![7_u64; (len - 9 - 16) / 8]);
            let mut bytes = Vec::new();
            assert!(encode(&value, &mut bytes));
            assert_eq!(bytes.len(), len);
            assert_eq!(decode(&bytes), Ok(value));
            // Of which memory holds three times as much.
            let empty: Vec<Vec<u32>> = vec![Vec::new(); (len - 8) / 8];
            let mut bytes = Vec::new();
            assert!(encode(&empty, &mut bytes));
            assert_eq!(decode(&bytes), Ok(empty));
        }
    }
}
