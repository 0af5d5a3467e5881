//! What must hold at every step of a run.
//!
//! What was committed is kept as a model: the headers of all batches below the highest high watermark that a leader ever
//! had, which tell epoch, offsets and checksum. Whatever is said to be committed later, by any node, must be the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_storage::batch::{BatchHeader, RecordIter, StoredBatch};
use highwater_storage::{LeaderEpoch, Log, LogError, Offset, TopicId};

use crate::cluster::metadata::ClusterMetadata;
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{Node, ReplicaView};
use crate::partition::leader::Positions;

type Partition = (TopicId, PartitionIndex);

/// What is committed of a partition.
#[derive(Debug, Default)]
struct Committed {
    /// Where it ends; zero while nothing is.
    end: i64,
    batches: BTreeMap<Offset, [u8; BatchHeader::LEN]>,
    keys: BTreeMap<Offset, Bytes>,
}

/// How far a group is with a partition.
#[derive(Debug, Default)]
struct Progress {
    /// Its members got everything below.
    delivered: Offset,
    /// What was acknowledged as committed.
    committed: Offset,
}

/// A replica as it was looked at last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    life: u64,
    leads: bool,
    epoch: LeaderEpoch,
    positions: Positions,
}

#[derive(Debug, Default)]
pub(super) struct Checks {
    committed: BTreeMap<Partition, Committed>,
    /// Who appended in an epoch.
    appended: BTreeMap<(Partition, LeaderEpoch), NodeId>,
    seen: BTreeMap<(NodeId, Partition), Seen>,
    /// Where the logs of nodes end that have lost nothing since.
    ends: BTreeMap<(NodeId, Partition), Offset>,
    /// In which epoch a leader acknowledged a batch alone; the first one, where several did at that offset.
    told: BTreeMap<(Partition, Offset), LeaderEpoch>,
    /// Where partitions begin that had records deleted.
    starts: BTreeMap<PartitionIndex, Offset>,
    groups: BTreeMap<(usize, PartitionIndex), Progress>,
    complaints: Vec<String>,
    /// How often something was looked at.
    pub(super) looks: u64,
}

impl Checks {
    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// The first thing that did not hold.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaints.first().map(String::as_str)
    }

    /// Everything below is committed.
    pub(super) fn committed_end(&self, partition: Partition) -> Offset {
        Offset::new(self.committed.get(&partition).map_or(0, |committed| committed.end))
    }

    /// A node may have lost what it did not sync.
    pub(super) fn lost_power(&mut self, node: NodeId) {
        self.ends.retain(|(of, _), _| *of != node);
    }

    /// Looks at a node after a step; `agreed` is what the controller knows.
    pub(super) fn look(&mut self, node: &Node, life: u64, agreed: &ClusterMetadata) {
        self.looks += 1;
        let id = node.id();
        self.ends.retain(|(of, partition), _| *of != id || node.holds(*partition));
        for view in node.views() {
            let partition = (view.topic, view.partition);
            let now = Seen { life, leads: view.leads, epoch: view.epoch, positions: view.positions };
            let before = self.seen.insert((id, partition), now).filter(|before| before.life == life);
            self.ends.insert((id, partition), view.log.end_offset());
            self.begins_at(partition, view.log.start_offset(), agreed);
            if let Err(what) = self.look_at(id, &view, before, now, agreed) {
                self.complain(format!("node {id}, partition {}: {what}", view.partition));
            }
        }
    }

    fn begins_at(&mut self, partition: Partition, start: Offset, agreed: &ClusterMetadata) {
        if start > Offset::ZERO && agreed.id_of(&super::client::TOPIC.into()) == Some(partition.0) {
            let known = self.starts.entry(partition.1).or_default();
            *known = (*known).max(start);
        }
    }

    /// Where the partitions of the topic begin that had records deleted, at the furthest.
    pub(super) fn starts(&self) -> &BTreeMap<PartitionIndex, Offset> {
        &self.starts
    }

    /// The same of one.
    pub(super) fn start_of(&self, partition: PartitionIndex) -> Offset {
        self.starts.get(&partition).copied().unwrap_or_default()
    }

    fn look_at(
        &mut self,
        id: NodeId,
        view: &ReplicaView<'_>,
        before: Option<Seen>,
        now: Seen,
        agreed: &ClusterMetadata,
    ) -> Result<(), String> {
        let partition = (view.topic, view.partition);
        let Positions { log_start, last_stable, high_watermark, log_end } = now.positions;
        if !(log_start <= last_stable && last_stable <= high_watermark && high_watermark <= log_end) {
            return Err(format!("positions out of order: {:?}", now.positions));
        }
        if log_end != view.log.end_offset() || log_start != view.log.start_offset() {
            return Err(format!("{:?} are not the log's: {}", now.positions, view.log.end_offset()));
        }
        let same_term = before.filter(|before| before.leads && now.leads && before.epoch == now.epoch);
        if let Some(before) = same_term {
            let was = before.positions;
            if high_watermark < was.high_watermark || last_stable < was.last_stable || log_end < was.log_end {
                return Err(format!("a leader went back from {was:?} to {:?}", now.positions));
            }
            if log_end > was.log_end {
                let who = *self.appended.entry((partition, now.epoch)).or_insert(id);
                if who != id {
                    return Err(format!("node {who} appended in its epoch {}, too", now.epoch));
                }
            }
        }
        if now.leads {
            let is_current = agreed
                .partition(view.topic, view.partition)
                .is_some_and(|known| known.leader == Some(id) && known.leader_epoch == now.epoch);
            if same_term.is_none() {
                self.begins_to_lead(view, is_current)?;
            }
        }
        // Who led when the step began may have committed something in it, and lost its leadership then.
        if now.leads || before.is_some_and(|before| before.leads) {
            self.commit(partition, view.log, high_watermark)?;
        }
        let committed = self.committed_end(partition);
        if high_watermark > committed {
            return Err(format!("it takes what is below {high_watermark} for committed; {committed} is"));
        }
        Ok(())
    }

    /// Who is to lead has all that is committed.
    fn begins_to_lead(&self, view: &ReplicaView<'_>, is_current: bool) -> Result<(), String> {
        let committed = self.committed_end((view.topic, view.partition));
        if is_current && view.log.end_offset() < committed {
            return Err(format!(
                "it leads epoch {} with a log up to {}; {committed} is committed",
                view.epoch,
                view.log.end_offset()
            ));
        }
        if is_current { self.compare(view, committed) } else { Ok(()) }
    }

    /// A leader's log is committed so far.
    fn commit(&mut self, partition: Partition, log: &Log, high_watermark: Offset) -> Result<(), String> {
        let committed = self.committed.entry(partition).or_default();
        let from = Offset::new(committed.end);
        if high_watermark <= from {
            return Ok(());
        }
        for batch in read(log, from, high_watermark).map_err(|error| error.to_string())? {
            let next = batch.header.next_offset();
            if batch.header.base_offset.get() != committed.end || next > high_watermark {
                return Err(format!(
                    "a batch at {} up to {next}, where {} to {high_watermark} are newly committed",
                    batch.header.base_offset, committed.end
                ));
            }
            let mut bytes = batch.header.to_bytes().to_vec();
            committed.batches.insert(batch.header.base_offset, batch.header.to_bytes());
            bytes.extend_from_slice(&batch.body);
            for record in RecordIter::new(bytes.into()).map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                committed.keys.insert(record.offset, record.key.unwrap_or_default());
            }
            committed.end = next.get();
        }
        if committed.end == high_watermark.get() {
            Ok(())
        } else {
            Err(format!("its log lacks {} to {high_watermark}", committed.end))
        }
    }

    /// A replica's log is what is committed, up to there.
    fn compare(&self, view: &ReplicaView<'_>, upto: Offset) -> Result<(), String> {
        let partition = (view.topic, view.partition);
        let upto = upto.min(view.log.end_offset());
        let mut at = view.log.start_offset();
        for batch in read(view.log, at, upto).map_err(|error| error.to_string())? {
            self.is_committed(partition, &batch)?;
            at = batch.header.next_offset();
        }
        // A log that began within a batch after a deletion, and begins with it after a crash, knows no more than that.
        let rest = if at < upto { read(view.log, at, view.log.end_offset()) } else { Ok(Vec::new()) };
        for batch in rest.map_err(|error| error.to_string())? {
            if batch.header.base_offset >= upto {
                break;
            }
            self.is_committed(partition, &batch)?;
            at = batch.header.next_offset();
        }
        if at < upto { Err(format!("its log ends in a hole at {at}; {upto} is committed")) } else { Ok(()) }
    }

    fn is_committed(&self, partition: Partition, batch: &StoredBatch) -> Result<(), String> {
        let at = batch.header.base_offset;
        let known = self.committed.get(&partition).and_then(|committed| committed.batches.get(&at));
        match known {
            Some(known) if *known == batch.header.to_bytes() => Ok(()),
            Some(known) => {
                let known = BatchHeader::parse(known);
                Err(format!("another batch at {at}: {:?}, committed was {known:?}", batch.header))
            }
            None => Err(format!("a batch at {at} that was not committed: {:?}", batch.header)),
        }
    }

    /// A reader read this.
    pub(super) fn saw(&mut self, partition: Partition, batches: &[StoredBatch]) {
        for batch in batches {
            if let Err(what) = self.is_committed(partition, batch) {
                self.complain(format!("a reader of partition {} saw {what}", partition.1));
            }
        }
    }

    /// Somebody got a record with this key.
    pub(super) fn got(&mut self, partition: Partition, at: Offset, key: &Bytes) {
        let known = self.committed.get(&partition).and_then(|committed| committed.keys.get(&at));
        if known != Some(key) {
            self.complain(format!("partition {}: {key:?} was got at {at}; there is {known:?}", partition.1));
        }
    }

    /// A member of a group got a record; whether it was its first since it has the partition.
    pub(super) fn delivered(&mut self, of: (usize, PartitionIndex), at: Offset, resumes: bool) {
        let progress = self.groups.entry(of).or_default();
        let (delivered, committed) = (progress.delivered, progress.committed);
        progress.delivered = delivered.max(Offset::new(at.get() + 1));
        if at > delivered && delivered >= self.start_of(of.1) {
            self.complain(format!("group {of:?}: {at} is delivered, and nobody got {delivered}"));
        } else if resumes && at < committed {
            self.complain(format!("group {of:?}: a member resumes at {at}; {committed} is committed"));
        }
    }

    /// Up to there a group's members got everything.
    pub(super) fn delivered_end(&self, of: (usize, PartitionIndex)) -> Offset {
        self.groups.get(&of).map_or(Offset::ZERO, |progress| progress.delivered)
    }

    /// The coordinator acknowledged a commit.
    pub(super) fn group_committed(&mut self, of: (usize, PartitionIndex), upto: Offset) {
        let progress = self.groups.entry(of).or_default();
        progress.committed = progress.committed.max(upto);
    }

    /// A producer that waits for all is told that its records are there.
    pub(super) fn acknowledged(&mut self, partition: Partition, base_offset: Offset) {
        let committed = self.committed_end(partition);
        if base_offset >= committed {
            self.complain(format!(
                "partition {}: {base_offset} is acknowledged by all, and {committed} committed",
                partition.1
            ));
        }
    }

    /// A leader alone says that a batch is there.
    pub(super) fn told(&mut self, partition: Partition, base_offset: Offset, epoch: LeaderEpoch) {
        let known = self.told.entry((partition, base_offset)).or_insert(epoch);
        *known = epoch.min(*known);
    }

    /// Whether what a leader alone acknowledged there may be lost: another leadership began since.
    pub(super) fn may_be_lost(&self, partition: Partition, base_offset: Offset, epoch: LeaderEpoch) -> bool {
        self.told.get(&(partition, base_offset)).is_some_and(|told| *told < epoch)
    }

    /// Who is in sync has all that is committed, as far as its log goes.
    pub(super) fn in_sync(&mut self, agreed: &ClusterMetadata) {
        let mut missing = Vec::new();
        for (topic, known) in agreed.by_name() {
            for (index, of_one) in (0..).map(PartitionIndex).zip(&known.partitions) {
                let committed = self.committed_end((topic, index));
                for node in of_one.in_sync.iter() {
                    if let Some(end) = self.ends.get(&(*node, (topic, index))).filter(|end| **end < committed)
                    {
                        missing.push(format!(
                            "node {node} is in sync in partition {index} with a log up to {end}; {committed} is committed"
                        ));
                    }
                }
            }
        }
        missing.into_iter().for_each(|what| self.complain(what));
    }

    /// All bytes of a node that are said to be committed are.
    pub(super) fn compare_all(&mut self, node: &Node, agreed: &ClusterMetadata) {
        let mut found = Vec::new();
        for view in node.views() {
            let known = agreed.partition(view.topic, view.partition);
            let is_in_sync = known.is_some_and(|known| known.in_sync.contains(&node.id()));
            let committed = self.committed_end((view.topic, view.partition));
            let upto = if is_in_sync { committed } else { view.positions.high_watermark };
            if let Err(what) = self.compare(&view, upto) {
                found.push(format!("node {}, partition {}: {what}", node.id(), view.partition));
            }
        }
        found.into_iter().for_each(|what| self.complain(what));
    }
}

/// The batches of a part of a log, checksums checked.
pub(super) fn read(log: &Log, from: Offset, upto: Offset) -> Result<Vec<StoredBatch>, LogError> {
    let (mut at, mut batches) = (from, Vec::new());
    while at < upto {
        let mut bytes = log.range(at, upto, usize::MAX, true).read()?;
        let found = StoredBatch::split_off(&mut bytes, true);
        let found = found.map_err(|error| LogError::Poisoned(error.to_string().into()))?;
        let Some(last) = found.last() else { break };
        at = last.header.next_offset();
        batches.extend(found);
    }
    Ok(batches)
}
