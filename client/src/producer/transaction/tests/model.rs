//! Random histories against a model of Kafka's transactions, by both protocols: requests and answers are lost, connections break,
//! coordinators move, markers come late; under KIP-890 what was lost may also arrive much later. Whatever happens: the records of a
//! transaction that was said to be committed are in the log, each once and in order, and nothing else ever is visible.

mod broker;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::broker::{Brokers, Visible};
use super::*;
use crate::retry::Jitter;

/// A request on its way.
pub(super) struct Letter {
    id: RequestId,
    peer: Peer,
    body: AskedBody,
}

struct History {
    machine: ProducerMachine,
    brokers: Brokers,
    chance: Jitter,
    now: Duration,
    /// How much, to see that it comes to an end.
    happened: u32,
    losses_percent: u64,
    /// By connection, in order.
    wire: BTreeMap<Peer, VecDeque<Letter>>,
    /// What the machine believes to be lost, and is not.
    stragglers: VecDeque<Letter>,
    fates: BTreeMap<(u64, u32), Result<(), Error>>,
}

impl History {
    fn new(seed: u64, level: i16, losses_percent: u64, partitions: usize) -> Self {
        let config = ProducerConfig {
            batch_bytes: 120,
            request_timeout: Duration::from_secs(5),
            delivery_timeout: Duration::from_secs(100_000),
            ..config()
        };
        let mut machine = ProducerMachine::transactional(config, TransactionConfig::new(ID), seed).unwrap();
        machine.met(Peer::TransactionCoordinator, &offers(level));
        Self {
            machine,
            brokers: Brokers::new(level, partitions),
            chance: Jitter::from_seed(seed),
            now: Duration::ZERO,
            happened: 0,
            losses_percent,
            wire: BTreeMap::new(),
            stragglers: VecDeque::new(),
            fates: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(1_000) }
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.chance.below(100) < percent
    }

    fn step(&mut self) {
        let mut actions = Vec::new();
        self.machine.step(self.now(), &mut actions);
        for action in actions {
            match action {
                Action::Disconnect(peer) => self.break_off(peer),
                Action::Send { id, peer, body, .. } => {
                    let body = match body {
                        Body::Produce(send) => {
                            let newest = send.newest();
                            let (request, sealed) = send.seal();
                            self.machine.sealed(sealed);
                            AskedBody::Produce { request, newest }
                        }
                        other => AskedBody::Other(other),
                    };
                    self.wire.entry(peer).or_default().push_back(Letter { id, peer, body });
                }
            }
        }
        for completion in self.machine.take_completions() {
            for record in completion.records.clone() {
                let fate = completion.outcome.clone().map(drop);
                let again = self.fates.insert((completion.batch.0, record), fate);
                assert!(again.is_none(), "a record had two fates");
            }
        }
    }

    /// All that is on a connection is lost, or comes when nobody expects it any more.
    fn break_off(&mut self, peer: Peer) {
        for letter in self.wire.remove(&peer).unwrap_or_default() {
            self.machine.answer(self.now(), letter.id, Err(Failure::Lost("lost".into())));
            // A producer's first words name no epoch: late, they fence it, in Kafka too.
            let is_first = matches!(letter.body, AskedBody::Other(Body::InitProducerId(_)));
            if self.brokers.is_guarded() && !is_first && self.happens(50) {
                self.stragglers.push_back(letter);
            }
        }
    }

    /// One thing happens: a request arrives, a marker is written, a straggler comes, or time passes.
    fn happen(&mut self) {
        self.happened += 1;
        assert!(self.happened < 100_000, "no end in sight");
        self.step();
        if self.happens(20) {
            self.brokers.write_a_marker();
        }
        if self.happens(20)
            && let Some(letter) = self.stragglers.pop_front()
        {
            self.brokers.take(&letter.body, &mut self.chance, 0);
        }
        let peers: Vec<Peer> = self.wire.keys().copied().collect();
        if peers.is_empty() {
            self.brokers.write_a_marker();
            let due = self.machine.deadline().map_or(self.now, Monotonic::since_origin);
            self.now = self.now.max(due) + Duration::from_millis(self.chance.below(3));
            return;
        }
        self.now += Duration::from_millis(self.chance.below(20));
        let peer = peers[usize::try_from(self.chance.below(peers.len() as u64)).unwrap()];
        let losses = self.losses_percent;
        if self.happens(losses) {
            return self.break_off(peer);
        }
        let Some(letter) = self.wire.get_mut(&peer).and_then(VecDeque::pop_front) else { return };
        if self.wire[&peer].is_empty() {
            self.wire.remove(&peer);
        }
        let answer = self.brokers.take(&letter.body, &mut self.chance, losses);
        if self.happens(losses) {
            self.machine.answer(self.now(), letter.id, Err(Failure::Lost("lost".into())));
            self.break_off(letter.peer);
        } else {
            self.machine.answer(self.now(), letter.id, Ok(answer));
        }
        self.step();
    }

    /// Runs transactions; returns what is to be visible, and what of each partition's offsets.
    fn run(&mut self, transactions: u32, partitions: usize) -> Visible {
        let mut expected = Visible::new(partitions);
        for number in 0..transactions {
            while !self.machine.begin_transaction().unwrap() {
                self.happen();
            }
            let mut written: Vec<(usize, String)> = Vec::new();
            let mut dooms = false;
            for record in 0..self.chance.below(12) {
                let partition = usize::try_from(self.chance.below(partitions as u64)).unwrap();
                let value = format!("{number}.{record}");
                while !dooms {
                    let to = Record::of(TOPIC, &value).partition(i32::try_from(partition).unwrap());
                    match self.machine.append(self.now(), &to) {
                        Ok(_) => break,
                        Err(Error::TopicNotKnownYet { .. }) => self.happen(),
                        Err(Error::TransactionAborted { .. }) => dooms = true,
                        Err(error) => panic!("{error}"),
                    }
                }
                written.push((partition, value));
                if self.happens(60) {
                    self.happen();
                }
            }
            let offset = self.happens(50).then(|| i64::from(number));
            if let Some(offset) = offset
                && !dooms
            {
                let at = TopicPartition::new("in", 0);
                let offsets = [(at, highwater_storage::Offset::new(offset).into())].into();
                let sent = self.machine.send_offsets(GroupMetadata::without_members("g"), offsets);
                dooms |= sent.is_err();
            }
            self.machine.end_transaction(self.chance.below(3) > 0);
            let outcome = loop {
                if let Some(outcome) = self.machine.outcome() {
                    break outcome.unwrap();
                }
                self.happen();
            };
            self.step();
            if outcome == Outcome::Committed {
                assert!(!dooms, "something is missing from it");
                assert!(self.machine.commit_outcome().unwrap().is_ok());
                written.into_iter().for_each(|(partition, value)| expected.push(partition, value));
                expected.offset = offset.or(expected.offset);
            }
        }
        // What straggles must not change anything any more.
        while let Some(letter) = self.stragglers.pop_front() {
            self.brokers.take(&letter.body, &mut self.chance, 0);
        }
        self.brokers.write_all_markers();
        expected
    }
}

fn check(seed: u64, level: i16, losses_percent: u64, partitions: usize) {
    let mut history = History::new(seed, level, losses_percent, partitions);
    let expected = history.run(12, partitions);
    assert_eq!(history.brokers.visible(), expected);
    assert!(history.brokers.is_settled(), "a transaction hangs");
}

proptest! {
    #[test]
    fn what_is_committed_is_visible_and_nothing_else(
        seed: u64,
        level in 1_i16..3,
        losses_percent in 0_u64..30,
        partitions in 1_usize..4,
    ) {
        check(seed, level, losses_percent, partitions);
    }
}
