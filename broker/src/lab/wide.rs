//! What a wide run has beside that of a narrow one. It is drawn by a generator of its own, so that a narrow run stays what it
//! is when more is thought of.

use std::ops::RangeInclusive;

use highwater_client::GroupProtocol;

use super::chance::Chance;
use super::conditions::{FaultKind, Producing};
use crate::config::BrokerConfig;

/// Sets its generator apart from the run's.
const SALT: u64 = 0x7769_6465;

/// A group of ours.
#[derive(Debug, Clone)]
pub(super) struct Grouping {
    pub(super) group: usize,
    pub(super) members: usize,
    pub(super) protocol: GroupProtocol,
    pub(super) commits_by_itself: bool,
    pub(super) poll_micros: RangeInclusive<u64>,
    /// How often in a hundred polls a member is killed or leaves.
    pub(super) ends_percent: u64,
}

impl Grouping {
    pub(super) fn name(&self) -> String {
        format!("group-{}", self.group)
    }
}

/// What is played beside.
#[derive(Debug, Clone, Default)]
pub(super) struct Wide {
    pub(super) nodes: i32,
    /// Each with how likely it is beside the others.
    pub(super) faults: Vec<(FaultKind, u64)>,
    pub(super) producers: Vec<Producing>,
    pub(super) readers: usize,
    pub(super) groups: Vec<Grouping>,
}

impl Wide {
    pub(super) fn draw(seed: u64, config: &mut BrokerConfig) -> Self {
        let mut chance = Chance::from_seed(seed ^ SALT);
        let mut set = |name, value: &str| config.set(name, value).expect("a setting that there is");
        set("offsets.topic.num.partitions", chance.pick(&["1", "2"]));
        set("group.consumer.session.timeout.ms", "6000");
        set("group.initial.rebalance.delay.ms", chance.pick(&["0", "1000"]));
        let producers = (0..chance.draw(1..=3)).map(|_| Producing::draw_ours(&mut chance)).collect();
        let readers = chance.below(2);
        let groups = (0..chance.below(3)).map(|group| Grouping::draw(group, &mut chance)).collect();
        let nodes = chance.pick(&[3, 3, 4, 5]);
        let kinds = [
            FaultKind::RestartProcess,
            FaultKind::PowerOffAll,
            FaultKind::Reassign,
            FaultKind::DeleteRecords,
            FaultKind::Rot,
        ];
        let mut faults: Vec<_> = kinds.map(|kind| (kind, chance.pick(&[0, 0, 1, 2]))).into();
        faults.retain(|(_, weight)| *weight > 0);
        if chance.percent(25) {
            set("log.segment.bytes", "1048576");
            set("log.retention.bytes", chance.pick(&["1", "1000000", "3000000"]));
            set("log.retention.check.interval.ms", chance.pick(&["500", "5000"]));
        }
        Self { nodes, faults, producers, readers, groups }
    }
}

impl Grouping {
    fn draw(group: usize, chance: &mut Chance) -> Self {
        let (low, high) = chance.pick(&[(1_000, 50_000), (50_000, 500_000), (100_000, 3_000_000)]);
        Self {
            group,
            members: usize::try_from(chance.draw(1..=3)).unwrap_or(1),
            protocol: chance.pick(&[GroupProtocol::Classic, GroupProtocol::Consumer]),
            commits_by_itself: chance.percent(30),
            poll_micros: low..=high,
            ends_percent: chance.pick(&[0, 0, 1, 3]),
        }
    }
}
