//! The wire, from outside: its bytes, what it refuses, and whole sessions over loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests stop where tests do"
)]

#[path = "wire/aioquic.rs"]
mod aioquic;
#[path = "wire/bounds.rs"]
mod bounds;
#[path = "wire/cold.rs"]
mod cold;
#[path = "wire/connections.rs"]
mod connections;
#[path = "wire/cursors.rs"]
mod cursors;
#[path = "wire/golden.rs"]
mod golden;
#[path = "wire/malformed.rs"]
mod malformed;
#[path = "wire/sessions.rs"]
mod sessions;
#[path = "wire/source.rs"]
mod source;
#[path = "wire/world.rs"]
mod world;
