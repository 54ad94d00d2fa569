//! How far a partner has acknowledged.

use std::sync::Arc;

use super::{EventTime, Namespace, Offset};

/// The cursor of one partner in one namespace's match log: it is done with all below `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorAt {
    /// The namespace.
    pub namespace: Namespace,
    /// The partner's identity.
    pub partner: Arc<str>,
    /// The next offset that it wants. Never goes back.
    pub offset: Offset,
    /// When it came to stand there, server's time.
    pub at: EventTime,
}
