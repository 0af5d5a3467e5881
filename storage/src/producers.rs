//! What the log remembers of its idempotent producers (`ProducerStateManager`, `ProducerStateEntry`).
//!
//! For each producer id its epoch and its last five batches, as many as a client has in flight. The table only stores:
//! whether a batch is next, a duplicate, or out of order is the broker's verdict, before the append.

use crate::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    batch::{BatchHeader, ControlKind},
    snapshot::SnapshotEntry,
    transactions::{AbortedTransaction, OpenTransactions, TransactionStep},
};

/// How many batches of a producer are remembered: the client's limit on `max.in.flight.requests.per.connection`.
pub(crate) const BATCHES_REMEMBERED: usize = 5;

/// A batch of a producer, as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The sequence of its last record.
    pub last_sequence: Sequence,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its last offset less its first.
    pub offset_delta: i32,
    /// Its maximum timestamp.
    pub timestamp: TimestampMs,
}

impl ProducerBatch {
    /// The sequence of its first record.
    #[must_use]
    pub fn first_sequence(&self) -> Sequence {
        self.last_sequence.minus(self.offset_delta.unsigned_abs())
    }

    /// The offset of its first record.
    #[must_use]
    pub fn first_offset(&self) -> Offset {
        Offset::new(self.last_offset.get() - i64::from(self.offset_delta))
    }
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The epoch of its last batch or marker.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that wrote its last marker; -1 without one.
    pub coordinator_epoch: i32,
    /// The time of its last batch or marker.
    pub last_timestamp: TimestampMs,
    /// Where its open transaction begins.
    pub current_txn_first_offset: Option<Offset>,
    /// Oldest first. Grows by need: most producers of most partitions send a batch or two.
    batches: Vec<ProducerBatch>,
}

impl ProducerEntry {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: TimestampMs::NONE,
            current_txn_first_offset: None,
            batches: Vec::new(),
        }
    }

    /// Its last batches of this epoch, oldest first, at most five.
    pub fn batches(&self) -> impl DoubleEndedIterator<Item = &ProducerBatch> + ExactSizeIterator {
        self.batches.iter()
    }

    /// The sequence of its last record; [`Sequence::NONE`] if no batch of this epoch is known.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.batches.last().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    /// Whether none of it was learned at `offset` or beyond.
    pub(crate) fn is_of_log_below(&self, offset: Offset) -> bool {
        self.batches().all(|batch| batch.last_offset < offset)
            && self.current_txn_first_offset.is_none_or(|first| first < offset)
    }

    /// The remembered batch with exactly these sequences.
    #[must_use]
    pub fn duplicate_of(&self, first: Sequence, last: Sequence) -> Option<&ProducerBatch> {
        self.batches.iter().find(|batch| batch.first_sequence() == first && batch.last_sequence == last)
    }

    fn adopt(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    /// Tells whether the batch begins a transaction.
    fn add(&mut self, header: &BatchHeader) -> bool {
        self.adopt(header.producer_epoch);
        self.push(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        self.last_timestamp = header.max_timestamp;
        let begins = header.attributes.is_transactional() && self.current_txn_first_offset.is_none();
        if begins {
            self.current_txn_first_offset = Some(header.base_offset);
        }
        begins
    }

    /// Gives where the transaction began; `None` if it had no records here.
    fn end_transaction(&mut self, header: &BatchHeader, coordinator_epoch: i32) -> Option<Offset> {
        self.adopt(header.producer_epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp = header.max_timestamp;
        self.current_txn_first_offset.take()
    }

    fn push(&mut self, batch: ProducerBatch) {
        match self.batches.len() {
            BATCHES_REMEMBERED => drop(self.batches.remove(0)),
            0 => self.batches.reserve_exact(1),
            known => self.batches.reserve_exact(BATCHES_REMEMBERED - known),
        }
        self.batches.push(batch);
    }
}

/// The producers of a log, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerTable {
    /// By id. Ids are given out in rising order, so new ones nearly always go to the end.
    entries: Vec<(ProducerId, Box<ProducerEntry>)>,
}

impl ProducerTable {
    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.find(id).ok().map(|at| &*self.entries[at].1)
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, &**entry))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes note of a batch in the log; `control` is what it says if it is a control batch. Tells what it did to its
    /// producer's transaction.
    pub(crate) fn note(
        &mut self,
        header: &BatchHeader,
        control: Option<ControlKind>,
    ) -> Option<TransactionStep> {
        if !header.has_producer() {
            return None;
        }
        let (coordinator_epoch, aborted) = match control {
            Some(ControlKind::Abort { coordinator_epoch }) => (coordinator_epoch, true),
            Some(ControlKind::Commit { coordinator_epoch }) => (coordinator_epoch, false),
            Some(ControlKind::Other(_)) => return None,
            None if header.attributes.is_control() => return None,
            None => return self.entry(header).add(header).then_some(TransactionStep::Began),
        };
        let first_offset = self.entry(header).end_transaction(header, coordinator_epoch)?;
        Some(TransactionStep::Ended { first_offset, aborted })
    }

    /// Takes an entry of a snapshot; `batch` is what it says of one. Entries of a producer come oldest first, and the last
    /// batch may come twice, the second time with the time of what followed it.
    pub(crate) fn restore(&mut self, from: &SnapshotEntry, batch: Option<ProducerBatch>) {
        let entry = self.entry_of(from.producer_id, from.epoch);
        entry.adopt(from.epoch);
        entry.coordinator_epoch = from.coordinator_epoch;
        entry.last_timestamp = from.timestamp;
        entry.current_txn_first_offset = from.current_txn_first_offset;
        let known = entry.batches.last().map(|last| last.last_offset);
        if let Some(batch) = batch.filter(|batch| known != Some(batch.last_offset)) {
            entry.push(batch);
        }
    }

    fn find(&self, id: ProducerId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// The entry of the batch's producer, new if need be.
    fn entry(&mut self, header: &BatchHeader) -> &mut ProducerEntry {
        self.entry_of(header.producer_id, header.producer_epoch)
    }

    fn entry_of(&mut self, id: ProducerId, epoch: ProducerEpoch) -> &mut ProducerEntry {
        let at = self.find(id).unwrap_or_else(|at| {
            if self.entries.is_empty() {
                self.entries.reserve_exact(1);
            }
            self.entries.insert(at, (id, Box::new(ProducerEntry::new(epoch))));
            at
        });
        &mut self.entries[at].1
    }

    /// Forgets the producers that have written nothing since `time` and have no transaction open
    /// (`producer.id.expiration.ms`). Tells whether there were any.
    pub(crate) fn expire_before(&mut self, time: TimestampMs) -> bool {
        let known = self.entries.len();
        self.entries
            .retain(|(_, entry)| entry.current_txn_first_offset.is_some() || entry.last_timestamp >= time);
        self.entries.len() < known
    }
}

/// Everything the log remembers of its producers, transactions included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) table: ProducerTable,
    pub(crate) transactions: OpenTransactions,
}

impl ProducerState {
    pub(crate) fn of(table: ProducerTable) -> Self {
        let transactions = OpenTransactions::of(&table);
        Self { table, transactions }
    }

    /// Takes note of a batch in the log. Gives the index entry if it aborted a transaction.
    pub(crate) fn note(
        &mut self,
        header: &BatchHeader,
        control: Option<ControlKind>,
    ) -> Option<AbortedTransaction> {
        let step = self.table.note(header, control)?;
        self.transactions.note(header, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;

    fn header(
        epoch: i16,
        base_sequence: i32,
        count: i32,
        base_offset: i64,
        transactional: bool,
    ) -> BatchHeader {
        let mut builder =
            BatchBuilder::new().base_offset(Offset::new(base_offset)).transactional(transactional);
        builder.set_producer(ProducerId::new(9), ProducerEpoch::new(epoch), Sequence::new(base_sequence));
        for n in 0..count {
            builder.append(TimestampMs::new(base_offset + i64::from(n)), None, None, &[]).unwrap();
        }
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    fn entry(table: &ProducerTable) -> &ProducerEntry {
        table.get(ProducerId::new(9)).unwrap()
    }

    #[test]
    fn the_last_five_batches_are_remembered() {
        let mut table = ProducerTable::default();
        for n in 0..7 {
            table.note(&header(0, n * 2, 2, i64::from(n) * 2, false), None);
        }
        let firsts: Vec<i32> = entry(&table).batches().map(|batch| batch.first_sequence().get()).collect();
        assert_eq!(firsts, [4, 6, 8, 10, 12]);
        assert_eq!(entry(&table).last_sequence(), Sequence::new(13));
        let duplicate = entry(&table).duplicate_of(Sequence::new(6), Sequence::new(7)).unwrap();
        assert_eq!(duplicate.first_offset(), Offset::new(6));
        assert_eq!(
            entry(&table).duplicate_of(Sequence::new(6), Sequence::new(8)),
            None,
            "overlap is no duplicate"
        );
    }

    #[test]
    fn a_batch_may_wrap_the_sequence() {
        let mut table = ProducerTable::default();
        table.note(&header(0, i32::MAX - 1, 4, 0, false), None);
        let batch = entry(&table).batches().next().unwrap();
        assert_eq!((batch.first_sequence().get(), batch.last_sequence.get()), (i32::MAX - 1, 1));
    }

    #[test]
    fn a_new_epoch_clears_the_window() {
        let mut table = ProducerTable::default();
        table.note(&header(0, 0, 1, 0, false), None);
        table.note(&header(1, 0, 1, 1, false), None);
        assert_eq!(entry(&table).batches().len(), 1);
        assert_eq!(entry(&table).epoch, ProducerEpoch::new(1));
    }

    #[test]
    fn a_marker_ends_the_transaction_and_keeps_the_window_of_its_epoch() {
        let mut table = ProducerTable::default();
        table.note(&header(3, 0, 1, 5, true), None);
        table.note(&header(3, 1, 1, 6, true), None);
        assert_eq!(entry(&table).current_txn_first_offset, Some(Offset::new(5)));
        table.expire_before(TimestampMs::new(1 << 40));
        assert_eq!(table.len(), 1, "an open transaction does not expire");

        table.note(&header(3, -1, 1, 7, true), Some(ControlKind::Commit { coordinator_epoch: 2 }));
        assert_eq!(entry(&table).current_txn_first_offset, None);
        assert_eq!((entry(&table).coordinator_epoch, entry(&table).batches().len()), (2, 2));
        table.note(&header(4, -1, 1, 8, true), Some(ControlKind::Abort { coordinator_epoch: 2 }));
        assert_eq!((entry(&table).epoch.get(), entry(&table).batches().len()), (4, 0));

        table.expire_before(TimestampMs::new(1 << 40));
        assert!(table.is_empty());
    }
}
