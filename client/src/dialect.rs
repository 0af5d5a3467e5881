//! Requests whose shape depends on the version that a broker speaks.
//!
//! The machines and the admin calls know one shape of each request and response, the newest that names groups and topics in
//! lists and by name; here it becomes the older ones, and answers become the newer. Versions that name topics by id are not
//! spoken: a name is what the committed offset belongs to.

use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::leave_group::MemberResponse;
use highwater_protocol::messages::offset_fetch::{
    OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use highwater_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use highwater_protocol::{Message, Request};

use crate::connection::Connection;
use crate::exchange::Failure;

/// A request that is not written the same way at every version.
pub(crate) trait Spoken: Request {
    /// The newest version whose shape is the one used here.
    const NEWEST: i16 = <Self as Message>::VERSIONS.last;

    /// The request as this version writes it.
    fn spoken(self, version: i16) -> Self;

    /// An answer to it as the newest version would write it.
    fn heard(&self, response: Self::Response, version: i16) -> Self::Response;
}

/// Sends a request in the shape that the broker knows; `answer` is called once.
pub(crate) fn send<R>(
    connection: &Connection,
    request: R,
    answer: impl FnOnce(Result<R::Response, Failure>) + Send + 'static,
) where
    R: Spoken + Clone + Send + 'static,
    R::Response: 'static,
{
    let Some(version) = connection.version_of::<R>().map(|version| version.min(R::NEWEST)) else {
        return answer(Err(Failure::Unsupported(R::KEY.name().into())));
    };
    let spoken = request.clone().spoken(version);
    connection.send_at(&spoken, version, move |response| {
        answer(response.map(|response| request.heard(response, version)));
    });
}

impl Spoken for FindCoordinatorRequest {
    fn spoken(mut self, version: i16) -> Self {
        if version < 4 {
            self.key = self.coordinator_keys.pop().unwrap_or_default();
            self.coordinator_keys.clear();
        }
        self
    }

    fn heard(&self, response: FindCoordinatorResponse, version: i16) -> FindCoordinatorResponse {
        if version >= 4 {
            return response;
        }
        let one = Coordinator {
            key: self.coordinator_keys.last().cloned().unwrap_or_default(),
            node_id: response.node_id,
            host: response.host,
            port: response.port,
            error_code: response.error_code,
            error_message: response.error_message,
        };
        FindCoordinatorResponse {
            throttle_time_ms: response.throttle_time_ms,
            coordinators: vec![one],
            ..FindCoordinatorResponse::default()
        }
    }
}

impl Spoken for LeaveGroupRequest {
    fn spoken(mut self, version: i16) -> Self {
        if version < 3 {
            self.member_id = self.members.pop().unwrap_or_default().member_id;
            self.members.clear();
        }
        self
    }

    fn heard(&self, mut response: LeaveGroupResponse, version: i16) -> LeaveGroupResponse {
        if version < 3 {
            let member = self.members.last().cloned().unwrap_or_default();
            response.members = vec![MemberResponse {
                member_id: member.member_id,
                group_instance_id: None,
                error_code: response.error_code,
            }];
        }
        response
    }
}

impl Spoken for OffsetCommitRequest {
    const NEWEST: i16 = 9;

    fn spoken(self, _version: i16) -> Self {
        self
    }

    fn heard(&self, response: OffsetCommitResponse, _version: i16) -> OffsetCommitResponse {
        response
    }
}

impl Spoken for OffsetFetchRequest {
    const NEWEST: i16 = 9;

    fn spoken(mut self, version: i16) -> Self {
        // Brokers that old have no transactions pending on offsets that they could tell apart.
        self.require_stable &= version >= 7;
        if version < 8 {
            let group = self.groups.pop().unwrap_or_default();
            let one = |topic: OffsetFetchRequestTopics| OffsetFetchRequestTopic {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
            };
            self.groups.clear();
            self.group_id = group.group_id;
            self.topics = group.topics.map(|topics| topics.into_iter().map(one).collect());
        }
        self
    }

    fn heard(&self, response: OffsetFetchResponse, version: i16) -> OffsetFetchResponse {
        if version >= 8 {
            return response;
        }
        let partition = |partition: OffsetFetchResponsePartition| OffsetFetchResponsePartitions {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        };
        let topic = |topic: OffsetFetchResponseTopic| OffsetFetchResponseTopics {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(partition).collect(),
            ..OffsetFetchResponseTopics::default()
        };
        let group = OffsetFetchResponseGroup {
            group_id: self.groups.last().map(|group| group.group_id.clone()).unwrap_or_default(),
            topics: response.topics.into_iter().map(topic).collect(),
            error_code: response.error_code,
        };
        OffsetFetchResponse {
            throttle_time_ms: response.throttle_time_ms,
            groups: vec![group],
            ..OffsetFetchResponse::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_protocol::messages::leave_group::MemberIdentity;
    use highwater_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
    use highwater_protocol::{Encoder, ErrorCode, Response};

    use super::*;

    /// Every version must be able to carry what was asked, and to answer it.
    fn at_every_version<R: Spoken + Clone>(request: &R, mut check: impl FnMut(i16, &R)) {
        for version in R::VERSIONS.first..=R::NEWEST {
            let spoken = request.clone().spoken(version);
            spoken
                .encode(&mut Encoder::default(), version)
                .unwrap_or_else(|error| panic!("{version}: {error}"));
            check(version, &spoken);
        }
    }

    fn answered<R: Spoken>(request: &R, version: i16, response: R::Response) -> R::Response {
        response
            .encode(&mut Encoder::default(), version)
            .unwrap_or_else(|error| panic!("{version}: {error}"));
        assert_eq!(<R::Response as Response>::KEY, R::KEY);
        request.heard(response, version)
    }

    #[test]
    fn a_coordinator_is_asked_for_and_found_in_every_shape() {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec!["g".into()],
            ..FindCoordinatorRequest::default()
        };
        at_every_version(&request, |version, spoken| {
            let found = Coordinator { key: "g".into(), node_id: 3, port: 9, ..Coordinator::default() };
            let response = if version < 4 {
                assert_eq!((&*spoken.key, spoken.coordinator_keys.len()), ("g", 0));
                FindCoordinatorResponse { node_id: 3, port: 9, ..FindCoordinatorResponse::default() }
            } else {
                assert_eq!((&*spoken.key, spoken.coordinator_keys.len()), ("", 1));
                FindCoordinatorResponse {
                    coordinators: vec![found.clone()],
                    ..FindCoordinatorResponse::default()
                }
            };
            assert_eq!(answered(&request, version, response).coordinators, [found]);
        });
    }

    #[test]
    fn a_member_leaves_in_every_shape() {
        let member = MemberIdentity { member_id: "m".into(), ..MemberIdentity::default() };
        let request =
            LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..LeaveGroupRequest::default() };
        at_every_version(&request, |version, spoken| {
            let outcome = MemberResponse {
                member_id: "m".into(),
                group_instance_id: None,
                error_code: ErrorCode::UnknownMemberId,
            };
            let mut response = LeaveGroupResponse::default();
            if version < 3 {
                assert_eq!((&*spoken.member_id, spoken.members.len()), ("m", 0));
                response.error_code = ErrorCode::UnknownMemberId;
            } else {
                response.members = vec![outcome.clone()];
            }
            assert_eq!(answered(&request, version, response).members, [outcome]);
        });
    }

    #[test]
    fn committed_offsets_are_asked_for_and_told_in_every_shape() {
        let topics = vec![OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![4],
            ..OffsetFetchRequestTopics::default()
        }];
        let group = OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(topics),
            ..OffsetFetchRequestGroup::default()
        };
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() };
        at_every_version(&request, |version, spoken| {
            assert_eq!(spoken.require_stable, version >= 7);
            let mut response = OffsetFetchResponse::default();
            if version < 8 {
                assert_eq!(spoken.topics.as_ref().unwrap()[0].partition_indexes, [4]);
                let committed_leader_epoch = if version >= 5 { 2 } else { -1 };
                response.topics = vec![OffsetFetchResponseTopic {
                    name: "t".into(),
                    partitions: vec![OffsetFetchResponsePartition {
                        partition_index: 4,
                        committed_offset: 7,
                        committed_leader_epoch,
                        ..OffsetFetchResponsePartition::default()
                    }],
                }];
            } else {
                response.groups = vec![OffsetFetchResponseGroup {
                    group_id: "g".into(),
                    topics: vec![OffsetFetchResponseTopics {
                        name: "t".into(),
                        partitions: vec![OffsetFetchResponsePartitions {
                            partition_index: 4,
                            committed_offset: 7,
                            ..OffsetFetchResponsePartitions::default()
                        }],
                        ..OffsetFetchResponseTopics::default()
                    }],
                    ..OffsetFetchResponseGroup::default()
                }];
            }
            let heard = answered(&request, version, response);
            let [group] = &heard.groups[..] else { panic!("{heard:?}") };
            let found = &group.topics[0].partitions[0];
            assert_eq!((&*group.group_id, &*group.topics[0].name), ("g", "t"));
            assert_eq!((found.partition_index, found.committed_offset), (4, 7));
        });
    }
}
