//! What must hold when everything is mended and has settled.

use std::collections::BTreeMap;

use highwater_storage::{Offset, TopicId};

use super::checks;
use super::client::TOPIC;
use super::committed;
use super::conditions::Producing;
use super::names;
use super::producer::{Done, Fate};
use super::roles::Role;
use super::world::World;
use crate::ids::PartitionIndex;

impl World {
    /// What is not settled yet.
    pub(super) fn unsettled(&self) -> Option<String> {
        if !self.is_whole() {
            return Some(format!("not everybody is in sync: {:?}", self.controller().known()));
        }
        for role in &self.clients {
            match role {
                Role::Produces(producer) if !producer.is_done() => return Some(producer.pending()),
                Role::ProducesOurs(producer) if !producer.is_done() => return Some(producer.pending()),
                _ => {}
            }
        }
        let known = self.controller().known();
        let topic = known.id_of(&TOPIC.into());
        let mut ends: BTreeMap<PartitionIndex, Offset> = BTreeMap::new();
        for node in self.members.values().filter_map(super::member::Member::node) {
            if node.known() != known {
                return Some(format!("node {} does not know the cluster as it is", node.id()));
            }
            // Groups commit on: of their topic it is enough that everybody is in sync.
            for view in node.views().filter(|view| Some(view.topic) == topic) {
                let positions = view.positions;
                let end = *ends.entry(view.partition).or_insert(positions.log_end);
                if positions.log_end != end || positions.high_watermark != end {
                    return Some(format!(
                        "node {}, partition {}: {positions:?}, another log ends at {end}",
                        node.id(),
                        view.partition
                    ));
                }
            }
        }
        self.clients.iter().find_map(|role| self.reads_on(role, &ends))
    }

    /// Whether somebody has not read all yet.
    fn reads_on(&self, role: &Role, ends: &BTreeMap<PartitionIndex, Offset>) -> Option<String> {
        let mut ends_of_all = ends.iter();
        match role {
            Role::Reads(reader) => {
                let end = ends.get(&reader.partition()).copied().unwrap_or_default();
                (reader.at < end).then(|| format!("{reader:?}, of a log up to {end}"))
            }
            Role::ReadsOurs(reader) => ends_of_all
                .find(|(at, end)| reader.at(**at) < **end)
                .map(|(at, end)| format!("our reader is at {} of {at}, which ends at {end}", reader.at(*at))),
            Role::IsMember(member) => ends_of_all
                .find(|(at, end)| {
                    let delivered = self.checks.delivered_end((member.how().group, **at));
                    let rest = self.of_topic(**at).map(|of| self.checks.may_lack(of, delivered..**end));
                    delivered < **end && rest.is_none_or(|rest| rest.is_err())
                })
                .map(|(at, end)| format!("partition {at} up to {end}: {}", member.pending())),
            Role::Produces(_) | Role::ProducesOurs(_) => None,
        }
    }

    /// How many records that were committed are in nobody's log who leads, deleted ones aside.
    pub(super) fn compacted(&self) -> u64 {
        let known = self.controller().known();
        let topic = known.id_of(&TOPIC.into());
        let nodes = self.members.values().filter_map(super::member::Member::node);
        let views =
            nodes.flat_map(|node| node.views().filter(|view| view.leads && Some(view.topic) == topic));
        views.map(|view| self.checks.lacks(&view)).sum()
    }

    /// Compares the logs with what producers were told. Gives how many records there are, and how many are not although
    /// their leader said so.
    pub(super) fn judge(&mut self) -> (u64, u64) {
        let known = self.controller().known();
        let Some(topic) = known.id_of(&TOPIC.into()) else { return (0, 0) };
        let mut found = BTreeMap::new();
        let mut records = 0;
        for node in self.members.values().filter_map(super::member::Member::node) {
            for view in node.views().filter(|view| view.leads && view.topic == topic) {
                let batches = checks::read(view.log, view.log.start_offset(), view.log.end_offset());
                for batch in batches.unwrap_or_default() {
                    for record in committed::records(&batch).unwrap_or_default() {
                        let name = names::name(record.key.as_ref(), &record.headers);
                        let value = String::from_utf8_lossy(&name).into_owned();
                        let at: &mut Vec<i64> = found.entry((view.partition, value)).or_default();
                        at.push(record.offset.get());
                        records += 1;
                    }
                }
            }
        }
        let mut judge =
            Judge { world: self, topic, found, lanes: BTreeMap::new(), lost: 0, complaints: Vec::new() };
        for role in &self.clients {
            match role {
                Role::Produces(producer) => {
                    let how = producer.how();
                    let keeps_order =
                        (how.is_idempotent && !producer.began_anew) || (how.acks == -1 && how.in_flight == 1);
                    judge.judge(how, keeps_order, &producer.done);
                }
                Role::ProducesOurs(producer) => {
                    judge.judge(producer.how(), producer.how().is_idempotent, &producer.done);
                }
                _ => {}
            }
        }
        if let Some(((partition, value), _)) = judge.found.first_key_value() {
            judge.complaints.push(format!("partition {partition}: nobody sent {value}"));
        }
        let (lost, complaints) = (judge.lost, judge.complaints);
        complaints.into_iter().for_each(|what| self.checks.complain(what));
        (records, lost)
    }
}

/// Compares what there is with what each producer was told.
struct Judge<'a> {
    world: &'a World,
    topic: TopicId,
    /// Where each record is.
    found: BTreeMap<(PartitionIndex, String), Vec<i64>>,
    /// The records of a producer: number and offset.
    lanes: BTreeMap<PartitionIndex, Vec<(u64, i64)>>,
    lost: u64,
    complaints: Vec<String>,
}

impl Judge<'_> {
    fn judge(&mut self, how: &Producing, keeps_order: bool, done: &[Done]) {
        self.lanes.clear();
        for done in done {
            self.compare(how, done);
        }
        for (partition, mut lane) in std::mem::take(&mut self.lanes) {
            lane.sort_unstable();
            if keeps_order && let Some(pair) = lane.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
                self.complaints.push(format!(
                    "partition {partition}: out of order, batch and offset: {pair:?}: {how:?}"
                ));
            }
        }
    }

    fn compare(&mut self, how: &Producing, done: &Done) {
        let partition = done.partition;
        for (number, value) in (0..).zip(&done.values) {
            let offsets = self.found.remove(&(partition, value.clone())).unwrap_or_default();
            if offsets.len() > done.copies {
                self.complaints.push(format!(
                    "partition {partition}: {value} is there {offsets:?}, and may be {} times: {how:?}",
                    done.copies
                ));
            }
            if let Fate::Acknowledged(at) = done.fate
                && Offset::new(at.get() + number) >= self.world.checks.start_of(partition)
                && !offsets.contains(&(at.get() + number))
                && !self.is_compacted_away(partition, Offset::new(at.get() + number), value)
            {
                self.is_lost(how, partition, value, at, &offsets);
            }
            let batch = value.split('.').nth(1).and_then(|batch| batch.parse().ok()).unwrap_or(0);
            // It may be gone, or only the first copy of it.
            if let Some(first) = self.world.checks.first_of((self.topic, partition), value) {
                self.lanes.entry(partition).or_default().push((batch, first.get()));
            }
        }
    }

    fn is_compacted_away(&self, partition: PartitionIndex, at: Offset, name: &str) -> bool {
        self.world.checks.may_be_gone((self.topic, partition), at, name)
    }

    /// A record is not where it was acknowledged.
    fn is_lost(
        &mut self,
        how: &Producing,
        partition: PartitionIndex,
        value: &str,
        at: Offset,
        found: &[i64],
    ) {
        let (world, of) = (self.world, (self.topic, partition));
        let epoch = world.controller().known().partition(of.0, of.1).map(|known| known.leader_epoch);
        let waits_for_all = how.acks == -1 || world.conditions.is_synced;
        let may_be = epoch.is_some_and(|epoch| world.checks.may_be_lost(of, at, epoch));
        if waits_for_all || !may_be {
            self.complaints.push(format!(
                "partition {partition}: {value} was acknowledged at {at} and is at {found:?}: {how:?}"
            ));
        } else {
            self.lost += 1;
        }
    }
}
