//! Calls about the cluster itself: topics, brokers, settings, offsets.
//!
//! Each call goes to any broker, which forwards what only the controller may do; offsets are asked from leaders.
//! A call whose connection breaks before it was sent is made again on a new one; listing offsets also waits for
//! leaders that are just being elected. Other refusals are the caller's to see, item by item.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::delete_topics::DeleteTopicState;
use highwater_protocol::messages::describe_configs::DescribeConfigsResource;
use highwater_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::metadata::MetadataResponseTopic;
use highwater_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    ListOffsetsRequest, MetadataRequest, MetadataResponse,
};
use highwater_protocol::{ErrorCode, Request, Text};
use highwater_storage::{LeaderEpoch, Offset, TimestampMs, TopicId};
use tokio::sync::{Mutex, oneshot};

use crate::client::Client;
use crate::connection::Connection;
use crate::consumer::{EARLIEST, Isolation, LATEST, MAX_TIMESTAMP};
use crate::error::{Error, Result};
use crate::exchange::Failure;
use crate::metadata::{BrokerAddress, ClusterImage, NodeId, TopicPartition};
use crate::producer::needs_metadata;
use crate::retry::{Backoff, Jitter};
use crate::transport::embedded::Target;

/// Waits between attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) };

/// Connections for admin calls, kept between them. `None` is the first contact.
#[derive(Default)]
pub(crate) struct Contacts {
    open: Mutex<BTreeMap<Option<BrokerAddress>, Connection>>,
}

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    name: Text,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    configs: Vec<(Text, Text)>,
}

impl NewTopic {
    /// A topic with the broker's own numbers of partitions and replicas.
    #[must_use]
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), partitions: None, replication_factor: None, configs: Vec::new() }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Sets the number of replicas of each.
    #[must_use]
    pub const fn replication_factor(mut self, replication_factor: i16) -> Self {
        self.replication_factor = Some(replication_factor);
        self
    }

    /// Sets a topic setting, by Kafka's name for it.
    #[must_use]
    pub fn config(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: Text,
    /// Its id, zero from a broker that tells none.
    pub id: TopicId,
    /// How many partitions it has; `None` from a broker that does not tell.
    pub partitions: Option<i32>,
    /// How many replicas each has; `None` from a broker that does not tell.
    pub replication_factor: Option<i16>,
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Text,
    /// Its id, zero from a broker that tells none.
    pub id: TopicId,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition of a [`TopicDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The brokers that hold it.
    pub replicas: Vec<NodeId>,
    /// Those of them that are in sync.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are offline.
    pub offline: Vec<NodeId>,
}

/// The cluster as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Text,
    /// The broker that clients should take for the controller.
    pub controller: Option<NodeId>,
    /// The brokers that are alive.
    pub brokers: BTreeMap<NodeId, BrokerAddress>,
}

/// Whose settings to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's.
    Topic(Text),
    /// A broker's.
    Broker(NodeId),
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name for it.
    pub name: Text,
    /// Its value; `None` when it is secret or not set.
    pub value: Option<Text>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether its value is secret.
    pub is_sensitive: bool,
    /// Where the value comes from, as Kafka numbers it (1 topic, 2 to 4 broker, 5 default).
    pub source: i8,
}

/// Which offset of a partition to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first there is.
    Earliest,
    /// Behind the last there is.
    Latest,
    /// The record with the largest time.
    MaxTimestamp,
    /// The first record with this time or a later one.
    Timestamp(TimestampMs),
}

impl OffsetSpec {
    const fn on_the_wire(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::MaxTimestamp => MAX_TIMESTAMP,
            Self::Timestamp(timestamp) => timestamp.get(),
        }
    }
}

/// A listed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's time, where a record was looked for.
    pub timestamp: Option<TimestampMs>,
    /// The epoch of the record's batch, where known.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Client {
    pub(crate) async fn first_contact(&self) -> Result<()> {
        self.contact(None).await.map(drop)
    }

    /// Makes topics; one result for each, in the broker's order. With `validate_only` nothing is made.
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn create_topics(
        &self,
        topics: impl IntoIterator<Item = NewTopic>,
        validate_only: bool,
    ) -> Result<Vec<(Text, Result<CreatedTopic>)>> {
        let creatable = |topic: NewTopic| CreatableTopic {
            name: topic.name,
            num_partitions: topic.partitions.unwrap_or(-1),
            replication_factor: topic.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: topic
                .configs
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) })
                .collect(),
        };
        let request = CreateTopicsRequest {
            topics: topics.into_iter().map(creatable).collect(),
            timeout_ms: as_ms(self.inner.config.request_timeout),
            validate_only,
        };
        let response = self.call(None, |_| request.clone()).await?;
        let created = response.topics.into_iter().map(|topic| {
            let what = || format!("creating topic {}", &*topic.name);
            let made = CreatedTopic {
                name: topic.name.clone(),
                id: TopicId::new(topic.topic_id.0),
                partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
            };
            let result = accepted(topic.error_code, topic.error_message.as_deref(), what).map(|()| made);
            (topic.name, result)
        });
        Ok(created.collect())
    }

    /// Deletes topics by name; one result for each.
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn delete_topics<T: Into<Text>>(
        &self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Vec<(Text, Result<()>)>> {
        /// The first version that names topics in a structure.
        const STATES_FROM: i16 = 6;
        let names: Vec<Text> = names.into_iter().map(Into::into).collect();
        let timeout_ms = as_ms(self.inner.config.request_timeout);
        let request = |version: i16| {
            let state =
                |name: &Text| DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() };
            let (topics, topic_names) = match version >= STATES_FROM {
                true => (names.iter().map(state).collect(), Vec::new()),
                false => (Vec::new(), names.clone()),
            };
            DeleteTopicsRequest { topics, topic_names, timeout_ms }
        };
        let response = self.call(None, request).await?;
        let deleted = response.responses.into_iter().map(|topic| {
            let name = topic.name.unwrap_or_default();
            let what = || format!("deleting topic {}", &*name);
            let result = accepted(topic.error_code, topic.error_message.as_deref(), what);
            (name, result)
        });
        Ok(deleted.collect())
    }

    /// All topics there are.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        let response = self.metadata_of(None).await?;
        Ok(response.topics.into_iter().filter(|topic| topic.error_code.is_none()).map(described).collect())
    }

    /// Describes topics by name; one result for each.
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn describe_topics<T: Into<Text>>(
        &self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Vec<(Text, Result<TopicDescription>)>> {
        let response = self.metadata_of(Some(names.into_iter().map(Into::into).collect())).await?;
        let topics = response.topics.into_iter().map(|topic| {
            let name = topic.name.clone().unwrap_or_default();
            let what = || format!("describing topic {}", &*name);
            let result = accepted(topic.error_code, None, what).map(|()| described(topic));
            (name, result)
        });
        Ok(topics.collect())
    }

    /// Brokers, controller and id of the cluster.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let response = self.call(None, |_| DescribeClusterRequest::default()).await?;
        accepted(response.error_code, response.error_message.as_deref(), || {
            "describing the cluster".to_owned()
        })?;
        let brokers = response.brokers.into_iter().filter_map(|broker| {
            let address =
                BrokerAddress { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? };
            Some((NodeId(broker.broker_id), address))
        });
        Ok(ClusterDescription {
            cluster_id: response.cluster_id,
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            brokers: brokers.collect(),
        })
    }

    /// The settings of a topic or broker, all or those named.
    ///
    /// # Errors
    /// When the call fails or there is no such topic or broker.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        names: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>> {
        const TOPIC: i8 = 2;
        const BROKER: i8 = 4;
        let (resource_type, resource_name) = match resource {
            ConfigResource::Topic(name) => (TOPIC, name.clone()),
            ConfigResource::Broker(node) => (BROKER, node.to_string().as_str().into()),
        };
        // A broker's settings are known to that broker.
        let to = match resource {
            ConfigResource::Broker(node) => Some(self.address_of(*node).await?),
            ConfigResource::Topic(_) => None,
        };
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: names.map(|names| names.iter().map(|name| Text::from(*name)).collect()),
            }],
            ..DescribeConfigsRequest::default()
        };
        let response = self.call(to, |_| request.clone()).await?;
        let what = || format!("describing the settings of {resource:?}");
        let Some(result) = response.results.into_iter().next() else {
            return Err(Error::refused(what(), ErrorCode::UnknownServerError, Some("an empty answer")));
        };
        accepted(result.error_code, result.error_message.as_deref(), what)?;
        let entry =
            |config: highwater_protocol::messages::describe_configs::DescribeConfigsResourceResult| {
                ConfigEntry {
                    name: config.name,
                    value: config.value,
                    read_only: config.read_only,
                    is_sensitive: config.is_sensitive,
                    source: config.config_source,
                }
            };
        Ok(result.configs.into_iter().map(entry).collect())
    }

    /// Lists offsets, of each partition the one asked for; `None` where no record is as young as that.
    ///
    /// # Errors
    /// The first partition's refusal, when the call fails, or [`Error::TimedOut`] after `api_timeout`.
    pub async fn list_offsets(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>> {
        let mut open: BTreeMap<TopicPartition, OffsetSpec> = partitions.into_iter().collect();
        let mut listed = BTreeMap::new();
        let timeout = self.inner.config.api_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let mut jitter = Jitter::from_seed(self.inner.next_seed());
        let mut failures = 0;
        loop {
            let last = match self.list_offsets_once(&mut open, isolation, &mut listed).await? {
                None => return Ok(listed),
                Some(last) => last,
            };
            failures += 1;
            let next = tokio::time::Instant::now() + BACKOFF.wait(failures, &mut jitter);
            if next > deadline {
                return Err(Error::timed_out("listing offsets", timeout, Some(last.to_string().into())));
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Moves what can be answered now from `open` to `listed`; says what the rest waits for.
    async fn list_offsets_once(
        &self,
        open: &mut BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
        listed: &mut BTreeMap<TopicPartition, Option<ListedOffset>>,
    ) -> Result<Option<Error>> {
        let mut topics: Vec<Text> = open.keys().map(|at| at.topic.clone()).collect();
        topics.dedup();
        let mut image = ClusterImage::default();
        let refused = image.update(self.metadata_of(Some(topics)).await?);
        let mut waits_for = None;
        let mut by_leader: BTreeMap<BrokerAddress, Vec<ListOffsetsTopic>> = BTreeMap::new();
        for (at, spec) in open.iter() {
            let partition = image.partition(&at.topic, at.partition);
            if let (None, Some(topic)) = (partition, image.topics.get(&at.topic)) {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                return Err(Error::NoSuchPartition {
                    topic: (*at.topic).into(),
                    partition: at.partition,
                    count,
                });
            }
            let Some(address) =
                image.leader(&at.topic, at.partition).and_then(|node| image.brokers.get(&node))
            else {
                let code = refused.get(&at.topic).copied().unwrap_or(ErrorCode::LeaderNotAvailable);
                waits_for = Some(retriable(&format!("listing offsets of {at}"), code)?);
                continue;
            };
            let wanted = ListOffsetsPartition {
                partition_index: at.partition,
                current_leader_epoch: partition.map_or(-1, |image| image.leader_epoch),
                timestamp: spec.on_the_wire(),
            };
            let topics = by_leader.entry(address.clone()).or_default();
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(ListOffsetsTopic { name: at.topic.clone(), partitions: vec![wanted] }),
            }
        }
        for (address, topics) in by_leader {
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: isolation.on_the_wire(),
                topics,
                timeout_ms: as_ms(self.inner.config.request_timeout),
            };
            let response = match self.call(Some(address), |_| request.clone()).await {
                Ok(response) => response,
                Err(error @ Error::Connection { .. }) => {
                    waits_for = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for topic in response.topics {
                for partition in topic.partitions {
                    let at =
                        TopicPartition { topic: topic.name.clone(), partition: partition.partition_index };
                    if partition.error_code.is_none() {
                        let timestamp = TimestampMs::new(partition.timestamp);
                        let leader_epoch = LeaderEpoch::new(partition.leader_epoch);
                        let found = ListedOffset {
                            offset: Offset::new(partition.offset),
                            timestamp: timestamp.is_some().then_some(timestamp),
                            leader_epoch: leader_epoch.is_some().then_some(leader_epoch),
                        };
                        open.remove(&at);
                        listed.insert(at, (partition.offset >= 0).then_some(found));
                    } else {
                        let what = format!("listing offsets of {at}");
                        waits_for = Some(retriable(&what, partition.error_code)?);
                    }
                }
            }
        }
        if open.is_empty() { Ok(None) } else { Ok(Some(waits_for.unwrap_or_else(left_out))) }
    }

    /// The first offset of each partition.
    ///
    /// # Errors
    /// As [`list_offsets`](Self::list_offsets).
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.offsets_at(partitions, OffsetSpec::Earliest).await
    }

    /// The offset behind the last record of each partition.
    ///
    /// # Errors
    /// As [`list_offsets`](Self::list_offsets).
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.offsets_at(partitions, OffsetSpec::Latest).await
    }

    async fn offsets_at(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let partitions = partitions.into_iter().map(|at| (at, spec));
        let listed = self.list_offsets(partitions, Isolation::ReadUncommitted).await?;
        Ok(listed.into_iter().filter_map(|(at, listed)| Some((at, listed?.offset))).collect())
    }

    async fn metadata_of(&self, topics: Option<Vec<Text>>) -> Result<MetadataResponse> {
        let about = |name| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() };
        let request = MetadataRequest {
            topics: topics.map(|names| names.into_iter().map(about).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.call(None, |_| request.clone()).await
    }

    async fn address_of(&self, node: NodeId) -> Result<BrokerAddress> {
        let mut image = ClusterImage::default();
        image.update(self.metadata_of(Some(Vec::new())).await?);
        let unknown =
            || Error::refused(format!("finding broker {node}"), ErrorCode::BrokerNotAvailable, None);
        image.brokers.remove(&node).ok_or_else(unknown)
    }

    /// Makes a call, again on a new connection when the one at hand turns out to be closed.
    async fn call<R: Request>(
        &self,
        to: Option<BrokerAddress>,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response>
    where
        R::Response: Send + 'static,
    {
        let timeout = self.inner.config.request_timeout;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let connection = self.contact(to.clone()).await?;
            let Some(version) = connection.version_of::<R>() else {
                return Err(Error::UnsupportedApi { api: R::KEY.name().into() });
            };
            let (answer, answered) = oneshot::channel();
            connection.send(&request(version), move |response| {
                // The caller may have ceased to wait.
                let _ = answer.send(response);
            });
            let response = tokio::time::timeout(timeout, answered).await;
            let lost = || Failure::Lost("the connection was closed here".into());
            match response.map(|answered| answered.unwrap_or_else(|_| Err(lost()))) {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(Failure::NotSent(_))) if attempts == 1 => {}
                Ok(Err(failure)) => {
                    return Err(Error::Connection {
                        address: self.describe(to.as_ref()),
                        cause: failure.reason(),
                    });
                }
                Err(_) => {
                    self.inner.contacts.open.lock().await.remove(&to);
                    return Err(Error::timed_out(R::KEY.name(), timeout, None));
                }
            }
        }
    }

    fn describe(&self, to: Option<&BrokerAddress>) -> std::sync::Arc<str> {
        self.inner.courier.transport.describe(&target(to, 0)).into()
    }

    /// The connection at hand, or a new one; every bootstrap address is tried once.
    async fn contact(&self, to: Option<BrokerAddress>) -> Result<Connection> {
        let mut open = self.inner.contacts.open.lock().await;
        if let Some(connection) = open.get(&to).filter(|connection| !connection.is_broken()) {
            return Ok(connection.clone());
        }
        let courier = &self.inner.courier;
        let tries = if to.is_none() { courier.transport.bootstrap_count() } else { 1 };
        let mut cause = None;
        for attempt in 0..tries {
            let target = target(to.as_ref(), attempt);
            let client_id = courier.client_id.clone();
            match Connection::open(&courier.transport, &target, client_id, courier.connect_timeout).await {
                Ok(connection) => {
                    open.insert(to, connection.clone());
                    return Ok(connection);
                }
                Err(failure) => cause = Some(failure.reason()),
            }
        }
        let cause = cause.unwrap_or_else(|| "no address was given".into());
        Err(Error::Connection { address: self.describe(to.as_ref()), cause })
    }
}

fn target(to: Option<&BrokerAddress>, attempt: u32) -> Target {
    to.map_or(Target::Bootstrap { attempt }, |address| Target::Broker(address.clone()))
}

fn as_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn accepted(code: ErrorCode, detail: Option<&str>, what: impl FnOnce() -> String) -> Result<()> {
    if code.is_none() { Ok(()) } else { Err(Error::refused(what(), code, detail)) }
}

/// The refusal as something to wait out, or as the error it is.
fn retriable(what: &str, code: ErrorCode) -> Result<Error> {
    let error = Error::refused(what, code, None);
    // A topic that is not there stays away, as far as someone who asks about it is concerned.
    let passes = code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition;
    if passes || needs_metadata(code) && code != ErrorCode::UnknownTopicOrPartition {
        Ok(error)
    } else {
        Err(error)
    }
}

fn left_out() -> Error {
    Error::refused("listing offsets", ErrorCode::UnknownServerError, Some("the answer leaves partitions out"))
}

fn described(topic: MetadataResponseTopic) -> TopicDescription {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    let mut partitions: Vec<PartitionDescription> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionDescription {
            partition: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
            leader_epoch: (partition.leader_epoch >= 0).then_some(LeaderEpoch::new(partition.leader_epoch)),
            replicas: nodes(partition.replica_nodes),
            in_sync: nodes(partition.isr_nodes),
            offline: nodes(partition.offline_replicas),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    TopicDescription {
        name: topic.name.unwrap_or_default(),
        id: TopicId::new(topic.topic_id.0),
        is_internal: topic.is_internal,
        partitions,
    }
}
