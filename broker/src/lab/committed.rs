//! What is committed of a partition, kept as a model: every batch and every record below the highest high watermark that a
//! leader ever had.
//!
//! Where nothing is compacted, whatever is said to be committed later, by any node, is the same to the byte. Where
//! something is, every replica does so in its own time: a record may be gone whose key has a later one, or whose key it
//! deleted; what is left of a batch keeps its place, its sequences and its epochs, and its records are as they were.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use highwater_storage::Offset;
use highwater_storage::batch::{BatchHeader, Record, RecordIter, StoredBatch};

use super::names;

/// What compaction may take from the logs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Compacts {
    #[default]
    Nothing,
    /// What has a later record with the same key.
    Superseded,
    /// The same, and records without a value: their time is over within the run.
    SupersededAndDeletions,
}

#[derive(Debug, Default)]
pub(super) struct Committed {
    /// Where it ends; zero while nothing is.
    pub(super) end: Offset,
    batches: BTreeMap<Offset, BatchHeader>,
    records: BTreeMap<Offset, Record>,
    /// Where the last record of each key is.
    newest: BTreeMap<Bytes, Offset>,
    /// Where the first record of each name was.
    first: BTreeMap<Bytes, Offset>,
}

impl Committed {
    /// A leader's high watermark moved past this batch, the first behind the end.
    pub(super) fn commit(&mut self, batch: &StoredBatch) -> Result<(), String> {
        for record in records(batch)? {
            if let Some(key) = &record.key {
                self.newest.insert(key.clone(), record.offset);
            }
            let name = names::name(record.key.as_ref(), &record.headers);
            self.first.entry(name).or_insert(record.offset);
            self.records.insert(record.offset, record);
        }
        self.batches.insert(batch.header.base_offset, batch.header.clone());
        self.end = batch.header.next_offset();
        Ok(())
    }

    pub(super) fn first_of(&self, name: &str) -> Option<Offset> {
        self.first.get(name.as_bytes()).copied()
    }

    /// How many records there are from there on.
    pub(super) fn count_from(&self, offset: Offset) -> u64 {
        self.records.range(offset..).count() as u64
    }

    pub(super) fn at(&self, offset: Offset) -> Option<&Record> {
        self.records.get(&offset)
    }

    /// Whether a batch of some log is what was committed there, or what compaction may leave of it.
    pub(super) fn holds(&self, batch: &StoredBatch, compacts: Compacts) -> Result<(), String> {
        let at = batch.header.base_offset;
        match self.batches.get(&at) {
            None => Err(format!("a batch at {at} that was not committed: {:?}", batch.header)),
            Some(known) if *known == batch.header => Ok(()),
            Some(known) if compacts == Compacts::Nothing || !is_rest_of(&batch.header, known) => {
                Err(format!("another batch at {at}: {:?}, committed was {known:?}", batch.header))
            }
            Some(_) => self.holds_rest(batch, compacts),
        }
    }

    fn holds_rest(&self, batch: &StoredBatch, compacts: Compacts) -> Result<(), String> {
        let mut at = batch.header.base_offset;
        for record in records(batch)? {
            if self.at(record.offset) != Some(&record) {
                let known = self.at(record.offset);
                return Err(format!("another record: {record:?}, committed was {known:?}"));
            }
            self.may_lack(at..record.offset, compacts)?;
            at = record.offset.next();
        }
        self.may_lack(at..batch.header.next_offset(), compacts)
    }

    /// Whether a log may have nothing of what was committed there.
    pub(super) fn may_lack(&self, offsets: Range<Offset>, compacts: Compacts) -> Result<(), String> {
        if offsets.is_empty() {
            return Ok(());
        }
        match self.records.range(offsets).find(|(_, record)| !self.may_go(record, compacts)) {
            None => Ok(()),
            Some((at, record)) => {
                let newest = record.key.as_ref().and_then(|key| self.newest.get(key));
                Err(format!("{at} is missing: {:?}, last at {newest:?}", record.key))
            }
        }
    }

    fn may_go(&self, record: &Record, compacts: Compacts) -> bool {
        let newest = record.key.as_ref().and_then(|key| self.newest.get(key));
        let is_superseded = newest.is_some_and(|newest| *newest > record.offset);
        match compacts {
            Compacts::Nothing => false,
            Compacts::Superseded => is_superseded,
            Compacts::SupersededAndDeletions => is_superseded || record.value.is_none(),
        }
    }
}

/// Whether a batch can be what compaction left of another.
fn is_rest_of(rest: &BatchHeader, whole: &BatchHeader) -> bool {
    let place = |header: &BatchHeader| {
        let sender = (header.producer_id, header.producer_epoch, header.base_sequence);
        (header.base_offset, header.next_offset(), header.leader_epoch, sender)
    };
    place(rest) == place(whole)
}

/// The records of a batch.
pub(super) fn records(batch: &StoredBatch) -> Result<Vec<Record>, String> {
    let mut bytes = batch.header.to_bytes().to_vec();
    bytes.extend_from_slice(&batch.body);
    let records = RecordIter::new(bytes.into()).map_err(|error| error.to_string())?;
    records.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use highwater_storage::batch::{BatchBuilder, CheckedBatch, Codec};
    use highwater_storage::{LeaderEpoch, TimestampMs};

    use super::Compacts::{Nothing, Superseded, SupersededAndDeletions};
    use super::*;

    /// A batch as it is in a log: keys, those in capitals with a value.
    fn batch(at: i64, keys: &str) -> StoredBatch {
        let mut builder = BatchBuilder::new().codec(Codec::None);
        for key in keys.chars() {
            let value = key.is_uppercase().then_some(&b"value"[..]);
            let key = key.to_uppercase().to_string();
            builder.append(TimestampMs::new(1), Some(key.as_bytes()), value, &[]).unwrap();
        }
        let checked = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
        let header = checked.header().clone();
        let header =
            BatchHeader { base_offset: Offset::new(at), leader_epoch: LeaderEpoch::new(1), ..header };
        StoredBatch::of(&checked, header)
    }

    /// What a log has of the batches of which these records stay, by their place in them.
    fn rest(of: &StoredBatch, keys: &str) -> StoredBatch {
        let rest = batch(of.header.base_offset.get(), keys);
        let header = BatchHeader { last_offset_delta: of.header.last_offset_delta, ..rest.header };
        StoredBatch { header, ..rest }
    }

    /// The same where only the second record stays.
    fn only_second(of: &StoredBatch, key: &str) -> StoredBatch {
        let rest = rest(of, key);
        let mut body = rest.body.to_vec();
        // The record's offset less the batch's, behind its length, attributes and time: 1 in zigzag.
        body[3] = 2;
        StoredBatch { body: body.into(), ..rest }
    }

    fn committed(batches: &[StoredBatch]) -> Committed {
        let mut committed = Committed::default();
        batches.iter().for_each(|batch| committed.commit(batch).unwrap());
        committed
    }

    fn range(from: i64, upto: i64) -> Range<Offset> {
        Offset::new(from)..Offset::new(upto)
    }

    #[test]
    fn what_has_a_later_record_of_its_key_may_go_and_the_last_one_may_not() {
        let committed = committed(&[batch(0, "AB"), batch(2, "A"), batch(3, "b")]);
        let lacks = |compacts| {
            (0..4).filter(|at| committed.may_lack(range(*at, at + 1), compacts).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(lacks(Nothing), [] as [i64; 0]);
        assert_eq!(lacks(Superseded), [0, 1]);
        assert_eq!(lacks(SupersededAndDeletions), [0, 1, 3]);
        assert!(committed.may_lack(range(0, 4), Superseded).is_err(), "all of it");
        assert!(committed.may_lack(range(3, 1), Nothing).is_ok(), "of nothing, nothing is missing");
    }

    #[test]
    fn what_is_left_of_a_batch_has_its_place_and_its_records() {
        let (first, second) = (batch(0, "ABC"), batch(3, "C"));
        let committed = committed(&[first.clone(), second]);
        assert!(committed.holds(&first, Nothing).is_ok());
        let shrunk = rest(&first, "AB");
        assert!(committed.holds(&shrunk, Superseded).is_ok());
        for (what, batch, compacts) in [
            ("nothing is compacted", shrunk.clone(), Nothing),
            ("the last of a key went", rest(&first, "A"), Superseded),
            ("the last of another key went", only_second(&first, "B"), Superseded),
            ("another record", rest(&first, "AC"), Superseded),
            ("another end", batch(0, "AB"), Superseded),
            ("another place", batch(1, "B"), Superseded),
            (
                "another epoch",
                StoredBatch {
                    header: BatchHeader { leader_epoch: LeaderEpoch::new(2), ..shrunk.header.clone() },
                    ..shrunk
                },
                Superseded,
            ),
        ] {
            assert!(committed.holds(&batch, compacts).is_err(), "{what}");
        }
        let (first, second) = (batch(0, "AB"), batch(2, "A"));
        let committed = self::committed(&[first.clone(), second]);
        assert!(committed.holds(&only_second(&first, "B"), Superseded).is_ok());
    }
}
