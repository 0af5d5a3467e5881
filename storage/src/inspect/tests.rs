use std::{io::IoSlice, sync::Arc};

use super::*;
use crate::{
    LeaderEpoch, Log, LogConfig, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    batch::{BatchBuilder, CheckedBatch, Codec},
    disk::{Disk, MemoryDisk},
    segment::file_name,
};
use proptest::{prelude::*, sample::Index};
use std::path::{Path, PathBuf};

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

fn dir() -> &'static Path {
    Path::new("orders-0")
}

fn file(base: i64, extension: &str) -> PathBuf {
    dir().join(file_name(Offset::new(base), extension))
}

fn batch(n: i32) -> CheckedBatch {
    let codec = Codec::ALL[usize::try_from(n).unwrap() % 3];
    let mut builder = BatchBuilder::new().codec(codec).transactional(n % 2 == 1);
    builder.set_producer(ProducerId::new(i64::from(n % 2)), ProducerEpoch::new(0), Sequence::new(n / 2));
    let time = NOW.saturating_add(i64::from(n * 7 % 10));
    builder.append(time, None, Some(n.to_string().repeat(60).as_bytes()), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// Aborts (0) or commits (1) the transaction of producer 1.
fn marker(kind: u8) -> CheckedBatch {
    let mut builder = BatchBuilder::new().transactional(true).control(true);
    builder.set_producer(ProducerId::new(1), ProducerEpoch::new(0), Sequence::NONE);
    builder.append(NOW, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// A log of several segments with everything a partition may have, closed cleanly.
fn closed_log() -> (Arc<dyn Disk>, Vec<Offset>) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let config = LogConfig { segment_bytes: 1200, index_interval_bytes: 150, ..LogConfig::default() };
    let id = crate::TopicId::new([7; 16]);
    let mut log = Log::create(Arc::clone(&disk), dir(), config, Some(id), NOW);
    for n in 0..40 {
        log.append(&batch(n), LeaderEpoch::new(n / 20), NOW).unwrap();
        if n % 6 == 5 {
            log.append(&marker(u8::from(n % 4 == 1)), LeaderEpoch::new(n / 20), NOW).unwrap();
        }
    }
    log.close_clean().unwrap();
    let names = disk.list(dir()).unwrap();
    let bases: Vec<Offset> = names.iter().filter_map(|entry| base_of(&entry.name, "log")).collect();
    assert!(bases.len() > 3);
    assert!(names.iter().any(|entry| entry.name.ends_with(".txnindex")));
    (disk, bases)
}

fn look(disk: &Arc<dyn Disk>) -> Report {
    verify(&**disk, dir(), &mut |_| {}).unwrap()
}

fn only(disk: &Arc<dyn Disk>) -> Finding {
    let mut report = look(disk);
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    report.findings.remove(0)
}

fn change(disk: &Arc<dyn Disk>, path: &Path, at: u64) {
    let file = disk.open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(at, &mut byte).unwrap();
    file.write_at(at, &[IoSlice::new(&[!byte[0]])]).unwrap();
}

#[test]
fn a_sound_log_has_no_findings_and_is_told_whole() {
    let (disk, bases) = closed_log();
    let mut seen = 0;
    let report = verify(&*disk, dir(), &mut |progress| seen = seen.max(progress.done_bytes)).unwrap();
    assert_eq!((report.findings, report.segments), (Vec::new(), bases.len()));
    assert_eq!((report.batches, report.records), (46, 46));
    assert_eq!(report.offsets, Some((Offset::ZERO, Offset::new(46))));
    assert!(seen > 0);
}

#[test]
fn every_file_says_what_it_holds() {
    let (disk, bases) = closed_log();
    let mut batches = Batches::open(&*disk, &file(0, "log")).unwrap();
    let first = batches.next().unwrap().unwrap();
    assert_eq!((first.position, first.check_crc().unwrap()), (0, Ok(())));
    assert_eq!(first.records().unwrap().unwrap().count(), 1);
    let second = batches.next().unwrap().unwrap();
    assert_eq!(second.position, first.end_position());
    let from = Batches::open(&*disk, &file(0, "log")).unwrap().from_position(second.position);
    assert_eq!(from.map(|batch| batch.unwrap().position).next(), Some(second.position));

    let read = |name: &str| read_file(&*disk, &dir().join(name), FileKind::of(name).unwrap()).unwrap();
    let Contents::OffsetIndex(entries) = read("00000000000000000000.index") else { panic!() };
    let at = |position: u32| {
        let mut found = Batches::open(&*disk, &file(0, "log")).unwrap().from_position(position.into());
        found.next().unwrap().unwrap().header.last_offset()
    };
    assert!(!entries.is_empty() && entries.iter().all(|entry| at(entry.position) == entry.offset));
    let Contents::TimeIndex(entries) = read("00000000000000000000.timeindex") else { panic!() };
    assert!(!entries.is_empty());
    let last = file_name(*bases.last().unwrap(), "snapshot");
    let Contents::ProducerSnapshot(entries) = read(&last) else { panic!() };
    assert_eq!(entries.iter().filter(|entry| entry.producer_id.get() == 0).count(), 5, "the whole window");
    let Contents::LeaderEpochs(entries) = read("leader-epoch-checkpoint") else { panic!() };
    assert_eq!(entries.len(), 2);
    let Contents::PartitionMetadata(id) = read("partition.metadata") else { panic!() };
    assert_eq!(id, crate::TopicId::new([7; 16]));
    let indexed = disk.list(dir()).unwrap().into_iter().filter(|entry| entry.name.ends_with("txnindex"));
    let aborted: usize = indexed
        .map(|entry| {
            let Contents::TransactionIndex(entries) = read(&entry.name) else { panic!() };
            entries.len()
        })
        .sum();
    assert_eq!(aborted, 3);
}

#[test]
fn a_tail_is_no_damage_in_the_last_segment_and_damage_before() {
    for (tail, is_zeros) in [(vec![0; 300], true), (vec![7; 5], false)] {
        let (disk, bases) = closed_log();
        let last = file(bases.last().unwrap().get(), "log");
        let log = disk.open(&last).unwrap();
        let position = log.len();
        log.write_at(position, &[IoSlice::new(&tail)]).unwrap();
        let finding = only(&disk);
        let problem = Problem::UnfinishedTail { len: tail.len() as u64, is_zeros };
        assert_eq!(finding, Finding { path: last, position: Some(position), problem });
        assert!(finding.is_harmless());

        let (disk, bases) = closed_log();
        let log = disk.open(&file(0, "log")).unwrap();
        log.write_at(log.len(), &[IoSlice::new(&tail)]).unwrap();
        let finding = only(&disk);
        // Zeros with nothing missing behind them are the room the segment had.
        assert_eq!(finding.is_harmless(), is_zeros, "{finding}");
        disk.remove_file(&file(bases[1].get(), "log")).unwrap();
        let report = look(&disk);
        let finding = report.findings.iter().find(|finding| finding.path == file(0, "log")).unwrap();
        assert!(matches!(finding.problem, Problem::NoBatch { .. }) && !finding.is_harmless(), "{finding}");
    }
}

#[test]
fn bytes_with_sound_batches_behind_them_are_no_unfinished_tail() {
    let (disk, bases) = closed_log();
    let last = file(bases.last().unwrap().get(), "log");
    let batches: Vec<_> = Batches::open(&*disk, &last).unwrap().map(Result::unwrap).collect();
    assert!(batches.len() > 1);
    let first = &batches[0];
    let log = disk.open(&last).unwrap();
    // Its length now reaches past the end of the file.
    log.write_at(first.position + 8, &[IoSlice::new(&[0x7f])]).unwrap();
    let findings = look(&disk).findings;
    let damage = findings.iter().find(|finding| finding.path == last).unwrap();
    assert_eq!(damage.position, Some(first.position));
    assert!(matches!(damage.problem, Problem::NoBatch { .. }) && !damage.is_harmless(), "{damage}");
    // With nothing sound behind, it may be what a stop has left.
    for batch in &batches[1..] {
        log.write_at(batch.position + 30, &[IoSlice::new(&[0x7f; 16])]).unwrap();
    }
    let findings = look(&disk).findings;
    let tail = findings.iter().find(|finding| finding.path == last).unwrap();
    assert!(matches!(tail.problem, Problem::UnfinishedTail { .. }), "{tail}");
}

#[test]
fn what_is_wrong_is_named() {
    let (disk, bases) = closed_log();
    change(&disk, &file(0, "log"), 100);
    let finding = only(&disk);
    assert_eq!((finding.position, finding.is_harmless()), (Some(0), false));
    assert!(matches!(finding.problem, Problem::DamagedBatch { .. }));

    let (disk, _) = closed_log();
    change(&disk, &file(0, "index"), 15);
    let finding = only(&disk);
    assert_eq!((finding.path.clone(), finding.position), (file(0, "index"), Some(8)), "{finding}");

    let (disk, _) = closed_log();
    disk.remove_file(&file(0, "timeindex")).unwrap();
    assert_eq!(only(&disk).problem, Problem::MissingIndex);

    let (disk, _) = closed_log();
    disk.remove_file(&file(bases[1].get(), "log")).unwrap();
    let found = look(&disk).findings;
    assert!(found.iter().any(|finding| finding.problem == Problem::Orphan));
    let gap = Problem::GapBeforeSegment { expected_offset: bases[1] };
    assert!(found.iter().any(|finding| finding.problem == gap));

    let (disk, _) = closed_log();
    let with = |ext: &str| {
        let names = disk.list(dir()).unwrap();
        dir().join(&names.iter().find(|entry| entry.name.ends_with(ext)).unwrap().name)
    };
    change(&disk, &with("txnindex"), 12);
    assert!(matches!(only(&disk).problem, Problem::WrongTransactions { .. } | Problem::Malformed { .. }));

    let (disk, _) = closed_log();
    change(&disk, &file(bases[1].get(), "snapshot"), 20);
    let finding = only(&disk);
    assert!(finding.is_harmless() && matches!(finding.problem, Problem::Malformed { .. }), "{finding}");

    let (disk, _) = closed_log();
    disk.write_atomic(&dir().join("leader-epoch-checkpoint"), b"0\n2\n0 0\n1 5\n").unwrap();
    assert!(matches!(only(&disk).problem, Problem::WrongEpoch { epoch, .. } if epoch == LeaderEpoch::new(0)));

    let (disk, _) = closed_log();
    for name in ["partition.metadata", "00000000000000000007.log.deleted"] {
        disk.write_atomic(&dir().join(name), b"x").unwrap();
    }
    let found: Vec<bool> = look(&disk).findings.iter().map(Finding::is_harmless).collect();
    assert_eq!(found, [true, false]);
}

proptest! {
    /// No change under a checksum or in an index goes unnoticed, and none makes the look fail. (Base offset, length and
    /// leader epoch lie outside the checksum.)
    #[test]
    fn any_change_is_found(at in any::<Index>(), which in any::<Index>(), value in 1u8..) {
        let (disk, _) = closed_log();
        let names = disk.list(dir()).unwrap();
        let names: Vec<_> = names.iter().filter(|entry| entry.name != "partition.metadata").collect();
        let name = &names[which.index(names.len())].name;
        let changed = disk.open(&dir().join(name)).unwrap();
        prop_assume!(!changed.is_empty());
        let at = at.index(usize::try_from(changed.len()).unwrap()) as u64;
        let outside_checksum = base_of(name, "log").is_some() && {
            let of = Batches::open(&*disk, &dir().join(name)).unwrap();
            let held = of.map(Result::unwrap).find(|batch| batch.end_position() > at).unwrap();
            at - held.position < 16
        };
        let mut byte = [0];
        changed.read_exact_at(at, &mut byte).unwrap();
        changed.write_at(at, &[IoSlice::new(&[byte[0] ^ value])]).unwrap();
        let report = look(&disk);
        let text = name == "leader-epoch-checkpoint";
        prop_assert!(!report.findings.is_empty() || outside_checksum || text, "{} at {}", name, at);
    }
}

#[cfg(unix)]
#[test]
fn a_disk_to_look_at_changes_nothing() {
    use crate::disk::OsDisk;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("orders-0");
    let mut log = Log::create(Arc::new(OsDisk::new()), &at, LogConfig::default(), None, NOW);
    log.append(&batch(0), LeaderEpoch::new(0), NOW).unwrap();
    // Beside the log that is still open.
    let disk = OsDisk::read_only();
    assert_eq!(verify(&disk, &at, &mut |_| {}).unwrap().findings, []);
    let path = at.join("00000000000000000000.log");
    assert!(disk.open(&path).unwrap().write_at(0, &[IoSlice::new(b"x")]).is_err());
    assert!(disk.open(&path).unwrap().set_len(0).is_err());
    for refused in [
        disk.remove_file(&path),
        disk.rename(&path, &at.join("x")),
        disk.remove_dir_all(&at),
        disk.create_dir(&at.join("d")),
        disk.put(&at.join("f"), b"x"),
        disk.write_atomic(&at.join("f"), b"x"),
        disk.create(&at.join("f")).map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    assert_eq!(disk.list(&at).unwrap().len(), 1);
}
