//! What a coordinator writes down, and its bytes: Kafka's records of `__transaction_state` (`TransactionLog`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use highwater_protocol::coordinator::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord, UnreadableRecord,
};
use highwater_protocol::{EncodeError, Text};
use highwater_storage::{ProducerEpoch, ProducerId, TimestampMs};

use super::ids::{TopicPartition, TransactionVersion, TransactionalId};
use super::state::{State, Transaction};
use crate::ids::{PartitionIndex, TopicName};

/// What is kept of a transactional id from now on, or that nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: TransactionalId,
    pub(crate) transaction: Option<Transaction>,
}

/// Why bytes are no record of a transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTransaction {
    /// They are not even a record.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    /// A state that is never kept.
    #[error("a transaction in state {0}")]
    State(i8),
    /// Rules that nobody knows.
    #[error("a transaction by the rules of transaction.version {0}")]
    Version(i16),
}

impl Record {
    /// Key and value as Kafka writes them where the cluster is at this level; no value for what is forgotten.
    pub(crate) fn encode(&self, level: TransactionVersion) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey { transactional_id: Text::from(self.id.as_str()) };
        let value = self.transaction.as_ref().map(write);
        TransactionRecord { key, value }.to_bytes(level.record_version())
    }

    /// Reads a record; none for one that is passed over: of a type or version that is not kept here.
    pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, NoTransaction> {
        let record = match TransactionRecord::from_bytes(key, value) {
            Ok(record) => record,
            Err(unreadable) if unreadable.is_unknown() => return Ok(None),
            Err(unreadable) => return Err(unreadable.into()),
        };
        let id = record.key.transactional_id.as_str().into();
        Ok(Some(Self { id, transaction: record.value.map(read).transpose()? }))
    }
}

fn write(transaction: &Transaction) -> TransactionLogValue {
    let mut topics = BTreeMap::<&TopicName, Vec<i32>>::new();
    for at in &*transaction.partitions {
        topics.entry(&at.topic).or_default().push(at.partition.0);
    }
    let partitions_of = |(topic, partition_ids): (&TopicName, _)| PartitionsSchema {
        topic: Text::from(topic.as_str()),
        partition_ids,
    };
    let has_begun = transaction.state != State::Empty;
    TransactionLogValue {
        producer_id: transaction.producer_id.get(),
        previous_producer_id: transaction.previous_producer_id.get(),
        next_producer_id: transaction.next_producer_id.get(),
        producer_epoch: transaction.epoch.get(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.number(),
        transaction_partitions: has_begun.then(|| topics.into_iter().map(partitions_of).collect()),
        transaction_last_update_timestamp_ms: transaction.updated_at.get(),
        transaction_start_timestamp_ms: transaction.started_at.get(),
        client_transaction_version: transaction.client_version.level(),
        ..Default::default()
    }
}

fn read(value: TransactionLogValue) -> Result<Transaction, NoTransaction> {
    let state =
        State::of_number(value.transaction_status).ok_or(NoTransaction::State(value.transaction_status))?;
    let level = value.client_transaction_version;
    let mut partitions = BTreeSet::new();
    for named in value.transaction_partitions.into_iter().flatten().filter(|_| state != State::Empty) {
        let topic = TopicName::from(named.topic.as_str());
        let one = |index| TopicPartition { topic: topic.clone(), partition: PartitionIndex(index) };
        partitions.extend(named.partition_ids.into_iter().map(one));
    }
    Ok(Transaction {
        producer_id: ProducerId::new(value.producer_id),
        previous_producer_id: ProducerId::new(value.previous_producer_id),
        next_producer_id: ProducerId::new(value.next_producer_id),
        epoch: ProducerEpoch::new(value.producer_epoch),
        last_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: Arc::new(partitions),
        started_at: TimestampMs::new(value.transaction_start_timestamp_ms),
        updated_at: TimestampMs::new(value.transaction_last_update_timestamp_ms),
        client_version: TransactionVersion::of_level(level).ok_or(NoTransaction::Version(level))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_transaction() -> impl Strategy<Value = Transaction> {
        let ids = (0..3_i64, -1..3_i64, -1..3_i64, -1..=i16::MAX);
        let partitions = prop::collection::btree_set(("[a-c]", 0..3_i32), 0..5);
        let rest = (0..6_i8, any::<i32>(), -1..9_i64, any::<i64>(), 0..3_i16);
        (ids, partitions, rest).prop_map(|((id, previous, next, epoch), partitions, rest)| {
            let (state, timeout_ms, started_at, updated_at, level) = rest;
            let state = State::of_number(state).unwrap();
            let one = |(topic, index): (String, i32)| TopicPartition {
                topic: topic.as_str().into(),
                partition: PartitionIndex(index),
            };
            let partitions = partitions.into_iter().map(one).filter(|_| state != State::Empty);
            Transaction {
                producer_id: ProducerId::new(id),
                previous_producer_id: ProducerId::new(previous),
                next_producer_id: ProducerId::new(next),
                epoch: ProducerEpoch::new(epoch),
                last_epoch: ProducerEpoch::NONE,
                timeout_ms,
                state,
                partitions: Arc::new(partitions.collect()),
                started_at: TimestampMs::new(started_at),
                updated_at: TimestampMs::new(updated_at),
                client_version: TransactionVersion::of_level(level).unwrap(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(transaction in any_transaction()) {
            let record = Record { id: "tx".into(), transaction: Some(transaction.clone()) };
            let (key, value) = record.encode(TransactionVersion::V2).unwrap();
            prop_assert_eq!(Record::decode(key, value).unwrap(), Some(record.clone()));
            // Before version 1 there is no place for some of it.
            let (key, value) = record.encode(TransactionVersion::V0).unwrap();
            let bare = Transaction {
                previous_producer_id: ProducerId::NONE,
                next_producer_id: ProducerId::NONE,
                client_version: TransactionVersion::V0,
                ..transaction
            };
            let expected = Record { transaction: Some(bare), ..record };
            prop_assert_eq!(Record::decode(key, value).unwrap(), Some(expected));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(key in prop::collection::vec(any::<u8>(), 0..20), value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Record::decode(key.into(), Some([&[0, 1], &value[..]].concat().into()));
        }
    }

    #[test]
    fn a_state_or_rules_that_are_never_kept_are_no_transaction() {
        let fresh = Transaction::fresh(ProducerId::new(1), 1, TimestampMs::new(1));
        let value = write(&fresh);
        let dead = TransactionLogValue { transaction_status: 6, ..value.clone() };
        assert!(matches!(read(dead), Err(NoTransaction::State(6))));
        let unknown = TransactionLogValue { client_transaction_version: 3, ..value };
        assert!(matches!(read(unknown), Err(NoTransaction::Version(3))));
    }

    #[test]
    fn a_tombstone_has_no_value_and_what_is_not_known_is_passed_over() {
        let record = Record { id: "tx".into(), transaction: None };
        let (key, value) = record.encode(TransactionVersion::V2).unwrap();
        assert_eq!(value, None);
        assert_eq!(Record::decode(key.clone(), None).unwrap(), Some(record));
        assert_eq!(Record::decode(key, Some(Bytes::from_static(&[0, 9]))).unwrap(), None);
        assert_eq!(Record::decode(Bytes::from_static(&[0, 1, 0, 0]), None).unwrap(), None);
    }
}
