//! The partition state machine and what it is made of.

use crate::domain::{AlertNo, Directive};
use crate::geo::PreparedArea;

/// What the desk decided, with its area prepared.
pub type Order = Directive<PreparedArea>;

/// Counts of a preview: how many devices each stage of an area would reach now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageCounts(pub Vec<u64>);

#[expect(dead_code, reason = "placeholder until the machine is here")]
fn _no(_: AlertNo) {}
