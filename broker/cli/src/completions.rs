//! `highwater completions`.

use std::io::{Write, stdout};

use clap::Args;
use clap_complete::Shell;

/// Print a script that completes commands and arguments in a shell.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

const AFTER_HELP: &str = "Where shells look for it:
  highwater completions bash > ~/.local/share/bash-completion/completions/highwater
  highwater completions zsh > ~/.zfunc/_highwater      (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  highwater completions fish > ~/.config/fish/completions/highwater.fish";

impl Completions {
    pub(crate) fn run(&self, mut program: clap::Command) -> anyhow::Result<()> {
        let name = program.get_name().to_owned();
        // Written out in one go: the generator would panic where nobody reads any more.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        Ok(stdout().write_all(&script)?)
    }
}
