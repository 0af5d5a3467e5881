//! What a coordinator shows of its groups, for metrics.

use std::collections::BTreeMap;

use highwater_storage::TimestampMs;

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

/// How many rebalances the records of one batch begin: new generations of classic groups, each of which is announced before
/// anybody leads it, and new targets. That a group changes its protocol is neither; one follows if there is need of it.
pub(crate) fn rebalances(batch: &[Record]) -> usize {
    let begins = |(at, record): (usize, &Record)| match record {
        // Behind other records it says what a group of the consumer protocol has become.
        Record::Group(_, Some(group)) => at == 0 && group.leader.is_none() && !group.members.is_empty(),
        // One that was never decided is what a classic group's leader had assigned.
        Record::Consumer(_, ConsumerRecord::TargetEpoch(Some((_, since)))) => {
            *since != TimestampMs::default()
        }
        Record::Group(_, None) | Record::Consumer(..) | Record::Offset(..) => false,
    };
    batch.iter().enumerate().filter(|placed| begins(*placed)).count()
}

impl Record {
    /// Whether it says how far a group has read.
    pub(crate) fn is_commit(&self) -> bool {
        matches!(self, Self::Offset(_, Some(_)))
    }
}
