//! What brokers tell of themselves: what their logs take on disk, their features, whose settings were made; and electing
//! leaders anew.

use std::collections::BTreeMap;

use highwater_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsResult,
};
use highwater_protocol::messages::elect_leaders::TopicPartitions;
use highwater_protocol::messages::{
    ApiVersionsRequest, DescribeLogDirsRequest, ElectLeadersRequest, ListConfigResourcesRequest,
};
use highwater_protocol::{ErrorCode, Text};

use super::topics::ConfigResource;
use super::{accepted, as_ms};
use crate::client::Client;
use crate::error::Result;
use crate::metadata::{ClusterImage, NodeId, TopicPartition};

/// A folder in which a broker keeps logs (KIP-113).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// Its path on the broker.
    pub path: Text,
    /// What is wrong with it, if anything.
    pub problem: Option<ErrorCode>,
    /// How large the volume is on which it is, where told.
    pub volume_bytes: Option<u64>,
    /// How much of that is free, where told.
    pub free_bytes: Option<u64>,
    /// The logs in it.
    pub logs: BTreeMap<TopicPartition, LogSize>,
}

/// What a log takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize {
    /// The bytes of its segments.
    pub size_bytes: u64,
    /// How many records it is behind.
    pub lag: u64,
    /// Whether it is being moved here, and will take the place of the present one.
    pub is_future: bool,
}

/// How leaders are elected (KIP-460).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The replica that is named first, if it is in sync.
    Preferred,
    /// Any that lives where none is in sync: what only the others have is lost.
    Unclean,
}

/// The levels of a feature, from the lowest to the highest.
pub type FeatureLevels = (i16, i16);

/// The features of a cluster (KIP-584).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// The levels that the broker knows.
    pub supported: BTreeMap<Text, FeatureLevels>,
    /// The levels in force in the cluster.
    pub finalized: BTreeMap<Text, FeatureLevels>,
    /// Goes up whenever these change; `None` where it is not told.
    pub finalized_epoch: Option<i64>,
}

impl Client {
    /// What the logs of all brokers take on disk, or the logs of these partitions.
    ///
    /// # Errors
    /// When a broker cannot be asked, or refuses.
    pub async fn describe_log_dirs(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<NodeId, Vec<LogDir>>> {
        let topics = partitions.map(|partitions| {
            let topic = |(topic, partitions)| DescribableLogDirTopic { topic, partitions };
            by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = DescribeLogDirsRequest { topics };
        let mut image = ClusterImage::default();
        image.update(self.metadata_of(Some(Vec::new())).await?);
        let mut dirs = BTreeMap::new();
        for (node, address) in image.brokers {
            let response = self.call(Some(address), |_| request.clone()).await?;
            accepted(response.error_code, None, || format!("describing the logs of broker {node}"))?;
            dirs.insert(node, response.results.into_iter().map(log_dir).collect());
        }
        Ok(dirs)
    }

    /// Elects the leaders of these partitions, or of all; one result for each of which there was anything to do or to say. A
    /// leader that is the right one already is an error of its partition ([`ErrorCode::ElectionNotNeeded`]) if it was named.
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topic_partitions = partitions.map(|partitions| {
            let topic = |(topic, partitions)| TopicPartitions { topic, partitions };
            by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = ElectLeadersRequest {
            election_type: match election {
                Election::Preferred => 0,
                Election::Unclean => 1,
            },
            topic_partitions,
            timeout_ms: as_ms(self.inner.config.request_timeout),
        };
        let response = self.call(None, |_| request.clone()).await?;
        accepted(response.error_code, None, || "electing leaders".to_owned())?;
        let mut outcomes = BTreeMap::new();
        for topic in response.replica_election_results {
            for result in topic.partition_result {
                let at = TopicPartition { topic: topic.topic.clone(), partition: result.partition_id };
                let what = || format!("electing the leader of {at}");
                let outcome = accepted(result.error_code, result.error_message.as_deref(), what);
                outcomes.insert(at, outcome);
            }
        }
        Ok(outcomes)
    }

    /// Whose settings were made, of all kinds (KIP-1142).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_config_resources(&self) -> Result<Vec<ConfigResource>> {
        let response = self.call(None, |_| ListConfigResourcesRequest::default()).await?;
        accepted(response.error_code, None, || "listing whose settings were made".to_owned())?;
        let resources = response.config_resources.into_iter();
        Ok(resources.map(|found| ConfigResource::of(found.resource_type, found.resource_name)).collect())
    }

    /// The features that a broker knows, and those in force in the cluster.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn describe_features(&self) -> Result<Features> {
        let request = ApiVersionsRequest {
            client_software_name: "highwater-client".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let response = self.call(None, |_| request.clone()).await?;
        accepted(response.error_code, None, || "describing the features".to_owned())?;
        let supported = response.supported_features.into_iter();
        let finalized = response.finalized_features.into_iter();
        let epoch = response.finalized_features_epoch;
        Ok(Features {
            supported: supported
                .map(|feature| (feature.name, (feature.min_version, feature.max_version)))
                .collect(),
            finalized: finalized
                .map(|feature| (feature.name, (feature.min_version_level, feature.max_version_level)))
                .collect(),
            finalized_epoch: (epoch >= 0).then_some(epoch),
        })
    }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Text, Vec<i32>> {
    let mut topics: BTreeMap<Text, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(at.topic.clone()).or_default().push(at.partition);
    }
    topics
}

fn log_dir(dir: DescribeLogDirsResult) -> LogDir {
    let told = |bytes: i64| u64::try_from(bytes).ok();
    let mut logs = BTreeMap::new();
    for topic in dir.topics {
        let size = |log: &DescribeLogDirsPartition| LogSize {
            size_bytes: told(log.partition_size).unwrap_or(0),
            lag: told(log.offset_lag).unwrap_or(0),
            is_future: log.is_future_key,
        };
        logs.extend(topic.partitions.iter().map(|log| {
            (TopicPartition { topic: topic.name.clone(), partition: log.partition_index }, size(log))
        }));
    }
    LogDir {
        path: dir.log_dir,
        problem: dir.error_code.into_result().err(),
        volume_bytes: told(dir.total_bytes),
        free_bytes: told(dir.usable_bytes),
        logs,
    }
}
