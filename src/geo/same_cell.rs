//! Stub, replaced by the branch that builds it.
#![allow(missing_docs, clippy::allow_attributes, clippy::allow_attributes_without_reason)]
#[derive(Copy, Clone, Debug)]
pub struct SameCell([i32; 11]);
impl SameCell {
    pub const NEVER: Self = Self([0; 11]);
    pub fn of(_cell: h3o::CellIndex) -> Self {
        Self::NEVER
    }
    #[inline]
    pub fn surely_holds(&self, _lat_e7: i32, _lon_e7: i32) -> bool {
        false
    }
}
