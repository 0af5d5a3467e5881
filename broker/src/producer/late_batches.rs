//! Whatever comes late: batches, questions, answers and markers of two producers, in any order. A coordinator that is three
//! fields decides; the partition is a log with what this module knows of it.
//!
//! Never is a transaction open in the log that its coordinator does not know to be there: it would stay open for ever, and
//! readers of what is committed would wait for it (KIP-890). By the rules of version 2 no batch is in another
//! transaction than the one it was sent in.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::disk::MemoryDisk;
use highwater_storage::{
    LeaderEpoch, Log, LogConfig, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use proptest::prelude::*;

use super::admission::{Admission, Origin, admit};
use super::marker;
use super::sequence::Verdict;
use super::verification::{Guard, Guards, Verifications};
use crate::transaction::{End, Marker, TransactionVersion};

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

/// One thing that happens to a producer's transaction. Numbers choose among what is on its way.
#[derive(Debug, Clone)]
enum Step {
    /// The client adds the partition, which by the rules of version 2 the question does.
    Add,
    /// The client sends a batch.
    Send,
    /// A batch comes to the partition.
    Arrive(usize),
    /// A question comes to the coordinator.
    Ask(usize),
    /// Its answer comes back.
    Answer(usize),
    /// The transaction ends; the coordinator may do that by itself.
    End {
        commits: bool,
        by_itself: bool,
    },
    /// The marker is written.
    Mark,
    /// One of before comes once more.
    MarkAgain(usize),
    /// The high watermark moves.
    Commit(usize),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    // In order most of the time: what comes out of order is refused, and all that follows it.
    let which = || prop_oneof![5 => Just(0_usize), 1 => 0..8_usize];
    let step = prop_oneof![
        3 => Just(Step::Add),
        4 => Just(Step::Send),
        6 => which().prop_map(Step::Arrive),
        6 => which().prop_map(Step::Ask),
        6 => which().prop_map(Step::Answer),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(commits, by_itself)| Step::End { commits, by_itself }),
        3 => Just(Step::Mark),
        1 => (0..8_usize).prop_map(Step::MarkAgain),
        2 => (0..4_usize).prop_map(Step::Commit),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec((0..2_usize, step), 1..160)
}

/// A batch, and the transaction in which its client sent it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    epoch: i16,
    sequence: i32,
    transaction: u32,
}

/// A producer: its client, its coordinator, and what is between.
#[derive(Debug, Default)]
struct Party {
    // The client.
    sequence: i32,
    sends_in: i16,
    // The coordinator.
    epoch: i16,
    is_part: bool,
    ending: Option<Marker>,
    transaction: u32,
    // On the way.
    batches: Vec<Sent>,
    questions: Vec<(Sent, Guard)>,
    answers: Vec<(Sent, Guard)>,
    marked: Vec<Marker>,
}

struct World {
    version: TransactionVersion,
    parties: [Party; 2],
    log: Log,
    asked: Verifications,
    guards: Guards,
    high_watermark: Offset,
    /// What is in the log: producer, whether a marker, and the transaction.
    written: Vec<(usize, bool)>,
}

fn take<T>(from: &mut Vec<T>, which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(which % from.len()))
}

fn id(who: usize) -> ProducerId {
    ProducerId::new(i64::try_from(who).unwrap() + 1)
}

impl World {
    fn new(version: TransactionVersion) -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let log = Log::create(disk, Path::new("t-0"), LogConfig::default(), None, NOW);
        Self {
            version,
            parties: Default::default(),
            log,
            asked: Verifications::default(),
            guards: Guards::default(),
            high_watermark: Offset::ZERO,
            written: Vec::new(),
        }
    }

    fn take(&mut self, who: usize, step: &Step) {
        let bumps = self.version.bumps_epoch();
        let party = &mut self.parties[who];
        match step {
            Step::Add => party.is_part |= !bumps && party.ending.is_none() && party.sends_in == party.epoch,
            Step::Send => {
                let Party { sends_in: epoch, sequence, transaction, .. } = *party;
                party.batches.push(Sent { epoch, sequence, transaction });
                party.sequence += 1;
            }
            Step::Arrive(which) => {
                if let Some(sent) = take(&mut party.batches, *which) {
                    self.arrive(who, sent);
                }
            }
            Step::Ask(which) => {
                let Some((sent, guard)) = take(&mut party.questions, *which) else { return };
                let knows = party.ending.is_none() && sent.epoch == party.epoch;
                party.is_part |= knows && bumps;
                if knows && party.is_part {
                    party.answers.push((sent, guard));
                }
            }
            Step::Answer(which) => {
                if let Some((sent, guard)) = take(&mut party.answers, *which) {
                    self.append(who, sent, Some(guard));
                }
            }
            Step::End { commits, by_itself } => self.end(who, *commits, *by_itself),
            Step::Mark => {
                if let Some(marker) = party.ending.take() {
                    let _ = self.mark(&marker);
                    let party = &mut self.parties[who];
                    party.marked.push(marker);
                    party.is_part = false;
                }
            }
            Step::MarkAgain(which) => {
                if !party.marked.is_empty() {
                    let marker = party.marked[*which % party.marked.len()];
                    let written = self.mark(&marker);
                    let ends = written.is_some_and(|opened| opened.is_some());
                    assert!(!(bumps && ends), "what was ended ends no other");
                }
            }
            Step::Commit(batches) => {
                let to = self.high_watermark.get() + i64::try_from(*batches).unwrap();
                self.high_watermark = Offset::new(to).min(self.log.end_offset());
            }
            Step::Forget => self.asked.expire_before(NOW),
        }
        self.check();
    }

    fn arrive(&mut self, who: usize, sent: Sent) {
        let batch = batch(who, sent);
        let known = self.log.producers().get(id(who));
        let bumps = self.version.bumps_epoch();
        match self.asked.begin(known, batch.header().into(), bumps, NOW, &mut self.guards) {
            Ok(Some(guard)) => self.parties[who].questions.push((sent, guard)),
            Ok(None) => self.append(who, sent, None),
            Err(_) => {}
        }
    }

    fn append(&mut self, who: usize, sent: Sent, guard: Option<Guard>) {
        let batch = batch(who, sent);
        let (known, asked) = (self.log.producers().get(id(who)), self.asked.get(id(who)));
        let by = Admission { origin: Origin::Client, known, asked, guard, verifies: true };
        if admit(batch.header(), by) == Ok(Verdict::Append) {
            let party = &self.parties[who];
            if self.version.bumps_epoch() {
                // One that has its end decided goes on until its marker is here.
                let open = party.transaction - u32::from(party.ending.is_some());
                assert_eq!(sent.transaction, open, "of another transaction");
            }
            self.write(who, &batch);
        }
    }

    fn end(&mut self, who: usize, commits: bool, by_itself: bool) {
        let bumps = self.version.bumps_epoch();
        let party = &mut self.parties[who];
        if party.ending.is_some() {
            return;
        }
        let fences = by_itself && !commits;
        if bumps || fences {
            party.epoch += 1;
            (party.sends_in, party.sequence) = (party.epoch, 0);
        }
        party.transaction += 1;
        let marker = Marker {
            producer: (id(who), ProducerEpoch::new(party.epoch)),
            end: if commits { End::Commit } else { End::Abort },
            coordinator_epoch: 0,
            version: self.version,
        };
        party.ending = party.is_part.then_some(marker);
    }

    /// Writes a marker, if it may be; what it ends.
    fn mark(&mut self, marker: &Marker) -> Option<Option<Offset>> {
        let known = self.log.producers().get(marker.producer.0);
        let opened = known.and_then(|known| known.current_txn_first_offset);
        marker::check(known, marker).ok()?;
        let who = usize::try_from(marker.producer.0.get() - 1).unwrap();
        self.write(who, &marker::batch(marker, NOW));
        Some(opened)
    }

    fn write(&mut self, who: usize, batch: &CheckedBatch) {
        let appended = self.log.append(batch, LeaderEpoch::new(0), NOW).unwrap();
        self.asked.written(&appended.header);
        self.written.push((who, batch.header().attributes.is_control()));
    }

    fn check(&mut self) {
        let mut open = [None; 2];
        let mut unstable = Vec::new();
        for (at, (who, is_marker)) in (0..).map(Offset::new).zip(&self.written) {
            match (is_marker, open[*who]) {
                (false, None) => open[*who] = Some(at),
                (true, Some(first)) => {
                    open[*who] = None;
                    unstable.extend((at >= self.high_watermark).then_some(first));
                }
                _ => {}
            }
        }
        unstable.extend(open.into_iter().flatten());
        let first_unstable = self.log.first_unstable_offset(self.high_watermark);
        assert_eq!(first_unstable, unstable.into_iter().min());
        for (party, open) in self.parties.iter().zip(open) {
            assert!(open.is_none() || party.is_part, "open for ever");
        }
    }
}

fn batch(who: usize, sent: Sent) -> CheckedBatch {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(id(who), ProducerEpoch::new(sent.epoch), Sequence::new(sent.sequence));
    builder.append(NOW, None, Some(b"v"), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_late_is_open_for_ever(of_version_2 in any::<bool>(), steps in steps()) {
        let version = if of_version_2 { TransactionVersion::V2 } else { TransactionVersion::V0 };
        let mut world = World::new(version);
        for (who, step) in &steps {
            world.take(*who, step);
        }
    }
}
