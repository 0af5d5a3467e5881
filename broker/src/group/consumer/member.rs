//! One member of a group of the consumer protocol.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

use super::epochs::MemberEpoch;
use crate::group::consumer_words::{ConsumerHeartbeat, Partitions};
use crate::group::ids::{InstanceId, ProtocolName};
use crate::group::words::Protocol;
use crate::ids::{PartitionIndex, TopicName};

/// Partitions that are a member's, each with the epoch in which it became so.
pub(crate) type Held = BTreeMap<TopicId, BTreeMap<PartitionIndex, MemberEpoch>>;

/// How far a member is on its way to the target (`MemberState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// It has what it is to have.
    #[default]
    Stable,
    /// It has to give up partitions first.
    Unrevoked,
    /// It waits for partitions that others have not given up.
    Unreleased,
    /// Something a newer broker wrote.
    Unknown,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Its name, if it is a static member.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) names: BTreeSet<TopicName>,
    pub(crate) regex: Option<String>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) assignor: Option<String>,
    /// What there is more of a member that speaks the classic protocol; none for one that speaks this one.
    pub(crate) classic: Option<ClassicFacts>,
}

/// What only a member of the classic protocol says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassicFacts {
    pub(crate) session_timeout_ms: i32,
    /// The protocols that it knows, the one it likes best first; never none.
    pub(crate) protocols: Vec<Protocol>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) epoch: MemberEpoch,
    /// The epoch before: an answer may have been lost.
    pub(crate) previous_epoch: MemberEpoch,
    pub(crate) standing: Standing,
    pub(crate) assigned: Held,
    /// What it is about to give up.
    pub(crate) revoking: Held,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    pub(crate) facts: Facts,
    pub(crate) current: Current,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: MemberEpoch::JOINS,
            previous_epoch: MemberEpoch(-1),
            standing: Standing::Stable,
            assigned: Held::new(),
            revoking: Held::new(),
        }
    }
}

impl Facts {
    /// Takes over what a heartbeat says; what it leaves out stays.
    pub(super) fn update(&mut self, request: &ConsumerHeartbeat) {
        if let Some(instance) = &request.instance {
            self.instance = Some(instance.clone());
        }
        if let Some(rack) = &request.rack {
            self.rack = Some(rack.clone());
        }
        if let Some(ms) = request.rebalance_timeout_ms {
            self.rebalance_timeout_ms = ms;
        }
        if let Some(assignor) = &request.assignor {
            self.assignor = Some(assignor.clone());
        }
        if let Some(names) = &request.names {
            self.names = names.iter().cloned().collect();
        }
        if let Some(regex) = &request.regex {
            self.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
        }
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        self.classic = None;
    }

    /// The classic protocols that it knows, each once.
    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &ProtocolName> {
        let named = self.classic.iter().flat_map(|classic| &classic.protocols);
        named.map(|protocol| &protocol.name).collect::<BTreeSet<_>>().into_iter()
    }
}

impl Current {
    /// Whether it has all that the target of this epoch gives it.
    pub(super) fn is_at(&self, target_epoch: MemberEpoch) -> bool {
        self.standing == Standing::Stable && self.epoch == target_epoch
    }

    /// Every partition that is nobody else's because of this member.
    pub(super) fn each(&self, mut tell: impl FnMut((TopicId, PartitionIndex))) {
        for (topic, partitions) in self.assigned.iter().chain(&self.revoking) {
            partitions.keys().for_each(|partition| tell((*topic, *partition)));
        }
    }

    /// The same as partitions by topic.
    pub(super) fn holds(&self) -> Partitions {
        let mut holds = Partitions::new();
        self.each(|(topic, partition)| {
            holds.entry(topic).or_default().insert(partition);
        });
        holds
    }

    /// Since which epoch it has a partition, or had it before it gave it up.
    pub(super) fn since(&self, topic: TopicId, partition: PartitionIndex) -> Option<MemberEpoch> {
        let mut places = [&self.assigned, &self.revoking].into_iter();
        places.find_map(|held| held.get(&topic)?.get(&partition)).copied()
    }
}

/// Partitions that are a member's since an epoch.
pub(super) fn held_since(partitions: &Partitions, epoch: MemberEpoch) -> Held {
    let one = |(topic, partitions): (&TopicId, &BTreeSet<PartitionIndex>)| {
        (*topic, partitions.iter().map(|partition| (*partition, epoch)).collect())
    };
    partitions.iter().map(one).collect()
}

/// The partitions without their epochs.
pub(super) fn partitions(held: &Held) -> Partitions {
    held.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}
