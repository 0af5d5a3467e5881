//! `highwater topic`: makes, lists, describes, alters and deletes topics.

mod alter;
mod create;
mod delete;
mod describe;
mod list;
pub(crate) mod new;
mod sizes;

use clap::Subcommand;

use crate::bootstrap::block_on;

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    Create(create::Create),
    List(list::List),
    Describe(describe::Describe),
    Alter(alter::Alter),
    Sizes(sizes::Sizes),
    Delete(delete::Delete),
}

impl Topic {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => block_on(create.run()),
            Self::List(list) => block_on(list.run()),
            Self::Describe(describe) => block_on(describe.run()),
            Self::Alter(alter) => block_on(alter.run()),
            Self::Sizes(sizes) => block_on(sizes.run()),
            Self::Delete(delete) => block_on(delete.run()),
        }
    }
}

/// `1 partition`, `2 partitions`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
