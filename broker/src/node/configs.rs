//! Telling settings (`ConfigHelper.describeConfigs`).

use std::collections::BTreeSet;

use super::{ConfigResource, DescribedConfig, Node, ResourceKind};
use crate::config::{Effective, TopicConfig, client_metrics, identity};
use crate::ids::TopicName;
use crate::refusal::Refusal;

/// How many resources one request may be about: their settings are told in full, and fill memory.
pub(super) const MAX_RESOURCES: usize = 10_000;
/// How many settings one answer tells before it refuses further resources: a request may name one thousands of times.
const MAX_SETTINGS: usize = 500_000;

pub(super) fn too_many_resources() -> Refusal {
    Refusal::PolicyViolation { message: format!("More than {MAX_RESOURCES} resources in one request.") }
}

impl Node {
    pub(super) fn describe_configs(&self, resources: &[ConfigResource]) -> Vec<DescribedConfig> {
        let too_many = resources.len() > MAX_RESOURCES;
        let mut settings = 0;
        let mut told = BTreeSet::new();
        let one = |resource: &ConfigResource| {
            let asked = |effective: &Effective| {
                resource.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == effective.name))
            };
            let outcome = if too_many {
                Err(too_many_resources())
            } else if settings >= MAX_SETTINGS {
                let message = format!("More than {MAX_SETTINGS} settings in one answer.");
                Err(Refusal::PolicyViolation { message })
            } else {
                self.settings_of(resource).map(|all| all.into_iter().filter(asked).collect::<Vec<_>>())
            };
            settings += outcome.as_ref().map_or(0, Vec::len);
            DescribedConfig { kind: resource.kind, name: resource.name.clone(), outcome }
        };
        // What is asked in the same words again is told once.
        resources.iter().filter(|resource| told.insert(*resource)).map(one).collect()
    }

    fn settings_of(&self, resource: &ConfigResource) -> Result<Vec<Effective>, Refusal> {
        match resource.kind {
            ResourceKind::TOPIC => {
                let name = TopicName::from(resource.name.as_str());
                name.check().map_err(|message| Refusal::InvalidTopic { message })?;
                let id = self.metadata.id_of(&name).ok_or(Refusal::UnknownTopicOrPartition)?;
                let topic = self.metadata.topic(id).ok_or(Refusal::UnknownTopicOrPartition)?;
                Ok(TopicConfig::describe(&topic.configs, &self.config))
            }
            ResourceKind::BROKER if resource.name.is_empty() => Ok(self.config.describe_altered_for_all()),
            ResourceKind::BROKER if resource.name == self.id.to_string() => Ok(self.own_settings()),
            ResourceKind::BROKER => Err(Refusal::invalid_request(match resource.name.parse::<i32>() {
                Ok(_) => format!(
                    "Unexpected broker id, expected {} or empty string, but received {}",
                    self.id, resource.name
                ),
                Err(_) => format!("Broker id must be an integer, but it is: {}", resource.name),
            })),
            ResourceKind::CLIENT_METRICS if resource.name.is_empty() => {
                Err(Refusal::invalid_request("Client metrics subscription name must not be empty"))
            }
            ResourceKind::CLIENT_METRICS => Ok(client_metrics::describe()),
            kind => Err(Refusal::invalid_request(format!("Unsupported resource type: {kind}"))),
        }
    }

    fn own_settings(&self) -> Vec<Effective> {
        let mut all = self.config.describe();
        all.extend(identity::describe(self.id.0, &self.folder));
        all.sort_by_key(|effective| effective.name);
        all
    }

    /// The resources of these kinds that have settings (`KafkaApis.handleListConfigResources`).
    pub(super) fn list_config_resources(&self, kinds: &[ResourceKind]) -> Vec<(ResourceKind, String)> {
        let mut listed = Vec::new();
        if kinds.contains(&ResourceKind::BROKER) {
            listed.extend(self.metadata.nodes().map(|node| (ResourceKind::BROKER, node.to_string())));
        }
        if kinds.contains(&ResourceKind::TOPIC) {
            listed.extend(
                self.metadata.by_name().map(|(_, topic)| (ResourceKind::TOPIC, topic.name.to_string())),
            );
        }
        listed
    }
}
