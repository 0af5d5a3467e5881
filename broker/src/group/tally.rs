//! What a coordinator shows of its groups, for metrics.

use std::collections::BTreeMap;

use super::consumer::ConsumerRecord;
use super::coordinator::{Coordinator, Kind};
use super::record::Record;
use super::words::ListGroups;

/// Groups at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ObservedGroups {
    /// How many there are, by Kafka's words for the protocol and the state.
    pub by_state: BTreeMap<(&'static str, &'static str), usize>,
    /// Their members.
    pub members: usize,
    /// Offsets that are kept, one for each partition a group has read.
    pub offsets: usize,
}

impl Coordinator {
    /// Adds its groups.
    pub(crate) fn tally(&self, groups: &mut ObservedGroups) {
        for listed in self.list(&ListGroups::default()) {
            *groups.by_state.entry((listed.kind, listed.state)).or_default() += 1;
        }
        for (_, group) in self.groups() {
            groups.members += match &group.kind {
                Kind::Classic(group) => group.members.len(),
                Kind::Consumer(group) => group.members.len(),
            };
            groups.offsets += group.offsets.iter().count();
        }
    }
}

impl Record {
    /// Whether it says who reads what from now on: a new generation of a group, or a new target.
    pub(crate) fn is_of_rebalance(&self) -> bool {
        matches!(self, Self::Group(_, Some(_)) | Self::Consumer(_, ConsumerRecord::TargetEpoch(Some(_))))
    }

    /// Whether it says how far a group has read.
    pub(crate) fn is_commit(&self) -> bool {
        matches!(self, Self::Offset(_, Some(_)))
    }
}
