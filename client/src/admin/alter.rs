//! Changing what there is: more partitions for a topic, other settings for a topic or a broker.

use std::collections::BTreeMap;

use highwater_protocol::messages::create_partitions::CreatePartitionsTopic;
use highwater_protocol::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use highwater_protocol::messages::{CreatePartitionsRequest, IncrementalAlterConfigsRequest};
use highwater_protocol::{ErrorCode, Text};

use super::topics::ConfigResource;
use super::{accepted, as_ms};
use crate::client::Client;
use crate::error::{Error, Result};

/// What to do with one setting (KIP-339).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives it this value.
    Set(Text),
    /// Lets it fall back to what the broker says, or Kafka.
    Delete,
    /// Adds to a list: `Append("compact")` to `cleanup.policy`.
    Append(Text),
    /// Takes out of a list.
    Subtract(Text),
}

impl ConfigChange {
    fn on_the_wire(self) -> (i8, Option<Text>) {
        match self {
            Self::Set(value) => (0, Some(value)),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value)),
            Self::Subtract(value) => (3, Some(value)),
        }
    }
}

impl Client {
    /// Gives topics more partitions, each this many in all; one result for each. With `validate_only` nothing is changed.
    /// Records with keys may go to other partitions from then on.
    ///
    /// # Errors
    /// When the call as a whole fails. A topic cannot get fewer ([`ErrorCode::InvalidPartitions`]).
    pub async fn create_partitions<T: Into<Text>>(
        &self,
        counts: impl IntoIterator<Item = (T, i32)>,
        validate_only: bool,
    ) -> Result<BTreeMap<Text, Result<()>>> {
        let topic =
            |(name, count): (T, i32)| CreatePartitionsTopic { name: name.into(), count, assignments: None };
        let request = CreatePartitionsRequest {
            topics: counts.into_iter().map(topic).collect(),
            timeout_ms: as_ms(self.inner.config.request_timeout),
            validate_only,
        };
        let response = self.call(None, |_| request.clone()).await?;
        let outcomes = response.results.into_iter().map(|result| {
            let what = || format!("adding partitions to topic {}", &*result.name);
            let outcome = accepted(result.error_code, result.error_message.as_deref(), what);
            (result.name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// Changes settings of a topic or a broker, leaving all others as they are. With `validate_only` nothing is changed.
    ///
    /// ```no_run
    /// use highwater_client::{Client, ConfigChange, ConfigResource};
    ///
    /// # async fn example(client: Client) -> highwater_client::Result<()> {
    /// let orders = ConfigResource::Topic("orders".into());
    /// let changes = [("retention.ms", ConfigChange::Set("60000".into())), ("segment.bytes", ConfigChange::Delete)];
    /// client.alter_configs(&orders, changes, false).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the call fails, or the change is refused; then none of it is done.
    pub async fn alter_configs<T: Into<Text>>(
        &self,
        resource: &ConfigResource,
        changes: impl IntoIterator<Item = (T, ConfigChange)>,
        validate_only: bool,
    ) -> Result<()> {
        let change = |(name, change): (T, ConfigChange)| {
            let (config_operation, value) = change.on_the_wire();
            AlterableConfig { name: name.into(), config_operation, value }
        };
        let (resource_type, resource_name) = resource.on_the_wire();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name,
                configs: changes.into_iter().map(change).collect(),
            }],
            validate_only,
        };
        let to = self.who_knows(resource).await?;
        let response = self.call(to, |_| request.clone()).await?;
        let what = || format!("changing the settings of {resource}");
        let Some(result) = response.responses.into_iter().next() else {
            return Err(Error::refused(what(), ErrorCode::UnknownServerError, Some("an empty answer")));
        };
        accepted(result.error_code, result.error_message.as_deref(), what)
    }
}
