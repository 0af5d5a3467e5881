//! Rows about a disk that has other bytes than it was given, and says nothing.

use std::io::IoSlice;
use std::path::Path;

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_storage::batch::BatchHeader;
use highwater_storage::disk::{Disk, Survivors};
use highwater_tests::batches::{values_in, whole_batches};
use highwater_tests::guarantees::Way;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::words::{Sign, Told};
use highwater_tests::requests::{FETCH, fetch, fetched};

use crate::disk::{Came, Desk, plain};
use crate::plays_at_once;

const LOG: &str = "data/node-0/t-0/00000000000000000000.log";

/// When somebody notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noticed {
    /// A reader does, of a node that runs.
    ByReaders,
    /// The node does, as it starts after an unclean stop.
    AtTheStart,
}

const BOTH: [Noticed; 2] = [Noticed::ByReaders, Noticed::AtTheStart];

/// A batch and where it lies in the log.
struct Placed {
    value: &'static str,
    batch: Bytes,
    position: u64,
}

/// A log of "before" and these, all of them synced; the node runs.
fn synced_log(way: Way, values: &[&'static str], run: &mut Run) -> (Desk, Vec<Placed>) {
    let mut desk = Desk::new(way);
    run.sent("before", Told::Acknowledged);
    let mut placed = Vec::new();
    let mut position = whole_batches(&file(&desk)).map(|batch| batch.len() as u64).sum();
    for value in values {
        let batch = desk.next(value);
        let came = desk.send(&batch);
        let told = desk.told(came, run);
        if *value == "met" {
            run.met(*value, told)
        } else {
            run.sent(*value, told)
        }
        let next = position + batch.len() as u64;
        placed.push(Placed { value, batch, position });
        position = next;
    }
    (desk.stopped_and_started(), placed)
}

fn file(desk: &Desk) -> Bytes {
    let file = desk.disk.open(Path::new(LOG)).unwrap();
    let len = usize::try_from(file.len()).unwrap();
    file.slice(0, len).unwrap()
}

/// What the disk has from here on is this, and it stays.
fn overwrite(desk: &Desk, position: u64, bytes: &[u8]) {
    let file = desk.disk.open(Path::new(LOG)).unwrap();
    file.write_at(position, &[IoSlice::new(bytes)]).unwrap();
    file.sync().unwrap();
}

/// What a reader is given as good who asks for each offset, and what it meets.
fn readable(desk: &mut Desk, end: i64, run: &mut Run) -> Vec<String> {
    let mut values = Vec::new();
    for offset in 0..end {
        let part = fetched(desk.world.ask(&fetch("t", 0, offset), FETCH));
        if !part.error_code.is_none() {
            run.saw(Sign::Code(part.error_code));
            continue;
        }
        let records = part.records.unwrap_or_default();
        assert!(!records.is_empty(), "a reader at {offset} is left waiting");
        let Some(batch) = whole_batches(&records).next() else {
            run.saw(Sign::Damage);
            continue;
        };
        let header = BatchHeader::parse(&batch).unwrap();
        if header.check_crc(&batch).is_err() {
            run.saw(Sign::Damage);
        } else if header.base_offset.get() <= offset {
            values.extend(values_in(&batch));
        }
    }
    plain(values)
}

/// What of the batches is in the file as it was written.
fn whole(desk: &Desk, placed: &[Placed]) -> Vec<String> {
    let file = file(desk);
    let is_whole = |it: &&Placed| {
        let at = usize::try_from(it.position).unwrap();
        let stored = file.slice(at..at + it.batch.len());
        BatchHeader::parse(&stored).is_ok_and(|header| header.check_crc(&stored).is_ok())
    };
    let values = placed.iter().filter(is_whole).map(|it| it.value.to_owned());
    ["before".to_owned()].into_iter().chain(values).collect()
}

/// The damage is done, below every recovery point: readers notice, or the start that looks at headers there.
fn is_noticed(mut desk: Desk, placed: &[Placed], noticed: Noticed, mut run: Run) -> Run {
    let end = 1 + i64::try_from(placed.len()).unwrap();
    let lens = file(&desk).len();
    if noticed == Noticed::AtTheStart {
        desk = desk.after(&Survivors::All);
    }
    let values = readable(&mut desk, end, &mut run);
    run.read(&values);
    run.stored(values);
    assert_eq!(file(&desk).len(), lens, "something was cut off");
    run
}

/// The start finds it: the partition is closed, with all that is in it.
fn is_closed(desk: Desk, placed: &[Placed], mut run: Run) -> Run {
    let lens = file(&desk).len();
    let mut desk = desk.after(&Survivors::All);
    let end = 1 + i64::try_from(placed.len()).unwrap();
    assert_eq!(readable(&mut desk, end, &mut run), [""; 0], "the partition is closed");
    let next = desk.next("refused");
    let came = desk.send(&next);
    assert!(matches!(came, Came::Closed | Came::Refused(ErrorCode::KafkaStorageError)), "{came:?}");
    assert_eq!(file(&desk).len(), lens, "something was cut off");
    run.stored(whole(&desk, placed));
    run
}

/// Where the format is in a batch.
const MAGIC_AT: usize = 16;

/// A bit of a record, which only a checksum tells, or of what says how to read the batch.
#[test]
fn row_13_a_bit_rots_below_the_recovery_point() {
    let forms: Vec<_> = BOTH.into_iter().flat_map(|noticed| [(noticed, false), (noticed, true)]).collect();
    plays_at_once("13", &forms, |way, (noticed, is_header)| {
        let mut run = Run::default();
        let (desk, placed) = synced_log(way, &["met", "after"], &mut run);
        run.endangers(["met"]);
        let met = &placed[0];
        let at = if is_header { MAGIC_AT } else { met.batch.len() / 2 };
        overwrite(&desk, met.position + at as u64, &[met.batch[at] ^ 0x10]);
        if is_header && noticed == Noticed::AtTheStart {
            return is_closed(desk, &placed, run);
        }
        is_noticed(desk, &placed, noticed, run)
    });
}

/// Nowhere: its place reads as zeros. Elsewhere: over another batch as well.
#[test]
fn row_14_a_write_in_the_middle_was_lost_or_went_elsewhere() {
    const SECTOR_BYTES: usize = 512;
    let forms: Vec<_> = BOTH.into_iter().flat_map(|noticed| [(noticed, false), (noticed, true)]).collect();
    plays_at_once("14", &forms, |way, (noticed, is_elsewhere)| {
        let mut run = Run::default();
        let (desk, placed) = synced_log(way, &["met", "between", "hit", "after"], &mut run);
        let met = &placed[0];
        if is_elsewhere {
            // Sectors are what a disk mistakes, not batches.
            overwrite(&desk, placed[2].position + SECTOR_BYTES as u64, &met.batch[..SECTOR_BYTES]);
            run.endangers(["hit"]);
        }
        overwrite(&desk, met.position, &vec![0; met.batch.len()]);
        run.endangers(["met"]);
        if noticed == Noticed::AtTheStart {
            return is_closed(desk, &placed, run);
        }
        // The index has an entry for the one behind it.
        run.endangers(["between"]);
        is_noticed(desk, &placed, noticed, run)
    });
}
