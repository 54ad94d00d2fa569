//! The one place that knows bincode: fixed-width little-endian integers, and a limit on what a
//! length in the input may make it allocate.
//!
//! bincode takes memory for a text or list as soon as it has read its length, and its limit is a
//! constant. So the limit of a short input is a short one: else a frame of 40 bytes would take 3 MiB.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use crate::limits::CONTROL_BYTES_MAX;

type Config<const LIMIT: usize> = Configuration<LittleEndian, Fixint, Limit<LIMIT>>;

const fn config<const LIMIT: usize>() -> Config<LIMIT> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Inputs up to so many bytes allocate no more than that; longer ones no more than the next limit.
const SMALL: usize = 256;
const MEDIUM: usize = 8 << 10;
const LARGE: usize = 256 << 10;

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
    if bytes.len() <= SMALL {
        decode_within::<T, SMALL>(bytes)
    } else if bytes.len() <= MEDIUM {
        decode_within::<T, MEDIUM>(bytes)
    } else if bytes.len() <= LARGE {
        decode_within::<T, LARGE>(bytes)
    } else {
        decode_within::<T, CONTROL_BYTES_MAX>(bytes)
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
    fn what_a_limit_counts_is_never_more_than_the_bytes() {
        // Texts and lists that fill an input of the last length of each limit, and of the next.
        for len in [SMALL, SMALL + 1, MEDIUM, MEDIUM + 1, LARGE, LARGE + 1, CONTROL_BYTES_MAX] {
            let value = (Some(7_u64), "x".repeat((len - 9 - 16) % 8), vec![7_u64; (len - 9 - 16) / 8]);
            let mut bytes = Vec::new();
            assert!(encode(&value, &mut bytes));
            assert_eq!(bytes.len(), len);
            assert_eq!(decode(&bytes), Ok(value));
        }
    }
}
