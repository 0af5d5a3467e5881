//! Records on their way to standard output.

use std::io::{self, BufWriter, StdoutLock, Write, stdout};

use highwater::client::ConsumedRecord;

use crate::record_format::Output;

/// What is written to standard output at once.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Prints records, up to a number of them.
pub(super) struct Printer {
    output: Output,
    out: BufWriter<StdoutLock<'static>>,
    /// How many to print yet.
    left: Option<u64>,
    unbuffered: bool,
}

impl Printer {
    pub(super) fn new(output: Output, most: Option<u64>, unbuffered: bool) -> Self {
        let out = BufWriter::with_capacity(OUTPUT_BYTES, stdout().lock());
        Self { output, out, left: most, unbuffered }
    }

    /// Whether as many are printed as there are to be.
    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints records until there are enough, and sees to it that they are written out; says how many it took.
    pub(super) fn print<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a ConsumedRecord>,
    ) -> io::Result<usize> {
        let mut printed = 0;
        for record in records {
            if self.is_done() {
                break;
            }
            self.output.write(&mut self.out, record)?;
            if self.unbuffered {
                self.out.flush()?;
            }
            self.left = self.left.map(|left| left - 1);
            printed += 1;
        }
        self.out.flush()?;
        Ok(printed)
    }
}
