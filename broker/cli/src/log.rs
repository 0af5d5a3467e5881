//! `highwater log`: looks into the files of logs, without a broker and without changing a byte.

mod batch;
mod contents;
mod dump;
mod places;
mod range;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    Dump(dump::Dump),
    Verify(verify::Verify),
}

/// All was read, and all is sound.
const SOUND: u8 = 0;
/// Something is not as it should be.
const FINDINGS: u8 = 1;
/// Something could not be read.
const UNREADABLE: u8 = 2;

impl Log {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Dump(dump) => dump.run(),
            Self::Verify(verify) => verify.run(),
        }
    }
}
