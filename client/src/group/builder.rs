//! A consumer in a group to be.

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_protocol::Text;

use super::assignor::Assignor;
use super::config::{GroupConfig, GroupProtocol};
use super::consumer::GroupConsumer;
use super::listener::{AnyListener, NoListener, RebalanceListener};
use crate::client::Client;
use crate::consumer::{ConsumerConfig, Isolation, OffsetReset, StartAt};
use crate::error::Result;
use crate::metadata::TopicPartition;

/// A consumer in a group to be.
#[must_use]
pub struct GroupConsumerBuilder {
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
    pub(crate) group: GroupConfig,
    pub(super) topics: BTreeSet<Text>,
    pub(super) pattern: Option<Text>,
    pub(crate) partitions: Vec<(TopicPartition, Option<StartAt>)>,
    pub(super) start: Option<StartAt>,
    pub(crate) listener: Box<dyn AnyListener>,
}

macro_rules! options {
    ($($(#[$doc:meta])* $of:ident.$name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$of.$name = $name;
            self
        }
    )*};
}

impl GroupConsumerBuilder {
    pub(crate) fn new(
        client: Client,
        config: ConsumerConfig,
        group_id: Text,
        partitions: Vec<(TopicPartition, Option<StartAt>)>,
        start: Option<StartAt>,
    ) -> Self {
        let group = GroupConfig { rack: config.rack.clone(), ..GroupConfig::new(group_id) };
        Self {
            client,
            config,
            group,
            topics: BTreeSet::new(),
            pattern: None,
            partitions,
            start,
            listener: Box::new(NoListener),
        }
    }

    /// Reads its share of these topics.
    pub fn subscribe<T: Into<Text>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Reads its share of all topics whose whole names match this regular expression, also of those that are made later. The
    /// broker matches (RE2 syntax), so it needs [`GroupProtocol::Consumer`].
    pub fn subscribe_matching(mut self, pattern: impl Into<Text>) -> Self {
        self.pattern = Some(pattern.into());
        self
    }

    /// Reads these partitions instead of a share of topics, whoever else does; the group only keeps the offsets.
    pub fn assign<T: Into<Text>>(mut self, partitions: impl IntoIterator<Item = (T, i32)>) -> Self {
        let partitions = partitions.into_iter();
        self.partitions
            .extend(partitions.map(|(topic, partition)| (TopicPartition::new(topic, partition), None)));
        self
    }

    /// Is told when partitions come and go.
    pub fn listener(mut self, listener: impl RebalanceListener) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// See [`GroupConfig::group_instance_id`].
    pub fn group_instance_id(mut self, name: impl Into<Text>) -> Self {
        self.group.group_instance_id = Some(name.into());
        self
    }

    /// See [`GroupConfig::rack`] and [`ConsumerConfig::rack`].
    pub fn rack(mut self, rack: impl Into<Text>) -> Self {
        let rack = rack.into();
        self.config.rack = Some(rack.clone());
        self.group.rack = Some(rack);
        self
    }

    /// See [`GroupConfig::remote_assignor`].
    pub fn remote_assignor(mut self, name: impl Into<Text>) -> Self {
        self.group.remote_assignor = Some(name.into());
        self
    }

    /// See [`GroupConfig::assignors`].
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.group.assignors = assignors.into_iter().collect();
        self
    }

    options! {
        /// See [`GroupConfig::protocol`].
        group.protocol: GroupProtocol;
        /// See [`GroupConfig::session_timeout`].
        group.session_timeout: Duration;
        /// See [`GroupConfig::heartbeat_interval`].
        group.heartbeat_interval: Duration;
        /// See [`GroupConfig::max_poll_interval`].
        group.max_poll_interval: Duration;
        /// See [`GroupConfig::auto_commit`].
        group.auto_commit: bool;
        /// See [`GroupConfig::auto_commit_interval`].
        group.auto_commit_interval: Duration;
        /// See [`GroupConfig::api_timeout`].
        group.api_timeout: Duration;
        /// See [`GroupConfig::close_timeout`].
        group.close_timeout: Duration;
        /// See [`ConsumerConfig::offset_reset`].
        config.offset_reset: OffsetReset;
        /// See [`ConsumerConfig::isolation`].
        config.isolation: Isolation;
        /// See [`ConsumerConfig::max_poll_records`].
        config.max_poll_records: usize;
    }

    /// All options of reading at once.
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = config;
        self
    }

    /// All options of the group at once, its id among them.
    pub fn group_config(mut self, group: GroupConfig) -> Self {
        self.group = group;
        self
    }

    /// Starts the consumer; it joins its group as it is first polled.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options that cannot be.
    #[allow(clippy::unused_async, reason = "must run inside a tokio runtime, which an async fn makes plain")]
    pub async fn build(self) -> Result<GroupConsumer> {
        GroupConsumer::start(self)
    }
}
