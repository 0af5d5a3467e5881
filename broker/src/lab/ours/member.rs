//! A member of a group of ours: polls, commits what it got, gives partitions back and takes them, is killed and begins anew.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use highwater_client::consumer::ConsumerMachine;
use highwater_client::group::{CommitId, GroupMachine, Offsets, Persistence, Step, Subscription, Turn};
use highwater_client::{ConsumedRecord, Error, GroupConfig, GroupProtocol, TopicPartition};

use super::super::client::{Act, Desk, TOPIC};
use super::super::names;
use super::super::wide::Grouping;
use super::courier::{Courier, Driven, clock};
use super::reader::config;
use crate::ids::PartitionIndex;

/// How many records it takes at once.
const AT_ONCE: usize = 20;

#[derive(Debug)]
pub(in super::super) struct Member {
    how: Grouping,
    nodes: i32,
    machine: GroupMachine,
    courier: Courier,
    next_poll: u64,
    /// What was asked to be committed.
    commits: BTreeMap<CommitId, Offsets>,
    /// Partitions that it has and has read nothing of yet.
    resumed: BTreeSet<PartitionIndex>,
    is_leaving: bool,
}

fn machine(how: &Grouping, seed: u64) -> GroupMachine {
    let default = GroupConfig::new(how.name());
    let group = match how.protocol {
        GroupProtocol::Classic => GroupConfig {
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_secs(1),
            ..default
        },
        GroupProtocol::Consumer => default,
    };
    let group = GroupConfig {
        protocol: how.protocol,
        auto_commit: how.commits_by_itself,
        auto_commit_interval: Duration::from_secs(1),
        max_poll_interval: Duration::from_secs(20),
        ..group
    };
    let subscription = Subscription::Topics([TOPIC.into()].into());
    GroupMachine::new(group, config(Duration::from_secs(3)), subscription, seed)
        .expect("a member that can be")
}

impl Member {
    pub(in super::super) fn new(how: Grouping, nodes: i32, seed: u64) -> Self {
        Self {
            machine: machine(&how, seed),
            courier: Courier::new(nodes),
            how,
            nodes,
            next_poll: 0,
            commits: BTreeMap::new(),
            resumed: BTreeSet::new(),
            is_leaving: false,
        }
    }

    pub(in super::super) fn how(&self) -> &Grouping {
        &self.how
    }

    /// What it waits for.
    pub(in super::super) fn pending(&self) -> String {
        let consumer: &ConsumerMachine = self.machine.consumer();
        let places: Vec<_> = consumer.assignment().map(|at| (at.partition, consumer.status(at))).collect();
        format!("member of {:?}: {:?}, at {places:?}", self.how, self.machine.identity())
    }

    /// It leaves, or is killed without a word.
    fn end(&mut self, desk: &mut Desk<'_>) {
        if desk.chance.percent(50) && !self.is_leaving {
            self.is_leaving = true;
            self.machine.leave(clock(desk.now));
        } else {
            self.begin_anew(desk);
        }
    }

    fn begin_anew(&mut self, desk: &mut Desk<'_>) {
        self.courier.close(desk);
        let seed = desk.chance.seed();
        *self = Self { next_poll: self.next_poll, ..Self::new(self.how.clone(), self.nodes, seed) };
    }

    fn poll(&mut self, desk: &mut Desk<'_>) {
        if self.is_leaving {
            return;
        }
        let now = clock(desk.now);
        loop {
            match self.machine.turn(now, AT_ONCE) {
                Ok(Turn::Rebalance(step)) => self.go_along(desk, step),
                Ok(Turn::Records(records)) => {
                    let is_any = !records.is_empty();
                    records.into_iter().for_each(|record| self.process(desk, record));
                    if is_any && !self.how.commits_by_itself && desk.chance.percent(30) {
                        self.commit(desk);
                    }
                    return;
                }
                Err(error) => return self.is_told(desk, &error),
            }
        }
    }

    fn go_along(&mut self, desk: &mut Desk<'_>, step: Step) {
        let slots = |partitions: &BTreeSet<TopicPartition>| {
            partitions.iter().map(|at| PartitionIndex(at.partition)).collect::<BTreeSet<_>>()
        };
        match &step {
            Step::Revoke(gone) => {
                if desk.chance.percent(70) {
                    self.commit(desk);
                }
                self.resumed.retain(|at| !slots(gone).contains(at));
            }
            Step::Lose(gone) => self.resumed.retain(|at| !slots(gone).contains(at)),
            Step::Assign(new) => self.resumed.extend(slots(new)),
        }
        self.machine.done(clock(desk.now));
    }

    fn process(&mut self, desk: &mut Desk<'_>, record: ConsumedRecord) {
        let partition = PartitionIndex(record.partition);
        let name = names::name(record.key.as_ref(), &record.headers);
        desk.acts.push(Act::Got { partition, expected: None, at: record.offset, name });
        let resumes = self.resumed.remove(&partition);
        desk.acts.push(Act::Delivered { group: self.how.group, partition, at: record.offset, resumes });
    }

    fn commit(&mut self, desk: &mut Desk<'_>) {
        let offsets = self.machine.positions(None);
        let persistence = if desk.chance.percent(50) { Persistence::Once } else { Persistence::UntilDone };
        match self.machine.commit(clock(desk.now), offsets.clone(), persistence) {
            Ok(id) => drop(self.commits.insert(id, offsets)),
            Err(error) => self.is_told(desk, &error),
        }
    }

    /// What became of commits.
    fn hear(&mut self, desk: &mut Desk<'_>) {
        for (id, outcome) in self.machine.take_commit_results() {
            let offsets = self.commits.remove(&id).unwrap_or_default();
            match outcome {
                Ok(()) => {
                    for (at, committed) in offsets {
                        desk.acts.push(Act::Committed {
                            group: self.how.group,
                            partition: PartitionIndex(at.partition),
                            upto: committed.offset,
                        });
                    }
                }
                Err(error) => self.is_told(desk, &error),
            }
        }
    }

    /// Errors that a member has to live with, and others.
    fn is_told(&self, desk: &mut Desk<'_>, error: &Error) {
        let is_usual = match error {
            Error::RebalanceInProgress { .. }
            | Error::NotAMember { .. }
            | Error::TimedOut { .. }
            | Error::Connection { .. }
            | Error::Closed { .. }
            | Error::TooManyCommits { .. } => true,
            Error::Refused { code, .. } => code.is_retriable(),
            _ => false,
        };
        if !is_usual {
            desk.acts.push(Act::Complain(format!("a member of {:?} is told: {error}", self.how)));
        }
    }
}

impl Driven for Member {
    type Machine = GroupMachine;

    fn parts(&mut self) -> (&mut Courier, &mut GroupMachine) {
        (&mut self.courier, &mut self.machine)
    }

    fn work(&mut self, desk: &mut Desk<'_>) {
        self.courier.drive(&mut self.machine, desk);
        if self.next_poll <= desk.now {
            self.next_poll = desk.now + desk.chance.draw(self.how.poll_micros.clone());
            if desk.is_trouble && desk.chance.percent(self.how.ends_percent) {
                self.end(desk);
            }
            self.poll(desk);
            self.courier.drive(&mut self.machine, desk);
        }
        self.hear(desk);
        if self.is_leaving && self.machine.has_left() {
            self.begin_anew(desk);
        }
        desk.acts.push(Act::Wake(self.next_poll));
    }
}
