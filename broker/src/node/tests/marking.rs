//! The ends of transactions, and what readers of committed records are told.

use super::*;
use crate::transaction::{End, Marker, TopicPartition, TransactionVersion};

pub(super) fn of(producer: i64, epoch: i16) -> (ProducerId, ProducerEpoch) {
    (ProducerId::new(producer), ProducerEpoch::new(epoch))
}

pub(super) fn marker(producer: (ProducerId, ProducerEpoch), end: End, coordinator_epoch: i32) -> Marker {
    Marker { producer, end, coordinator_epoch, version: TransactionVersion::V0 }
}

pub(super) fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: PartitionIndex(partition) }
}

/// A batch of one record in a transaction.
pub(super) fn in_transaction((id, epoch): (ProducerId, ProducerEpoch), sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(id, epoch, Sequence::new(sequence));
    builder.append(TimestampMs::new(1_700_000_000_000), None, Some(b"v"), &[]).unwrap();
    builder.build().unwrap()
}

/// A producer: its id, epoch, last sequence, and where its transaction begins.
type Told = (i64, i16, i32, Option<i64>);

impl World {
    /// Writes a batch of a transaction as if its coordinator knew of it.
    fn write_of(&mut self, partition: i32, producer: (ProducerId, ProducerEpoch), sequence: i32) -> i64 {
        let partition = (self.node.metadata.id_of(&"t".into()).unwrap(), PartitionIndex(partition));
        let batch = CheckedBatch::trusted(in_transaction(producer, sequence)).unwrap();
        let mut effects = Effects::new();
        let appended = self.node.append_batch(self.now, partition, &batch, None, &mut effects).unwrap();
        appended.base_offset.get()
    }

    /// Ends transactions as a client, and does all that follows.
    pub(super) fn end(
        &mut self,
        markers: Vec<(Marker, Vec<TopicPartition>)>,
    ) -> Vec<Vec<Result<(), Refusal>>> {
        let mut effects = self.end_effects(markers);
        let work = durability::work(&mut effects);
        effects.extend(self.work_off(work));
        ended(effects).expect("an answer")
    }

    fn end_effects(&mut self, markers: Vec<(Marker, Vec<TopicPartition>)>) -> Effects {
        let one = |(marker, partitions)| MarkerToWrite { marker, partitions };
        self.ask(Request::WriteMarkers(markers.into_iter().map(one).collect()))
    }

    /// Where the first partition stands, as a reader of committed records is told: last stable offset, high watermark, the
    /// bytes there are, and where aborted transactions began.
    pub(super) fn committed(&mut self, from: i64) -> (i64, i64, usize, Vec<(i64, i64)>) {
        let part = FetchPartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            current_leader_epoch: LeaderEpoch::NONE,
            fetch_offset: Offset::new(from),
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
        };
        let effects = self.ask(Request::Fetch(FetchRequest {
            rack: Some(String::new()),
            replica: -1,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadCommitted,
            session_id: 0,
            session_epoch: -1,
            by_topic_id: false,
            partitions: vec![part],
            forgotten: Vec::new(),
        }));
        let bytes = read(&effects).unwrap()[0].clone().unwrap();
        let fetched = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply(_, Reply::Fetch(mut reply)) => reply.partitions.remove(0).outcome.ok(),
            _ => None,
        });
        let Fetched { positions, aborted, .. } = fetched.unwrap();
        let aborted = aborted.expect("it asked for what is committed").into_iter();
        let aborted = aborted.map(|one| (one.producer_id.get(), one.first_offset.get())).collect();
        (positions.last_stable.get(), positions.high_watermark.get(), bytes, aborted)
    }

    fn latest(&mut self, isolation: Isolation) -> i64 {
        let query = OffsetQuery {
            topic: "t".into(),
            partition: PartitionIndex(0),
            current_leader_epoch: LeaderEpoch::NONE,
            spec: Ok(OffsetSpec::Latest),
        };
        let request = ListOffsetsRequest { replica: -1, isolation, partitions: vec![query] };
        match self.ask(Request::ListOffsets(request)).pop() {
            Some(Effect::Reply(_, Reply::ListOffsets(mut found))) => match found.remove(0).outcome {
                Ok(OffsetAnswer::Known { offset, .. }) => offset.get(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn producers(&mut self, topic: &str, partition: i32) -> Result<Vec<Told>, Refusal> {
        let asked = vec![(topic.into(), PartitionIndex(partition))];
        match self.ask(Request::DescribeProducers(asked)).pop() {
            Some(Effect::Reply(_, Reply::DescribeProducers(mut told))) => {
                let one = |(id, known): (ProducerId, highwater_storage::ProducerEntry)| {
                    let opened = known.current_txn_first_offset.map(Offset::get);
                    (id.get(), known.epoch.get(), known.last_sequence().get(), opened)
                };
                told.remove(0).outcome.map(|known| known.into_iter().map(one).collect())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn ended(effects: Effects) -> Option<Vec<Vec<Result<(), Refusal>>>> {
    let done = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::WriteMarkers(done)) => Some(done),
        _ => None,
    })?;
    let one = |marker: WrittenMarker| marker.partitions.into_iter().map(|(_, _, outcome)| outcome).collect();
    Some(done.into_iter().map(one).collect())
}

#[test]
fn what_is_open_is_not_read_and_what_was_aborted_is_told() {
    let mut world = World::new();
    world.create("t");
    let one = batch(b"v").len();
    world.produce(vec![(0, batch(b"v"))]);
    assert_eq!(world.committed(0), (1, 1, one, vec![]));
    assert_eq!((world.write_of(0, of(7, 0), 0), world.write_of(0, of(8, 0), 0)), (1, 2));
    world.produce(vec![(0, batch(b"v"))]);
    assert_eq!(world.committed(0), (1, 4, one, vec![]));
    assert_eq!((world.latest(Isolation::ReadCommitted), world.latest(Isolation::ReadUncommitted)), (1, 4));
    assert_eq!(world.committed(1), (1, 4, 0, vec![]), "there is nothing to read, and nothing to leave out");
    assert_eq!(world.producers("t", 0), Ok(vec![(7, 0, 0, Some(1)), (8, 0, 0, Some(2))]));

    let abort = marker(of(7, 0), End::Abort, 3);
    assert_eq!(world.end(vec![(abort, vec![at(0)])]), [[Ok(())]]);
    assert_eq!(world.committed(0).0, 2, "the other one is open");
    assert_eq!(world.committed(1).3, [(7, 1)]);
    let commit = marker(of(8, 0), End::Commit, 3);
    assert_eq!(world.end(vec![(commit, vec![at(0)])]), [[Ok(())]]);
    let (last_stable, high_watermark, _, aborted) = world.committed(0);
    assert_eq!((last_stable, high_watermark, aborted), (6, 6, vec![(7, 1)]));
    assert_eq!(world.committed(5).3, [], "its marker lies before");
    assert_eq!(world.producers("t", 0), Ok(vec![(7, 0, 0, None), (8, 0, 0, None)]));

    // A start finds it all again.
    let mut world = world.restart();
    assert_eq!(world.committed(0).3, [(7, 1)]);
    assert_eq!(world.committed(0).0, 6);
}

#[test]
fn a_transaction_that_is_open_stays_so_over_a_start() {
    let mut world = World::new();
    world.create("t");
    world.write_of(0, of(7, 0), 0);
    let mut world = world.restart();
    assert_eq!(world.committed(0), (0, 1, 0, vec![]));
    assert_eq!(world.end(vec![(marker(of(7, 0), End::Commit, 0), vec![at(0)])]), [[Ok(())]]);
    assert_eq!(world.committed(0).0, 2);
}

#[test]
fn who_waits_for_what_is_committed_is_answered_when_the_marker_comes() {
    let mut world = World::new();
    world.create("t");
    world.write_of(0, of(7, 0), 0);
    let part = |index| FetchPartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(index),
        current_leader_epoch: LeaderEpoch::NONE,
        fetch_offset: Offset::ZERO,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let waits = world.ask(Request::Fetch(FetchRequest {
        rack: Some(String::new()),
        replica: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadCommitted,
        session_id: 0,
        session_epoch: -1,
        by_topic_id: false,
        partitions: vec![part(0)],
        forgotten: Vec::new(),
    }));
    assert!(read(&waits).is_none());
    let effects = world.end_effects(vec![(marker(of(7, 0), End::Commit, 0), vec![at(0)])]);
    assert!(read(&effects).unwrap()[0].clone().unwrap() > 0);
}

#[test]
fn each_partition_of_a_marker_is_answered_for() {
    let mut world = World::new();
    world.create("t");
    world.write_of(0, of(7, 3), 0);
    world.write_of(1, of(7, 5), 0);
    let unknown = Err(Refusal::UnknownTopicOrPartition);
    let elsewhere = TopicPartition { topic: "u".into(), partition: PartitionIndex(0) };
    let commit = marker(of(7, 4), End::Commit, 2);
    let mut done = world.end(vec![
        (commit, vec![at(0), at(1), at(2), elsewhere]),
        (marker(of(7, 4), End::Commit, 1), vec![at(0)]),
        (marker(of(9, 0), End::Abort, 1), vec![]),
    ]);
    assert!(matches!(done[0].remove(1), Err(Refusal::InvalidProducerEpoch { .. })));
    assert_eq!(done[0], [Ok(()), unknown.clone(), unknown]);
    assert!(matches!(done[1][..], [Err(Refusal::TransactionCoordinatorFenced { .. })]), "{:?}", done[1]);
    assert!(done[2].is_empty());
    assert_eq!(world.end(vec![]), Vec::<Vec<_>>::new());
    for nobody in [of(-1, 0), of(9, -1)] {
        let done = world.end(vec![(marker(nobody, End::Abort, 3), vec![at(0)])]);
        assert!(matches!(done[0][..], [Err(Refusal::Unexpected { .. })]), "{done:?}");
    }
}

/// Else a reader of committed records could see what the power takes yet.
#[test]
fn a_marker_counts_when_it_is_as_durable_as_was_promised() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durability::durable());
    world.write_of(0, of(7, 0), 0);
    let work = durability::work(&mut world.bring(Event::Tick));
    world.work_off(work);
    let mut effects = world.end_effects(vec![(marker(of(7, 0), End::Commit, 0), vec![at(0)])]);
    let sync = durability::work(&mut effects);
    assert!(ended(effects).is_none(), "it is not synced");
    assert_eq!(world.committed(0).0, 0);
    let effects = world.work_off(sync);
    assert_eq!(ended(effects), Some(vec![vec![Ok(())]]));
    assert_eq!(world.committed(0).0, 2);

    // A sync that fails is told; one that never ends, in its time.
    for fails in [true, false] {
        let mut effects = world.end_effects(vec![(marker(of(7, 1), End::Commit, 0), vec![at(0), at(1)])]);
        let sync = durability::work(&mut effects);
        if fails {
            disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
            let done = ended(world.work_off(sync)).expect("an answer");
            assert!(matches!(done[0][0], Err(Refusal::Storage { .. })), "{done:?}");
            world = World::with_topic(&disk, durability::durable()).restart();
            continue;
        }
        world.wait_ms(30_000);
        let done = ended(world.bring(Event::Tick)).expect("an answer");
        assert_eq!(done, [[Err(Refusal::TimedOut), Err(Refusal::TimedOut)]]);
    }
}

#[test]
fn a_client_that_is_gone_is_told_nothing() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durability::durable());
    let mut effects = world.end_effects(vec![(marker(of(7, 0), End::Commit, 0), vec![at(0)])]);
    let sync = durability::work(&mut effects);
    world.bring(Event::Disconnected(ConnectionId(1)));
    assert!(ended(world.work_off(sync)).is_none());
}

#[test]
fn producers_are_told_of_by_who_leads() {
    let mut world = World::new();
    world.create("t");
    assert_eq!(world.producers("t", 0), Ok(vec![]));
    assert_eq!(world.producers("u", 0), Err(Refusal::UnknownTopicOrPartition));
    assert!(matches!(world.producers("t", 2), Err(Refusal::NoSuchPartition { .. })));
    assert!(matches!(world.producers("a b", 0), Err(Refusal::InvalidTopic { .. })));
}
