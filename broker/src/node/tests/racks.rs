//! Consumers that read from followers: three nodes, and the time stands still.

use super::*;
use crate::ensemble::{Ensemble, EnsembleEffects, EnsembleOptions};

const PRODUCER: Ticket = Ticket { connection: ConnectionId(1), request: 1 };
const CONSUMER: Ticket = Ticket { connection: ConnectionId(2), request: 1 };

/// Whether what a leader committed is read at a follower without waiting: of three nodes, of which the first one leads.
fn is_read_at_once(config: BrokerConfig) -> bool {
    let now = Now { monotonic: Monotonic::from_micros(1), wall: TimestampMs::new(1_700_000_000_000) };
    let options = EnsembleOptions {
        nodes: 3,
        config: Arc::new(config),
        disk: Arc::new(MemoryDisk::new()),
        folder: PathBuf::from("data"),
        seed: 1,
    };
    let mut effects = EnsembleEffects::new();
    let mut cluster = Ensemble::open(options, now, &mut effects).unwrap();
    let topic = NewTopic {
        name: "t".into(),
        partitions: 1,
        replication_factor: 3,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    let create = Request::CreateTopics(CreateTopicsRequest { topics: vec![topic], validate_only: false });
    let made = Ticket { connection: ConnectionId(3), request: 1 };
    cluster.step(now, NodeId(0), Event::Request(made, create), &mut effects);
    let fetch = Request::Fetch(FetchRequest {
        rack: Some("b".to_owned()),
        replica: -1,
        max_wait_ms: 10_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
        session_id: 0,
        session_epoch: -1,
        by_topic_id: false,
        partitions: vec![FetchPartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            current_leader_epoch: LeaderEpoch::NONE,
            fetch_offset: Offset::ZERO,
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
        }],
        forgotten: Vec::new(),
    });
    cluster.step(now, NodeId(1), Event::Request(CONSUMER, fetch), &mut effects);
    let id = cluster.node(NodeId(0)).unwrap().metadata.id_of(&"t".into());
    let mut batch = BatchBuilder::new();
    batch.append(now.wall, None, Some(b"x"), &[]).unwrap();
    let produce = Request::Produce(ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        transaction: None,
        partitions: vec![ProducePartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            checked_for: id,
            is_transactional: false,
            batch: CheckedBatch::check(&batch.build().unwrap(), &BatchRules::default(), now.wall),
        }],
    });
    let is_answered = |effects: &EnsembleEffects, asked: Ticket| {
        let answers = effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Reply(ticket, reply) if *ticket == asked => Some(reply),
            _ => None,
        });
        match answers.last() {
            Some(Reply::Fetch(reply)) => {
                let read = reply.partitions[0].outcome.as_ref().unwrap();
                assert_eq!(read.positions.high_watermark, Offset::new(1));
                true
            }
            Some(Reply::Produce(done)) => done[0].outcome.as_ref().map(|_| true).unwrap(),
            Some(other) => panic!("{other:?}"),
            None => false,
        }
    };
    assert!(!is_answered(&effects, CONSUMER), "there is nothing to read");
    cluster.step(now, NodeId(0), Event::Request(PRODUCER, produce), &mut effects);
    assert!(is_answered(&effects, PRODUCER), "all have it");
    is_answered(&effects, CONSUMER)
}

/// Kafka's followers hear of it with their next fetch, up to half a second later.
#[test]
fn followers_hear_of_what_is_committed_at_once_where_consumers_are_sent_to_them() {
    let mut config = BrokerConfig::default();
    assert!(!is_read_at_once(config.clone()), "else in good time");
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    config.set("replica.selector.class", selector).unwrap();
    assert!(is_read_at_once(config));
}
