//! Transactions as the log sees them: which are open, which ended above the high watermark, and the index of those that
//! were aborted (`ProducerStateManager`, `TransactionIndex`).

use crate::{Offset, ProducerId, ProducerTable, batch::BatchHeader};

/// {version i16 = 0, producer id i64, first offset i64, last offset i64, last stable offset i64}.
pub(crate) const ABORTED_ENTRY_BYTES: usize = 34;

/// A transaction that was aborted: an entry of a `.txnindex` file, in the segment of its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record in this partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// Up to where everything was decided when the marker was written: a reader that has come so far need not look into
    /// later entries.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    pub(crate) fn to_bytes(self) -> [u8; ABORTED_ENTRY_BYTES] {
        let mut bytes = [0; ABORTED_ENTRY_BYTES];
        bytes[2..10].copy_from_slice(&self.producer_id.get().to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.get().to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.get().to_be_bytes());
        bytes[26..].copy_from_slice(&self.last_stable_offset.get().to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8; ABORTED_ENTRY_BYTES]) -> Result<Self, String> {
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        if version != 0 {
            return Err(format!("version {version}, not 0"));
        }
        Ok(Self {
            producer_id: ProducerId::new(number(2)),
            first_offset: Offset::new(number(10)),
            last_offset: Offset::new(number(18)),
            last_stable_offset: Offset::new(number(26)),
        })
    }
}

/// The entries in the bytes of the `.txnindex` file of a segment with this base, and what is wrong with those behind them:
/// a torn one, a version from elsewhere, a marker below the base or not above the one before.
pub(crate) fn parse_aborted(bytes: &[u8], base_offset: Offset) -> (Vec<AbortedTransaction>, Option<String>) {
    let (chunks, rest) = bytes.as_chunks::<ABORTED_ENTRY_BYTES>();
    let mut entries: Vec<AbortedTransaction> = Vec::new();
    for chunk in chunks {
        let entry = match AbortedTransaction::parse(chunk) {
            Ok(entry) => entry,
            Err(what) => return (entries, Some(what)),
        };
        let due = entries.last().map_or(base_offset, |last| last.last_offset.next());
        if entry.last_offset < due || entry.first_offset > entry.last_offset {
            let what = format!("an entry for {} to {}", entry.first_offset, entry.last_offset);
            return (entries, Some(what));
        }
        entries.push(entry);
    }
    let torn = (!rest.is_empty()).then(|| format!("{} bytes after the last entry", rest.len()));
    (entries, torn)
}

/// What a batch did to its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionStep {
    /// It is the first of one.
    Began,
    /// It is the marker of one that began there.
    Ended { first_offset: Offset, aborted: bool },
}

/// The transactions that keep the last stable offset back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OpenTransactions {
    /// Without a marker, by their first offset.
    ongoing: Vec<(Offset, ProducerId)>,
    /// Those whose marker may lie above the high watermark: first offset and marker, in the order of the markers.
    decided: Vec<(Offset, Offset)>,
}

impl OpenTransactions {
    /// Those a table knows of.
    pub(crate) fn of(table: &ProducerTable) -> Self {
        let open = |(id, entry): (ProducerId, &crate::ProducerEntry)| {
            entry.current_txn_first_offset.map(|first| (first, id))
        };
        let mut ongoing: Vec<_> = table.iter().filter_map(open).collect();
        ongoing.sort_unstable();
        Self { ongoing, decided: Vec::new() }
    }

    /// Whether all that ended did so below an offset.
    pub(crate) fn decided_below(&self, end_offset: Offset) -> bool {
        self.decided.last().is_none_or(|(_, marker)| *marker < end_offset)
    }

    /// With those that ended below the offset at which the log of `before` was cut.
    pub(crate) fn with_decided_of(mut self, before: &Self, end_offset: Offset) -> Self {
        let decided = before.decided.iter().take_while(|(_, marker)| *marker < end_offset);
        self.decided = decided.copied().collect();
        self
    }

    /// Takes note of what a batch did. Gives the index entry if it aborted a transaction.
    pub(crate) fn note(&mut self, header: &BatchHeader, step: TransactionStep) -> Option<AbortedTransaction> {
        match step {
            TransactionStep::Began => {
                self.ongoing.push((header.base_offset, header.producer_id));
                None
            }
            TransactionStep::Ended { first_offset, aborted } => {
                let (producer_id, last_offset) = (header.producer_id, header.base_offset);
                let others = self.ongoing.iter().find(|(_, id)| *id != producer_id);
                let last_stable_offset = others.map_or(last_offset.next(), |(first, _)| *first);
                self.ongoing.retain(|(_, id)| *id != producer_id);
                self.decided.push((first_offset, last_offset));
                aborted.then_some(AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset,
                    last_stable_offset,
                })
            }
        }
    }

    /// The first offset that is not decided for good: of an ongoing transaction, or of one whose marker is not below the
    /// high watermark. Those below are forgotten: it never falls.
    pub(crate) fn first_unstable(&mut self, high_watermark: Offset) -> Option<Offset> {
        let settled = self.decided.partition_point(|(_, marker)| *marker < high_watermark);
        self.decided.drain(..settled);
        let ongoing = self.ongoing.first().map(|(first, _)| *first);
        let decided = self.decided.iter().map(|(first, _)| *first).min();
        ongoing.into_iter().chain(decided).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_entries_and_a_rest(bytes in proptest::collection::vec(any::<u8>(), 0..150), zero in any::<bool>()) {
            let mut bytes = bytes;
            if zero {
                bytes.chunks_mut(ABORTED_ENTRY_BYTES).for_each(|chunk| chunk.iter_mut().take(2).for_each(|byte| *byte = 0));
            }
            let (entries, wrong) = parse_aborted(&bytes, Offset::ZERO);
            let again: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
            prop_assert_eq!(&again[..], &bytes[..again.len()]);
            prop_assert!(wrong.is_some() || again.len() == bytes.len());
        }
    }
}
