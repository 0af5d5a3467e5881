//! Our consumer of assigned partitions: all of the topic's, from their beginning, from time to time once more.

use core::time::Duration;
use std::collections::BTreeMap;

use highwater_client::consumer::{ConsumerMachine, StartAt};
use highwater_client::{ConsumedRecord, ConsumerConfig, OffsetReset, TopicPartition};
use highwater_storage::Offset;

use super::super::client::{Act, Desk, TOPIC};
use super::super::names;
use super::courier::{Courier, Driven};
use crate::ids::PartitionIndex;

/// How many records it takes at once.
const AT_ONCE: usize = 50;

/// A consumer that a run can wait with: it asks again as soon as the others do.
pub(super) fn config(request_timeout: Duration) -> ConsumerConfig {
    ConsumerConfig {
        offset_reset: OffsetReset::Earliest,
        fetch_max_wait: Duration::from_millis(500),
        request_timeout,
        ..ConsumerConfig::default()
    }
}

#[derive(Debug)]
pub(in super::super) struct OurReader {
    machine: ConsumerMachine,
    courier: Courier,
    /// Which record comes next, where that is known.
    next: BTreeMap<PartitionIndex, Offset>,
}

impl OurReader {
    pub(in super::super) fn new(partitions: i32, nodes: i32, seed: u64) -> Self {
        let mut machine =
            ConsumerMachine::new(config(Duration::from_secs(2)), seed).expect("a consumer that can be");
        let all =
            (0..partitions).map(|partition| (TopicPartition::new(TOPIC, partition), StartAt::Beginning));
        machine.assign(all);
        Self { machine, courier: Courier::new(nodes), next: BTreeMap::new() }
    }

    /// How far it has read.
    pub(in super::super) fn at(&self, partition: PartitionIndex) -> Offset {
        let status = self.machine.status(&TopicPartition::new(TOPIC, partition.0));
        status.ok().and_then(|status| status.position).unwrap_or_default()
    }

    fn see(&mut self, desk: &mut Desk<'_>, record: ConsumedRecord) {
        let partition = PartitionIndex(record.partition);
        let next = Offset::new(record.offset.get() + 1);
        let expected = self.next.insert(partition, next);
        let name = names::name(record.key.as_ref(), &record.headers);
        desk.acts.push(Act::Got { partition, expected, at: record.offset, name });
    }

    fn begin_anew(&mut self) {
        self.next.clear();
        for at in self.machine.assignment().cloned().collect::<Vec<_>>() {
            self.machine.seek(&at, StartAt::Beginning).expect("it is assigned");
        }
    }
}

impl Driven for OurReader {
    type Machine = ConsumerMachine;

    fn parts(&mut self) -> (&mut Courier, &mut ConsumerMachine) {
        (&mut self.courier, &mut self.machine)
    }

    fn work(&mut self, desk: &mut Desk<'_>) {
        loop {
            self.courier.drive(&mut self.machine, desk);
            match self.machine.take(AT_ONCE) {
                Ok(records) if records.is_empty() => return,
                Ok(records) => {
                    records.into_iter().for_each(|record| self.see(desk, record));
                    if desk.chance.percent(2) {
                        self.begin_anew();
                    }
                }
                Err(error) => {
                    return desk.acts.push(Act::Complain(format!("our reader is told: {error}")));
                }
            }
        }
    }
}
