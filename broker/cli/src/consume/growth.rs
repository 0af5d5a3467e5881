//! Partitions that a topic gets while all of it is read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use highwater::client::{Client, Error, TopicDescription, TopicPartition};

use super::Consume;
use crate::bootstrap::describe_topic;

/// Looks for them now and then.
pub(super) struct Growth<'a> {
    options: &'a Consume,
    client: Client,
    topic: TopicDescription,
    /// None where it is said which partitions to read, or where to stop in them.
    due: Option<Instant>,
}

impl<'a> Growth<'a> {
    pub(super) fn new(options: &'a Consume, client: Client, topic: TopicDescription) -> Self {
        let follows_all = options.partitions.is_empty() && !options.has_stops();
        let due = follows_all.then(|| Instant::now() + options.metadata_age);
        Self { options, client, topic, due }
    }

    /// How long until it is time to look.
    pub(super) fn wait(&self) -> Duration {
        self.due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Looks, if it is time to: the partitions that are new.
    pub(super) async fn look(&mut self) -> anyhow::Result<Vec<TopicPartition>> {
        if !self.wait().is_zero() {
            return Ok(Vec::new());
        }
        let described = describe_topic(&self.client, &self.options.topic).await;
        self.due = Some(Instant::now() + self.options.metadata_age);
        let now = match described {
            Ok(now) => now,
            // Whether anybody is there is asked when nothing comes.
            Err(error)
                if matches!(
                    error.downcast_ref(),
                    Some(Error::Connection { .. } | Error::TimedOut { .. })
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        // One that was made anew is another topic: what is read of the old one will say so.
        if now.id != self.topic.id {
            return Ok(Vec::new());
        }
        let numbers = |topic: &TopicDescription| -> BTreeSet<i32> {
            topic.partitions.iter().map(|partition| partition.partition).collect()
        };
        let new = &numbers(&now) - &numbers(&self.topic);
        self.topic = now;
        Ok(new.into_iter().map(|number| TopicPartition::new(self.options.topic.as_str(), number)).collect())
    }
}
