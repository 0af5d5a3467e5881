//! What stays of a batch (`Cleaner.cleanInto`, `CleanedTransactionMetadata`).
//!
//! Of records with a key the newest, and of those the ones with a value; one without stays until its batch's delete
//! horizon. What was aborted goes at once, what has no key too. A transaction's marker goes when a pass saw no batch of it
//! and the horizon that pass set is over. Of a batch left without records the header stays if its producer's window needs
//! it, or if it ends the segment: so there is never a gap between one segment and the next, and after an unclean stop a
//! lost end is told from what compaction took.

use std::collections::BTreeSet;

use super::{newest::Newest, source::Batch};
use crate::{
    AbortedTransaction, LogError, Offset, ProducerEpoch, ProducerId, ProducerTable, TimestampMs,
    batch::{
        BatchHeader, BuildError, ControlKind, RecordError, RecordView, RecordViews, control_record, sifted,
    },
};

/// What the log still has to know of its producers when it is read again.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    /// The last offsets of the batches in their windows, rising.
    windows: Vec<Offset>,
    /// Those whose window a marker has emptied: it is all there is of their epoch. By id.
    fenced: Vec<(ProducerId, ProducerEpoch)>,
}

impl Producers {
    pub(crate) fn of(table: &ProducerTable) -> Self {
        let mut windows: Vec<Offset> =
            table.iter().flat_map(|(_, entry)| entry.batches().map(|batch| batch.last_offset)).collect();
        windows.sort_unstable();
        let fenced = table.iter().filter(|(_, entry)| entry.batches().len() == 0);
        Self { windows, fenced: fenced.map(|(id, entry)| (id, entry.epoch)).collect() }
    }

    fn need(&self, header: &BatchHeader) -> bool {
        header.has_producer() && self.windows.binary_search(&header.last_offset()).is_ok()
    }

    fn need_marker(&self, header: &BatchHeader) -> bool {
        self.fenced.binary_search(&(header.producer_id, header.producer_epoch)).is_ok()
    }
}

/// The transactions of the segments that are walked.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By producer and first offset.
    aborted: Vec<AbortedTransaction>,
    /// Producers of which a batch was seen since their last marker.
    seen: BTreeSet<ProducerId>,
    /// Producers with a transaction that a snapshot says is open: who begins with it needs the marker.
    held: BTreeSet<ProducerId>,
}

impl Transactions {
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|aborted| (aborted.producer_id, aborted.first_offset));
        Self { aborted, ..Self::default() }
    }

    /// Learns that a log might be read from here on, with this known of its producers.
    pub(super) fn begin_with(&mut self, table: &ProducerTable) {
        let open = table.iter().filter(|(_, entry)| entry.current_txn_first_offset.is_some());
        self.held.extend(open.map(|(id, _)| id));
    }

    /// The aborted transaction that an offset of a producer belongs to.
    fn aborted_at(&self, producer_id: ProducerId, offset: Offset) -> Option<AbortedTransaction> {
        let key = (producer_id, offset);
        let above =
            self.aborted.partition_point(|aborted| (aborted.producer_id, aborted.first_offset) <= key);
        let last = *self.aborted.get(above.checked_sub(1)?)?;
        (last.producer_id == producer_id && last.last_offset >= offset).then_some(last)
    }

    pub(super) fn has_aborted(&self, header: &BatchHeader) -> bool {
        header.attributes.is_transactional()
            && self.aborted_at(header.producer_id, header.base_offset).is_some()
    }

    /// Takes note of a marker; tells whether anything needs it.
    fn end(&mut self, producer_id: ProducerId) -> bool {
        let was_seen = self.seen.remove(&producer_id);
        self.held.remove(&producer_id) | was_seen
    }
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It stays; the transaction it aborted is to be found again, if it is the marker of one.
    AsIs(Option<AbortedTransaction>),
    /// This stays of it.
    Sifted(BatchHeader, Vec<u8>),
    Gone,
}

/// Judges the batches of a log from its beginning on.
pub(super) struct Sift<'a> {
    pub(super) newest: &'a Newest,
    /// The round's end: from here on everything stays as it is.
    pub(super) upto: Offset,
    pub(super) producers: &'a Producers,
    pub(super) transactions: Transactions,
    pub(super) now: TimestampMs,
    pub(super) delete_retention_ms: i64,
    /// By how much the segment that is made may become longer than those it is made of.
    pub(super) room_bytes: u64,
    /// What a batch may not become longer than, stored or decompressed: it is to be read again.
    pub(super) largest_bytes: usize,
}

impl Sift<'_> {
    pub(super) fn judge(&mut self, batch: &Batch<'_>, ends_segment: bool) -> Result<Verdict, LogError> {
        let header = &batch.header;
        if header.base_offset >= self.upto {
            let aborted = header.attributes.is_control().then(|| self.aborted_by(header));
            return Ok(Verdict::AsIs(aborted.flatten()));
        }
        if header.attributes.is_control() {
            return self.judge_control(batch, ends_segment);
        }
        if header.attributes.is_transactional() {
            self.transactions.seen.insert(header.producer_id);
        }
        if self.transactions.has_aborted(header) {
            return Ok(self.emptied(header, ends_segment));
        }
        let body = batch.body()?;
        let views = batch.views(&body)?;
        let (mut stay, mut count, mut has_tombstones) = (Vec::new(), 0, false);
        for record in views.clone() {
            let record = record.map_err(|error: RecordError| batch.malformed(&error))?;
            let stays = self.stays(batch, &record);
            stay.push(stays);
            count += usize::from(stays);
            has_tombstones |= stays && record.value.is_none();
        }
        if count == 0 {
            return Ok(self.emptied(header, ends_segment));
        }
        let was = header.delete_horizon();
        let horizon = was.or(has_tombstones.then(|| self.horizon()));
        if count == stay.len() && horizon == was {
            return Ok(Verdict::AsIs(None));
        }
        match self.sifted(batch, staying(views.clone(), &stay), horizon)? {
            Some(sifted) if self.has_room_for(header, &sifted) || horizon == was => return Ok(sifted),
            _ => {}
        }
        // The tombstones' time begins with a later pass, then.
        if count == stay.len() {
            return Ok(Verdict::AsIs(None));
        }
        let sifted = self.sifted(batch, staying(views, &stay), was)?;
        sifted.ok_or_else(|| batch.malformed(&"what stays of it is longer than it may be"))
    }

    /// The batch with these of its records; `None` if it would be too long to be read again.
    fn sifted<'a>(
        &self,
        batch: &Batch<'_>,
        records: impl Iterator<Item = RecordView<'a>> + Clone,
        horizon: Option<TimestampMs>,
    ) -> Result<Option<Verdict>, LogError> {
        let codec = batch.header.attributes.codec().map_err(|error| batch.malformed(&error))?;
        match sifted::with_records(&batch.header, codec, records, horizon, self.largest_bytes) {
            Ok((header, bytes)) => Ok(Some(Verdict::Sifted(header, bytes))),
            Err(BuildError::TooLarge) => Ok(None),
            Err(error) => Err(batch.malformed(&error)),
        }
    }

    /// Whether what a batch became may take the place of it, and counts it if so: a delete horizon makes records longer.
    fn has_room_for(&mut self, before: &BatchHeader, after: &Verdict) -> bool {
        let Verdict::Sifted(header, _) = after else { return true };
        let left = (self.room_bytes + before.size_bytes() as u64).checked_sub(header.size_bytes() as u64);
        self.room_bytes = left.unwrap_or(self.room_bytes);
        left.is_some()
    }

    fn judge_control(&mut self, batch: &Batch<'_>, ends_segment: bool) -> Result<Verdict, LogError> {
        let header = &batch.header;
        let body = batch.body()?;
        let mut records = batch.views(&body)?;
        let Some(record) = records.next() else { return Ok(self.emptied(header, ends_segment)) };
        let record = record.map_err(|error: RecordError| batch.malformed(&error))?;
        let is_marker = matches!(
            control_record(record.key, record.value),
            Some(ControlKind::Abort { .. } | ControlKind::Commit { .. })
        );
        if !is_marker || self.transactions.end(header.producer_id) {
            return Ok(Verdict::AsIs(self.aborted_by(header)));
        }
        match header.delete_horizon() {
            _ if self.producers.need_marker(header) => Ok(Verdict::AsIs(None)),
            None => {
                let sifted = self.sifted(batch, std::iter::once(record), Some(self.horizon()))?;
                Ok(sifted.filter(|sifted| self.has_room_for(header, sifted)).unwrap_or(Verdict::AsIs(None)))
            }
            Some(horizon) if self.now < horizon => Ok(Verdict::AsIs(None)),
            Some(_) => Ok(self.emptied(header, ends_segment)),
        }
    }

    fn stays(&self, batch: &Batch<'_>, record: &RecordView<'_>) -> bool {
        let Some(key) = record.key else { return false };
        let has_value =
            record.value.is_some() || batch.header.delete_horizon().is_none_or(|at| self.now < at);
        has_value && !self.newest.has_later(key, batch.offset_of(record))
    }

    fn horizon(&self) -> TimestampMs {
        TimestampMs::new(self.now.get().saturating_add(self.delete_retention_ms))
    }

    /// The transaction that a marker aborted.
    fn aborted_by(&self, marker: &BatchHeader) -> Option<AbortedTransaction> {
        let offset = marker.base_offset;
        self.transactions
            .aborted_at(marker.producer_id, offset)
            .filter(|aborted| aborted.last_offset == offset)
    }

    fn emptied(&self, header: &BatchHeader, ends_segment: bool) -> Verdict {
        if !ends_segment && !self.producers.need(header) {
            return Verdict::Gone;
        }
        if header.record_count == 0 {
            return Verdict::AsIs(None);
        }
        let (header, bytes) = sifted::bare(header);
        Verdict::Sifted(header, bytes)
    }
}

/// Of records that can all be read those that stay.
fn staying<'a>(records: RecordViews<'a>, stay: &'a [bool]) -> impl Iterator<Item = RecordView<'a>> + Clone {
    records.flatten().zip(stay).filter_map(|(record, stays)| stays.then_some(record))
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, path::Path, sync::Arc};

    use super::*;
    use crate::{
        batch::{BatchBuilder, Codec},
        compaction::source::{Batches, LARGEST_BATCH_BYTES, Source},
        disk::{Disk, MemoryDisk},
        segment::SegmentName,
    };

    /// A batch with a value that is to go if `has_older`, and tombstones.
    fn source(has_older: bool, codec: Codec) -> Source {
        let disk = MemoryDisk::new();
        let mut builder = BatchBuilder::new().codec(codec);
        if has_older {
            builder.append(TimestampMs::new(1), Some(b"0"), Some(b"v"), &[]).unwrap();
        }
        for key in 0..20u8 {
            builder.append(TimestampMs::new(2), Some(&[b'0' + key]), None, &[]).unwrap();
        }
        let bytes = builder.build().unwrap();
        let file = disk.create(Path::new("0.log")).unwrap();
        file.write_at(0, &[IoSlice::new(&bytes)]).unwrap();
        Source {
            name: SegmentName::new(&Arc::from(Path::new("")), Offset::ZERO),
            file,
            size_bytes: bytes.len() as u64,
            next_offset: BatchHeader::parse(&bytes).unwrap().next_offset(),
            index_entries: 0,
            opened: TimestampMs::new(1),
        }
    }

    /// What is left of the batch, and whether its tombstones' time has begun.
    fn judged(source: &Source, has_older: bool, room_bytes: u64, largest_bytes: usize) -> (usize, bool) {
        let mut newest = Newest::new(1 << 10);
        newest.insist(b"0", Offset::new(i64::from(has_older)));
        let mut sift = Sift {
            newest: &newest,
            upto: Offset::MAX,
            producers: &Producers::default(),
            transactions: Transactions::default(),
            now: TimestampMs::new(1_700_000_000_000),
            delete_retention_ms: 1000,
            room_bytes,
            largest_bytes,
        };
        let mut batches = Batches::of(source);
        let batch = batches.next().unwrap().unwrap();
        match sift.judge(&batch, true).unwrap() {
            Verdict::AsIs(_) => (usize::try_from(batch.header.record_count).unwrap(), false),
            Verdict::Sifted(header, _) => {
                (usize::try_from(header.record_count).unwrap(), header.delete_horizon().is_some())
            }
            Verdict::Gone => panic!("it ends the segment"),
        }
    }

    #[test]
    fn a_delete_horizon_waits_where_a_segment_would_become_too_long_by_it() {
        for has_older in [false, true] {
            let judged = |room| judged(&source(has_older, Codec::None), has_older, room, LARGEST_BATCH_BYTES);
            assert_eq!((judged(0), judged(1 << 10)), ((20, false), (20, true)));
        }
    }

    #[test]
    fn a_delete_horizon_waits_where_its_batch_would_become_too_long_to_be_read_by_it() {
        for (has_older, codec) in [false, true].into_iter().flat_map(|b| Codec::ALL.map(|codec| (b, codec))) {
            let largest = usize::try_from(source(has_older, Codec::None).size_bytes).unwrap();
            let source = source(has_older, codec);
            assert_eq!(judged(&source, has_older, 1 << 10, largest), (20, false), "{codec:?}");
            assert_eq!(judged(&source, has_older, 1 << 10, 2 * largest), (20, true), "{codec:?}");
        }
    }
}
