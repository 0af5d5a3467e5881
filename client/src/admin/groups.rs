//! Groups: which there are, and deleting them. Their coordinators are asked, each for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use highwater_protocol::messages::{DeleteGroupsRequest, FindCoordinatorRequest, ListGroupsRequest};
use highwater_protocol::{ErrorCode, Text};

use super::accepted;
use super::leaders::Unanswered;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::metadata::{BrokerAddress, ClusterImage};

/// A group, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its id.
    pub group_id: Text,
    /// What its members are: `consumer` for consumers, empty where only offsets are kept.
    pub protocol_type: Text,
    /// Its state, by Kafka's name (`Stable`, `Empty`, …); `None` from a broker that does not tell.
    pub state: Option<Text>,
    /// Its kind, by Kafka's name (`classic`, `consumer`, …); `None` from a broker that does not tell.
    pub kind: Option<Text>,
}

/// What came of asking a coordinator. A box, or the compiler cannot tell of those who wait for it that they may move between
/// threads, which a listener must.
pub(super) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<Result<T, ErrorCode>>> + Send + 'a>>;

impl Client {
    /// All groups there are, in order of their ids.
    ///
    /// # Errors
    /// When a broker cannot be asked.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let mut image = ClusterImage::default();
        image.update(self.metadata_of(Some(Vec::new())).await?);
        let mut groups = BTreeSet::new();
        for address in image.brokers.into_values() {
            let what = format!("listing the groups of {address}");
            let response = self.call(Some(address), |_| ListGroupsRequest::default()).await?;
            accepted(response.error_code, None, || what)?;
            let told = |text: Text| (!text.is_empty()).then_some(text);
            groups.extend(response.groups.into_iter().map(|group| GroupListing {
                group_id: group.group_id,
                protocol_type: group.protocol_type,
                state: told(group.group_state),
                kind: told(group.group_type),
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// Deletes groups that have no members, with their offsets; one result for each.
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn delete_groups<T: Into<Text>>(
        &self,
        groups: impl IntoIterator<Item = T>,
    ) -> Result<BTreeMap<Text, Result<()>>> {
        let mut deleted = BTreeMap::new();
        for group_id in groups.into_iter().map(Into::into) {
            let outcome = self.delete_group(&group_id).await;
            deleted.insert(group_id, of_its_own(outcome)?);
        }
        Ok(deleted)
    }

    async fn delete_group(&self, group_id: &Text) -> Result<()> {
        let what = format!("deleting group {}", &**group_id);
        let request = &DeleteGroupsRequest { groups_names: vec![group_id.clone()] };
        self.at_coordinator(&what, group_id, |coordinator| {
            Box::pin(async move {
                let response = self.call(Some(coordinator), |_| request.clone()).await?;
                let result = response.results.into_iter().find(|result| result.group_id == *group_id);
                Ok(result
                    .map_or(Err(ErrorCode::UnknownServerError), |result| result.error_code.into_result()))
            })
        })
        .await
    }

    /// Asks the coordinator of a group, as often as it takes while it is being found, or moves.
    pub(super) async fn at_coordinator<'a, T>(
        &self,
        what: &str,
        group_id: &Text,
        ask: impl Fn(BrokerAddress) -> Asked<'a, T>,
    ) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            let asked = match self.coordinator_of(group_id).await {
                Ok(Ok(coordinator)) => ask(coordinator).await,
                Ok(Err(code)) => Ok(Err(code)),
                Err(error) => Err(error),
            };
            let last = match asked {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(code)) => match Unanswered::by(what, code) {
                    Unanswered::Yet(error) => error,
                    Unanswered::Ever(error) => return Err(error),
                },
                Err(error @ Error::Connection { .. }) => error,
                Err(error) => return Err(error),
            };
            attempts.pause(what, &last).await?;
        }
    }

    async fn coordinator_of(&self, group_id: &Text) -> Result<Result<BrokerAddress, ErrorCode>> {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group_id.clone()],
            ..FindCoordinatorRequest::default()
        };
        let response = self.call_spoken(None, &request).await?;
        let Some(found) = response.coordinators.into_iter().find(|found| found.key == *group_id) else {
            return Ok(Err(ErrorCode::CoordinatorNotAvailable));
        };
        let port = u16::try_from(found.port).map_err(|_| ErrorCode::CoordinatorNotAvailable);
        let refused = found.error_code.into_result();
        Ok(refused.and(port).map(|port| BrokerAddress { host: found.host.to_string(), port }))
    }
}

/// A refusal of one group is that group's; what is wrong with the call itself is the caller's.
pub(super) fn of_its_own<T>(outcome: Result<T>) -> Result<Result<T>> {
    match outcome {
        Err(error @ (Error::Connection { .. } | Error::UnsupportedApi { .. })) => Err(error),
        outcome => Ok(outcome),
    }
}
