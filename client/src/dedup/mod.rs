//! Reading each message once although it is in the log more than once: an idempotent consumer by message id.
//!
//! A producer of this crate stores what it is handed once. But whoever hands it over may do so twice: an application that was
//! started again and does not know how far it came, a bridge that reads somewhere at least once, a user who presses the
//! button again. Where messages carry an id of their own, [`Dedup`] gives the first of each and leaves out the others.
//!
//! ```no_run
//! use std::time::Duration;
//! use highwater_client::{Client, Dedup};
//!
//! # async fn example(client: Client, process: impl AsyncFn(&highwater_client::ConsumedRecord)) -> highwater_client::Result<()> {
//! let payments = client.consumer().group("ledger").subscribe(["payments"]).auto_commit(false);
//! let mut payments = Dedup::by_header("payment-id").max_ids(100).kept_in_commits().read(payments).await?;
//! loop {
//!     for payment in payments.poll(Duration::from_secs(1)).await? {
//!         process(&payment).await;
//!     }
//!     payments.commit().await?;
//! }
//! # }
//! ```
//!
//! # What is a duplicate
//!
//! A record whose id is among the last `max_ids` ids of its partition, and not more than `max_age` after that id occurred last,
//! by the records' own times. That depends on the log alone: not on when it is read, by whom, or how often. Messages with the
//! same id must be in the same partition, as they are when the id is their key, or they have the same key.
//!
//! Of an id 128 bits are remembered (XXH3). Of a million ids that nobody chose to collide, the odds that any two do are one in
//! 10^26; where strangers choose the ids, let [`Dedup::by`] give a cryptographic digest of them. An id takes about 100 bytes of
//! memory: with the defaults that is 1 MB for each partition assigned.
//!
//! # What it is worth
//!
//! What leaves out duplicates is one thing, what is processed again after a consumer died is another; both have to be right.
//!
//! - **In memory** (nothing kept): duplicates are recognised from where this consumer began to read. After a restart or a
//!   rebalance the first message with an id it does not know is given, also if it was processed long ago. That is enough where
//!   duplicates come close together, and where processing one now and then does no harm. It is not a promise.
//! - **[In commits](Dedup::kept_in_commits)**: what is remembered is committed with the offset, as its metadata, in one piece.
//!   Whoever reads on, after a crash or a rebalance, leaves out the same duplicates. What was processed and not committed is
//!   processed again, as always at least once; a message is never left out that was not processed before, if it is processed
//!   before the commit. At most [`MAX_IDS_IN_A_COMMIT`] ids of each partition fit into the 4096 characters that brokers take.
//! - **[In a store of your own](Dedup::kept_in)**: write what [`DedupConsumer::checkpoints`] tells in the same transaction as
//!   what processing brings about, and each message takes effect exactly once, whatever dies when. Where that store can hold a
//!   unique index over all ids, that alone does it, and better: it forgets nothing.

mod consumer;
mod store;
mod window;

use std::time::Duration;

pub use self::consumer::DedupConsumer;
use self::store::Kept;
pub use self::store::{Checkpoint, DedupStore, StoreError};
use self::window::Fingerprint;
use crate::error::{Error, Result};
use crate::group::GroupConsumerBuilder;
use crate::record::ConsumedRecord;

/// As many ids of a partition fit into a commit, whatever they are.
pub const MAX_IDS_IN_A_COMMIT: usize = window::MAX_IDS_IN_A_COMMIT;

/// More ids of a partition are not remembered: that is 1 GB.
pub const MAX_IDS: usize = 10_000_000;

const DEFAULT_MAX_IDS: usize = 10_000;
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

type FindId = dyn Fn(&ConsumedRecord) -> Option<Fingerprint> + Send + Sync;

/// How duplicates are recognised, and what is remembered of those that came before; see the [module](self).
#[must_use]
pub struct Dedup {
    id: Box<FindId>,
    max_ids: Option<usize>,
    max_age: Duration,
    kept: Kept,
}

impl Dedup {
    /// Records with the same key are the same message. A record without a key is no duplicate of any.
    pub fn by_key() -> Self {
        Self::by(|record| record.key.clone())
    }

    /// The id is the value of this header, of the last one where there are several. A record without it is no duplicate of any.
    pub fn by_header(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::by_fingerprint(move |record| {
            let ids = record.headers.views().filter(|header| header.key == name.as_bytes());
            ids.last().and_then(|header| header.value).map(Fingerprint::of)
        })
    }

    /// The id is what this function finds; a record of which it finds none is no duplicate of any.
    pub fn by<I: AsRef<[u8]>>(id: impl Fn(&ConsumedRecord) -> Option<I> + Send + Sync + 'static) -> Self {
        Self::by_fingerprint(move |record| id(record).map(|id| Fingerprint::of(id.as_ref())))
    }

    fn by_fingerprint(id: impl Fn(&ConsumedRecord) -> Option<Fingerprint> + Send + Sync + 'static) -> Self {
        Self { id: Box::new(id), max_ids: None, max_age: DEFAULT_MAX_AGE, kept: Kept::Nowhere }
    }

    /// How many ids are remembered of each partition, at most [`MAX_IDS`]; by default 10,000, or as many as may where they are
    /// [kept in commits](Self::kept_in_commits).
    pub const fn max_ids(mut self, max_ids: usize) -> Self {
        self.max_ids = Some(max_ids);
        self
    }

    /// For how long an id is remembered, by the records' own times; by default a day.
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// What is remembered is committed with the offsets, as their metadata, and restored with them: at most
    /// [`MAX_IDS_IN_A_COMMIT`] ids of each partition.
    pub fn kept_in_commits(mut self) -> Self {
        self.kept = Kept::InCommits;
        self
    }

    /// What is remembered is kept in this store, together with the place to go on reading. See [`DedupStore`].
    pub fn kept_in(mut self, store: impl DedupStore) -> Self {
        self.kept = Kept::InStore(Box::new(store));
        self
    }

    /// Starts the consumer; it joins its group as it is first polled.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub async fn read(self, consumer: GroupConsumerBuilder) -> Result<DedupConsumer> {
        let most = match self.kept {
            Kept::InCommits => MAX_IDS_IN_A_COMMIT,
            _ => MAX_IDS,
        };
        let max_ids = self.max_ids.unwrap_or(DEFAULT_MAX_IDS.min(most));
        if max_ids == 0 || max_ids > most {
            return Err(Error::config("max_ids", format!("at least 1 and at most {most}")));
        }
        DedupConsumer::start(self, max_ids, consumer).await
    }
}
