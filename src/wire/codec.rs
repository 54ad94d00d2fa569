//! The one place that knows bincode: fixed-width little-endian integers, and a limit on what a
//! length in the input may make it allocate.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use crate::limits::CONTROL_BYTES_MAX;

type Config = Configuration<LittleEndian, Fixint, Limit<CONTROL_BYTES_MAX>>;

const CONFIG: Config = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<CONTROL_BYTES_MAX>();

/// Appends `value` to `out`; `false` where it is larger than any frame may be, which also bounds a record of the journal. Then `out` is as
/// it was.
pub(crate) fn encode<T: Encode>(value: &T, out: &mut Vec<u8>) -> bool {
    match bincode::encode_to_vec(value, CONFIG) {
        Ok(bytes) => {
            out.extend(bytes);
            true
        }
        Err(_) => false,
    }
}

/// Reads a value that fills `bytes` exactly, or says why it does not.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, String> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIG).map_err(|why| why.to_string())?;
    if used == bytes.len() { Ok(value) } else { Err(format!("{} bytes too many", bytes.len() - used)) }
}
