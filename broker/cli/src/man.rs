//! `highwater man`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

/// Write the manual, a page a command, into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  highwater man ~/.local/share/man/man1 && man highwater-topic-create")]
pub(crate) struct Man {
    /// The folder; made if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self, program: clap::Command) -> anyhow::Result<()> {
        let context = || self.folder.display().to_string();
        fs::create_dir_all(&self.folder).with_context(context)?;
        // `help` says what the pages say.
        clap_mangen::generate_to(program.disable_help_subcommand(true), &self.folder).with_context(context)
    }
}
