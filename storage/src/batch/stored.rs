//! A batch as a log holds it: with its offsets and its leader's epoch.

use bytes::Bytes;

use super::{BatchError, BatchHeader, CheckedBatch, ControlKind, RecordViews, control_record};
use crate::Offset;

/// A smaller batch is copied by [`StoredBatch::into_owned`]: it would keep more alive than it is.
pub const COPIED_BELOW_BYTES: usize = 16 << 10;

/// A batch that is in a log, and goes from it to the logs of followers as it is.
///
/// The leader's side makes it [of](Self::of) what it appended, or cuts what it [read](crate::LogRange::read) of its log into
/// batches; the follower's side hands it to [`Log::append_replicated`](crate::Log::append_replicated).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// The header, as the leader's log wrote it.
    pub header: BatchHeader,
    /// The records: what follows the header.
    pub body: Bytes,
}

impl StoredBatch {
    /// What an append wrote; `header` is what [it says](crate::Appended::header) of the batch.
    #[must_use]
    pub fn of(batch: &CheckedBatch, header: BatchHeader) -> Self {
        Self { header, body: batch.body().clone() }
    }

    /// Header and records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.header.size_bytes()
    }

    /// The same batch, in memory of its own if it is [small](COPIED_BELOW_BYTES): so that one kept for followers does not
    /// keep the whole frame it came in. A larger one stays a part of that.
    #[must_use]
    pub fn into_owned(mut self) -> Self {
        if self.size_bytes() < COPIED_BELOW_BYTES {
            self.body = Bytes::copy_from_slice(&self.body);
        }
        self
    }

    /// Cuts the first batch off. `None` if the bytes end before it does; they stay as they are then, as after an error.
    /// `check_crc`: they come from a file, or from far away.
    ///
    /// # Errors
    /// Bytes that are no batch: no header of this format, no codec, no range of offsets, or the checksum does not match.
    pub fn split_first(bytes: &mut Bytes, check_crc: bool) -> Result<Option<Self>, BatchError> {
        let header = match BatchHeader::parse(bytes) {
            Err(BatchError::Truncated { .. }) => return Ok(None),
            parsed => parsed?,
        };
        if bytes.len() < header.size_bytes() {
            return Ok(None);
        }
        header.attributes.codec()?;
        header.check_offsets()?;
        if check_crc {
            header.check_crc(bytes)?;
        }
        let body = bytes.split_to(header.size_bytes()).slice(BatchHeader::LEN..);
        Ok(Some(Self { header, body }))
    }

    /// Cuts off all batches that are whole; what is left is a batch of which the end is missing, as a
    /// [range](crate::LogRange::read) under a limit has one, or nothing.
    ///
    /// # Errors
    /// As [`split_first`](Self::split_first). The bytes then begin with the first that is no batch; those before it are
    /// lost to the caller.
    ///
    /// ```
    /// # use highwater_storage::{TimestampMs, batch::{BatchBuilder, StoredBatch}};
    /// let mut batch = BatchBuilder::new();
    /// batch.append(TimestampMs::new(1), None, Some(b"value"), &[])?;
    /// let whole = batch.build()?;
    /// let mut bytes = bytes::Bytes::from([&whole[..], &whole[..], &whole[..20]].concat());
    /// let batches = StoredBatch::split_off(&mut bytes, true)?;
    /// assert_eq!((batches.len(), bytes.len()), (2, 20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split_off(bytes: &mut Bytes, check_crc: bool) -> Result<Vec<Self>, BatchError> {
        let mut batches = Vec::new();
        while let Some(batch) = Self::split_first(bytes, check_crc)? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Whether the batch is whole and may stand behind `end_offset`; gives the end with it.
    pub(crate) fn follows(&self, end_offset: Offset) -> Result<Offset, BatchError> {
        let (needed_bytes, available_bytes) = (self.size_bytes(), BatchHeader::LEN + self.body.len());
        if needed_bytes != available_bytes {
            return Err(BatchError::Truncated { needed_bytes, available_bytes });
        }
        self.header.attributes.codec()?;
        self.header.check_offsets()?;
        let base_offset = self.header.base_offset;
        if base_offset < end_offset {
            return Err(BatchError::OutOfOrder { base_offset, expected_offset: end_offset });
        }
        Ok(self.header.next_offset())
    }
}

/// What a control batch says; `None` if it is none, or one of a kind of its own.
pub(crate) fn control_of(header: &BatchHeader, body: &[u8]) -> Option<ControlKind> {
    if !header.attributes.is_control() {
        return None;
    }
    let record = RecordViews::new(body, header.record_count).ok()?.next()?.ok()?;
    control_record(record.key, record.value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{TimestampMs, batch::BatchBuilder};

    fn batch(value_bytes: usize) -> Bytes {
        let mut batch = BatchBuilder::new();
        batch.append(TimestampMs::new(1), None, Some(&vec![7; value_bytes]), &[]).unwrap();
        batch.build().unwrap()
    }

    #[test]
    fn a_small_batch_leaves_its_frame_and_a_large_one_stays_in_it() {
        for (value_bytes, copies) in [(100, true), (COPIED_BELOW_BYTES, false)] {
            let mut frame = batch(value_bytes);
            let cut = StoredBatch::split_first(&mut frame, true).unwrap().unwrap();
            let owned = cut.clone().into_owned();
            assert_eq!(owned, cut);
            assert_eq!(owned.body.as_ptr() != cut.body.as_ptr(), copies, "{value_bytes} bytes");
        }
    }

    #[test]
    fn damage_is_told_where_it_is_and_not_looked_for_in_vain() {
        let whole = batch(10);
        let mut rotten = whole.to_vec();
        rotten[70] ^= 1;
        let bytes = Bytes::from([&whole[..], &rotten[..], &whole[..]].concat());
        let mut left = bytes.clone();
        let error = StoredBatch::split_off(&mut left, true).unwrap_err();
        assert!(matches!(error, BatchError::Crc { .. }), "{error}");
        assert_eq!(left, bytes.slice(whole.len()..));
        assert_eq!(StoredBatch::split_off(&mut bytes.clone(), false).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_batches_and_a_rest(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), whole in any::<bool>(), check_crc in any::<bool>()) {
            if whole {
                bytes.splice(0..0, batch(3));
            }
            let bytes = Bytes::from(bytes);
            let mut left = bytes.clone();
            if let Ok(batches) = StoredBatch::split_off(&mut left, check_crc) {
                let again: Vec<u8> = batches.iter().flat_map(|b| [&b.header.to_bytes()[..], &b.body[..]].concat()).collect();
                prop_assert_eq!([&again[..], &left[..]].concat(), &bytes[..]);
            }
        }
    }
}
