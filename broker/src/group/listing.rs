//! Which groups there are, who is in them, and deleting them.

use super::classic::State;
use super::coordinator::Coordinator;
use super::ids::GroupId;
use super::offsets::forgotten;
use super::record::Record;
use super::turn::Turn;
use super::words::{DescribedGroup, ListGroups, ListedGroup};
use crate::refusal::Refusal;

/// Kafka's word for groups of the classic protocol.
const CLASSIC: &str = "Classic";

impl Coordinator {
    /// The groups that a request asks for; states and kinds are found whatever their case.
    pub(crate) fn list(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let is_among = |words: &[String], word: &str| {
            words.is_empty() || words.iter().any(|asked| asked.trim().eq_ignore_ascii_case(word))
        };
        if !is_among(&request.types, CLASSIC) {
            return Vec::new();
        }
        let one = |(id, group): (&GroupId, &super::coordinator::Group)| ListedGroup {
            group: id.clone(),
            protocol_type: group.classic.protocol_type.clone(),
            state: group.classic.state.name(),
            kind: CLASSIC,
        };
        self.groups().map(one).filter(|group| is_among(&request.states, group.state)).collect()
    }

    /// One group.
    pub(crate) fn describe(&self, id: &GroupId) -> Result<DescribedGroup, Refusal> {
        let group = &self.group(id).ok_or(Refusal::GroupNotFound)?.classic;
        // What members say of themselves is told for the protocol in force, of which there is none on the way to one.
        let protocol = group.protocol.as_ref().filter(|_| group.state == State::Stable);
        Ok(DescribedGroup {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone(),
            protocol: protocol.cloned(),
            members: group.members.iter().map(|(id, member)| member.describe(id, protocol)).collect(),
        })
    }

    /// Forgets a group and how far it has read, if nobody is in it.
    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> Result<(), Refusal> {
        let group = self.group(id).ok_or(Refusal::GroupNotFound)?;
        if group.classic.state != State::Empty {
            return Err(Refusal::NonEmptyGroup);
        }
        let kept = group.offsets.iter().map(|(topic, partition, _)| (topic, partition));
        let mut keys: Vec<_> = kept.chain(self.pending_of(id)).collect();
        keys.sort();
        keys.dedup();
        let mut records: Vec<_> =
            keys.into_iter().map(|(topic, partition)| forgotten(id, topic, partition)).collect();
        // Last, so that nothing of it is left when it is gone.
        records.push(Record::Group(id.clone(), None));
        self.write_in_parts(turn, &records)
    }
}
