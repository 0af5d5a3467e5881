//! Our producer.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use highwater_client::producer::{BatchId, Completion, ProducerMachine};
use highwater_client::retry::Backoff;
use highwater_client::{Acks, Error, ProducerConfig, Record};

use super::super::client::{Act, Desk, TOPIC};
use super::super::conditions::Producing;
use super::super::names::{HEADER, Named};
use super::super::producer::{Done, Fate};
use super::courier::{Courier, Driven, clock};
use crate::ids::PartitionIndex;

/// How long it waits until it hands a record over again that was not taken.
const AGAIN_MICROS: u64 = 50_000;

#[derive(Debug)]
pub(in super::super) struct OurProducer {
    name: usize,
    how: Producing,
    machine: ProducerMachine,
    courier: Courier,
    partitions: usize,
    made: u64,
    next_make: u64,
    next_value: u64,
    /// Records that the machine has not taken yet.
    held: VecDeque<(PartitionIndex, String, usize)>,
    /// Those it took, by batch and place.
    taken: BTreeMap<(BatchId, u32), (PartitionIndex, String)>,
    pub(in super::super) done: Vec<Done>,
}

impl OurProducer {
    pub(in super::super) fn new(
        name: usize,
        how: Producing,
        partitions: usize,
        nodes: i32,
        seed: u64,
    ) -> Self {
        let request_timeout = Duration::from_micros(how.request_timeout_micros);
        let config = ProducerConfig {
            acks: match how.acks {
                0 => Acks::None,
                1 => Acks::Leader,
                _ => Acks::All,
            },
            idempotent: Some(how.is_idempotent),
            linger: Duration::from_micros(how.ours.linger_micros),
            batch_bytes: how.ours.batch_bytes,
            max_in_flight: how.in_flight,
            delivery_timeout: Duration::from_micros(how.ours.delivery_timeout_micros),
            request_timeout,
            backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) },
            allow_auto_create: false,
            ..ProducerConfig::default()
        };
        Self {
            name,
            how,
            machine: ProducerMachine::new(config, seed).expect("a producer that can be"),
            courier: Courier::new(nodes),
            partitions,
            made: 0,
            next_make: 0,
            next_value: 0,
            held: VecDeque::new(),
            taken: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    pub(in super::super) fn how(&self) -> &Producing {
        &self.how
    }

    pub(in super::super) fn is_done(&self) -> bool {
        self.made == self.how.batches && self.held.is_empty() && self.machine.is_idle()
    }

    /// What it is not done with.
    pub(in super::super) fn pending(&self) -> String {
        format!(
            "our producer {} {:?}: {} held, waits for {:?}",
            self.name,
            self.how,
            self.held.len(),
            self.taken
        )
    }

    fn make(&mut self, desk: &mut Desk<'_>) {
        while self.made < self.how.batches && self.next_make <= desk.now {
            let partition = PartitionIndex(i32::try_from(desk.chance.below(self.partitions)).unwrap_or(0));
            for _ in 0..desk.chance.draw(1..=3) {
                let padding = usize::try_from(desk.chance.draw(0..=self.how.padding_bytes)).unwrap_or(0);
                self.held.push_back((partition, format!("{}.{}.0", self.name, self.next_value), padding));
                self.next_value += 1;
            }
            self.made += 1;
            self.next_make = desk.now + desk.chance.draw(self.how.pause_micros.clone()).max(1);
        }
        if self.made < self.how.batches {
            desk.acts.push(Act::Wake(self.next_make));
        }
    }

    fn hand_over(&mut self, desk: &mut Desk<'_>) {
        while let Some((partition, value, padding)) = self.held.pop_front() {
            let bytes = vec![b'.'; padding];
            let named = Named::new(&value, self.how.keys);
            let mut record = Record::to(TOPIC).key(named.key()).partition(partition.0);
            if !named.deletes() {
                record = record.value(&bytes);
            }
            if named.is_named_apart() {
                record = record.header(HEADER, &value);
            }
            match self.machine.append(clock(desk.now), &record) {
                Ok(appended) => {
                    self.taken.insert((appended.batch, appended.index), (partition, value));
                }
                Err(Error::TopicNotKnownYet { .. } | Error::BufferFull { .. }) => {
                    self.held.push_front((partition, value, padding));
                    return desk.acts.push(Act::Wake(desk.now + AGAIN_MICROS));
                }
                Err(error) => return desk.acts.push(Act::Complain(format!("{value} is not taken: {error}"))),
            }
        }
    }

    fn complete(&mut self, desk: &mut Desk<'_>, completion: Completion) {
        let Completion { batch, records, outcome, .. } = completion;
        let mut partition = PartitionIndex(0);
        let mut values = Vec::new();
        for place in records {
            match self.taken.remove(&(batch, place)) {
                Some((at, value)) => {
                    partition = at;
                    values.push(value);
                }
                None => {
                    let what = format!("the fate of record {place} of {batch:?} is told twice: {outcome:?}");
                    return desk.acts.push(Act::Complain(what));
                }
            }
        }
        let fate = match outcome {
            Ok(receipt) => match receipt.base_offset {
                Some(offset) => Fate::Acknowledged(offset),
                None if self.how.acks == 0 => Fate::Unknown,
                None => {
                    let what = format!("{values:?} are acknowledged, and nobody knows where");
                    return desk.acts.push(Act::Complain(what));
                }
            },
            Err(error) if error.possibly_stored() => Fate::Unknown,
            Err(_) => Fate::Absent,
        };
        let copies = match fate {
            Fate::Absent => 0,
            _ if self.how.is_idempotent => 1,
            // It does not tell how often it asked.
            _ => usize::MAX,
        };
        self.done.push(Done { partition, values, fate, copies });
    }
}

impl Driven for OurProducer {
    type Machine = ProducerMachine;

    fn parts(&mut self) -> (&mut Courier, &mut ProducerMachine) {
        (&mut self.courier, &mut self.machine)
    }

    fn work(&mut self, desk: &mut Desk<'_>) {
        self.make(desk);
        self.hand_over(desk);
        self.courier.drive(&mut self.machine, desk);
        for completion in self.machine.take_completions() {
            self.complete(desk, completion);
        }
    }
}
