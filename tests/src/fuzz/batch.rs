//! A record batch from a client.

use bytes::Bytes;
use highwater_storage::TimestampMs;
use highwater_storage::batch::{BatchHeader, BatchRules, CheckedBatch, Codec, RecordIter};

use super::folder::mend_batch;

/// Enough for any rule to be met, little enough that a bomb is seen.
const LIMIT_BYTES: usize = 1 << 20;

/// Through the header, the checks of a client's batch and the records: what passes the checks is readable to its last
/// record. The first byte chooses the rules, and whether the checksum is made to fit.
pub fn batch(data: &[u8]) {
    let Some((&choice, batch)) = data.split_first() else { return };
    let mut batch = batch.to_vec();
    if choice & 1 == 1 {
        mend_batch(&mut batch);
    }
    let batch = Bytes::from(batch);
    let rules = BatchRules {
        codec: (choice & 2 == 2).then_some(Codec::ALL[usize::from(choice >> 2) % Codec::ALL.len()]),
        compacted: choice & 64 == 64,
        decompressed_limit_bytes: LIMIT_BYTES,
        ..BatchRules::default()
    };
    let _ = BatchHeader::parse(&batch);
    if let Ok(records) = RecordIter::with_limit(batch.clone(), LIMIT_BYTES) {
        records.take_while(Result::is_ok).count();
    }
    if let Ok(checked) = CheckedBatch::check(&batch, &rules, TimestampMs::new(1_700_000_000_000)) {
        let stamped = [&checked.header().to_bytes()[..], checked.body()].concat();
        let records =
            RecordIter::with_limit(stamped.into(), LIMIT_BYTES).expect("a checked batch has records");
        let count = records.inspect(|record| assert!(record.is_ok(), "a checked record")).count();
        assert_eq!(i32::try_from(count), Ok(checked.header().record_count));
    }
}
