//! What nodes are asked about transactions, by clients and by each other, and what they answer.

use std::collections::BTreeSet;

use super::ids::{TopicPartition, TransactionVersion, TransactionalId};
use super::words::{
    AddPartitions, DescribedTransaction, EndTransaction, ListTransactions, ListedTransaction, Producer,
    VerifyPartitions,
};
use crate::group::GroupId;
use crate::refusal::Refusal;

/// What a client asks, but for a producer's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionRequest {
    /// Make partitions part of transactions, or tell whether they are.
    AddPartitions(Vec<PartitionsToAdd>),
    /// Make a group's offsets part of one.
    AddOffsets(AddOffsets),
    /// End one.
    End(EndTransaction),
    /// Tell which there are.
    List(ListTransactions),
    /// Tell where these stand.
    Describe(Vec<TransactionalId>),
}

/// What is asked of one transaction (`AddPartitionsToTxnRequest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionsToAdd {
    pub(crate) question: TransactionQuestion,
    /// Whether a client may ask so: these do not write to the broker's own topics.
    pub(crate) by_client: bool,
}

/// What is asked about the partitions of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransactionQuestion {
    /// Make these partitions part of it.
    Add(AddPartitions),
    /// Are they part of it?
    Verify(VerifyPartitions),
}

impl TransactionQuestion {
    /// The transaction it is about.
    pub(crate) fn id(&self) -> &TransactionalId {
        match self {
            Self::Add(request) => &request.id,
            Self::Verify(request) => &request.id,
        }
    }

    /// The partitions it is about.
    pub(crate) fn partitions(&self) -> BTreeSet<&TopicPartition> {
        match self {
            Self::Add(request) => request.partitions.iter().collect(),
            Self::Verify(request) => request.partitions.iter().collect(),
        }
    }
}

/// See Kafka's AddOffsetsToTxnRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddOffsets {
    pub(crate) id: TransactionalId,
    pub(crate) producer: Producer,
    pub(crate) group: GroupId,
}

impl AddOffsets {
    /// The same, as it is asked of the coordinator. Who asks so does not know the rules of version 2.
    pub(crate) fn of(self, partition: TopicPartition, patience_ms: i32) -> AddPartitions {
        let Self { id, producer, .. } = self;
        let (partitions, version) = ([partition].into(), TransactionVersion::V0);
        AddPartitions { id, producer, partitions, version, patience_ms }
    }
}

/// What clients are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// To AddPartitions, in the order of the request.
    PartitionsAdded(Vec<AddedPartitions>),
    /// To AddOffsets.
    OffsetsAdded(Result<(), Refusal>),
    /// To End: who the producer is from now on, where the rules of version 2 say so.
    Ended(Result<Option<Producer>, Refusal>),
    /// To List.
    Listed(Result<ListedTransactions, Refusal>),
    /// To Describe.
    Described(Vec<(TransactionalId, Result<DescribedTransaction, Refusal>)>),
}

/// What became of partitions that were to be part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedPartitions {
    pub(crate) id: TransactionalId,
    pub(crate) partitions: Vec<(TopicPartition, Result<(), Refusal>)>,
}

impl AddedPartitions {
    /// As if nothing were refused.
    pub(crate) fn all(question: &TransactionQuestion) -> Self {
        let partitions = question.partitions().into_iter().map(|at| (at.clone(), Ok(()))).collect();
        Self { id: question.id().clone(), partitions }
    }

    /// Takes the partitions that were refused, or why all were.
    pub(crate) fn settle(&mut self, outcome: Result<Vec<(TopicPartition, Refusal)>, Refusal>) {
        let refusal_of = |at: &TopicPartition| match &outcome {
            Ok(refused) => refused.iter().find(|(of, _)| of == at).map(|(_, refusal)| refusal.clone()),
            Err(refusal) => Some(refusal.clone()),
        };
        for (at, outcome) in &mut self.partitions {
            *outcome = refusal_of(at).map_or(Ok(()), Err);
        }
    }
}

/// The transactions that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTransactions {
    /// The states asked for that there are not.
    pub(crate) unknown_states: Vec<String>,
    pub(crate) transactions: Vec<ListedTransaction>,
}
