//! What only a partition's leader can answer: who that is, and waiting for one that is just being elected.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_protocol::{ErrorCode, Text};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::metadata::{BrokerAddress, ClusterImage, TopicPartition};
use crate::producer::needs_metadata;
use crate::retry::{Backoff, Jitter};

/// Waits between attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) };

/// Who leads a partition.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) address: BrokerAddress,
    /// -1 where the broker does not tell it.
    pub(super) epoch: i32,
}

/// Why there is no answer for a partition.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It may be different when asked again.
    Yet(Error),
    /// It stays so.
    Ever(Error),
}

impl Unanswered {
    pub(super) fn by(what: &str, code: ErrorCode) -> Self {
        let error = Error::refused(what, code, None);
        // A topic that is not there stays away, as far as someone who asks about it is concerned.
        let passes = code.is_retriable() || needs_metadata(code);
        if passes && code != ErrorCode::UnknownTopicOrPartition {
            Self::Yet(error)
        } else {
            Self::Ever(error)
        }
    }
}

/// The attempts of one call, as long as it may take.
pub(super) struct Attempts {
    timeout: Duration,
    deadline: Instant,
    failures: u32,
    jitter: Jitter,
}

impl Attempts {
    /// Waits until it is time for the next one.
    ///
    /// # Errors
    /// [`Error::TimedOut`] instead of waiting past the deadline, with `last` as the reason.
    pub(super) async fn pause(&mut self, what: &str, last: &Error) -> Result<()> {
        self.failures += 1;
        let next = Instant::now() + BACKOFF.wait(self.failures, &mut self.jitter);
        if next > self.deadline {
            return Err(Error::timed_out(what, self.timeout, Some(last.to_string().into())));
        }
        tokio::time::sleep_until(next).await;
        Ok(())
    }
}

impl Client {
    /// The attempts of a call that begins now.
    pub(super) fn attempts(&self) -> Attempts {
        let timeout = self.inner.config.api_timeout;
        let jitter = Jitter::from_seed(self.inner.next_seed());
        Attempts { timeout, deadline: Instant::now() + timeout, failures: 0, jitter }
    }

    /// Who leads each of these partitions now, or why nobody is known to; `what` is being done, for the error.
    pub(super) async fn leaders_of(
        &self,
        what: &str,
        partitions: impl IntoIterator<Item = &TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<Leader, Unanswered>>> {
        let partitions: Vec<&TopicPartition> = partitions.into_iter().collect();
        let mut topics: Vec<Text> = partitions.iter().map(|at| at.topic.clone()).collect();
        topics.dedup();
        let mut image = ClusterImage::default();
        let refused = image.update(self.metadata_of(Some(topics)).await?);
        let leader_of = |at: &TopicPartition| {
            let partition = image.partition(&at.topic, at.partition);
            if let (None, Some(topic)) = (partition, image.topics.get(&at.topic)) {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                let (topic, partition) = ((*at.topic).into(), at.partition);
                return Err(Unanswered::Ever(Error::NoSuchPartition { topic, partition, count }));
            }
            let leader = image.leader(&at.topic, at.partition).and_then(|node| image.brokers.get(&node));
            let Some(address) = leader.cloned() else {
                let code = refused.get(&at.topic).copied().unwrap_or(ErrorCode::LeaderNotAvailable);
                return Err(Unanswered::by(&format!("{what} of {at}"), code));
            };
            Ok(Leader { address, epoch: partition.map_or(-1, |image| image.leader_epoch) })
        };
        Ok(partitions.into_iter().map(|at| (at.clone(), leader_of(at))).collect())
    }
}
