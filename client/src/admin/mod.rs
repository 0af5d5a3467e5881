//! Calls about the cluster itself: topics, brokers, settings, offsets, groups.
//!
//! Each call goes to any broker, which forwards what only the controller may do; leaders are asked for offsets, and to
//! delete records, coordinators about groups. A call whose connection breaks before it was sent is made again on a new one; what leaders
//! and coordinators are asked also waits for those that are just being found. Other refusals are the caller's to see, item by item.

mod alter;
mod brokers;
mod contacts;
mod describe_groups;
mod group_offsets;
mod groups;
mod leaders;
mod offsets;
mod records;
mod topics;

use std::time::Duration;

use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::delete_topics::DeleteTopicState;
use highwater_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult,
};
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    MetadataRequest, MetadataResponse,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::TopicId;

pub use self::alter::ConfigChange;
pub use self::brokers::{Election, FeatureLevels, Features, LogDir, LogSize};
pub(crate) use self::contacts::Contacts;
pub use self::describe_groups::{GroupDescription, GroupEpochs, MemberDescription};
pub use self::groups::GroupListing;
pub use self::offsets::{ListedOffset, OffsetSpec};
pub use self::records::DeleteBefore;
use self::topics::described;
pub use self::topics::{
    ClusterDescription, ConfigEntry, ConfigResource, CreatedTopic, NewTopic, PartitionDescription,
    TopicDescription,
};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::metadata::{BrokerAddress, ClusterImage, NodeId};

impl Client {
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
        let (resource_type, resource_name) = resource.on_the_wire();
        let to = self.who_knows(resource).await?;
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: names.map(|names| names.iter().map(|name| Text::from(*name)).collect()),
            }],
            ..DescribeConfigsRequest::default()
        };
        let response = self.call(to, |_| request.clone()).await?;
        let what = || format!("describing the settings of {resource}");
        let Some(result) = response.results.into_iter().next() else {
            return Err(Error::refused(what(), ErrorCode::UnknownServerError, Some("an empty answer")));
        };
        accepted(result.error_code, result.error_message.as_deref(), what)?;
        let entry = |config: DescribeConfigsResourceResult| ConfigEntry {
            name: config.name,
            value: config.value,
            read_only: config.read_only,
            is_sensitive: config.is_sensitive,
            source: config.config_source,
        };
        Ok(result.configs.into_iter().map(entry).collect())
    }

    pub(super) async fn metadata_of(&self, topics: Option<Vec<Text>>) -> Result<MetadataResponse> {
        let about = |name| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() };
        let request = MetadataRequest {
            topics: topics.map(|names| names.into_iter().map(about).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.call(None, |_| request.clone()).await
    }

    /// A broker's settings are known to that broker, all others to each.
    async fn who_knows(&self, resource: &ConfigResource) -> Result<Option<BrokerAddress>> {
        match resource {
            ConfigResource::Broker(node) => self.address_of(*node).await.map(Some),
            ConfigResource::Topic(_) | ConfigResource::AllBrokers | ConfigResource::Other { .. } => Ok(None),
        }
    }

    async fn address_of(&self, node: NodeId) -> Result<BrokerAddress> {
        let mut image = ClusterImage::default();
        image.update(self.metadata_of(Some(Vec::new())).await?);
        let unknown =
            || Error::refused(format!("finding broker {node}"), ErrorCode::BrokerNotAvailable, None);
        image.brokers.remove(&node).ok_or_else(unknown)
    }
}

fn as_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn accepted(code: ErrorCode, detail: Option<&str>, what: impl FnOnce() -> String) -> Result<()> {
    if code.is_none() { Ok(()) } else { Err(Error::refused(what(), code, detail)) }
}
