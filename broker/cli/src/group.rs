//! `highwater group`: looks at groups of consumers, moves their offsets, and deletes them.

mod delete;
mod describe;
mod forget;
mod list;
mod logs;
mod reset;
mod scope;

use anyhow::anyhow;
use clap::Subcommand;
use highwater::client::{Error, ErrorCode};

use crate::bootstrap::{block_on, explain};

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    List(list::List),
    Describe(describe::Describe),
    Reset(reset::Reset),
    Delete(delete::Delete),
    Forget(forget::Forget),
}

impl Group {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => block_on(list.run()),
            Self::Describe(describe) => block_on(describe.run()),
            Self::Reset(reset) => block_on(reset.run()),
            Self::Delete(delete) => block_on(delete.run()),
            Self::Forget(forget) => block_on(forget.run()),
        }
    }
}

/// A refusal of a group in fewer words than the protocol's.
fn explain_group(error: Error, group: &str) -> anyhow::Error {
    match error.code() {
        Some(ErrorCode::GroupIdNotFound) => no_such_group(group),
        Some(ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId) => {
            anyhow!("group {group} has members: they have to stop first")
        }
        Some(ErrorCode::GroupSubscribedToTopic) => {
            anyhow!("group {group} has members that read the topic: they have to stop first")
        }
        // What is wrong with a partition names it already.
        Some(ErrorCode::UnknownTopicOrPartition) => error.into(),
        _ => explain(error, ""),
    }
}

fn no_such_group(group: &str) -> anyhow::Error {
    anyhow!("group {group} does not exist (`highwater group list` names those that do)")
}
