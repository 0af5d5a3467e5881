//! Record batches by a producer whose every number the test chooses.

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchHeader, Codec, Record, RecordIter};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// The time of every record that is not given one.
pub const TIME: TimestampMs = TimestampMs::new(1_700_000_000_000);

/// A producer's id and epoch; it knows nothing else, so every sequence is the test's to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptedProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl ScriptedProducer {
    /// A batch of one record, `value`, with this sequence.
    pub fn batch(self, sequence: i32, value: &str) -> Bytes {
        self.batch_of(sequence, &[value])
    }

    /// A batch of these values, the first of which has this sequence.
    pub fn batch_of(self, sequence: i32, values: &[&str]) -> Bytes {
        let mut builder = builder_of(values);
        builder.set_producer(
            ProducerId::new(self.id),
            ProducerEpoch::new(self.epoch),
            Sequence::new(sequence),
        );
        builder.build().unwrap()
    }

    /// A batch of one record, `value`, of this time, with this sequence.
    pub fn batch_at(self, sequence: i32, time: TimestampMs, value: &str) -> Bytes {
        let mut builder = BatchBuilder::new();
        builder.append(time, None, Some(value.as_bytes()), &[]).unwrap();
        builder.set_producer(
            ProducerId::new(self.id),
            ProducerEpoch::new(self.epoch),
            Sequence::new(sequence),
        );
        builder.build().unwrap()
    }

    /// The same producer one epoch later.
    #[must_use]
    pub fn bumped(self) -> Self {
        Self { epoch: self.epoch + 1, ..self }
    }
}

/// A batch of no producer.
pub fn batch(values: &[&str]) -> Bytes {
    builder_of(values).build().unwrap()
}

/// A batch of one record without a key, of this many bytes in all, at least 80.
pub fn batch_of_size(size_bytes: usize) -> Bytes {
    let with = |value_bytes: usize| {
        let mut builder = BatchBuilder::new();
        builder.append(TIME, None, Some(&vec![b'x'; value_bytes]), &[]).unwrap();
        builder.build().unwrap()
    };
    // The lengths of the record and of its value are varints, so that the overhead is found by trying.
    let mut value_bytes = size_bytes - 80;
    while with(value_bytes).len() < size_bytes {
        value_bytes += size_bytes - with(value_bytes).len();
    }
    let built = with(value_bytes);
    assert_eq!(built.len(), size_bytes, "no batch of one record has exactly this size");
    built
}

/// A batch of records at these times, in milliseconds since 1970.
pub fn batch_at_times(times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for time in times {
        builder.append(TimestampMs::new(*time), None, Some(b"timed"), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of these values, compressed.
pub fn compressed(codec: Codec, values: &[&str]) -> Bytes {
    builder_of(values).codec(codec).build().unwrap()
}

fn builder_of(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(TIME, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder
}

/// The headers of the whole batches in what a fetch answered.
pub fn headers_in(bytes: &Bytes) -> Vec<BatchHeader> {
    whole_batches(bytes).map(|batch| BatchHeader::parse(&batch).unwrap()).collect()
}

/// The records of the whole batches in what a fetch answered.
pub fn records_in(bytes: &Bytes) -> Vec<Record> {
    whole_batches(bytes).flat_map(|batch| RecordIter::new(batch).unwrap()).map(Result::unwrap).collect()
}

/// The values of these records, as text.
pub fn values_in(bytes: &Bytes) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    records_in(bytes).into_iter().map(text).collect()
}

/// The whole batches in what a fetch answered: the last may be cut short where a limit was reached.
pub fn whole_batches(bytes: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let header = BatchHeader::parse(&rest).ok()?;
        (header.size_bytes() <= rest.len()).then(|| rest.split_to(header.size_bytes()))
    })
}
