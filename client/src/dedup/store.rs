//! Where what is remembered is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use highwater_storage::Offset;

use crate::metadata::TopicPartition;

/// Why a store could not tell what it keeps.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Where to go on reading a partition, and what is remembered of what comes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next record to be read.
    pub offset: Offset,
    /// What is remembered: at most 40 characters of ASCII an id, to be handed back as it is.
    pub window: String,
}

/// Keeps [`Checkpoint`]s where the effects of processing are, so that both are there or neither.
///
/// It only has to find them again. They are written by the application, with what it does:
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use highwater_client::{Checkpoint, Client, Dedup, DedupStore, StoreError, TopicPartition};
///
/// /// What a database would be: here a sum and the place it goes up to, changed under one lock.
/// #[derive(Clone, Default)]
/// struct Ledger(Arc<Mutex<(u64, BTreeMap<TopicPartition, Checkpoint>)>>);
///
/// impl DedupStore for Ledger {
///     async fn load(
///         &mut self,
///         partitions: &BTreeSet<TopicPartition>,
///     ) -> Result<BTreeMap<TopicPartition, Checkpoint>, StoreError> {
///         let kept = self.0.lock().map_err(|error| error.to_string())?;
///         let wanted = kept.1.iter().filter(|(at, _)| partitions.contains(at));
///         Ok(wanted.map(|(at, checkpoint)| (at.clone(), checkpoint.clone())).collect())
///     }
/// }
///
/// # async fn example(client: Client) -> anyhow::Result<()> {
/// let ledger = Ledger::default();
/// let payments = client.consumer().group("ledger").subscribe(["payments"]).auto_commit(false);
/// let mut payments = Dedup::by_key().kept_in(ledger.clone()).read(payments).await?;
/// loop {
///     let new = payments.poll(Duration::from_secs(1)).await?;
///     let amounts: u64 = new.iter().map(|payment| payment.value.as_ref().map_or(0, |bytes| bytes.len() as u64)).sum();
///     // A transaction: the sum, and what went into it.
///     let mut kept = ledger.0.lock().unwrap();
///     kept.0 += amounts;
///     kept.1.extend(payments.checkpoints());
/// }
/// # }
/// ```
///
/// A transaction of a member that the group takes for dead must not come behind that of its successor: compare the offset that
/// is stored with the one that was read when it began, as with any lock that may run out.
pub trait DedupStore: Send + 'static {
    /// What was written last of each of these partitions, which have just been assigned. Those it leaves out begin where the
    /// group left off, with nothing remembered. An error is the poll's, and the next poll tries again.
    fn load(
        &mut self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, Checkpoint>, StoreError>> + Send;
}

type Loaded<'a> =
    Pin<Box<dyn Future<Output = Result<BTreeMap<TopicPartition, Checkpoint>, StoreError>> + Send + 'a>>;

/// The same for stores of any type.
pub(super) trait AnyStore: Send {
    fn load<'a>(&'a mut self, partitions: &'a BTreeSet<TopicPartition>) -> Loaded<'a>;
}

impl<S: DedupStore> AnyStore for S {
    fn load<'a>(&'a mut self, partitions: &'a BTreeSet<TopicPartition>) -> Loaded<'a> {
        Box::pin(DedupStore::load(self, partitions))
    }
}

/// Where what is remembered survives.
pub(super) enum Kept {
    Nowhere,
    InCommits,
    InStore(Box<dyn AnyStore>),
}
