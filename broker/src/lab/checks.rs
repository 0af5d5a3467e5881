//! What must hold at every step of a run.
//!
//! What was committed is kept as a [model](super::committed). Whatever is said to be committed later, by any node, must be
//! the same, or what compaction may leave of it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use highwater_storage::batch::StoredBatch;
use highwater_storage::{LeaderEpoch, Log, LogError, Offset, TopicId};

use super::committed::{Committed, Compacts};
use super::names;
use crate::cluster::metadata::ClusterMetadata;
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{Node, ReplicaView};
use crate::partition::leader::Positions;

type Partition = (TopicId, PartitionIndex);

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
    /// What may be gone from logs.
    compacts: Compacts,
    complaints: Vec<String>,
    /// How often something was looked at.
    pub(super) looks: u64,
}

impl Checks {
    pub(super) fn new(compacts: Compacts) -> Self {
        Self { compacts, ..Self::default() }
    }

    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// The first thing that did not hold.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaints.first().map(String::as_str)
    }

    /// Everything below is committed.
    pub(super) fn committed_end(&self, partition: Partition) -> Offset {
        self.committed.get(&partition).map_or(Offset::ZERO, |committed| committed.end)
    }

    /// Whether a log, or somebody who reads one, may have nothing of what was committed of the topic there.
    pub(super) fn may_lack(&self, partition: Partition, offsets: Range<Offset>) -> Result<(), String> {
        let from = offsets.start.max(self.start_of(partition.1));
        let committed = self.committed.get(&partition);
        committed.map_or(Ok(()), |committed| committed.may_lack(from..offsets.end, self.compacts))
    }

    /// Whether a record that was committed there under this name may be gone.
    pub(super) fn may_be_gone(&self, partition: Partition, at: Offset, name: &str) -> bool {
        let known = self.committed.get(&partition).and_then(|committed| committed.at(at));
        known.is_some_and(|record| names::name(record.key.as_ref(), &record.headers) == name)
            && self.may_lack(partition, at..at.next()).is_ok()
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
        if high_watermark <= committed.end {
            return Ok(());
        }
        for batch in read(log, committed.end, high_watermark).map_err(|error| error.to_string())? {
            let next = batch.header.next_offset();
            if batch.header.base_offset != committed.end || next > high_watermark {
                return Err(format!(
                    "a batch at {} up to {next}, where {} to {high_watermark} are newly committed",
                    batch.header.base_offset, committed.end
                ));
            }
            committed.commit(&batch)?;
        }
        if committed.end == high_watermark {
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
        let nothing = Committed::default();
        let committed = self.committed.get(&partition).unwrap_or(&nothing);
        let mut batches = read(view.log, at, upto).map_err(|error| error.to_string())?;
        let end = batches.last().map_or(at, |last| last.header.next_offset());
        if end < upto {
            // A log that began within a batch after a deletion, and begins with it after a crash, knows no more than that.
            let rest = read(view.log, end, view.log.end_offset()).map_err(|error| error.to_string())?;
            batches.extend(rest.into_iter().take_while(|batch| batch.header.base_offset < upto));
        }
        for batch in batches {
            committed.may_lack(at..batch.header.base_offset, self.compacts)?;
            committed.holds(&batch, self.compacts)?;
            at = batch.header.next_offset();
        }
        let end = committed.may_lack(at..upto, self.compacts);
        end.map_err(|what| format!("its log ends in a hole at {at}; {upto} is committed: {what}"))
    }

    /// Where a record of this name was committed first.
    pub(super) fn first_of(&self, partition: Partition, name: &str) -> Option<Offset> {
        self.committed.get(&partition)?.first_of(name)
    }

    /// How many records that were committed behind a log's start it has not.
    pub(super) fn lacks(&self, view: &ReplicaView<'_>) -> u64 {
        let (start, end) = (view.log.start_offset(), view.log.end_offset());
        let committed = self.committed.get(&(view.topic, view.partition));
        let there = read(view.log, start, end).unwrap_or_default();
        let there: i64 = there.iter().map(|batch| i64::from(batch.header.record_count)).sum();
        let all = committed.map_or(0, |committed| committed.count_from(start));
        all.saturating_sub(u64::try_from(there).unwrap_or(0))
    }

    /// A reader that was at this offset read this.
    pub(super) fn saw(&mut self, partition: Partition, mut at: Offset, batches: &[StoredBatch]) {
        for batch in batches {
            let committed = self.committed.get(&partition);
            let missing = self.may_lack(partition, at..batch.header.base_offset);
            let holds = committed.map(|committed| committed.holds(batch, self.compacts));
            if let Err(what) = missing.and(holds.unwrap_or_else(|| Err("what was not committed".into()))) {
                self.complain(format!("a reader of partition {} saw {what}", partition.1));
            }
            at = batch.header.next_offset();
        }
    }

    /// Somebody got a record of this name, and before it everything below `expected`, where that is known.
    pub(super) fn got(&mut self, partition: Partition, expected: Option<Offset>, at: Offset, name: &Bytes) {
        let known = self.committed.get(&partition).and_then(|committed| committed.at(at));
        let known = known.map(|record| names::name(record.key.as_ref(), &record.headers));
        if known.as_ref() != Some(name) {
            self.complain(format!("partition {}: {name:?} was got at {at}; there is {known:?}", partition.1));
        }
        let Some(expected) = expected else { return };
        let skipped = self.may_lack(partition, expected..at);
        let came_back = if at < expected { Err(format!("{at}")) } else { Ok(()) };
        if let Err(what) = came_back.and(skipped) {
            self.complain(format!(
                "our reader of {} got {at} after all below {expected}: {what}",
                partition.1
            ));
        }
    }

    /// A member of a group got a record; whether it was its first since it has the partition.
    pub(super) fn delivered(&mut self, group: usize, partition: Partition, at: Offset, resumes: bool) {
        let of = (group, partition.1);
        let progress = self.groups.entry(of).or_default();
        let (delivered, committed) = (progress.delivered, progress.committed);
        progress.delivered = delivered.max(Offset::new(at.get() + 1));
        if let Err(what) = self.may_lack(partition, delivered..at) {
            self.complain(format!("group {of:?}: {at} is delivered, and nobody got {delivered}: {what}"));
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
