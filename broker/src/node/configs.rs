//! Telling settings (`ConfigHelper.describeConfigs`).

use super::{ConfigResource, DescribedConfig, Node};
use crate::config::{Effective, TopicConfig};
use crate::ids::TopicName;
use crate::refusal::Refusal;

/// How many resources one request may ask about: their settings are told in full, and fill memory.
const MAX_RESOURCES: usize = 10_000;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Node {
    pub(super) fn describe_configs(&self, resources: &[ConfigResource]) -> Vec<DescribedConfig> {
        let too_many = resources.len() > MAX_RESOURCES;
        let one = |resource: &ConfigResource| {
            let asked = |effective: &Effective| {
                resource.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == effective.name))
            };
            let outcome = if too_many {
                let message = format!("More than {MAX_RESOURCES} resources in one request.");
                Err(Refusal::PolicyViolation { message })
            } else {
                self.settings_of(resource).map(|all| all.into_iter().filter(asked).collect())
            };
            DescribedConfig { kind: resource.kind, name: resource.name.clone(), outcome }
        };
        resources.iter().map(one).collect()
    }

    fn settings_of(&self, resource: &ConfigResource) -> Result<Vec<Effective>, Refusal> {
        match resource.kind {
            TOPIC => {
                let name = TopicName::from(resource.name.as_str());
                name.check().map_err(|message| Refusal::InvalidTopic { message })?;
                let id = self.metadata.id_of(&name).ok_or(Refusal::UnknownTopicOrPartition)?;
                let topic = self.metadata.topic(id).ok_or(Refusal::UnknownTopicOrPartition)?;
                Ok(TopicConfig::describe(&topic.configs, &self.config))
            }
            // The cluster-wide default of dynamic settings: there are none.
            BROKER if resource.name.is_empty() => Ok(Vec::new()),
            BROKER if resource.name == self.id.to_string() => Ok(self.config.describe()),
            BROKER => Err(Refusal::invalid_request(match resource.name.parse::<i32>() {
                Ok(_) => format!(
                    "Unexpected broker id, expected {} or empty string, but received {}",
                    self.id, resource.name
                ),
                Err(_) => format!("Broker id must be an integer, but it is: {}", resource.name),
            })),
            kind => Err(Refusal::invalid_request(format!("Unsupported resource type: {kind}"))),
        }
    }
}
