//! Going along with a rebalance: what an application does when partitions come and go.

use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::pin::Pin;

use super::handle::GroupHandle;
use crate::metadata::TopicPartition;

/// Is told when partitions come and go.
///
/// All of it happens inside of [`poll`](super::GroupConsumer::poll) and [`next`](super::GroupConsumer::next), in the
/// application's own task, never while it works on records: what it was given before a rebalance it is done with, if it
/// processes records before it polls again. Until a method returns nothing else is given out, and the group waits, at most
/// `max_poll_interval`; a poll that is dropped in the middle of a method calls it again from its beginning the next time.
///
/// ```
/// use std::collections::BTreeSet;
/// use highwater_client::{GroupHandle, RebalanceListener, TopicPartition};
///
/// /// Commits what was processed before somebody else goes on from there.
/// struct CommitInTime;
///
/// impl RebalanceListener for CommitInTime {
///     async fn revoked(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
///         if let Err(error) = group.commit().await {
///             eprintln!("{partitions:?} will be read again from the last commit: {error}");
///         }
///     }
///
///     async fn lost(&mut self, _group: &GroupHandle, _partitions: &BTreeSet<TopicPartition>) {
///         // Somebody else may have gone on already: nothing to commit.
///     }
/// }
/// ```
pub trait RebalanceListener: Send + 'static {
    /// These partitions are about to be given back, never none. They are still this consumer's: its offsets can be committed
    /// here, and whoever reads them next begins there. With `auto_commit` that has been done already. Eager assignors revoke
    /// everything at the beginning of a rebalance, cooperative ones what moves at its end.
    fn revoked(
        &mut self,
        group: &GroupHandle,
        partitions: &BTreeSet<TopicPartition>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, partitions);
        ready(())
    }

    /// A rebalance is over. These partitions are this consumer's now that were not before, possibly none; all that was
    /// revoked somewhere has been given back before. A [`seek`](GroupHandle::seek) here comes before the first record.
    fn assigned(
        &mut self,
        group: &GroupHandle,
        partitions: &BTreeSet<TopicPartition>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, partitions);
        ready(())
    }

    /// These partitions are gone, never none, without having been given back: the consumer was away for longer than the group
    /// waits. Somebody else may read them already, and nothing of them can be committed. Without a method of its own for this
    /// a listener is told that they were revoked, as in Kafka.
    fn lost(
        &mut self,
        group: &GroupHandle,
        partitions: &BTreeSet<TopicPartition>,
    ) -> impl Future<Output = ()> + Send {
        self.revoked(group, partitions)
    }
}

type Told<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The same for listeners of any type.
pub(crate) trait AnyListener: Send {
    fn revoked<'a>(
        &'a mut self,
        group: &'a GroupHandle,
        partitions: &'a BTreeSet<TopicPartition>,
    ) -> Told<'a>;
    fn assigned<'a>(
        &'a mut self,
        group: &'a GroupHandle,
        partitions: &'a BTreeSet<TopicPartition>,
    ) -> Told<'a>;
    fn lost<'a>(&'a mut self, group: &'a GroupHandle, partitions: &'a BTreeSet<TopicPartition>) -> Told<'a>;
}

impl<L: RebalanceListener> AnyListener for L {
    fn revoked<'a>(
        &'a mut self,
        group: &'a GroupHandle,
        partitions: &'a BTreeSet<TopicPartition>,
    ) -> Told<'a> {
        Box::pin(RebalanceListener::revoked(self, group, partitions))
    }

    fn assigned<'a>(
        &'a mut self,
        group: &'a GroupHandle,
        partitions: &'a BTreeSet<TopicPartition>,
    ) -> Told<'a> {
        Box::pin(RebalanceListener::assigned(self, group, partitions))
    }

    fn lost<'a>(&'a mut self, group: &'a GroupHandle, partitions: &'a BTreeSet<TopicPartition>) -> Told<'a> {
        Box::pin(RebalanceListener::lost(self, group, partitions))
    }
}

/// Does nothing.
pub(super) struct NoListener;

impl RebalanceListener for NoListener {}
