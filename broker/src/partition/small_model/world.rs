//! Three replicas of a partition, what is on its way between them, and a controller.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use highwater_storage::{LeaderEpoch, LeaderEpochs, Offset};

use crate::ids::{BrokerEpoch, Monotonic, NodeId, PartitionEpoch};
use crate::partition::follower::{Follower, Held, Offered, Told, Verdict};
use crate::partition::in_sync::{FollowerAt, NotChanged, Proposal};
use crate::partition::leader::{Acknowledgement, Heard, Leader, SyncEvery};
use crate::partition::term::{Ends, Lives, Rules, Term};
use crate::refusal::Refusal;

pub(super) const NODES: usize = 3;
const LAG_MICROS: u64 = 30_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A record that all are to acknowledge comes to a node that believes it leads.
    Append(usize),
    /// A follower asks whom it believes to lead; the answer is on its way.
    Fetch(usize),
    /// The answer arrives.
    Reply(usize),
    /// A node's memory is gone, and its log is there. The controller takes it out of the in-sync set.
    Kill(usize, Deaf),
    /// The node comes back, in a new life.
    Restart(usize, Deaf),
    /// What the node proposed becomes so, or is refused. If it proposed nothing, the time allowed for a lag is over.
    InSync(usize, Deaf),
    /// A new epoch: the node leads, which is in sync.
    Elect(usize, Deaf),
    /// A node that was deaf hears what the controller decided.
    Learn(usize),
}

/// Who does not hear at once what the controller decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deaf {
    Nobody,
    /// Who led before.
    Leader,
    /// All but who leads from now on.
    Others,
}

/// A record: the epoch it was written in, and which one it is.
type Record = (LeaderEpoch, u32);

#[derive(Debug, Clone)]
struct Node {
    log: Vec<Record>,
    epochs: LeaderEpochs,
    life: BrokerEpoch,
    /// The versions of the partition and of the nodes' lives that it knows.
    knows: Option<(PartitionEpoch, u32)>,
    role: Role,
}

#[derive(Debug, Clone)]
enum Role {
    Dead,
    Leads(Leader),
    Follows(Follower),
}

#[derive(Debug, Clone)]
struct Reply {
    leader_epoch: LeaderEpoch,
    fetch_offset: Offset,
    outcome: Result<Heard, Refusal>,
    records: Vec<Record>,
    high_watermark: Offset,
}

/// A record whose producer waits.
#[derive(Debug, Clone, Hash)]
struct Waiting {
    leader: usize,
    upto: Offset,
    record: Record,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    now: Monotonic,
    rules: Rules,
    nodes: [Node; NODES],
    replies: [Option<Reply>; NODES],
    asked: [Option<Proposal>; NODES],
    // The controller's.
    leader: Option<usize>,
    term: Term,
    lives: [Option<BrokerEpoch>; NODES],
    lives_version: u32,
    // What clients know.
    records: u32,
    waiting: Vec<Waiting>,
    acknowledged: Vec<(Offset, Record)>,
    /// What readers of leaders have seen.
    seen: Vec<Record>,
    /// In which epoch each node led last, and how far its readers saw.
    shown: [(LeaderEpoch, Offset); NODES],
    /// Nothing tells the nodes 1 and 2 apart yet.
    is_symmetric: bool,
}

fn offset(count: usize) -> Offset {
    Offset::new(count as i64)
}

fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("an offset of a log")
}

impl Node {
    fn log_end(&self) -> Offset {
        offset(self.log.len())
    }

    fn held(&self) -> Held<'_> {
        Held { log_start: Offset::ZERO, log_end: self.log_end(), epochs: &self.epochs }
    }

    fn append(&mut self, record: Record) {
        self.epochs.assign(record.0, self.log_end());
        self.log.push(record);
    }

    fn truncate(&mut self, to: Offset) {
        self.log.truncate(index(to));
        self.epochs.truncate_from_end(to);
    }

    fn high_watermark(&self) -> Offset {
        match &self.role {
            // A kill comes before a checkpoint: nothing was kept.
            Role::Dead => Offset::ZERO,
            Role::Leads(leader) => leader.positions().high_watermark,
            Role::Follows(follower) => follower.high_watermark(),
        }
    }

    fn runs(&self) -> bool {
        !matches!(self.role, Role::Dead)
    }
}

impl World {
    /// Node 0 leads, all are in sync and know so.
    pub(super) fn new(min_in_sync: usize) -> Self {
        let ids: Arc<[NodeId]> = [0, 1, 2].map(NodeId).into();
        let (epoch, version) = (LeaderEpoch::new(0), PartitionEpoch(0));
        let term =
            Term { leader_epoch: epoch, partition_epoch: version, replicas: ids.clone(), in_sync: ids };
        let node = Node {
            log: Vec::new(),
            epochs: LeaderEpochs::default(),
            life: BrokerEpoch(0),
            knows: None,
            role: Role::Dead,
        };
        let mut world = Self {
            now: Monotonic::from_micros(1),
            rules: Rules {
                sync_every: SyncEvery(i64::MAX),
                min_in_sync,
                all_synced: false,
                lag_micros: LAG_MICROS,
            },
            nodes: [node.clone(), node.clone(), node],
            replies: [None, None, None],
            asked: [None, None, None],
            leader: Some(0),
            term,
            lives: [Some(BrokerEpoch(0)); NODES],
            lives_version: 0,
            records: 0,
            waiting: Vec::new(),
            acknowledged: Vec::new(),
            seen: Vec::new(),
            shown: [(epoch, Offset::ZERO); NODES],
            is_symmetric: true,
        };
        (0..NODES).for_each(|node| world.role_of(node));
        (0..NODES).for_each(|node| _ = world.learn(node));
        world
    }

    /// What may happen; some of it cannot, which `happens` tells.
    pub(super) fn possible(&self, hears: bool) -> Vec<Event> {
        use Deaf::{Leader, Nobody, Others};
        use Event::{Append, Elect, Fetch, InSync, Kill, Learn, Reply, Restart};
        let told_apart = if self.is_symmetric { NODES - 1 } else { NODES };
        let plain = [Append, Fetch, Reply, Learn].map(|event| move |node| event(node));
        let mut events: Vec<_> = (0..told_apart).flat_map(|node| plain.map(|event| event(node))).collect();
        for node in 0..told_apart {
            for deaf in if hears { &[Nobody][..] } else { &[Nobody, Leader] } {
                let decisions = [Kill, Restart, InSync, Elect];
                events.extend(decisions.map(|event| event(node, *deaf)));
            }
            if !hears {
                events.push(Elect(node, Others));
            }
        }
        events
    }

    /// Makes it happen, if it can.
    pub(super) fn happens(&mut self, event: Event) -> bool {
        let led = self.leader;
        let (happened, deaf) = match event {
            Event::Append(node) => (self.append(node), None),
            Event::Fetch(node) => (self.fetch(node), None),
            Event::Reply(node) => (self.reply(node), None),
            Event::Kill(node, deaf) => (self.kill(node), Some(deaf)),
            Event::Restart(node, deaf) => (self.restart(node), Some(deaf)),
            Event::InSync(node, deaf) => (self.agree(node) || self.lag(node), Some(deaf)),
            Event::Elect(node, deaf) => (self.elect(node), Some(deaf)),
            Event::Learn(node) => (self.learn(node), None),
        };
        if let Some(deaf) = deaf.filter(|_| happened) {
            let hears = |node: &usize| match deaf {
                Deaf::Nobody => true,
                Deaf::Leader => Some(*node) != led,
                Deaf::Others => Some(*node) == self.leader,
            };
            (0..NODES).filter(hears).collect::<Vec<_>>().into_iter().for_each(|node| _ = self.learn(node));
        }
        let node = match event {
            Event::Append(node) | Event::Fetch(node) | Event::Reply(node) | Event::Learn(node) => node,
            Event::Kill(node, _)
            | Event::Restart(node, _)
            | Event::InSync(node, _)
            | Event::Elect(node, _) => node,
        };
        self.is_symmetric &= node == 0;
        happened
    }

    fn version(&self) -> (PartitionEpoch, u32) {
        (self.term.partition_epoch, self.lives_version)
    }

    fn alive(&self) -> Lives {
        let lives = self.lives.iter().zip(0..);
        lives.filter_map(|(life, node)| Some((NodeId(node), (*life)?))).collect()
    }

    fn append(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        let Role::Leads(leader) = &mut node.role else { return false };
        if leader.is_under_min(&self.rules) {
            return false;
        }
        let record = (leader.epoch(), self.records);
        self.records += 1;
        node.epochs.assign(record.0, offset(node.log.len()));
        node.log.push(record);
        leader.grew(self.now, offset(node.log.len()), &self.rules);
        self.waiting.push(Waiting { leader: at, upto: node.log_end(), record });
        self.settle(at);
        true
    }

    fn fetch(&mut self, from: usize) -> bool {
        let node = &self.nodes[from];
        let Role::Follows(follower) = &node.role else { return false };
        let Some(wanted) = follower.wants(self.now, node.held()) else { return false };
        if self.replies[from].as_ref().is_some_and(|reply| reply.leader_epoch == wanted.leader_epoch) {
            return false;
        }
        let leads = follower.leader().and_then(|leader| usize::try_from(leader.0).ok());
        let (Some(to), broker_epoch) = (leads, node.life) else { return false };
        let at = FollowerAt {
            broker_epoch,
            log_start: Offset::ZERO,
            log_end: wanted.fetch_offset,
            last_epoch: wanted.last_epoch,
            synced: wanted.fetch_offset,
        };
        let Node { role: Role::Leads(leader), log, epochs, .. } = &mut self.nodes[to] else { return false };
        let end_of_last = epochs.end_offset_for(wanted.last_epoch, offset(log.len()));
        let id = NodeId(i32::try_from(from).expect("few nodes"));
        let checked = leader.check_epoch(wanted.leader_epoch);
        let outcome = checked.and_then(|()| leader.fetched(self.now, id, at, end_of_last, &self.rules));
        let follows = matches!(outcome, Ok(Heard::Follows { .. }));
        let records = if follows { log[index(wanted.fetch_offset)..].to_vec() } else { Vec::new() };
        self.replies[from] = Some(Reply {
            leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.fetch_offset,
            outcome,
            records,
            high_watermark: leader.positions().high_watermark,
        });
        self.settle(to);
        true
    }

    fn reply(&mut self, to: usize) -> bool {
        let Some(reply) = self.replies[to].take() else { return false };
        let mut node = self.nodes[to].clone();
        let Role::Follows(follower) = &mut node.role else { return true };
        let outcome = reply.outcome.as_ref().map(|heard| match heard {
            Heard::Follows { .. } => {
                Offered::Batches((!reply.records.is_empty()).then_some(reply.fetch_offset))
            }
            Heard::Diverges { epoch, end } => Offered::Diverging(*epoch, *end),
        });
        let (leader_epoch, fetch_offset) = (reply.leader_epoch, reply.fetch_offset);
        let told = Told { leader_epoch, fetch_offset, outcome, log_start: Offset::ZERO };
        let verdict = follower.told(self.now, told, self.nodes[to].held(), 0);
        let mut follower = follower.clone();
        match verdict {
            Verdict::Ignore | Verdict::BackOff | Verdict::Fail => {}
            Verdict::Append => {
                reply.records.iter().for_each(|record| node.append(*record));
                let followed = follower.appended(node.held(), reply.high_watermark, Offset::ZERO);
                followed.expect("all logs begin at 0");
            }
            Verdict::Truncate(end) => node.truncate(end),
            Verdict::RestartAndAppend(_) | Verdict::RestartAt(_) | Verdict::RestartDiverged { .. } => {
                panic!("all logs begin at 0: {verdict:?}")
            }
        }
        node.role = Role::Follows(follower);
        self.nodes[to] = node;
        true
    }

    fn kill(&mut self, at: usize) -> bool {
        let ran = self.nodes[at].runs();
        let node = &mut self.nodes[at];
        (node.role, node.knows) = (Role::Dead, None);
        self.asked[at] = None;
        self.waiting.retain(|waiting| waiting.leader != at);
        if ran {
            self.lives[at] = None;
            self.lives_version += 1;
            let others = self.in_sync_without(at);
            let in_sync = if others.is_empty() { Arc::clone(&self.term.in_sync) } else { others };
            self.change(self.leader.filter(|leader| *leader != at), in_sync);
        }
        ran
    }

    fn restart(&mut self, at: usize) -> bool {
        if self.nodes[at].runs() {
            return false;
        }
        self.nodes[at].life.0 += 1;
        self.lives[at] = Some(self.nodes[at].life);
        self.lives_version += 1;
        // It may have lost what the others in sync have, but not if there are none.
        let others = self.in_sync_without(at);
        let other_runs = |node: &NodeId| usize::try_from(node.0).is_ok_and(|node| self.nodes[node].runs());
        let leaves = self.is_in_sync(at) && others.iter().any(other_runs);
        let in_sync = if leaves { others } else { Arc::clone(&self.term.in_sync) };
        let leader = self.leader.filter(|leader| *leader != at);
        self.change(leader, in_sync);
        self.role_of(at);
        true
    }

    fn lag(&mut self, at: usize) -> bool {
        let Role::Leads(leader) = &mut self.nodes[at].role else { return false };
        self.now = self.now.plus_micros(LAG_MICROS + 1);
        leader.tick(self.now, &self.rules);
        self.settle(at);
        self.asked[at].is_some()
    }

    fn agree(&mut self, with: usize) -> bool {
        let Some(proposal) = self.asked[with].take() else { return false };
        let is_eligible = |(node, life): &(NodeId, Option<BrokerEpoch>)| {
            let present = usize::try_from(node.0).ok().and_then(|node| self.lives[node]);
            present.is_some() && life.is_none_or(|life| Some(life) == present)
        };
        let is_of_now = self.leader == Some(with)
            && proposal.leader_epoch == self.term.leader_epoch
            && proposal.partition_epoch == self.term.partition_epoch;
        let why = match proposal.in_sync.iter().all(is_eligible) {
            _ if !is_of_now => NotChanged::Outdated,
            false => NotChanged::Ineligible,
            true => {
                let in_sync = proposal.in_sync.iter().map(|(node, _)| *node).collect();
                self.change(self.leader, in_sync);
                return true;
            }
        };
        if let Role::Leads(leader) = &mut self.nodes[with].role
            && leader.epoch() == proposal.leader_epoch
        {
            leader.refused(self.now, proposal.attempt, why);
        }
        true
    }

    fn elect(&mut self, node: usize) -> bool {
        let may_lead = self.may_lead(node);
        if may_lead {
            self.term.leader_epoch = self.term.leader_epoch.next();
            self.term.partition_epoch.0 += 1;
            self.leader = Some(node);
        }
        may_lead
    }

    fn is_in_sync(&self, node: usize) -> bool {
        self.term.in_sync.iter().any(|it| usize::try_from(it.0) == Ok(node))
    }

    fn in_sync_without(&self, node: usize) -> Arc<[NodeId]> {
        self.term.in_sync.iter().copied().filter(|it| usize::try_from(it.0) != Ok(node)).collect()
    }

    fn may_lead(&self, node: usize) -> bool {
        self.is_in_sync(node) && self.lives[node].is_some() && self.lives[node] == Some(self.nodes[node].life)
    }

    /// The partition is another one: without a leader the first that may lead does.
    fn change(&mut self, leader: Option<usize>, in_sync: Arc<[NodeId]>) {
        let keeps = leader == self.leader && leader.is_some();
        self.term.in_sync = in_sync;
        self.term.partition_epoch.0 += 1;
        self.leader = leader;
        if !keeps {
            self.term.leader_epoch = self.term.leader_epoch.next();
            self.leader = leader.or_else(|| (0..NODES).find(|node| self.may_lead(*node)));
        }
    }

    /// A node takes up what the controller decided, if there is news.
    fn learn(&mut self, at: usize) -> bool {
        let (lives, version) = (self.alive(), self.version());
        let (now, rules, term) = (self.now, self.rules, &self.term);
        let node = &mut self.nodes[at];
        if !node.runs() || node.knows == Some(version) {
            return false;
        }
        node.knows = Some(version);
        match &mut node.role {
            Role::Leads(leader) if leader.epoch() == term.leader_epoch => {
                leader.lives_changed(now, &lives, &rules);
                leader.renew(now, term, &lives, &rules);
            }
            Role::Follows(follower) if follower.epoch() == term.leader_epoch => {}
            _ => self.role_of(at),
        }
        self.settle(at);
        true
    }

    /// A node begins an epoch.
    fn role_of(&mut self, at: usize) {
        let lives = self.alive();
        let (now, rules, term) = (self.now, self.rules, &self.term);
        let node = &mut self.nodes[at];
        let high_watermark = node.high_watermark();
        let id = |node: usize| NodeId(i32::try_from(node).expect("few nodes"));
        if self.leader == Some(at) {
            // Also a leader that never appends has had its epoch.
            node.epochs.assign(term.leader_epoch, node.log_end());
            let log_end = node.log_end();
            let ends = Ends { log_start: Offset::ZERO, log_end, synced: log_end, high_watermark };
            let leader = Leader::begin(now, id(at), term, ends, &lives, &rules);
            self.shown[at] = (term.leader_epoch, leader.positions().high_watermark);
            node.role = Role::Leads(leader);
        } else {
            let (follower, cut) =
                Follower::begin(self.leader.map(id), term.leader_epoch, high_watermark, node.held());
            node.role = Role::Follows(follower);
            if let Some(end) = cut {
                node.truncate(end);
            }
        }
        self.asked[at] = None;
        self.waiting.retain(|waiting| waiting.leader != at);
    }

    /// What follows from an event of a leader: producers are told, readers see further, the set is to change.
    fn settle(&mut self, at: usize) {
        let lives = self.alive();
        let Node { role: Role::Leads(leader), log, .. } = &mut self.nodes[at] else { return };
        if let Some(proposal) = leader.proposal(self.now, &lives, &self.rules) {
            self.asked[at] = Some(proposal);
        }
        let rules = self.rules;
        let acknowledged = &mut self.acknowledged;
        self.waiting.retain(|waiting| {
            let is_of_it = waiting.leader == at;
            let what =
                if is_of_it { leader.acknowledgement(waiting.upto, &rules) } else { Acknowledgement::Waits };
            if what == Acknowledgement::Given {
                acknowledged.push((offset(index(waiting.upto) - 1), waiting.record));
            }
            what == Acknowledgement::Waits
        });
        let high_watermark = index(leader.positions().high_watermark);
        let known = self.seen.len();
        if high_watermark > known {
            self.seen.extend_from_slice(&log[known..high_watermark]);
        }
    }

    /// What must hold at every moment, or how it is broken.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for (at, node) in self.nodes.iter().enumerate() {
            let high_watermark = node.high_watermark();
            if node.log.get(..index(high_watermark)) != self.seen.get(..index(high_watermark)) {
                return Err(format!(
                    "below its high watermark the log of {at} is another one than readers saw"
                ));
            }
            let Role::Leads(leader) = &node.role else { continue };
            let (epoch, shown) = self.shown[at];
            if epoch == leader.epoch() && high_watermark < shown {
                return Err(format!("the high watermark of {at} went back"));
            }
            self.shown[at] = (leader.epoch(), high_watermark);
        }
        for member in self.term.in_sync.iter() {
            let log = &self.nodes[usize::try_from(member.0).expect("a node")].log;
            if log.get(..self.seen.len()) != Some(&self.seen) {
                return Err(format!("{member} is in sync and has not all that was committed"));
            }
            let is_lost = |(at, record): &&(Offset, Record)| log.get(index(*at)) != Some(record);
            if let Some(lost) = self.acknowledged.iter().find(is_lost) {
                return Err(format!("{member} is in sync and has not what was acknowledged: {lost:?}"));
            }
        }
        Ok(())
    }

    /// Once all nodes run and hear each other again, they come to have the same log, all in sync and all of it committed.
    pub(super) fn heals(&self) -> Result<(), String> {
        let mut world = self.clone();
        (0..NODES).for_each(|node| _ = world.happens(Event::Restart(node, Deaf::Nobody)));
        for _ in 0..12 {
            world.now = world.now.plus_micros(1_000_000);
            for node in 0..NODES {
                for event in [Event::Learn, Event::Reply, Event::Fetch, Event::Reply, Event::Fetch] {
                    world.happens(event(node));
                    world.check()?;
                }
                world.agree(node);
                world.settle(node);
                world.check()?;
            }
            if world.is_well() {
                return Ok(());
            }
        }
        Err(format!("all works, and the replicas do not come together: {world:#?}"))
    }

    fn is_well(&self) -> bool {
        let [first, others @ ..] = &self.nodes;
        let is_committed = |leader: usize| self.nodes[leader].high_watermark() == first.log_end();
        others.iter().all(|node| node.log == first.log)
            && self.term.in_sync.len() == NODES
            && self.leader.is_some_and(is_committed)
    }

    /// Two worlds with the same one behave alike from now on.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut into = DefaultHasher::new();
        for node in &self.nodes {
            (&node.log, node.life.0, node.knows.map(|(partition, lives)| (partition.0, lives)))
                .hash(&mut into);
            node.epochs.entries().iter().for_each(|it| (it.epoch, it.start_offset).hash(&mut into));
            match &node.role {
                Role::Dead => 0.hash(&mut into),
                Role::Leads(leader) => leader.fingerprint(self.now, &self.rules, &mut into),
                Role::Follows(it) => {
                    (it.leader(), it.epoch(), it.high_watermark(), it.has_failed()).hash(&mut into);
                }
            }
        }
        for reply in &self.replies {
            let told = reply.as_ref().map(|it| {
                let what = match &it.outcome {
                    Ok(Heard::Follows { .. }) => None,
                    Ok(Heard::Diverges { epoch, end }) => Some((*epoch, *end)),
                    Err(_) => Some((LeaderEpoch::NONE, Offset::MAX)),
                };
                (it.leader_epoch, it.fetch_offset, what, &it.records, it.high_watermark)
            });
            told.hash(&mut into);
        }
        for asked in self.asked.iter().flatten() {
            let set = asked.in_sync.iter().map(|(node, life)| (*node, life.map(|life| life.0)));
            (asked.leader_epoch, asked.partition_epoch.0).hash(&mut into);
            set.collect::<Vec<_>>().hash(&mut into);
        }
        (self.leader, self.term.leader_epoch, self.term.partition_epoch.0, &self.term.in_sync)
            .hash(&mut into);
        self.lives.map(|life| life.map(|life| life.0)).hash(&mut into);
        (self.records, &self.waiting, &self.acknowledged, &self.seen, self.is_symmetric).hash(&mut into);
        into.finish()
    }
}
