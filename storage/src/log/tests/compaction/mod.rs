//! Compaction against a list of everything ever written: what is read, what is known of the producers, and what is left.

mod faults;
mod model;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use super::*;
use crate::{
    LogError, Settled,
    batch::{Record, RecordIter},
    compaction::{Compacted, Compaction, CompactionRule},
    segment::Segment,
};

/// Small segments; a gap between two of them is a lost end.
fn config() -> LogConfig {
    LogConfig { segment_bytes: 1200, index_interval_bytes: 150, ..small() }
}

/// Whatever is dirty is compacted.
fn eager() -> CompactionRule {
    CompactionRule { min_dirty_ratio: 0.0, delete_retention_ms: 1000, ..CompactionRule::default() }
}

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    offset: Offset,
    key: Option<Bytes>,
    value: Option<Bytes>,
    timestamp: TimestampMs,
    /// Of which transaction, by its number.
    transaction: Option<usize>,
}

/// A transaction's producer, and whether it was committed, if it is decided.
#[derive(Debug, Clone)]
struct Transaction {
    first_offset: Offset,
    committed: Option<bool>,
}

/// Everything that was ever appended.
#[derive(Debug, Clone, Default)]
struct History {
    records: Vec<Written>,
    transactions: Vec<Transaction>,
    /// By producer: the number of its open transaction.
    open: BTreeMap<i64, usize>,
    /// By producer: its epoch and next sequence.
    producers: BTreeMap<i64, (i16, i32)>,
    table: ProducerTable,
}

/// What is to be appended: key and value of each record, and who sends them.
#[derive(Debug, Clone)]
struct Batch {
    records: Vec<(Option<u8>, Option<u16>)>,
    codec: Codec,
    producer: Option<i64>,
    transactional: bool,
    ago_ms: i64,
}

impl History {
    fn append(&mut self, log: &mut Log, batch: &Batch) {
        let Batch { records, codec, producer, transactional, ago_ms } = batch;
        let transactional = producer.is_some_and(|id| *transactional || self.open.contains_key(&id));
        let mut builder = BatchBuilder::new().codec(*codec).transactional(transactional);
        if let Some(id) = producer {
            let (epoch, sequence) = self.producers.entry(*id).or_default();
            builder.set_producer(ProducerId::new(*id), ProducerEpoch::new(*epoch), Sequence::new(*sequence));
            *sequence += i32::try_from(records.len()).unwrap();
        }
        let mut transaction = None;
        if let Some(id) = producer.filter(|_| transactional) {
            let first_offset = log.end_offset();
            let number = self.transactions.len();
            transaction = Some(*self.open.entry(id).or_insert_with(|| {
                self.transactions.push(Transaction { first_offset, committed: None });
                number
            }));
        }
        for (n, (key, value)) in (0..).zip(records) {
            let timestamp = TimestampMs::new(NOW.get() - ago_ms + n);
            let key = key.map(|key| Bytes::from(format!("key-{key}")));
            let value = value.map(|value| Bytes::from(format!("value-{value}").repeat(3)));
            builder.append(timestamp, key.as_deref(), value.as_deref(), &[]).unwrap();
            let offset = Offset::new(log.end_offset().get() + n);
            self.records.push(Written { offset, key, value, timestamp, transaction });
        }
        let batch = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
        let stored = super::append(log, &batch, EPOCH);
        self.table.note(&stored.header, stored.control);
    }

    /// Ends the producer's transaction, if it has one open; `fences` with the next epoch.
    fn end_transaction(&mut self, log: &mut Log, id: i64, commits: bool, fences: bool) {
        let Some(number) = self.open.remove(&id) else { return };
        self.transactions[number].committed = Some(commits);
        let (epoch, sequence) = self.producers.get_mut(&id).unwrap();
        if fences {
            (*epoch, *sequence) = (*epoch + 1, 0);
        }
        let stored = super::append(log, &marker(id, *epoch, commits), EPOCH);
        self.table.note(&stored.header, stored.control);
    }

    fn is_committed(&self, written: &Written) -> bool {
        written.transaction.is_none_or(|number| self.transactions[number].committed == Some(true))
    }

    /// Where everything is decided up to.
    fn stable_offset(&self, end: Offset) -> Offset {
        self.open.values().map(|number| self.transactions[*number].first_offset).min().unwrap_or(end)
    }

    /// The newest record of each key that a reader of committed records has below an offset.
    fn newest_below(&self, offset: Offset) -> BTreeMap<Bytes, &Written> {
        let readable =
            self.records.iter().filter(|written| written.offset < offset && self.is_committed(written));
        readable.filter_map(|written| Some((written.key.clone()?, written))).collect()
    }
}

fn written_as(record: &Record) -> (Offset, Option<Bytes>, Option<Bytes>, TimestampMs) {
    (record.offset, record.key.clone(), record.value.clone(), record.timestamp)
}

/// The data batches of a log, in order.
fn data_of(log: &Log) -> Vec<(BatchHeader, Vec<Record>)> {
    let batches = read_all(log).into_iter().map(|bytes| {
        let header = BatchHeader::parse(&bytes).unwrap();
        let records = RecordIter::new(bytes).unwrap().map(Result::unwrap);
        (header.clone(), if header.attributes.is_control() { Vec::new() } else { records.collect() })
    });
    batches.collect()
}

/// What holds of a log whatever was compacted: its records are some of those written, the newest of each key among them;
/// those from `untouched` on are all there.
fn assert_reads(log: &mut Log, history: &History, untouched: Offset, context: &str) {
    let end = log.end_offset();
    let stable = log.first_unstable_offset(end).unwrap_or(end);
    assert_eq!(stable, history.stable_offset(end).max(log.start_offset()), "{context}");
    let aborted = log.aborted_in(log.start_offset(), Offset::MAX);
    let is_aborted = |header: &BatchHeader| {
        header.attributes.is_transactional()
            && aborted.iter().any(|aborted| {
                aborted.producer_id == header.producer_id
                    && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
            })
    };
    let (mut newest, mut found) = (BTreeMap::new(), Vec::new());
    for (header, records) in data_of(log) {
        for record in records {
            let at = history.records.binary_search_by_key(&record.offset, |written| written.offset);
            let written = &history.records[at.unwrap_or_else(|_| panic!("{context}: {record:?}"))];
            let Written { offset, key, value, timestamp, .. } = written.clone();
            assert_eq!(written_as(&record), (offset, key, value, timestamp), "{context}");
            found.push(record.offset);
            if record.offset < stable && !is_aborted(&header) {
                assert!(history.is_committed(written), "{context}: {written:?} was aborted");
                newest.extend(record.key.clone().map(|key| (key, record)));
            }
        }
    }
    let due = history.records.iter().map(|written| written.offset);
    let tail: Vec<Offset> = due.filter(|offset| *offset >= untouched.max(log.start_offset())).collect();
    assert!(found.ends_with(&tail), "{context}: from {untouched} on");
    for (key, written) in history.newest_below(stable) {
        if written.offset < log.start_offset() {
            continue;
        }
        let read = newest.remove(&key);
        let is_there = read.as_ref().is_some_and(|record| record.offset == written.offset);
        let is_deleted = written.value.is_none() && read.is_none();
        assert!(is_there || is_deleted, "{context}: {written:?}, read {read:?}");
    }
}

/// A producer, its epoch, where its open transaction begins, and its last batches: last sequence, last offset, delta.
type Window = (ProducerId, ProducerEpoch, Option<Offset>, Vec<(Sequence, Offset, i32)>);

/// What is known of the producers, but for times and coordinators, which a marker that is gone has told.
fn windows(table: &ProducerTable) -> Vec<Window> {
    let window = |entry: &crate::ProducerEntry| {
        entry.batches().map(|batch| (batch.last_sequence, batch.last_offset, batch.offset_delta)).collect()
    };
    table.iter().map(|(id, entry)| (id, entry.epoch, entry.current_txn_first_offset, window(entry))).collect()
}

/// Below what a pass has cleaned: of each key the newest alone, none without a key, nothing aborted.
fn assert_clean_below(log: &Log, history: &History, clean_upto: Offset) {
    let mut keys = BTreeMap::new();
    for record in data_of(log).into_iter().flat_map(|(_, records)| records) {
        if record.offset < clean_upto && record.offset >= log.start_offset() {
            let at = history.records.binary_search_by_key(&record.offset, |written| written.offset).unwrap();
            assert!(history.is_committed(&history.records[at]));
            let key = record.key.clone().expect("it has a key");
            assert_eq!(keys.insert(key, record.offset), None, "two records of a key");
        }
    }
}

fn pass(
    log: &mut Log,
    rule: &CompactionRule,
    clean_upto: Option<Offset>,
    now: TimestampMs,
) -> Option<Compacted> {
    let plan = log.plan_compaction(rule, clean_upto, log.end_offset(), now)?;
    Some(run(log, plan).unwrap().expect("nobody told it to stop"))
}

/// Makes durable what the plan rests on, and runs it.
fn run(log: &mut Log, plan: Compaction) -> Result<Option<Compacted>, LogError> {
    let synced = plan.sync_handle().sync()?;
    log.synced(synced);
    plan.run(synced, &AtomicBool::new(false))
}

fn compact(
    log: &mut Log,
    rule: &CompactionRule,
    clean_upto: Option<Offset>,
    now: TimestampMs,
) -> Option<Offset> {
    let compacted = pass(log, rule, clean_upto, now)?;
    Some(swap(log, compacted, 100).unwrap())
}

/// Swaps in everything, part by part of about `most` segments; says how far the log is clean then.
fn swap(log: &mut Log, mut compacted: Compacted, most: usize) -> Result<Offset, LogError> {
    loop {
        let (settled, removed) = log.replace_some(compacted, most)?.expect("nothing was cut").sync()?;
        removed.run()?;
        compacted = match settled {
            Settled::Rest(rest) => rest,
            Settled::Clean { upto, .. } => return Ok(upto),
        };
    }
}

fn later(ms: i64) -> TimestampMs {
    TimestampMs::new(NOW.get() + ms)
}

fn keyed(key: u8, value: Option<u16>) -> Batch {
    Batch {
        records: vec![(Some(key), value)],
        codec: Codec::None,
        producer: None,
        transactional: false,
        ago_ms: 0,
    }
}

fn fresh() -> (Arc<dyn Disk>, Log, History) {
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::MemoryDisk::new());
    let log = Log::create(Arc::clone(&disk), dir(), config(), None, NOW);
    (disk, log, History::default())
}

/// Rolls, so that everything so far may be compacted.
fn roll(log: &mut Log, history: &mut History) {
    let before = log.segment_count();
    while log.segment_count() == before {
        history.append(log, &keyed(200, Some(0)));
    }
}

#[test]
fn the_newest_of_each_key_stays_and_neighbours_become_one_segment() {
    let (disk, mut log, mut history) = fresh();
    for n in 0..60u16 {
        history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n)));
    }
    let (segments, size, end) = (log.segment_count(), log.size_bytes(), log.end_offset());
    let active = log.active().base_offset();
    let early = log.range(Offset::ZERO, end, 1 << 20, true);
    let slice = early.read().unwrap();
    assert_eq!(compact(&mut log, &eager(), None, NOW), Some(active));
    assert_eq!(log.end_offset(), end);
    assert!(segments > 4 && log.size_bytes() < size / 2);
    // Neighbours go together as long as they did not fit one segment before.
    assert!(log.segment_count() <= segments, "{segments}, {}", log.segment_count());
    roll(&mut log, &mut history);
    compact(&mut log, &eager(), Some(active), NOW);
    assert!(log.segment_count() <= 4, "{}", log.segment_count());
    assert_eq!(early.read().unwrap(), slice, "readers go on");
    let active = log.active().base_offset();
    assert_reads(&mut log, &history, active, "compacted");
    assert_clean_below(&log, &history, active);
    assert_eq!(compact(&mut log, &eager(), Some(active), later(1)), None, "nothing new");
    let names = disk.list(dir()).unwrap();
    assert!(names.iter().all(|entry| crate::inspect::FileKind::of(&entry.name).is_some()), "{names:?}");
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_pass_that_removed_what_it_deletes() {
    let (_, mut log, mut history) = fresh();
    history.append(&mut log, &keyed(1, Some(1)));
    history.append(&mut log, &keyed(1, None));
    roll(&mut log, &mut history);
    let has_tombstone =
        |log: &Log| data_of(log).iter().any(|(_, records)| records.iter().any(|r| r.value.is_none()));
    let first = compact(&mut log, &eager(), None, NOW);
    assert!(has_tombstone(&log));
    roll(&mut log, &mut history);
    let second = compact(&mut log, &eager(), first, later(999));
    assert!(has_tombstone(&log));
    roll(&mut log, &mut history);
    let third = compact(&mut log, &eager(), second, later(1000));
    assert!(!has_tombstone(&log) && third > second);
    assert_reads(&mut log, &history, third.unwrap(), "compacted");
}

#[test]
fn what_was_aborted_goes_at_once_and_its_marker_when_nothing_was_left_for_its_time() {
    let (_, mut log, mut history) = fresh();
    let within = |id| Batch { producer: Some(id), transactional: true, ..keyed(7, Some(9)) };
    history.append(&mut log, &keyed(7, Some(1)));
    history.append(&mut log, &within(4));
    history.end_transaction(&mut log, 4, false, false);
    // Others, so that the producer's window is elsewhere.
    for _ in 0..6 {
        history.append(&mut log, &Batch { producer: Some(4), ..keyed(8, Some(1)) });
    }
    let markers = |log: &Log| read_all(log).iter().filter(|bytes| bytes[22] & 0x20 != 0).count();
    let mut clean_upto = None;
    let mut steps = Vec::new();
    for now in [0, 1, 1000, 1001] {
        roll(&mut log, &mut history);
        clean_upto = compact(&mut log, &eager(), clean_upto, later(now));
        steps.push((markers(&log), log.aborted_in(Offset::ZERO, Offset::MAX).len()));
        assert_reads(&mut log, &history, clean_upto.unwrap(), "compacted");
    }
    assert_eq!(steps, [(1, 1), (1, 0), (1, 0), (0, 0)]);
}

#[test]
fn an_open_transaction_and_what_is_too_young_wait() {
    let (_, mut log, mut history) = fresh();
    roll(&mut log, &mut history);
    let first = log.active().base_offset();
    history.append(&mut log, &Batch { producer: Some(4), transactional: true, ..keyed(7, Some(9)) });
    roll(&mut log, &mut history);
    roll(&mut log, &mut history);
    let lag = CompactionRule { min_lag_ms: 10, ..eager() };
    assert_eq!(compact(&mut log, &lag, None, later(5)), None);
    assert_eq!(compact(&mut log, &eager(), None, NOW), Some(first));
    history.end_transaction(&mut log, 4, true, true);
    assert_eq!(compact(&mut log, &lag, Some(first), later(100)), Some(log.active().base_offset()));
    let active = log.active().base_offset();
    assert_reads(&mut log, &history, active, "compacted");
}

#[test]
fn a_map_that_is_full_leaves_the_rest_to_the_next_pass() {
    let (_, mut log, mut history) = fresh();
    for n in 0..80u16 {
        history.append(&mut log, &keyed(u8::try_from(n % 40).unwrap(), Some(n)));
    }
    roll(&mut log, &mut history);
    let active = log.active().base_offset();
    let little = CompactionRule { map_bytes: 16 * 24, ..eager() };
    let (mut clean_upto, mut passes) = (None, 0);
    while let Some(upto) = compact(&mut log, &little, clean_upto, NOW) {
        assert!(Some(upto) > clean_upto);
        assert_reads(&mut log, &history, upto, "part of it");
        (clean_upto, passes) = (Some(upto), passes + 1);
    }
    assert!(passes > 4, "{passes}");
    assert_eq!(clean_upto, Some(active));
    assert_clean_below(&log, &history, active);
}

/// Before the segment that is appended to, Kafka's passes leave a gap where the last batch of one is gone.
#[test]
fn a_pass_goes_as_far_as_the_segment_behind_a_gap_and_comes_to_rest() {
    let (disk, mut log, mut history) = fresh();
    (0..4u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n).unwrap(), Some(n))));
    roll(&mut log, &mut history);
    let (end, behind) = (log.end_offset(), log.active().base_offset());
    log.close_clean().unwrap();
    let path = dir().join(crate::segment::file_name(Offset::ZERO, "log"));
    let bytes = disk.read(&path).unwrap();
    let mut kept = 0;
    loop {
        let header = BatchHeader::parse(&bytes[kept..]).unwrap();
        if header.next_offset() == behind {
            break;
        }
        kept += header.size_bytes();
    }
    disk.put(&path, &bytes[..kept]).unwrap();
    let opening = Opening { compacted_below: behind, ..Opening::after(StopKind::Unclean) };
    let (mut log, _) = Log::open(Arc::clone(&disk), dir(), config(), opening, NOW).unwrap();
    assert!(log.segments[0].next_offset < behind && log.end_offset() == end);
    let overdue = CompactionRule { min_dirty_ratio: 0.9, max_lag_ms: 1000, ..eager() };
    let clean_upto = compact(&mut log, &overdue, None, later(5000));
    assert_eq!(clean_upto, Some(behind));
    for rule in [overdue, eager()] {
        assert_eq!(compact(&mut log, &rule, clean_upto, later(5000)), None, "nothing new");
    }
    log.flush().unwrap();
    drop(log);
    // With what the pass came to, and without recovery points.
    let opening = Opening { compacted_below: clean_upto.unwrap(), ..opening };
    let (log, recovered) = Log::open(Arc::clone(&disk), dir(), config(), opening, NOW).unwrap();
    assert_eq!((log.end_offset(), recovered.removed_segments), (end, 0));
}

#[test]
fn a_segment_of_which_all_stays_is_not_written_again() {
    let (_, mut log, mut history) = fresh();
    for n in 0..100u8 {
        history.append(&mut log, &keyed(n, Some(1)));
    }
    let bases: Vec<Offset> = log.segments.iter().map(Segment::base_offset).collect();
    let files: Vec<_> = log.segments.iter().map(|segment| Arc::clone(segment.file())).collect();
    log.set_config(LogConfig { segment_bytes: 1, ..config() });
    let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
    assert!(compacted.made.is_empty());
    let (settled, _) = log.replace_compacted(compacted).unwrap().unwrap().sync().unwrap();
    let Settled::Clean { upto, bytes: (0, 0) } = settled else { panic!("{settled:?}") };
    assert_eq!(upto, *bases.last().unwrap());
    assert!(log.segments.iter().zip(&files).all(|(segment, file)| Arc::ptr_eq(segment.file(), file)));
}

#[test]
fn a_pass_that_is_told_to_stop_leaves_nothing() {
    let (disk, mut log, mut history) = fresh();
    (0..60u16).for_each(|n| history.append(&mut log, &keyed(1, Some(n))));
    log.flush().unwrap();
    let before = disk.list(dir()).unwrap();
    let plan = log.plan_compaction(&eager(), None, log.end_offset(), NOW).unwrap();
    let synced = plan.sync_handle().sync().unwrap();
    assert!(plan.run(synced, &AtomicBool::new(true)).unwrap().is_none());
    assert_eq!(disk.list(dir()).unwrap(), before);
}

/// A cut while a pass was under way, and a removal: nothing is swapped in that is not of this log.
#[test]
fn what_became_of_the_log_meanwhile_is_respected() {
    let (disk, mut log, mut history) = fresh();
    (0..60u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n))));
    let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
    log.truncate_to(Offset::new(5), NOW).unwrap();
    log.replace_compacted(compacted).unwrap().expect_err("it is void").discard().unwrap();
    history.records.truncate(5);
    assert_reads(&mut log, &history, Offset::ZERO, "cut");

    (0..60u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n))));
    let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
    let end = log.end_offset();
    log.remove_oldest_segment(end, NOW).unwrap().unwrap().run().unwrap();
    log.replace_compacted(compacted).unwrap().expect_err("it is void").discard().unwrap();
    let start_offset = log.start_offset();
    assert!(start_offset > Offset::ZERO);
    assert_reads(&mut log, &history, end, "removed");
    let names = disk.list(dir()).unwrap();
    assert!(!names.iter().any(|entry| entry.name.ends_with("cleaned")), "{names:?}");
}

#[test]
fn damage_ends_a_pass_before_it_gets_a_sound_checksum() {
    let (disk, mut log, mut history) = fresh();
    (0..60u16).for_each(|n| history.append(&mut log, &keyed(1, Some(n))));
    log.flush().unwrap();
    let before = disk.list(dir()).unwrap();
    let file = disk.open(&dir().join("00000000000000000000.log")).unwrap();
    file.write_at(70, &[std::io::IoSlice::new(&[0xee])]).unwrap();
    let plan = log.plan_compaction(&eager(), None, log.end_offset(), NOW).unwrap();
    let error = run(&mut log, plan).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { position: 0, .. }), "{error}");
    assert_eq!(disk.list(dir()).unwrap(), before);
    assert!(log.poisoned().is_none());
}

/// No checksum covers a batch's offset.
#[test]
fn a_batch_that_does_not_follow_the_one_before_ends_a_pass() {
    for wrong in [0i64, 7, i64::from(i32::MAX)] {
        let (disk, mut log, mut history) = fresh();
        (0..60u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n))));
        log.flush().unwrap();
        let (before, second) = (disk.list(dir()).unwrap(), read_all(&log)[0].len() as u64);
        let file = disk.open(&dir().join("00000000000000000000.log")).unwrap();
        file.write_at(second, &[std::io::IoSlice::new(&wrong.to_be_bytes())]).unwrap();
        let plan = log.plan_compaction(&eager(), None, log.end_offset(), NOW).unwrap();
        let error = run(&mut log, plan).unwrap_err();
        assert!(matches!(error, LogError::Corrupt { .. }), "{wrong}: {error}");
        assert_eq!(disk.list(dir()).unwrap(), before);
    }
}

/// A topic was deleted while a pass was under way, and another made of the same name.
#[test]
fn a_pass_of_another_log_in_the_same_place_is_void() {
    for all_stays in [false, true] {
        let (disk, mut log, mut history) = fresh();
        let key = |n: u16| if all_stays { u8::try_from(n).unwrap() } else { 1 };
        (0..60u16).for_each(|n| history.append(&mut log, &keyed(key(n), Some(n))));
        if all_stays {
            log.set_config(LogConfig { segment_bytes: 1, ..config() });
        }
        let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
        assert_eq!(compacted.made.is_empty(), all_stays);
        let mut other = Log::create(Arc::clone(&disk), dir(), config(), None, NOW);
        disk.rename(dir(), Path::new("orders-0.gone-delete")).unwrap();
        let mut history = History::default();
        (0..60u16).for_each(|n| history.append(&mut other, &keyed(key(n), Some(n))));
        other.replace_compacted(compacted).unwrap().expect_err("it is void").discard().unwrap();
        assert_reads(&mut other, &history, Offset::ZERO, "another log");
    }
}

/// A disk that cuts a log when its files are written by a pass.
#[derive(Debug, Default)]
struct Cutting {
    inner: crate::disk::MemoryDisk,
    log: parking_lot::Mutex<Option<Log>>,
    cut: parking_lot::Mutex<Option<Log>>,
}

impl Disk for Cutting {
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn crate::disk::File>> {
        self.inner.open(path)
    }
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn crate::disk::File>> {
        self.inner.create(path)
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<crate::disk::DirEntry>> {
        self.inner.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.inner.remove_dir_all(dir)
    }
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.inner.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn put(&self, path: &Path, contents: &[u8]) -> std::io::Result<()> {
        self.inner.put(path, contents)?;
        if path.to_string_lossy().ends_with(".index.cleaned")
            && let Some(mut log) = self.log.lock().take()
        {
            log.truncate_to(Offset::new(5), NOW).unwrap();
            *self.cut.lock() = Some(log);
        }
        Ok(())
    }
}

#[test]
fn a_pass_during_which_the_log_was_cut_is_void() {
    let disk = Arc::new(Cutting::default());
    let mut log = Log::create(Arc::clone(&disk) as Arc<dyn Disk>, dir(), config(), None, NOW);
    let mut history = History::default();
    (0..60u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n))));
    let plan = log.plan_compaction(&eager(), None, log.end_offset(), NOW).unwrap();
    let synced = plan.sync_handle().sync().unwrap();
    *disk.log.lock() = Some(log);
    let compacted = plan.run(synced, &AtomicBool::new(false)).unwrap().expect("it has all it needs");
    let mut log = disk.cut.lock().take().expect("it was cut");
    log.replace_compacted(compacted).unwrap().expect_err("it is void").discard().unwrap();
    history.records.truncate(5);
    assert_reads(&mut log, &history, Offset::ZERO, "cut");
    history.append(&mut log, &keyed(1, Some(1)));
    let names = disk.list(dir()).unwrap();
    assert!(!names.iter().any(|entry| entry.name.ends_with("cleaned")), "{names:?}");
}

/// Cut, or restarted, after the swap: how far the log was clean is no more than its end then.
#[test]
fn what_a_pass_came_to_is_void_when_the_log_was_cut_since() {
    for restarts in [false, true] {
        let (_, mut log, mut history) = fresh();
        (0..60u16).for_each(|n| history.append(&mut log, &keyed(u8::try_from(n % 3).unwrap(), Some(n))));
        let first = pass(&mut log, &eager(), None, NOW).unwrap();
        let replaced = log.replace_compacted(first).unwrap().unwrap();
        assert_eq!(replaced.cuts(), log.cuts());
        let late = pass(&mut log, &CompactionRule { min_dirty_ratio: 0.0, ..eager() }, None, NOW).unwrap();
        if restarts {
            log.restart_at(Offset::new(7), NOW).unwrap();
        } else {
            log.truncate_to(Offset::new(5), NOW).unwrap();
        }
        assert_ne!(replaced.cuts(), log.cuts());
        let (settled, removed) = replaced.sync().unwrap();
        assert!(matches!(settled, Settled::Clean { upto, .. } if upto > log.end_offset()));
        let before = read_all(&log);
        removed.run().unwrap();
        log.replace_compacted(late).unwrap().expect_err("it is void").discard().unwrap();
        assert_eq!(read_all(&log), before);
    }
}

/// The largest time is that of a batch which the window needs and of which nothing else is left.
#[test]
fn the_latest_record_is_one_that_is_there() {
    let (_, mut log, mut history) = fresh();
    history.append(&mut log, &Batch { ago_ms: 500, ..keyed(1, Some(1)) });
    history.append(&mut log, &Batch { producer: Some(5), ago_ms: -9000, ..keyed(2, Some(1)) });
    history.append(&mut log, &Batch { ago_ms: 300, ..keyed(3, Some(1)) });
    history.append(&mut log, &Batch { ago_ms: 400, ..keyed(2, Some(2)) });
    let latest =
        |log: &Log| log.max_timestamp_record(Offset::MAX).unwrap().run().unwrap().map(|f| f.offset.get());
    assert_eq!(latest(&log), Some(1));
    for _ in 0..30 {
        history.append(&mut log, &Batch { ago_ms: 350, ..keyed(9, Some(2)) });
    }
    compact(&mut log, &eager(), None, NOW).unwrap();
    assert!(read_all(&log).iter().any(|bytes| bytes.len() == BatchHeader::LEN));
    assert_eq!(latest(&log), Some(2));
}

/// The producer's batches went with the front of the log, and the node died between the renames.
#[test]
fn what_only_a_snapshot_knows_of_the_producers_outlives_a_swap() {
    let (disk, mut log, mut history) = fresh();
    history.append(&mut log, &Batch { producer: Some(5), ..keyed(1, Some(1)) });
    for _ in 0..3 {
        roll(&mut log, &mut history);
    }
    let end = log.end_offset();
    log.remove_oldest_segment(end, NOW).unwrap().unwrap().run().unwrap();
    let before = windows(log.producers());
    assert!(before.iter().any(|(id, ..)| *id == ProducerId::new(5)));
    let first = log.segments[0].name.clone();
    log.close_clean().unwrap();
    for extension in ["log", "index", "timeindex"] {
        disk.rename(&first.path(extension), &first.path(&format!("{extension}.swap"))).unwrap();
    }
    let (log, _) = open(&disk, &config(), StopKind::Unclean);
    assert_eq!((windows(log.producers()), log.end_offset()), (before, end));
}

proptest::proptest! {
    /// Batches that are damaged though their checksums match are sifted, or end the pass; nothing else.
    #[test]
    fn no_bytes_of_a_batch_are_too_much_for_a_pass(
        codec in proptest::sample::select(&Codec::ALL[..]),
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..6),
    ) {
        let (_, mut log, mut history) = fresh();
        let mut builder = BatchBuilder::new().codec(codec);
        for n in 0..5u8 {
            builder.append(NOW, Some(&[n % 2]), Some(b"some value"), &[]).unwrap();
        }
        let mut bytes = builder.build().unwrap().to_vec();
        for (at, byte) in &damage {
            let at = 21 + at.index(bytes.len() - 21);
            bytes[at] = *byte;
        }
        let crc = crate::crc32c(&bytes[BatchHeader::CRC_COVERS_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let Ok(batch) = CheckedBatch::trusted(Bytes::from(bytes)) else { return Ok(()) };
        if log.append(&batch, EPOCH, NOW).is_err() {
            return Ok(());
        }
        roll(&mut log, &mut history);
        let size_bytes = log.size_bytes();
        let Some(plan) = log.plan_compaction(&eager(), None, log.end_offset(), later(5000)) else { return Ok(()) };
        match run(&mut log, plan) {
            Ok(compacted) => drop(swap(&mut log, compacted.unwrap(), 1).unwrap()),
            Err(error) => {
                proptest::prop_assert!(matches!(error, LogError::Malformed { .. }), "{error}");
                proptest::prop_assert_eq!(log.size_bytes(), size_bytes);
            }
        }
    }
}
