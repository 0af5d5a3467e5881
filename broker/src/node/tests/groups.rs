//! Groups at a node: the topic that keeps them, answers that wait for the disk, and what comes back.

use highwater_storage::disk::Survivors;

use super::durability::{config, durable, work};
use super::*;
use crate::group::{
    CommitOffsets, FetchOffsets, Generation, GroupReply, GroupRequest, Heartbeat, JoinGroup, Joined,
    JoinedGeneration, ListGroups, MemberEpoch, MemberId, OffsetToCommit, OffsetsOfGroup, Protocol, SyncGroup,
};

impl World {
    /// Asks for a group's coordinator, and waits for whatever that waits for.
    pub(super) fn find(&mut self) -> Result<NodeId, Refusal> {
        let key = CoordinatorKey { key: "g".into(), kind: 0, share_allowed: false };
        let mut effects = self.ask(Request::FindCoordinator(vec![key]));
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        match effects.pop() {
            Some(Effect::Reply(_, Reply::FindCoordinator(mut found))) => found.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    fn ask_group(&mut self, request: GroupRequest) -> Effects {
        self.ask(Request::Group(request))
    }

    fn commit(&mut self, offset: i64) -> Effects {
        let offsets = vec![OffsetToCommit {
            entry: 0,
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        }];
        self.ask_group(GroupRequest::CommitOffsets(Box::new(CommitOffsets {
            group: "g".into(),
            generation: Generation(-1),
            member: "".into(),
            instance: None,
            knows_epochs: true,
            retention_ms: None,
            offsets,
        })))
    }

    fn read_offset(&mut self) -> Effects {
        let topics = Some(vec![(TopicRef::Name("t".into()), vec![PartitionIndex(0)])]);
        let groups = vec![OffsetsOfGroup { group: "g".into(), member: None, epoch: MemberEpoch(-1), topics }];
        self.ask_group(GroupRequest::FetchOffsets(FetchOffsets {
            groups,
            require_stable: true,
            by_topic_id: false,
        }))
    }

    fn join_as(&mut self, member: &str) -> Effects {
        self.ask_group(GroupRequest::Join(Box::new(JoinGroup {
            group: "g".into(),
            member: member.into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/host".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
            asks_twice: false,
            may_skip_assignment: false,
        })))
    }

    fn heartbeat_of(&mut self, member: &MemberId) -> Result<(), Refusal> {
        let (group, generation, member) = ("g".into(), Generation(1), member.clone());
        let effects =
            self.ask_group(GroupRequest::Heartbeat(Heartbeat { group, generation, member, instance: None }));
        match reply(effects) {
            GroupReply::Alive(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// A group with one member, stable in its first generation.
    fn with_group(&mut self) -> MemberId {
        self.find().unwrap();
        let (member, told) = joined(self.join_as("")).unwrap();
        let sync = SyncGroup {
            group: "g".into(),
            generation: told.generation,
            member: member.clone(),
            instance: None,
            protocol_type: None,
            protocol: None,
            assignments: Vec::new(),
        };
        match reply(self.ask_group(GroupRequest::Sync(Box::new(sync)))) {
            GroupReply::Synced(Ok(_)) => member,
            other => panic!("{other:?}"),
        }
    }

    fn delete_topic(&mut self, topic: &TopicName) -> Effects {
        let name = Some(topic.clone());
        self.ask(Request::DeleteTopics(vec![TopicToDelete { name, id: TopicId::ZERO }]))
    }

    /// Where the log of the group's coordinator ends.
    fn group_log_end(&self) -> i64 {
        let partition = self.node.coordinator_of(&"g".into()).unwrap();
        self.node.replica(partition.0, partition.1).unwrap().log.end_offset().get()
    }
}

fn reply(effects: Effects) -> GroupReply {
    let reply = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Group(reply)) => Some(reply),
        _ => None,
    });
    reply.expect("an answer")
}

fn committed(effects: Effects) -> Result<(), Refusal> {
    match reply(effects) {
        GroupReply::Committed(mut parts) => parts.remove(0).outcome,
        other => panic!("{other:?}"),
    }
}

fn offset(effects: Effects) -> Result<Option<i64>, Refusal> {
    match reply(effects) {
        GroupReply::Offsets(mut groups) => {
            let found = groups.remove(0).outcome?.remove(0).partitions.remove(0).1?;
            Ok(found.map(|commit| commit.offset.get()))
        }
        other => panic!("{other:?}"),
    }
}

fn joined(effects: Effects) -> Result<(MemberId, JoinedGeneration), Refusal> {
    match reply(effects) {
        GroupReply::Joined(joined) => {
            let Joined { member, outcome } = *joined;
            outcome.map(|told| (member, told))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_topic_that_keeps_groups_is_made_for_the_first_who_asks() {
    let mut world = World::new();
    world.create("t");
    assert_eq!(committed(world.commit(1)), Err(Refusal::NotCoordinator));
    assert_eq!(offset(world.read_offset()), Err(Refusal::NotCoordinator));
    assert_eq!(world.find(), Ok(NodeId(0)));
    let (_, topic) =
        world.node.metadata.by_name().find(|(_, topic)| topic.name.is_internal()).expect("the topic");
    assert_eq!((topic.name.as_str(), topic.partitions.len()), ("__consumer_offsets", 50));
    assert_eq!(topic.configs.get("cleanup.policy").map(String::as_str), Some("compact"));
    assert_eq!(offset(world.read_offset()), Ok(None));
    assert_eq!(world.node.coordinated.next_deadline(), None, "nothing of groups is kept yet");
    assert_eq!(committed(world.commit(1)), Ok(()));
    assert_eq!(offset(world.read_offset()), Ok(Some(1)));
}

#[test]
fn the_topic_that_keeps_groups_is_as_it_is_set() {
    let settings = [("offsets.topic.num.partitions", "3"), ("offsets.topic.replication.factor", "2")];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings));
    assert_eq!(world.find(), Err(Refusal::CoordinatorNotAvailable), "there are not two nodes");
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings[..1]));
    // Also for who asks for the topic itself.
    let topics = Some(vec![TopicRef::Name(TopicName::consumer_offsets())]);
    let told = world.ask(Request::Metadata(MetadataRequest { topics, allow_auto_creation: true }));
    let Some(Effect::Reply(_, Reply::Metadata(told))) = told.last() else { panic!("{told:?}") };
    assert_eq!(told.topics[0].partitions.len(), 3);
    assert_eq!(world.find(), Ok(NodeId(0)));
}

#[test]
fn a_commit_is_answered_and_read_when_it_is_durable() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    assert_eq!(world.find(), Ok(NodeId(0)));
    let mut effects = world.commit(7);
    let turn = work(&mut effects);
    assert_eq!((turn.len(), effects.len()), (1, 0), "a sync, and no answer");
    assert!(world.read_offset().is_empty(), "who reads it waits, too");
    let answers = world.work_off(turn);
    assert_eq!(answers.len(), 2);
    let mut answers = answers.into_iter();
    assert_eq!(committed(vec![answers.next().unwrap()]), Ok(()));
    assert_eq!(offset(vec![answers.next().unwrap()]), Ok(Some(7)));
    let left: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let mut world = World::configured(left, durable());
    assert_eq!(offset(world.read_offset()), Ok(Some(7)));
}

#[test]
fn an_answer_that_is_not_durable_in_time_is_a_refusal_and_may_count_later() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    world.find().unwrap();
    let mut effects = world.commit(7);
    let turn = work(&mut effects);
    world.wait_ms(5_000);
    assert_eq!(committed(world.bring(Event::Tick)), Err(Refusal::CoordinatorNotAvailable));
    assert!(world.work_off(turn).is_empty(), "it is answered once");
    assert_eq!(offset(world.read_offset()), Ok(Some(7)));
}

#[test]
fn a_failed_sync_sends_everyone_to_find_another_coordinator() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    world.find().unwrap();
    let mut effects = world.join_as("");
    let turn = work(&mut effects);
    let effects = world.work_off(turn);
    let (member, _) = joined(effects).unwrap();
    let mut effects = world.commit(7);
    assert!(effects.is_empty() || work(&mut effects).is_empty(), "nobody commits to a group with members");
    // Someone else waits for the member to join again; the assignment is on its way to the disk.
    let mut effects = world.join_as("");
    let turn = work(&mut effects);
    assert!(turn.is_empty() && effects.is_empty());
    let mut effects = world.join_as(member.as_str());
    let turn = work(&mut effects);
    assert_eq!((turn.len(), effects.len()), (1, 0));
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let answers = world.work_off(turn);
    assert_eq!(answers.len(), 2, "{answers:?}");
    for answer in answers {
        assert_eq!(joined(vec![answer]).unwrap_err(), Refusal::NotCoordinator);
    }
    assert_eq!(world.heartbeat_of(&member), Err(Refusal::NotCoordinator));
    assert_eq!(committed(world.commit(8)), Err(Refusal::NotCoordinator));
    assert_eq!(offset(world.read_offset()), Err(Refusal::NotCoordinator));
}

#[test]
fn a_failed_write_ends_its_coordinator_and_no_other() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::on(Arc::clone(&disk) as _);
    world.create("t");
    let member = world.with_group();
    let waits = world.join_as("");
    assert!(waits.is_empty());
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    // The write of the next generation, which is told nobody.
    let answers = world.join_as(member.as_str());
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert_eq!(joined(vec![answer]).unwrap_err(), Refusal::NotCoordinator);
    }
    assert_eq!(world.heartbeat_of(&member), Err(Refusal::NotCoordinator));
    let listed = |world: &mut World| match reply(world.ask_group(GroupRequest::List(ListGroups::default()))) {
        GroupReply::Listed(Ok(groups)) => groups.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(&mut world), 0);
    let mut world = world.restart();
    assert_eq!((listed(&mut world), world.heartbeat_of(&member)), (1, Ok(())));
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::on(Arc::clone(&disk) as _);
    world.create("t");
    world.find().unwrap();
    committed(world.commit(1)).unwrap();
    disk.limit_room(Some(0));
    assert_eq!(committed(world.commit(2)), Err(Refusal::NotCoordinator));
    assert_eq!(offset(world.read_offset()), Ok(Some(1)));
    disk.limit_room(None);
    committed(world.commit(3)).unwrap();
    assert_eq!(offset(world.read_offset()), Ok(Some(3)));
}

#[test]
fn groups_come_back_with_the_node_and_their_sessions_begin_anew() {
    let mut world = World::new();
    world.create("t");
    world.find().unwrap();
    committed(world.commit(7)).unwrap();
    let member = world.with_group();
    let mut world = world.restart();
    assert_eq!(world.heartbeat_of(&member), Ok(()));
    assert_eq!(offset(world.read_offset()), Ok(Some(7)));
    world.wait_ms(10_000);
    assert!(world.node.next_deadline() <= Some(world.now.monotonic));
    world.bring(Event::Tick);
    assert_eq!(world.heartbeat_of(&member), Err(Refusal::UnknownMember));
}

#[test]
fn old_offsets_are_forgotten_by_the_clock() {
    let settings = [("offsets.retention.minutes", "1"), ("offsets.retention.check.interval.ms", "1000")];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings));
    world.create("t");
    world.find().unwrap();
    committed(world.commit(7)).unwrap();
    world.wait_ms(1_000);
    world.bring(Event::Tick);
    assert_eq!(offset(world.read_offset()), Ok(Some(7)));
    world.now.wall = world.now.wall.saturating_add(60_000);
    world.wait_ms(1_000);
    world.bring(Event::Tick);
    assert_eq!(offset(world.read_offset()), Ok(None));
    assert_eq!(world.group_log_end(), 3, "the commit, and two records that take it back");
    assert_eq!(world.node.coordinated.next_deadline(), None);
    assert_eq!(offset(world.restart().read_offset()), Ok(None));
}

#[test]
fn a_topics_offsets_go_with_it_and_all_groups_with_the_topic_that_keeps_them() {
    let mut world = World::new();
    world.create("t");
    let member = world.with_group();
    world.find().unwrap();
    assert!(world.join_as("").is_empty());
    let effects = world.delete_topic(&TopicName::consumer_offsets());
    assert_eq!(joined(effects).unwrap_err(), Refusal::NotCoordinator);
    assert_eq!(world.heartbeat_of(&member), Err(Refusal::NotCoordinator));
    world.find().unwrap();
    assert_eq!(world.heartbeat_of(&member), Err(Refusal::UnknownMember));

    committed(world.commit(7)).unwrap();
    world.delete_topic(&"t".into());
    world.create("t");
    assert_eq!(offset(world.read_offset()), Ok(None));
}

#[test]
fn offsets_of_a_topic_that_went_while_its_coordinator_was_away_do_not_come_back_with_it() {
    for comes_again in [false, true] {
        let mut world = World::new();
        world.create("t");
        world.find().unwrap();
        committed(world.commit(7)).unwrap();
        // The coordinator's log fails: nothing more is written to it in this life of the node.
        let partition = world.node.coordinator_of(&"g".into()).unwrap();
        world.node.replica_mut(partition.0, partition.1).unwrap().log.poison("a test");
        world.delete_topic(&"t".into());
        if comes_again {
            world.create("t");
        }
        let mut world = world.restart();
        if !comes_again {
            world.create("t");
        }
        assert_eq!(offset(world.read_offset()), Ok(None));
        assert_eq!(world.group_log_end(), 2, "the commit, and the record that takes it back");
        committed(world.commit(1)).unwrap();
        assert_eq!(offset(world.restart().read_offset()), Ok(Some(1)));
    }
}

#[test]
fn groups_are_counted_by_what_they_are_and_do() {
    let mut world = World::new();
    world.create("t");
    assert_eq!(world.node.observe().groups, crate::group::ObservedGroups::default());
    world.with_group();
    let observed = world.node.observe();
    let stable: BTreeMap<_, _> = [(("classic", "Stable"), 1)].into();
    assert_eq!((observed.groups.by_state, observed.groups.members), (stable, 1));
    assert_eq!(observed.tally.rebalances, 1, "a generation is written down twice, and begins once");
    let mut world = World::new();
    world.create("t");
    world.find().unwrap();
    committed(world.commit(7)).unwrap();
    committed(world.commit(8)).unwrap();
    let observed = world.node.observe();
    assert_eq!((observed.groups.offsets, observed.groups.members, observed.tally.commits), (1, 0, 2));
    assert_eq!(observed.tally.rebalances, 0);
}

#[test]
fn commits_name_topics_that_are_there() {
    let mut world = World::new();
    world.find().unwrap();
    assert_eq!(committed(world.commit(1)), Err(Refusal::UnknownTopicOrPartition));
}

#[test]
fn a_coordinator_whose_log_cannot_be_read_refuses_and_the_node_comes_up() {
    let mut world = World::new();
    world.create("t");
    world.find().unwrap();
    committed(world.commit(1)).unwrap();
    let partition = world.node.coordinator_of(&"g".into()).unwrap();
    // A record of a known type that is cut short.
    let mut builder = BatchBuilder::new();
    builder.append(world.now.wall, Some(&[0, 1, 0]), Some(b"v"), &[]).unwrap();
    let broken = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
    world.node.append_batch(world.now, partition, &broken, None, &mut Effects::new()).unwrap();
    let mut world = world.restart();
    assert_eq!(offset(world.read_offset()), Err(Refusal::NotCoordinator));
    assert_eq!(world.find(), Ok(NodeId(0)));
}

#[test]
fn records_that_newer_brokers_write_are_passed_over() {
    let mut world = World::new();
    world.create("t");
    world.find().unwrap();
    committed(world.commit(1)).unwrap();
    let partition = world.node.coordinator_of(&"g".into()).unwrap();
    let mut builder = BatchBuilder::new();
    builder.append(world.now.wall, Some(&[0, 99, 1, 2]), Some(b"\0\0v"), &[]).unwrap();
    let unknown = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
    world.node.append_batch(world.now, partition, &unknown, None, &mut Effects::new()).unwrap();
    committed(world.commit(2)).unwrap();
    assert_eq!(offset(world.restart().read_offset()), Ok(Some(2)));
}

#[test]
fn no_group_of_the_consumer_protocol_has_no_name() {
    let mut world = World::new();
    world.find().unwrap();
    let effects = world.ask_group(GroupRequest::DescribeConsumers(vec!["".into(), "g".into()]));
    let GroupReply::ConsumersDescribed(found) = reply(effects) else { panic!("another answer") };
    let outcomes: Vec<_> = found.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Err(Refusal::InvalidGroup), Err(Refusal::GroupNotFound)]);
}
