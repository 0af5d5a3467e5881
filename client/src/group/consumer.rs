//! What an application holds of a consumer in a group, and how it goes along with rebalances as it polls.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::Text;
use tokio::time::Instant;

use super::builder::GroupConsumerBuilder;
use super::handle::{Core, GroupHandle, Inner};
use super::listener::AnyListener;
use super::machine::{GroupMachine, Step, Subscription, Turn};
use crate::driver::{self, Shared};
use crate::error::{Error, Result};
use crate::record::ConsumedRecord;

/// Reads its share of a group's topics. Dropped without [`close`](Self::close) it is gone as if it had been killed: nothing
/// is committed, and the group waits for it until its session is over.
pub struct GroupConsumer {
    handle: GroupHandle,
    listener: Box<dyn AnyListener>,
    max_poll_records: usize,
}

/// Everything a [`GroupHandle`] can do, a consumer can.
impl Deref for GroupConsumer {
    type Target = GroupHandle;

    fn deref(&self) -> &GroupHandle {
        &self.handle
    }
}

/// The application waits in a poll for as long as this lives.
struct Waiting<'a>(&'a Shared<Core>);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared<Core>) -> Self {
        shared.machine.lock().machine.set_polling(shared.clock.now(), true);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.machine.lock().machine.set_polling(self.0.clock.now(), false);
        // From now on the application may stay away too long.
        self.0.wake.notify_one();
    }
}

impl GroupConsumer {
    pub(super) fn start(builder: GroupConsumerBuilder) -> Result<Self> {
        if builder.start.is_some() || builder.partitions.iter().any(|(_, start)| start.is_some()) {
            let problem = "a group begins where it left off, and before that as offset_reset says";
            return Err(Error::config("start_at", problem));
        }
        let partitions: BTreeSet<_> = builder.partitions.into_iter().map(|(at, _)| at).collect();
        let subscription = match (builder.topics.is_empty(), builder.pattern, partitions.is_empty()) {
            (false, None, true) => Subscription::Topics(builder.topics),
            (true, Some(pattern), true) => Subscription::Pattern(pattern),
            (true, None, false) => Subscription::Partitions(partitions),
            (true, None, true) => {
                return Err(Error::config("subscribe", "no topic, pattern or partition was given"));
            }
            (.., true) => return Err(Error::config("subscribe", "topics or a pattern, not both")),
            (.., false) => return Err(Error::config("assign", "topics or partitions, not both")),
        };
        let client = builder.client;
        let max_poll_records = builder.config.max_poll_records;
        let seed = client.inner.next_seed();
        let machine = GroupMachine::new(builder.group, builder.config, subscription, seed)?;
        let shared = Arc::new(Shared::new(Core { machine, waiting: BTreeMap::new() }));
        let courier = client.inner.courier.clone();
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), courier)).abort_handle();
        let handle = GroupHandle { inner: Arc::new(Inner { shared, driver, client }) };
        Ok(Self { handle, listener: builder.listener, max_poll_records })
    }

    /// The next records, as soon as there are any; none when `timeout` passes first. What earlier polls gave counts as
    /// processed. Here, and in [`next`](Self::next), the group rebalances: see [`RebalanceListener`](super::RebalanceListener).
    ///
    /// # Errors
    /// What went wrong with the group or with a partition. Polling again goes on where that helps; it never does once another
    /// consumer has taken this one's `group.instance.id`.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>> {
        // A time too far to be expressed is as good as none.
        let until = Instant::now().checked_add(timeout);
        self.wait(until, self.max_poll_records).await
    }

    /// The next record, waiting for it as long as it takes. The one before counts as processed.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<ConsumedRecord> {
        loop {
            if let Some(record) = self.wait(None, 1).await?.pop() {
                return Ok(record);
            }
        }
    }

    async fn wait(&mut self, until: Option<Instant>, max_records: usize) -> Result<Vec<ConsumedRecord>> {
        let inner = Arc::clone(&self.handle.inner);
        let shared = &*inner.shared;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (turn, needs_step) = {
                let machine = &mut shared.machine.lock().machine;
                (machine.turn(shared.clock.now(), max_records), machine.needs_step())
            };
            if needs_step {
                shared.wake.notify_one();
            }
            match turn? {
                Turn::Rebalance(step) => {
                    self.go_along(step).await;
                    continue;
                }
                Turn::Records(records) if !records.is_empty() => return Ok(records),
                Turn::Records(_) => {}
            }
            let _waiting = Waiting::begin(shared);
            match until {
                None => changed.await,
                Some(until) => {
                    if tokio::time::timeout_at(until, changed).await.is_err() {
                        return Ok(Vec::new());
                    }
                }
            }
        }
    }

    async fn go_along(&mut self, step: Step) {
        match &step {
            Step::Revoke(partitions) => {
                self.handle.commit_automatically(partitions).await;
                self.listener.revoked(&self.handle, partitions).await;
            }
            Step::Lose(partitions) => self.listener.lost(&self.handle, partitions).await,
            Step::Assign(partitions) => self.listener.assigned(&self.handle, partitions).await,
        }
        let shared = &self.handle.inner.shared;
        shared.machine.lock().machine.done(shared.clock.now());
        shared.wake.notify_one();
    }

    /// Replaces the topics subscribed to. The next polls give back what is not part of it any more, and bring the rest.
    ///
    /// # Errors
    /// [`Error::Config`] for a consumer of partitions, which has no topics to be divided.
    pub fn subscribe<T: Into<Text>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        self.resubscribe(Subscription::Topics(topics.into_iter().map(Into::into).collect()))
    }

    /// The same with a pattern; see [`GroupConsumerBuilder::subscribe_matching`].
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe), and with the classic protocol.
    pub fn subscribe_matching(&mut self, pattern: impl Into<Text>) -> Result<()> {
        self.resubscribe(Subscription::Pattern(pattern.into()))
    }

    fn resubscribe(&self, subscription: Subscription) -> Result<()> {
        let shared = &self.handle.inner.shared;
        let mut core = shared.machine.lock();
        if matches!(core.machine.subscription(), Subscription::Partitions(_)) {
            return Err(Error::config("subscribe", "this consumer was given partitions"));
        }
        core.machine.subscribe_to(subscription)?;
        shared.wake.notify_one();
        Ok(())
    }

    /// What can be done from other tasks.
    #[must_use]
    pub const fn handle(&self) -> &GroupHandle {
        &self.handle
    }

    /// Ends the consumer: with `auto_commit`, commits what was taken; waits for commits that are under way; gives back its
    /// partitions, telling the listener; and leaves the group, so that others take over at once. A static member does not
    /// leave: it may come back.
    ///
    /// # Errors
    /// Why not all could be committed, or [`Error::TimedOut`] after `close_timeout`. The consumer is gone all the same.
    pub async fn close(mut self) -> Result<()> {
        let shared = Arc::clone(&self.handle.inner.shared);
        let timeout = shared.machine.lock().machine.config().close_timeout;
        let closing = async {
            let committed = self.handle.commit_at_the_end().await;
            let step = shared.machine.lock().machine.last_step();
            match &step {
                Some(Step::Revoke(partitions)) => self.listener.revoked(&self.handle, partitions).await,
                Some(Step::Lose(partitions)) => self.listener.lost(&self.handle, partitions).await,
                _ => {}
            }
            // The listener may have asked for more, and need not have waited for it.
            committed.and(self.handle.settle_commits().await)
        };
        let committed = tokio::time::timeout(timeout, closing).await;
        shared.machine.lock().machine.leave(shared.clock.now());
        let left = tokio::time::timeout(timeout, self.handle.has_left()).await;
        let late = || Error::timed_out("closing the consumer", timeout, None);
        committed.unwrap_or_else(|_| Err(late())).and(left.map_err(|_| late()))
    }
}
