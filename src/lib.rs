//! hexcast: a geo-matching stream processor for missing-child alerts.
//!
//! It holds in memory where every device was last seen and finds, exactly and once, the
//! devices that an alert may notify. What a match is, is defined in `docs/matching.md`;
//! how the rooms of this crate relate is in `ARCHITECTURE.md`.

pub mod access;
pub mod cli;
pub mod client;
pub mod delivery;
pub mod desk;
pub mod domain;
pub mod engine;
pub mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod geo;
pub mod http;
pub mod keeper;
pub mod limits;
pub(crate) mod planted;
pub mod quic;
pub mod runtime;
pub mod store;
mod sync;
pub mod telemetry;
pub mod wire;

#[cfg(test)]
mod simulation;

/// Tests allocate as the program does.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
