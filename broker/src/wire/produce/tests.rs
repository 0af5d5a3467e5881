use std::sync::Arc;

use highwater_protocol::ErrorCode;
use highwater_storage::LeaderEpoch;

use super::*;
use crate::node::Produced;
use crate::wire::Address;

fn answered(appended: Option<Produced>, refusal: Refusal, version: i16) -> ProduceResponse {
    let part = ProducedPartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(0),
        log_start: Some(Offset::new(3)),
        appended,
        tells_why: false,
        outcome: Err(refusal),
    };
    let address = Address { host: Arc::from("host"), port: 9092, rack: Some(Arc::from("a")) };
    response(vec![part], version, &Addresses::new(vec![(NodeId(1), address)]))
}

fn only(mut response: ProduceResponse) -> PartitionProduceResponse {
    response.responses.remove(0).partition_responses.remove(0)
}

#[test]
fn what_is_in_the_log_is_told_where_although_it_is_refused() {
    let appended = Produced { base_offset: Offset::new(7), log_append_time: TimestampMs::new(5) };
    let not_leader = Refusal::NotLeader { leader: None, epoch: LeaderEpoch::new(2) };
    for refusal in [Refusal::NotEnoughReplicasAfterAppend, Refusal::TimedOut, not_leader] {
        let code = refusal.code();
        let told = only(answered(Some(appended), refusal, 10));
        assert_eq!((told.error_code, told.base_offset), (code, 7));
        assert_eq!((told.log_append_time_ms, told.log_start_offset), (5, 3));
    }
}

#[test]
fn what_is_not_in_the_log_has_no_offset_and_its_log_may_have_been_asked() {
    let not_leader = Refusal::NotLeader { leader: None, epoch: LeaderEpoch::new(2) };
    for (refusal, log_start) in [(Refusal::NotEnoughReplicas, 3), (Refusal::Corrupt, -1), (not_leader, -1)] {
        let told = only(answered(None, refusal, 10));
        assert_eq!((told.base_offset, told.log_append_time_ms), (-1, -1));
        assert_eq!(told.log_start_offset, log_start);
    }
}

#[test]
fn the_leader_is_named_where_the_version_can_and_where_somebody_leads() {
    let not_leader = |leader| Refusal::NotLeader { leader, epoch: LeaderEpoch::new(2) };
    let told = answered(None, not_leader(Some(NodeId(1))), 10);
    let places: Vec<_> =
        told.node_endpoints.iter().map(|at| (at.node_id, at.host.as_str(), at.port)).collect();
    assert_eq!(places, [(1, "host", 9092)]);
    let leader = only(told).current_leader;
    assert_eq!((leader.leader_id, leader.leader_epoch), (1, 2));
    let told = answered(None, not_leader(None), 10);
    assert!(told.node_endpoints.is_empty());
    let leader = only(told).current_leader;
    assert_eq!((leader.leader_id, leader.leader_epoch), (-1, 2));
    let told = answered(None, not_leader(Some(NodeId(1))), 9);
    assert!(told.node_endpoints.is_empty());
    assert_eq!(
        only(told),
        PartitionProduceResponse {
            error_code: ErrorCode::NotLeaderOrFollower,
            base_offset: -1,
            ..Default::default()
        }
    );
}
