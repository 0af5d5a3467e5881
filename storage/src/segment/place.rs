//! Where batches lie in a segment's file, as far as memory tells.

use super::SegmentName;
use crate::{
    LogError, Offset,
    disk::File,
    scan::{Access, Scan},
};

/// Where a batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(crate) position: u64,
}

/// The bounds, from memory, of the position where the first batch begins that ends at or after some offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

impl Position {
    pub(crate) const fn exactly(position: u64) -> Self {
        Self { at_least: position, at_most: position }
    }

    /// The position itself, by a look into the file if memory does not tell. `offset` is the one it was asked for.
    pub(crate) fn resolve(
        self,
        file: &dyn File,
        name: &SegmentName,
        offset: Offset,
    ) -> Result<u64, LogError> {
        if self.at_least == self.at_most {
            return Ok(self.at_least);
        }
        let mut scan = Scan::new(file, Access::Slice, self.at_least, self.at_most);
        let found = scan.first_reaching(offset).map_err(|error| name.scan_failed(error))?;
        Ok(found.map_or(self.at_most, |found| found.position))
    }
}
