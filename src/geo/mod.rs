//! geo: placeholder until its branch lands.

/// A validated area.
#[derive(Debug)]
pub struct PreparedArea;
