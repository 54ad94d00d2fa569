//! Who is at the other end, and what they may do.
//!
//! A peer's rights ride in its certificate, so that a server needs no user table. This room
//! reads them into a [`Grant`] and makes development certificates. It never decides about an
//! alert and keeps no connection. Invariant: a [`Grant`] is made nowhere else, and only from a
//! certificate; whoever holds one may rely on what it says.

mod grant;
pub mod pki;
mod tls;
mod transport;

pub use grant::{Grant, GrantError, IdentityName, IdentityNameError, Role, RoleError};
pub use tls::{ALPN, TlsError, client_config, server_config};
pub use transport::transport;
