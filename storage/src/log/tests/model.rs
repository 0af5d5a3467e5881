//! Random histories beside a plain list of batches: append, roll, read, search, sync, flush, expire, cut, and reopen after
//! a clean stop and an unclean one, with what a node remembers and without.

use std::{path::Path, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::*;
use crate::{
    FoundTimestamp, LeaderEpochs, LogError, Retention,
    batch::RecordIter,
    disk::{DirEntry, File, MemoryDisk},
};

#[derive(Debug, Clone)]
enum Step {
    Append {
        ago_ms: Vec<i64>,
        value_bytes: usize,
        codec: Codec,
        producer: Option<(i64, i16)>,
        next_term: bool,
        transactional: bool,
    },
    EndTransaction {
        id: i64,
        commits: bool,
    },
    Read {
        from: Index,
        bound: Index,
        max_bytes: usize,
        at_least_one: bool,
    },
    Search {
        ago_ms: i64,
        bound: Index,
    },
    Sync,
    Flush,
    Expire {
        keep_bytes: u64,
        unlinked: bool,
    },
    RemoveOldest,
    Advance {
        to: Index,
    },
    Reopen {
        stop: StopKind,
        remembered: bool,
    },
    Truncate {
        to: Index,
        /// While somebody has what was there before.
        held: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let append = (
        vec(0i64..60, 1..5),
        0usize..400,
        prop::sample::select(&Codec::ALL[..]),
        option::of((0i64..3, 0i16..2)),
        proptest::bool::weighted(0.1),
        any::<bool>(),
    );
    let append = append.prop_map(|(ago_ms, value_bytes, codec, producer, next_term, transactional)| {
        Step::Append { ago_ms, value_bytes, codec, producer, next_term, transactional }
    });
    let read = (any::<Index>(), any::<Index>(), 0usize..3000, any::<bool>());
    let read = read.prop_map(|(from, bound, max_bytes, at_least_one)| Step::Read {
        from,
        bound,
        max_bytes,
        at_least_one,
    });
    let search = (-3i64..63, any::<Index>()).prop_map(|(ago_ms, bound)| Step::Search { ago_ms, bound });
    let stop = prop::sample::select(&[StopKind::Clean, StopKind::Unclean][..]);
    prop_oneof![
        12 => append,
        6 => read,
        3 => search,
        4 => Just(Step::Sync),
        1 => Just(Step::Flush),
        2 => (0i64..3, any::<bool>()).prop_map(|(id, commits)| Step::EndTransaction { id, commits }),
        1 => (0u64..6000, any::<bool>()).prop_map(|(keep_bytes, unlinked)| Step::Expire { keep_bytes, unlinked }),
        1 => Just(Step::RemoveOldest),
        1 => any::<Index>().prop_map(|to| Step::Advance { to }),
        2 => (stop, any::<bool>()).prop_map(|(stop, remembered)| Step::Reopen { stop, remembered }),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(to, held)| Step::Truncate { to, held }),
    ]
}

#[derive(Default)]
struct Model {
    /// Everything ever written and not cut off, also what is no longer in the log.
    batches: Vec<Stored>,
    /// How many of them are not.
    gone: usize,
    /// Where the log begins, and where it ends without batches.
    start: Offset,
    base: Offset,
    epochs: LeaderEpochs,
    term: i32,
    /// The epoch of each producer's open transaction.
    open: [Option<i16>; 3],
}

impl Model {
    fn end(&self) -> Offset {
        self.batches.last().map_or(self.base, |batch| batch.header.next_offset())
    }

    fn left(&self) -> &[Stored] {
        &self.batches[self.gone..]
    }

    fn offset(&self, index: &Index) -> Offset {
        let offsets = usize::try_from(self.end().get()).unwrap() + 2;
        Offset::new(i64::try_from(index.index(offsets)).unwrap())
    }

    /// Follows the log's front.
    fn follow(&mut self, log: &Log) -> Result<(), TestCaseError> {
        let first = log.segments[0].base_offset();
        self.gone = self.batches.partition_point(|batch| batch.segment < first);
        prop_assert!(self.left().first().map_or(self.end(), |batch| batch.segment) == first);
        prop_assert_eq!(log.start_offset(), self.start.max(first));
        self.start = log.start_offset();
        self.epochs.truncate_from_start(self.start);
        Ok(())
    }

    /// The batches a reader may have, of all segments.
    fn readable(&self, from: Offset, bound: Offset) -> &[Stored] {
        let left = self.left();
        let first = left.partition_point(|batch| batch.header.last_offset() < from);
        let last = left.partition_point(|batch| batch.header.last_offset() < bound);
        if from < bound && from >= self.start { &left[first..last.max(first)] } else { &[] }
    }

    fn expected_read(&self, from: Offset, bound: Offset, max_bytes: usize, at_least_one: bool) -> Vec<u8> {
        let readable = self.readable(from, bound);
        let Some(first) = readable.first() else { return Vec::new() };
        let of_segment = readable.iter().take_while(|batch| batch.segment == first.segment);
        let mut bytes: Vec<u8> = of_segment.flat_map(|batch| batch.bytes.iter().copied()).collect();
        if first.bytes.len() > max_bytes {
            bytes.truncate(if at_least_one { first.bytes.len() } else { 0 });
        } else {
            bytes.truncate(max_bytes);
        }
        bytes
    }

    /// Which transactions are open again after a cut.
    fn reopen_transactions(&mut self) {
        let table = producers_of(&self.batches);
        for (id, open) in (0..).zip(&mut self.open) {
            let entry = table.get(ProducerId::new(id));
            *open = entry.and_then(|entry| entry.current_txn_first_offset.map(|_| entry.epoch.get()));
        }
    }

    fn expected_search(&self, timestamp: TimestampMs, bound: Offset) -> Option<FoundTimestamp> {
        let batches = self.left().iter().flat_map(|batch| {
            let epoch = batch.header.leader_epoch;
            RecordIter::new(batch.bytes.clone()).unwrap().map(move |record| (record.unwrap(), epoch))
        });
        let wanted =
            |record: &crate::batch::Record| record.timestamp >= timestamp && record.offset >= self.start;
        let (record, leader_epoch) = batches.into_iter().find(|(record, _)| wanted(record))?;
        let found = FoundTimestamp { timestamp: record.timestamp, offset: record.offset, leader_epoch };
        Some(found).filter(|found| found.offset < bound)
    }
}

/// In small segments, or in some that hold enough to have room ahead.
fn run(disk: &Arc<dyn Disk>, roomy: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let config = LogConfig { segment_bytes: if roomy { 12 << 10 } else { 2048 }, ..small() };
    let mut model = Model::default();
    let mut sequences = [[0i32; 2]; 3];
    let mut log = Log::create(Arc::clone(disk), dir(), config.clone(), None, NOW);
    for step in steps {
        match step {
            Step::Append { ago_ms, value_bytes, codec, producer, next_term, transactional: within } => {
                model.term += i32::from(next_term);
                // Whoever has a transaction open goes on in it.
                let producer = producer
                    .map(|(id, epoch)| (id, model.open[usize::try_from(id).unwrap()].unwrap_or(epoch)));
                let opens =
                    producer.filter(|(id, _)| within || model.open[usize::try_from(*id).unwrap()].is_some());
                let producer = producer.map(|(id, epoch)| {
                    let count = i32::try_from(ago_ms.len()).unwrap();
                    let next = &mut sequences[usize::try_from(id).unwrap()][usize::try_from(epoch).unwrap()];
                    (id, epoch, std::mem::replace(next, *next + count))
                });
                let times: Vec<i64> = ago_ms.iter().map(|ago| NOW.get() - ago).collect();
                let epoch = LeaderEpoch::new(model.term);
                let batch = match (opens, producer) {
                    (Some((id, of)), Some((_, _, sequence))) => {
                        model.open[usize::try_from(id).unwrap()] = Some(of);
                        sequences[usize::try_from(id).unwrap()][usize::try_from(of).unwrap()] = sequence + 1;
                        transactional(id, of, sequence, value_bytes)
                    }
                    _ => batch_of(&times, value_bytes, codec, producer),
                };
                let stored = append(&mut log, &batch, epoch);
                prop_assert_eq!(stored.header.base_offset, model.end());
                model.epochs.assign(epoch, stored.header.base_offset);
                model.batches.push(stored);
            }
            Step::EndTransaction { id, commits } => {
                let Some(epoch) = model.open[usize::try_from(id).unwrap()].take() else { continue };
                let stored = append(&mut log, &marker(id, epoch, commits), LeaderEpoch::new(model.term));
                model.epochs.assign(LeaderEpoch::new(model.term), stored.header.base_offset);
                model.batches.push(stored);
            }
            Step::Read { from, bound, max_bytes, at_least_one } => {
                let (from, bound) = (model.offset(&from), model.offset(&bound));
                let range = log.range(from, bound, max_bytes, at_least_one);
                let read = range.read().unwrap();
                let expected = model.expected_read(from, bound, max_bytes, at_least_one);
                prop_assert_eq!(&read[..], &expected[..], "{} to {}", from, bound);
                prop_assert!(read.is_empty() || !range.is_empty());
                let from = from.max(model.start);
                let exact: usize = model.readable(from, bound).iter().map(|batch| batch.bytes.len()).sum();
                prop_assert_eq!(log.exact_bytes(from, bound).unwrap(), exact as u64);
                let available = log.available_bytes(from, bound);
                prop_assert!(available.at_least <= exact as u64 && exact as u64 <= available.at_most);
                prop_assert!(available.at_most - available.at_least <= 2 * 2048);
            }
            Step::Search { ago_ms, bound } => {
                let (timestamp, bound) = (TimestampMs::new(NOW.get() - ago_ms), model.offset(&bound));
                let found = log.offset_for_timestamp(timestamp, bound).run().unwrap();
                prop_assert_eq!(found, model.expected_search(timestamp, bound));
                if model.start > log.segments[0].base_offset() {
                    continue;
                }
                let latest = model.left().iter().map(|batch| batch.header.max_timestamp).max();
                let expected = latest.and_then(|latest| model.expected_search(latest, bound));
                let found = log.max_timestamp_record(bound).and_then(|search| search.run().unwrap());
                prop_assert_eq!(found, expected);
            }
            Step::Sync => log.flush().unwrap(),
            Step::Flush => {
                let done = log.flush_handle().sync().unwrap();
                log.synced(done);
                prop_assert!(log.recovery_point() >= log.active().base_offset());
            }
            Step::Expire { keep_bytes, unlinked } => {
                let retention = Retention { bytes: Some(keep_bytes), ms: None };
                let removed = log.expire(retention, model.end(), NOW).unwrap();
                model.follow(&log)?;
                if let Some(removed) = removed.filter(|_| unlinked) {
                    removed.run().unwrap();
                }
            }
            Step::RemoveOldest => {
                let before = log.size_bytes();
                let removed = log.remove_oldest_segment(model.end(), NOW).unwrap();
                prop_assert_eq!(removed.map_or(0, |removed| removed.bytes()), before - log.size_bytes());
                model.follow(&log)?;
            }
            Step::Advance { to } => {
                let to = model.offset(&to);
                let rises = to > model.start && to <= model.end();
                prop_assert_eq!(log.advance_start_offset(to, model.end()), rises);
                model.start = if rises { to } else { model.start };
                model.epochs.truncate_from_start(model.start);
            }
            Step::Truncate { to, held } => {
                let to = model.offset(&to);
                let held = held.then(|| {
                    let ranges =
                        [log.start_offset(), to].map(|from| log.range(from, log.end_offset(), 1 << 20, true));
                    ranges.map(|range| (range.read().unwrap(), range))
                });
                let (cuts, restarts) = (to < model.end(), to < log.segments[0].base_offset());
                log.truncate_to(to, NOW).unwrap();
                for (before, range) in held.into_iter().flatten() {
                    prop_assert_eq!(range.read().unwrap(), before, "what was handed out stays");
                }
                model.batches.retain(|batch| batch.header.last_offset() < to);
                if restarts {
                    (model.batches, model.gone, model.base) = (Vec::new(), 0, to);
                } else if model.batches.is_empty() && cuts {
                    model.base = log.end_offset();
                }
                model.epochs.truncate_from_end(if cuts { log.end_offset() } else { to });
                model.gone = model.gone.min(model.batches.len());
                if cuts {
                    model.start = model.start.min(log.end_offset());
                    prop_assert_eq!(
                        log.end_offset(),
                        if restarts { to } else { model.end().max(log.segments[0].base_offset()) }
                    );
                    model.base = log.end_offset();
                    model.reopen_transactions();
                    if model.left().is_empty() && log.end_offset() != model.end() {
                        // What is left of the log is empty, and what it once held before is no matter any more.
                        model.batches.clear();
                        model.gone = 0;
                    }
                }
                check_index_files(&**disk, &model.batches);
            }
            Step::Reopen { stop, remembered } => {
                let mut opening = Opening::after(stop);
                // The files of a clean stop and its checkpoints belong together.
                let remembered = remembered || stop == StopKind::Clean;
                if remembered {
                    (opening.start_offset, opening.recovery_point) = (model.start, log.recovery_point());
                }
                match stop {
                    StopKind::Clean => log.close_clean().unwrap(),
                    StopKind::Unclean => drop(log),
                }
                if disk.list(dir()).is_ok() {
                    let report = crate::inspect::verify(&**disk, dir(), &mut |_| {}).unwrap();
                    prop_assert!(!report.has_damage(), "{:?}", report.findings);
                }
                let recovered;
                (log, recovered) = Log::open(Arc::clone(disk), dir(), config.clone(), opening, NOW).unwrap();
                prop_assert_eq!((recovered.truncated_bytes, recovered.was_not_clean), (0, false));
                if stop == StopKind::Clean {
                    prop_assert_eq!(recovered.rebuilt_indexes, 0);
                    prop_assert!(log.sync_handle().is_idle());
                    prop_assert_eq!(log.recovery_point(), log.end_offset());
                } else {
                    // Its own segment was checked, and the index files of that are not durable.
                    let point = log.recovery_point();
                    prop_assert!(point <= opening.recovery_point.min(log.end_offset()));
                    prop_assert!(
                        point == opening.recovery_point
                            || log.segments.iter().any(|s| s.base_offset() == point)
                    );
                }
                check_index_files(&**disk, &model.batches);
                // Terms without records are forgotten, as Kafka forgets them.
                let end = model.end();
                model.epochs.truncate_from_end(end);
                if !remembered && log.start_offset() < model.start {
                    prop_assert_eq!(log.start_offset(), log.segments[0].base_offset());
                    model.start = log.start_offset();
                    model.epochs = log.epochs().clone();
                }
            }
        }
        prop_assert_eq!(log.end_offset(), model.end());
        prop_assert_eq!(log.epochs(), &model.epochs);
        prop_assert_eq!(log.producers(), &producers_of(&model.batches));
        let open = log.producers().iter().filter_map(|(_, entry)| entry.current_txn_first_offset).min();
        let first_unstable = log.first_unstable_offset(log.end_offset());
        prop_assert_eq!(first_unstable, open.map(|open| open.max(log.start_offset())));
        let left = model.left().first().map_or(model.end(), |batch| batch.segment);
        let aborted = aborted_of(&model.batches).into_iter().filter(|aborted| aborted.last_offset >= left);
        prop_assert_eq!(log.aborted_in(left, Offset::MAX), aborted.collect::<Vec<_>>());
    }
    let all: Vec<Bytes> =
        model.readable(model.start, Offset::MAX).iter().map(|batch| batch.bytes.clone()).collect();
    prop_assert_eq!(read_all(&log), all);
    prop_assert_eq!(log.size_bytes(), model.left().iter().map(|batch| batch.bytes.len() as u64).sum::<u64>());
    let opening = Opening { start_offset: model.start, ..Opening::after(StopKind::Unclean) };
    drop(log);
    // The epochs are told by the batches alone, too.
    let _ = disk.remove_file(&dir().join(crate::epochs::CHECKPOINT_NAME));
    let (log, _) = Log::open(Arc::clone(disk), dir(), config, opening, NOW).unwrap();
    let end = model.end();
    model.epochs.truncate_from_end(end);
    // Where a start was forgotten, the first term begins where the batches do.
    let told = |epochs: &LeaderEpochs| {
        let starts = epochs.entries().iter().skip(1).map(|entry| entry.start_offset).collect::<Vec<_>>();
        (epochs.entries().iter().map(|entry| entry.epoch).collect::<Vec<_>>(), starts)
    };
    prop_assert_eq!(told(log.epochs()), told(&model.epochs));
    check_index_files(&**disk, &model.batches);
    Ok(())
}

/// The operating system's disk, below a directory of its own.
#[cfg(unix)]
#[derive(Debug)]
struct Below(tempfile::TempDir, crate::disk::OsDisk);

#[cfg(unix)]
impl Disk for Below {
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn File>> {
        self.1.open(&self.0.path().join(path))
    }
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn File>> {
        self.1.create(&self.0.path().join(path))
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<DirEntry>> {
        self.1.list(&self.0.path().join(dir))
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.1.rename(&self.0.path().join(from), &self.0.path().join(to))
    }
    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        self.1.remove_file(&self.0.path().join(path))
    }
    fn remove_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.1.remove_dir_all(&self.0.path().join(dir))
    }
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.1.create_dir(&self.0.path().join(dir))
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.1.sync_dir(&self.0.path().join(dir))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_log_in_memory_is_a_list_of_batches(steps in vec(step(), 1..80)) {
        run(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>), false, steps)?;
    }
}

#[cfg(unix)]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_log_in_files_is_a_list_of_batches(roomy in any::<bool>(), steps in vec(step(), 1..80)) {
        let disk = Below(tempfile::tempdir().unwrap(), crate::disk::OsDisk::new());
        run(&(Arc::new(disk) as Arc<dyn Disk>), roomy, steps)?;
    }

    /// Whatever a file's bytes are changed to, opening uncleanly yields a log of whole batches: a prefix, or a prefix
    /// and what the change left valid.
    #[test]
    fn a_damaged_log_opens_to_whole_batches(sizes in vec(0usize..300, 1..30), file in any::<Index>(), at in any::<Index>(), bytes in vec(any::<u8>(), 1..20), cut in any::<bool>(), stop in prop::sample::select(&[StopKind::Clean, StopKind::Unclean][..])) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut log = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
        let stored: Vec<Stored> = sizes.iter().map(|size| append(&mut log, &batch(*size), EPOCH)).collect();
        log.close_clean().unwrap();
        let names = disk.list(dir()).unwrap();
        let name = &names[file.index(names.len())].name;
        let file = disk.open(&dir().join(name)).unwrap();
        let at = at.index(usize::try_from(file.len()).unwrap() + 1) as u64;
        if cut {
            file.set_len(at).unwrap();
        } else {
            file.write_at(at, &[std::io::IoSlice::new(&bytes)]).unwrap();
        }
        let opened = Log::open(Arc::clone(&disk), dir(), small(), Opening::after(stop), NOW);
        let (mut log, _) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
        };
        // After a clean stop contents are taken on trust, so only what an unclean start promises is looked at.
        if stop == StopKind::Unclean {
            let read = read_all(&log);
            let damaged_log = base_of(name, "log").is_some();
            prop_assert!(damaged_log || read.len() == stored.len());
            for bytes in &read {
                prop_assert!(stored.iter().any(|stored| stored.bytes.slice(16..) == bytes.slice(16..)));
            }
        } else if let Err(error) = log.range(log.start_offset(), log.end_offset(), 1 << 20, true).read() {
            let corrupt = matches!(error, LogError::Corrupt { .. });
            prop_assert!(corrupt, "{:?}", error);
        }
        let end = log.end_offset();
        prop_assert_eq!(append(&mut log, &batch(10), EPOCH.next()).header.base_offset, end);
    }
}
