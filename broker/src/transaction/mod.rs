//! Transactions: what a producer's writes to many partitions have in common, and how they end as one (semantics,
//! section 3; KIP-98, KIP-890). Pure.
//!
//! A coordinator (`coordinator.rs`) keeps the transactional ids of one partition of `__transaction_state`. It is asked
//! something, writes through its surroundings (`turn.rs`) what must survive it, and answers. What it wrote counts once it
//! is below the high watermark: until then its transaction is about to change, and whoever asks is told to ask again (51).
//!
//! Always: nobody is told of a step, and no marker sent for an end, before the record of it is below the high watermark;
//! an end that is decided never becomes the other; the same records applied again give the same transactions, but for
//! the epoch before the last (which Kafka does not write down either); a producer id and epoch that were fenced never
//! write again; every transaction that is ongoing has a timer behind it, and every one that ends has markers on their way, a
//! timer, or partitions that nobody leads.

mod add;
mod asked;
pub(crate) mod coordinator;
mod end;
mod ending;
mod expiry;
mod ids;
mod init;
mod listing;
pub(crate) mod record;
mod state;
mod timeouts;
pub(crate) mod turn;
mod words;

pub(crate) use asked::{
    AddOffsets, AddedPartitions, ListedTransactions, PartitionsToAdd, TransactionOutcome,
    TransactionQuestion, TransactionRequest,
};
pub(crate) use ids::{TopicPartition, TransactionVersion, TransactionalId};
pub(crate) use state::End;
pub(crate) use words::{
    AddPartitions, Asker, DescribedTransaction, EndTransaction, InitProducer, ListTransactions,
    ListedTransaction, Marker, MarkerWritten, MarkersToWrite, Producer, TransactionReply, VerifyPartitions,
};

#[cfg(test)]
mod tests;
