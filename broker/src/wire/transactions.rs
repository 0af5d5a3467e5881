//! AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, ListTransactions and DescribeTransactions on the wire.

use std::collections::BTreeMap;

use highwater_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use highwater_protocol::messages::describe_transactions::{TopicData, TransactionState as Described};
use highwater_protocol::messages::list_transactions::TransactionState as Listed;
use highwater_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse,
    ListTransactionsRequest, ListTransactionsResponse,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::{ProducerEpoch, ProducerId};

use super::refusals::code_of;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::Request;
use crate::refusal::Refusal;
use crate::transaction::{
    AddOffsets, AddPartitions, AddedPartitions, DescribedTransaction, End, EndTransaction, ListTransactions,
    ListedTransaction, ListedTransactions, PartitionsToAdd, Producer, TopicPartition, TransactionQuestion,
    TransactionRequest, TransactionVersion, TransactionalId, VerifyPartitions,
};

/// From here on a request of one of these APIs knows of fenced producers; before, they are told that their epoch is old.
const FIRST_WITH_FENCED: i16 = 2;
/// From here on AddPartitionsToTxn is what brokers ask: about several transactions, by the rules of version 2.
const FIRST_ADD_OF_BROKERS: i16 = 4;
/// From here on EndTxn is by the rules of version 2.
const FIRST_END_BY_V2: i16 = 5;

/// The code of an outcome, as who asked in this version knows it.
pub(super) fn code_in<T>(outcome: &Result<T, Refusal>, knows_fenced: bool) -> ErrorCode {
    match code_of(outcome) {
        ErrorCode::ProducerFenced if !knows_fenced => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

fn producer(id: i64, epoch: i16) -> Producer {
    (ProducerId::new(id), ProducerEpoch::new(epoch))
}

/// `patience_ms` is filled in by the node.
pub(super) fn add_partitions_request(request: AddPartitionsToTxnRequest, version: i16) -> Request {
    let of_brokers = version >= FIRST_ADD_OF_BROKERS;
    let transactions = match of_brokers {
        true => request.transactions,
        false => vec![AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        }],
    };
    let one = |transaction: AddPartitionsToTxnTransaction| {
        let id = TransactionalId::from(transaction.transactional_id.as_str());
        let producer = producer(transaction.producer_id, transaction.producer_epoch);
        let partitions = transaction.topics.iter().flat_map(partitions_of);
        let question = match transaction.verify_only {
            true => TransactionQuestion::Verify(VerifyPartitions {
                id,
                producer,
                partitions: partitions.collect(),
            }),
            false => TransactionQuestion::Add(AddPartitions {
                id,
                producer,
                partitions: partitions.collect(),
                version: if of_brokers { TransactionVersion::V2 } else { TransactionVersion::V0 },
                patience_ms: 0,
            }),
        };
        PartitionsToAdd { question, by_client: !of_brokers }
    };
    let transactions = transactions.into_iter().map(one).collect();
    Request::Transaction(TransactionRequest::AddPartitions(transactions))
}

fn partitions_of(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = TopicPartition> {
    let name = TopicName::from(topic.name.as_str());
    topic
        .partitions
        .iter()
        .map(move |index| TopicPartition { topic: name.clone(), partition: PartitionIndex(*index) })
}

pub(super) fn add_partitions_response(
    done: Vec<AddedPartitions>,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version >= FIRST_ADD_OF_BROKERS {
        let one = |transaction: AddedPartitions| AddPartitionsToTxnResult {
            transactional_id: Text::from(transaction.id.as_str()),
            topic_results: results_by_topic(&transaction, version),
        };
        let results_by_transaction = done.into_iter().map(one).collect();
        return AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() };
    }
    let results = done.first().map(|transaction| results_by_topic(transaction, version));
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: results.unwrap_or_default(),
        ..Default::default()
    }
}

fn results_by_topic(transaction: &AddedPartitions, version: i16) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for (at, outcome) in &transaction.partitions {
        let partition_error_code = match outcome {
            // Clients do not add the broker's own topics to a transaction.
            Err(Refusal::InternalTopic) => ErrorCode::TopicAuthorizationFailed,
            outcome => code_in(outcome, version >= FIRST_WITH_FENCED),
        };
        let partition_index = at.partition.0;
        let result = AddPartitionsToTxnPartitionResult { partition_index, partition_error_code };
        topics.entry(&at.topic).or_default().push(result);
    }
    let of_topic = |(name, results_by_partition): (&TopicName, _)| AddPartitionsToTxnTopicResult {
        name: Text::from(name.as_str()),
        results_by_partition,
    };
    topics.into_iter().map(of_topic).collect()
}

pub(super) fn add_offsets_request(request: &AddOffsetsToTxnRequest) -> Request {
    Request::Transaction(TransactionRequest::AddOffsets(AddOffsets {
        id: request.transactional_id.as_str().into(),
        producer: producer(request.producer_id, request.producer_epoch),
        group: request.group_id.as_str().into(),
    }))
}

pub(super) fn add_offsets_response(outcome: &Result<(), Refusal>, version: i16) -> AddOffsetsToTxnResponse {
    let error_code = code_in(outcome, version >= FIRST_WITH_FENCED);
    AddOffsetsToTxnResponse { error_code, ..Default::default() }
}

pub(super) fn end_request(request: &EndTxnRequest, version: i16) -> Request {
    let by_v2 = version >= FIRST_END_BY_V2;
    Request::Transaction(TransactionRequest::End(EndTransaction {
        id: request.transactional_id.as_str().into(),
        producer: producer(request.producer_id, request.producer_epoch),
        end: if request.committed { End::Commit } else { End::Abort },
        version: if by_v2 { TransactionVersion::V2 } else { TransactionVersion::V0 },
    }))
}

pub(super) fn end_response(outcome: Result<Option<Producer>, Refusal>, version: i16) -> EndTxnResponse {
    let error_code = code_in(&outcome, version >= FIRST_WITH_FENCED);
    let (id, epoch) = outcome.ok().flatten().unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
    EndTxnResponse { error_code, producer_id: id.get(), producer_epoch: epoch.get(), ..Default::default() }
}

pub(super) fn list_request(request: ListTransactionsRequest) -> Request {
    Request::Transaction(TransactionRequest::List(ListTransactions {
        states: request.state_filters.iter().map(|state| state.as_str().to_owned()).collect(),
        producers: request.producer_id_filters.into_iter().map(ProducerId::new).collect(),
        longer_than_ms: request.duration_filter,
        pattern: request.transactional_id_pattern.map(|pattern| pattern.as_str().to_owned()),
    }))
}

pub(super) fn list_response(outcome: Result<ListedTransactions, Refusal>) -> ListTransactionsResponse {
    let error_code = code_of(&outcome);
    let Ok(ListedTransactions { unknown_states, transactions }) = outcome else {
        return ListTransactionsResponse { error_code, ..Default::default() };
    };
    let one = |listed: ListedTransaction| Listed {
        transactional_id: Text::from(listed.id.as_str()),
        producer_id: listed.producer_id.get(),
        transaction_state: Text::from_static(listed.state),
    };
    ListTransactionsResponse {
        unknown_state_filters: unknown_states.into_iter().map(Text::from).collect(),
        transaction_states: transactions.into_iter().map(one).collect(),
        ..Default::default()
    }
}

pub(super) fn describe_request(request: &DescribeTransactionsRequest) -> Request {
    let ids = request.transactional_ids.iter().map(|id| id.as_str().into()).collect();
    Request::Transaction(TransactionRequest::Describe(ids))
}

pub(super) fn describe_response(
    found: Vec<(TransactionalId, Result<DescribedTransaction, Refusal>)>,
) -> DescribeTransactionsResponse {
    let one = |(id, outcome): (TransactionalId, Result<DescribedTransaction, Refusal>)| {
        let transactional_id = Text::from(id.as_str());
        let error_code = code_of(&outcome);
        let Ok(found) = outcome else {
            return Described { transactional_id, error_code, ..Default::default() };
        };
        let (id, epoch) = found.producer;
        Described {
            error_code,
            transactional_id,
            transaction_state: Text::from_static(found.state),
            transaction_timeout_ms: found.timeout_ms,
            transaction_start_time_ms: found.started_at.get(),
            producer_id: id.get(),
            producer_epoch: epoch.get(),
            topics: by_topic(&found.partitions),
        }
    };
    DescribeTransactionsResponse {
        transaction_states: found.into_iter().map(one).collect(),
        ..Default::default()
    }
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<TopicData> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition.0);
    }
    let of_topic =
        |(name, partitions): (&TopicName, _)| TopicData { topic: Text::from(name.as_str()), partitions };
    topics.into_iter().map(of_topic).collect()
}
