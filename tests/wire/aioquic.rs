//! The server against a client that shares no code with it.
