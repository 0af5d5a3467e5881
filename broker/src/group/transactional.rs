//! Offsets in a transaction (KIP-98, KIP-447): from whom they are taken, and what is to be written of them
//! (`OffsetMetadataManager.commitTransactionalOffset`).
//!
//! The records go into the log as one batch of the producer, which is let in as any batch of a transaction is; then they are
//! [applied](Coordinator::apply) with the producer, and [count](Coordinator::end_transaction) from its marker on. No
//! member's session is kept by them.

use highwater_storage::TimestampMs;

use super::classic::Classic;
use super::coordinator::{Coordinator, Kind};
use super::offsets::{NewCommit, record_of};
use super::record::Record;
use super::turn::Limits;
use super::words::CommitOffsets;
use crate::refusal::Refusal;

/// What becomes of the offsets of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OffsetsInTransaction {
    /// Of each partition, in order.
    pub(crate) outcomes: Vec<Result<(), Refusal>>,
    /// What is to be written of those that are taken.
    pub(crate) records: Vec<Record>,
}

impl Coordinator {
    /// What is to be written so that these offsets count once the transaction is committed. An `Err` refuses all of them.
    pub(crate) fn offsets_in_transaction(
        &self,
        now: TimestampMs,
        limits: &Limits,
        request: &CommitOffsets,
        commits: Vec<NewCommit>,
    ) -> Result<OffsetsInTransaction, Refusal> {
        match self.group(&request.group).map(|group| &group.kind) {
            // Someone who uses no group but keeps offsets under its name.
            None if !request.generation.is_given() => {}
            None => return Err(Refusal::IllegalGeneration),
            // Requests before version 3 name nobody.
            Some(_) if names_nobody(request) => {}
            Some(Kind::Consumer(group)) => {
                let request = CommitOffsets { knows_epochs: true, ..request.clone() };
                group.check_commit(&request, &commits).map_err(|refusal| match refusal {
                    Refusal::StaleMemberEpoch => Refusal::IllegalGeneration,
                    other => other,
                })?;
            }
            Some(Kind::Classic(group)) => check(group, request)?,
        }
        let (mut outcomes, mut records) = (Vec::new(), Vec::new());
        for commit in commits {
            if commit.metadata.encode_utf16().count() > limits.offset_metadata_max_units {
                outcomes.push(Err(Refusal::OffsetMetadataTooLarge));
                continue;
            }
            records.push(record_of(&request.group, commit, now, None));
            outcomes.push(Ok(()));
        }
        Ok(OffsetsInTransaction { outcomes, records })
    }
}

fn names_nobody(request: &CommitOffsets) -> bool {
    request.generation.0 == -1 && request.member.is_empty() && request.instance.is_none()
}

/// Whether a member may commit: also while the group comes together (`ClassicGroup.validateOffsetCommit`).
fn check(group: &Classic, request: &CommitOffsets) -> Result<(), Refusal> {
    if !request.generation.is_given() && group.is_empty() {
        return Ok(());
    }
    group.check_generation(&request.member, request.instance.as_ref(), request.generation)
}
