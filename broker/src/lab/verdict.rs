//! What must hold when everything is mended and has settled.

use std::collections::BTreeMap;

use highwater_storage::Offset;
use highwater_storage::batch::RecordIter;

use super::checks;
use super::client::TOPIC;
use super::producer::{Fate, Producer};
use super::world::{Role, World};
use crate::ids::PartitionIndex;

impl World {
    /// What is not settled yet.
    pub(super) fn unsettled(&self) -> Option<String> {
        if !self.is_whole() {
            return Some(format!("not everybody is in sync: {:?}", self.controller().known()));
        }
        for role in &self.clients {
            if let Role::Produces(producer) = role
                && !producer.is_done()
            {
                return Some(producer.pending());
            }
        }
        let known = self.controller().known();
        let mut ends: BTreeMap<_, Offset> = BTreeMap::new();
        for node in self.members.values().filter_map(super::member::Member::node) {
            if node.known() != known {
                return Some(format!("node {} does not know the cluster as it is", node.id()));
            }
            for view in node.views() {
                let positions = view.positions;
                let end = *ends.entry((view.topic, view.partition)).or_insert(positions.log_end);
                if positions.log_end != end || positions.high_watermark != end {
                    return Some(format!(
                        "node {}, partition {}: {positions:?}, another log ends at {end}",
                        node.id(),
                        view.partition
                    ));
                }
            }
        }
        let topic = known.id_of(&TOPIC.into());
        self.clients.iter().find_map(|role| match role {
            Role::Reads(reader) => {
                let end = ends.get(&(topic?, reader.partition())).copied().unwrap_or_default();
                (reader.at < end).then(|| format!("{reader:?}, of a log up to {end}"))
            }
            Role::Produces(_) => None,
        })
    }

    /// Compares the logs with what producers were told.
    pub(super) fn judge(&mut self) -> u64 {
        let mut found: BTreeMap<(PartitionIndex, String), Vec<i64>> = BTreeMap::new();
        let known = self.controller().known();
        let topic = known.id_of(&TOPIC.into());
        let mut complaints = Vec::new();
        let mut records = 0;
        for node in self.members.values().filter_map(super::member::Member::node) {
            for view in node.views().filter(|view| view.leads && Some(view.topic) == topic) {
                let batches = checks::read(view.log, view.log.start_offset(), view.log.end_offset());
                for batch in batches.unwrap_or_default() {
                    let mut bytes = batch.header.to_bytes().to_vec();
                    bytes.extend_from_slice(&batch.body);
                    let Ok(iter) = RecordIter::new(bytes.into()) else { continue };
                    for record in iter.flatten() {
                        let key = record.key.unwrap_or_default();
                        let value = String::from_utf8_lossy(&key).into_owned();
                        found.entry((view.partition, value)).or_default().push(record.offset.get());
                        records += 1;
                    }
                }
            }
        }
        for role in &self.clients {
            if let Role::Produces(producer) = role {
                judge_one(producer, &mut found, &mut complaints);
            }
        }
        if let Some(((partition, value), _)) = found.first_key_value() {
            complaints.push(format!("partition {partition}: nobody sent {value}"));
        }
        complaints.into_iter().for_each(|what| self.checks.complain(what));
        records
    }
}

fn judge_one(
    producer: &Producer,
    found: &mut BTreeMap<(PartitionIndex, String), Vec<i64>>,
    complaints: &mut Vec<String>,
) {
    let how = producer.how();
    let keeps_order = (how.is_idempotent && !producer.began_anew) || (how.acks == -1 && how.in_flight == 1);
    let mut lanes: BTreeMap<PartitionIndex, Vec<(u64, i64)>> = BTreeMap::new();
    for done in &producer.done {
        for (number, value) in (0..).zip(&done.values) {
            let partition = done.partition;
            let offsets = found.remove(&(partition, value.clone())).unwrap_or_default();
            if offsets.len() > done.copies {
                complaints.push(format!(
                    "partition {partition}: {value} is there {offsets:?}, and may be {} times: {how:?}",
                    done.copies
                ));
            }
            if let Fate::Acknowledged(at) = done.fate
                && how.acks == -1
                && !offsets.contains(&(at.get() + number))
            {
                complaints.push(format!(
                    "partition {partition}: {value} was acknowledged at {at} and is at {offsets:?}: {how:?}"
                ));
            }
            let batch = value.split('.').nth(1).and_then(|batch| batch.parse().ok()).unwrap_or(0);
            if let Some(first) = offsets.first() {
                lanes.entry(partition).or_default().push((batch, *first));
            }
        }
    }
    for (partition, mut lane) in lanes {
        lane.sort_unstable();
        if keeps_order && let Some(pair) = lane.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            complaints
                .push(format!("partition {partition}: out of order, batch and offset: {pair:?}: {how:?}"));
        }
    }
}
