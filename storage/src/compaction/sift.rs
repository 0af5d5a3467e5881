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
    batch::{BatchHeader, ControlKind, RecordView, control_record, sifted},
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
        let mut records = batch.views(&body)?;
        let count = records.len();
        records.retain(|record| self.stays(batch, record));
        if records.is_empty() {
            return Ok(self.emptied(header, ends_segment));
        }
        let has_tombstones = records.iter().any(|record| record.value.is_none());
        let horizon = header.delete_horizon().or(has_tombstones.then(|| self.horizon()));
        if records.len() == count && horizon == header.delete_horizon() {
            return Ok(Verdict::AsIs(None));
        }
        sift(batch, &records, horizon)
    }

    fn judge_control(&mut self, batch: &Batch<'_>, ends_segment: bool) -> Result<Verdict, LogError> {
        let header = &batch.header;
        let body = batch.body()?;
        let records = batch.views(&body)?;
        let Some(record) = records.first() else { return Ok(self.emptied(header, ends_segment)) };
        let is_marker = matches!(
            control_record(record.key, record.value),
            Some(ControlKind::Abort { .. } | ControlKind::Commit { .. })
        );
        if !is_marker || self.transactions.end(header.producer_id) {
            return Ok(Verdict::AsIs(self.aborted_by(header)));
        }
        match header.delete_horizon() {
            _ if self.producers.need_marker(header) => Ok(Verdict::AsIs(None)),
            None => sift(batch, &records, Some(self.horizon())),
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

fn sift(
    batch: &Batch<'_>,
    records: &[RecordView<'_>],
    horizon: Option<TimestampMs>,
) -> Result<Verdict, LogError> {
    let codec = batch.header.attributes.codec().map_err(|error| batch.malformed(&error))?;
    let sifted = sifted::with_records(&batch.header, codec, records, horizon);
    sifted.map(|(header, bytes)| Verdict::Sifted(header, bytes)).map_err(|error| batch.malformed(&error))
}
