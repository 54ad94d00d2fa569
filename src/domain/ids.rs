//! Names and numbers that identify things.

use std::fmt;
use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use crate::limits::NAMESPACE_BYTES_MAX;

/// A device: an opaque 64-bit pseudonym, unique within its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The partition of a device: the top of the 64-bit finalizer of SplitMix64 (Steele, Lea and
/// Flood, 2014), scaled to `partitions`. `docs/protocol.md` spells it out, since senders may
/// split batches by it.
#[inline]
pub fn partition_of(device: DeviceId, partitions: u32) -> u32 {
    let mut x = device.0;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    ((u128::from(x) * u128::from(partitions)) >> 64) as u32
}

/// Position of a match in its namespace's log, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An alert's id as its authority wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub Arc<str>);

impl AlertId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for AlertId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// An alert's number: the order of publication, counted from 0. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertNo(pub u32);

/// The devices of one source (an operator, an app): the unit of grants and of delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// Why a text is no namespace name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no namespace name: use 1 to 64 of the characters a-z, 0-9, '.', '_' and '-', starting with a letter or digit"
)]
pub struct NamespaceError(String);

impl Namespace {
    /// Checks a name: 1 to 64 bytes of `a-z`, `0-9`, `.`, `_`, `-`, the first a letter or digit.
    pub fn new(name: &str) -> Result<Self, NamespaceError> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = name.len() <= NAMESPACE_BYTES_MAX
            && name.bytes().next().is_some_and(fits)
            && name.bytes().all(|c| fits(c) || matches!(c, b'.' | b'_' | b'-'));
        // Fit for one line of an error.
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        if good {
            Ok(Self(name.into()))
        } else {
            Err(NamespaceError(name.chars().take(80).map(shown).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
