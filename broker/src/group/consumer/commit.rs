//! Which commits and fetches of offsets a consumer group takes (`ConsumerGroup.validateOffsetCommit`).

use super::Consumer;
use super::epochs::MemberEpoch;
use super::member::Member;
use crate::group::ids::MemberId;
use crate::group::offsets::NewCommit;
use crate::group::words::CommitOffsets;
use crate::refusal::Refusal;

impl Consumer {
    /// A commit of an older epoch is taken for partitions that were the member's then already, and are still (KIP-1251).
    pub(in crate::group) fn check_commit(
        &self,
        request: &CommitOffsets,
        commits: &[NewCommit],
    ) -> Result<(), Refusal> {
        let epoch = MemberEpoch(request.generation.0);
        if !request.generation.is_given() && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&request.member).ok_or(Refusal::UnknownMember)?;
        let current = &member.current;
        if !request.knows_epochs && member.facts.classic.is_none() {
            let words =
                "OffsetCommit version 9 or above must be used by members using the consumer group protocol";
            return Err(Refusal::unsupported(words));
        }
        if epoch == current.epoch {
            return Ok(());
        }
        let was_its_own = |commit: &NewCommit| {
            current.since(commit.topic_id, commit.partition).is_some_and(|since| since <= epoch)
        };
        if epoch < current.epoch && commits.iter().all(was_its_own) {
            return Ok(());
        }
        Err(member.wrong_epoch())
    }

    pub(in crate::group) fn check_fetch(
        &self,
        member: Option<&MemberId>,
        epoch: MemberEpoch,
    ) -> Result<(), Refusal> {
        if member.is_none() && epoch < MemberEpoch::JOINS {
            return Ok(());
        }
        let known = member.and_then(|member| self.members.get(member)).ok_or(Refusal::UnknownMember)?;
        if known.current.epoch == epoch { Ok(()) } else { Err(known.wrong_epoch()) }
    }
}

impl Member {
    /// What it is told that says another epoch than its own; to a classic member, a generation.
    fn wrong_epoch(&self) -> Refusal {
        match self.facts.classic {
            Some(_) => Refusal::IllegalGeneration,
            None => Refusal::StaleMemberEpoch,
        }
    }
}
