//! CRC-32C (Castagnoli), the checksum of Kafka's record batches.

use crc_fast::{
    CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc},
    Digest, checksum,
};

/// The CRC-32C of `bytes`.
///
/// ```
/// assert_eq!(highwater_storage::crc32c(b"123456789"), 0xE306_9283);
/// ```
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    narrow(checksum(Crc32Iscsi, bytes))
}

/// The CRC-32 of gzip and of Kafka's messages before format 2.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    narrow(checksum(Crc32IsoHdlc, bytes))
}

/// A CRC-32C of bytes that come in pieces.
pub(crate) struct Crc32c(Digest);

impl Crc32c {
    pub(crate) fn new() -> Self {
        Self(Digest::new(Crc32Iscsi))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> u32 {
        narrow(self.0.finalize())
    }
}

#[allow(clippy::cast_possible_truncation)] // the crate widens every checksum to 64 bits
fn narrow(crc: u64) -> u32 {
    crc as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_an_independent_implementation(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert_eq!(crc32c(&bytes), ::crc32c::crc32c(&bytes));
        }

        #[test]
        fn pieces_make_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..4096), cut in any::<prop::sample::Index>()) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut pieces = Crc32c::new();
            pieces.update(a);
            pieces.update(b);
            prop_assert_eq!(pieces.finish(), crc32c(&bytes));
        }
    }
}
