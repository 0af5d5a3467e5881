//! Which groups there are, who is in them, and deleting them.

use highwater_protocol::consumer_protocol::PROTOCOL_TYPE;

use super::classic::State;
use super::consumer_words::DescribedConsumers;
use super::coordinator::{Coordinator, Group, Kind};
use super::ids::GroupId;
use super::offsets::forgotten;
use super::turn::{Limits, Turn};
use super::words::{DescribedGroup, ListGroups, ListedGroup};
use crate::cluster::metadata::ClusterMetadata;
use crate::refusal::Refusal;

/// Kafka's words for the two protocols.
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

impl Coordinator {
    /// The groups that a request asks for; states and kinds are found whatever their case.
    pub(crate) fn list(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let is_among = |words: &[String], word: &str| {
            words.is_empty() || words.iter().any(|asked| asked.trim().eq_ignore_ascii_case(word))
        };
        let listed = self.groups().map(|(id, group)| listed(id, group));
        listed
            .filter(|group| is_among(&request.states, group.state) && is_among(&request.types, group.kind))
            .collect()
    }

    /// One classic group.
    pub(crate) fn describe(&self, id: &GroupId) -> Result<DescribedGroup, Refusal> {
        let Some(Kind::Classic(group)) = self.group(id).map(|group| &group.kind) else {
            return Err(Refusal::GroupNotFound);
        };
        // What members say of themselves is told for the protocol in force, of which there is none on the way to one.
        let protocol = group.protocol.as_ref().filter(|_| group.state == State::Stable);
        Ok(DescribedGroup {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone(),
            protocol: protocol.cloned(),
            members: group.members.iter().map(|(id, member)| member.describe(id, protocol)).collect(),
        })
    }

    /// One group of the consumer protocol.
    pub(crate) fn describe_consumers(
        &self,
        id: &GroupId,
        topics: &ClusterMetadata,
        limits: &Limits,
    ) -> Result<DescribedConsumers, Refusal> {
        match self.group(id).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => Ok(group.describe(topics, limits)),
            Some(Kind::Classic(_)) | None => Err(Refusal::GroupNotFound),
        }
    }

    /// Forgets a group and how far it has read, if nobody is in it.
    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> Result<(), Refusal> {
        let group = self.group(id).ok_or(Refusal::GroupNotFound)?;
        if !group.kind.is_empty() {
            return Err(Refusal::NonEmptyGroup);
        }
        let kept = group.offsets.iter().map(|(topic, partition, _)| (topic, partition));
        let mut keys: Vec<_> = kept.chain(self.pending_of(id)).collect();
        keys.sort();
        keys.dedup();
        let mut records: Vec<_> =
            keys.into_iter().map(|(topic, partition)| forgotten(id, topic, partition)).collect();
        // Last, so that nothing of it is left when it is gone.
        records.extend(group.kind.tombstones(id));
        self.write_in_parts(turn, &records)
    }
}

fn listed(id: &GroupId, group: &Group) -> ListedGroup {
    let group_id = id.clone();
    match &group.kind {
        Kind::Classic(group) => ListedGroup {
            group: group_id,
            protocol_type: group.protocol_type.clone(),
            state: group.state.name(),
            kind: CLASSIC,
        },
        Kind::Consumer(group) => ListedGroup {
            group: group_id,
            protocol_type: Some(PROTOCOL_TYPE.into()),
            state: group.state(),
            kind: CONSUMER,
        },
    }
}
