//! What the machine itself takes for as many bytes: the least a case could cost.

use std::hint::black_box;

use highwater_storage::crc32c;

use crate::measure::{Clock, Spread};

/// For more bytes than this, it is measured with as many and taken several times.
const MOST_BYTES: usize = 8 << 20;

/// A limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Copying the bytes between two buffers that were used before.
    Copy,
    /// Their checksum.
    Checksum,
    /// Writing them to memory the process did not have before.
    FreshMemory,
}

impl Limit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Checksum => "checksum",
            Self::FreshMemory => "fresh memory",
        }
    }

    /// Seconds it takes for this many bytes, in the median.
    pub(crate) fn measure(self, bytes: usize) -> f64 {
        let measured = bytes.min(MOST_BYTES);
        #[allow(clippy::cast_precision_loss, reason = "a ratio")]
        let times = bytes as f64 / measured as f64;
        self.measure_once(measured) * times
    }

    fn measure_once(self, bytes: usize) -> f64 {
        let from = vec![7; bytes];
        let mut to = vec![0; bytes];
        let mut nothing = || ();
        let spread = match self {
            Self::Copy => Spread::of(Clock::Processor, &mut nothing, &mut |()| {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }),
            Self::Checksum => Spread::of(Clock::Processor, &mut nothing, &mut |()| crc32c(black_box(&from))),
            Self::FreshMemory => {
                Spread::of(Clock::Processor, &mut nothing, &mut |()| black_box(&from).clone())
            }
        };
        spread.median
    }
}
