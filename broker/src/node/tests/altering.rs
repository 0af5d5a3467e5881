//! Settings that change while the node runs.

use super::durability::{config, durable, work};
use super::*;

const TOPIC: ResourceKind = ResourceKind::TOPIC;
const BROKER: ResourceKind = ResourceKind::BROKER;

impl World {
    pub(super) fn alter(
        &mut self,
        kind: ResourceKind,
        resource: &str,
        settings: &[(&str, Option<&str>)],
    ) -> Effects {
        let change = |(name, value): &(&str, Option<&str>)| ConfigChange {
            name: (*name).to_owned(),
            operation: i8::from(value.is_none()),
            value: value.map(str::to_owned),
        };
        let changes = ConfigChanges::Some(settings.iter().map(change).collect());
        let resources = vec![ResourceToAlter { kind, name: resource.to_owned(), changes }];
        self.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: false }))
    }

    /// A setting of the topic `t`: its value and who set it.
    fn told(&mut self, setting: &str) -> (String, crate::config::Source) {
        let resource = ConfigResource { kind: TOPIC, name: "t".into(), keys: Some(vec![setting.to_owned()]) };
        match self.ask(Request::DescribeConfigs(vec![resource])).pop() {
            Some(Effect::Reply(_, Reply::DescribeConfigs(mut described))) => {
                let effective = described.remove(0).outcome.unwrap().remove(0);
                (effective.value, effective.source)
            }
            other => panic!("{other:?}"),
        }
    }

    fn segment_bytes(&self) -> [usize; 2] {
        let id = self.node.metadata.id_of(&"t".into()).unwrap();
        [0, 1].map(|index| self.node.replica(id, PartitionIndex(index)).unwrap().log.config().segment_bytes)
    }
}

fn altered(effects: &Effects) -> Option<Result<(), Refusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::AlterConfigs(done)) => Some(done[0].outcome.clone()),
        _ => None,
    })
}

/// The largest batch that a topic takes from now on.
fn opened(effects: &Effects) -> Option<usize> {
    effects.iter().find_map(|effect| match effect {
        Effect::TopicOpened { config, .. } => Some(config.max_message_bytes),
        _ => None,
    })
}

#[test]
fn a_topics_settings_change_with_the_answer_and_are_there_after_a_start() {
    use crate::config::Source;
    let mut world = World::new();
    world.create("t");
    let effects =
        world.alter(TOPIC, "t", &[("segment.bytes", Some("2000000")), ("max.message.bytes", Some("9"))]);
    assert_eq!((altered(&effects), opened(&effects)), (Some(Ok(())), Some(9)));
    assert_eq!(world.segment_bytes(), [2_000_000; 2]);
    let same = world.alter(TOPIC, "t", &[("segment.bytes", Some("2000000"))]);
    assert_eq!((altered(&same), opened(&same)), (Some(Ok(())), None), "nothing changed");
    let mut world = world.restart();
    assert_eq!(world.segment_bytes(), [2_000_000; 2]);
    assert_eq!(world.told("segment.bytes"), ("2000000".into(), Source::Topic));
    let effects = world.alter(TOPIC, "t", &[("segment.bytes", None), ("max.message.bytes", None)]);
    assert_eq!(opened(&effects), Some(1_048_588));
    assert_eq!(world.told("segment.bytes"), ("1073741824".into(), Source::Default));
    let refused = altered(&world.alter(TOPIC, "t", &[("segment.bytes", Some("1"))]));
    assert!(matches!(refused, Some(Err(Refusal::InvalidConfig { .. }))));
    assert_eq!(world.segment_bytes(), [1 << 30; 2]);
}

#[test]
fn what_is_only_checked_changes_nothing() {
    let mut world = World::new();
    world.create("t");
    let changes = ConfigChanges::All(vec![("segment.bytes".into(), Some("2000000".into()))]);
    let resources = vec![ResourceToAlter { kind: TOPIC, name: "t".into(), changes }];
    let effects = world.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: true }));
    assert_eq!(altered(&effects), Some(Ok(())));
    assert_eq!(world.segment_bytes(), [1 << 30; 2]);
}

#[test]
fn a_brokers_setting_is_in_force_on_every_topic_that_has_none_of_its_own() {
    use crate::config::Source;
    let mut world =
        World::configured(Arc::new(MemoryDisk::new()), config(&[("log.segment.bytes", "5000000")]));
    world.create("t");
    world.create("own");
    world.alter(TOPIC, "own", &[("segment.bytes", Some("3000000"))]);
    assert_eq!(world.segment_bytes(), [5_000_000; 2]);
    let effects = world.alter(BROKER, "", &[("log.segment.bytes", Some("4000000"))]);
    let topics = effects.iter().filter(|effect| matches!(effect, Effect::TopicOpened { .. })).count();
    assert_eq!((altered(&effects), topics), (Some(Ok(())), 1));
    assert_eq!(world.segment_bytes(), [4_000_000; 2]);
    assert_eq!(world.told("segment.bytes"), ("4000000".into(), Source::BrokersAltered));
    world.alter(BROKER, "0", &[("log.segment.bytes", Some("4500000"))]);
    let mut world = world.restart();
    assert_eq!(world.segment_bytes(), [4_500_000; 2]);
    assert_eq!(world.told("segment.bytes"), ("4500000".into(), Source::BrokerAltered));
    world.alter(BROKER, "0", &[("log.segment.bytes", None)]);
    world.alter(BROKER, "", &[("log.segment.bytes", None)]);
    assert_eq!(world.told("segment.bytes"), ("5000000".into(), Source::Broker));
    let own = world.node.metadata.id_of(&"own".into()).unwrap();
    assert_eq!(world.node.replica(own, PartitionIndex(0)).unwrap().log.config().segment_bytes, 3_000_000);
}

#[test]
fn the_shell_hears_of_a_limit_that_is_its_own() {
    let mut world = World::new();
    let effects = world.alter(BROKER, "0", &[("max.connections", Some("7"))]);
    let limit = effects.iter().find_map(|effect| match effect {
        Effect::Configured(config) => Some(config.max_connections()),
        _ => None,
    });
    assert_eq!(limit, Some(7));
}

#[test]
fn records_that_lack_a_sync_get_one_within_the_time_that_is_set_now() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, BrokerConfig::default());
    assert_eq!(produced(&world.produce(vec![(0, batch(b"a"))])), [Ok(0)]);
    for ms in ["3600000", "50"] {
        world.alter(TOPIC, "t", &[("flush.ms", Some(ms))]);
    }
    assert_eq!(world.node.next_deadline(), Some(world.now.monotonic.plus_ms(50)));
    world.wait_ms(50);
    let mut effects = world.bring(Event::Tick);
    let turn = work(&mut effects);
    assert!(matches!(turn[..], [DiskWork::Sync { .. }]), "{turn:?}");
    world.work_off(turn);
    world.alter(TOPIC, "t", &[("flush.messages", Some("1"))]);
    let mut effects = world.produce(vec![(0, batch(b"b"))]);
    assert_eq!(work(&mut effects).len(), 1);
    assert!(effects.is_empty(), "it is acknowledged when it is synced");
}

#[test]
fn what_is_altered_is_in_force_when_it_is_durable_and_never_if_it_is_refused() {
    for fails in [false, true] {
        let disk = Arc::new(FaultDisk::in_memory());
        let mut world = World::with_topic(&disk, durable());
        let mut effects = world.alter(TOPIC, "t", &[("segment.bytes", Some("2000000"))]);
        let turn = work(&mut effects);
        assert_eq!((altered(&effects), opened(&effects)), (None, None));
        assert_eq!(
            (world.segment_bytes(), world.told("segment.bytes").0.as_str()),
            ([1 << 30; 2], "1073741824")
        );
        if fails {
            disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        }
        let answers = world.work_off(turn);
        assert_eq!(altered(&answers).unwrap().is_err(), fails, "{answers:?}");
        assert_eq!(world.segment_bytes(), if fails { [1 << 30; 2] } else { [2_000_000; 2] });
    }
}

#[test]
fn of_alterations_at_once_the_later_builds_on_the_earlier() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let append = |world: &mut World, word: &str| {
        let (name, value) = ("leader.replication.throttled.replicas".to_owned(), Some(word.to_owned()));
        let changes = ConfigChanges::Some(vec![ConfigChange { name, operation: 2, value }]);
        let resources = vec![ResourceToAlter { kind: TOPIC, name: "t".into(), changes }];
        world.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: false }))
    };
    let mut effects = append(&mut world, "0:0");
    append(&mut world, "1:0");
    let turn = work(&mut effects);
    world.work_off(turn);
    assert_eq!(world.told("leader.replication.throttled.replicas").0, "0:0,1:0");
}

#[test]
fn a_timer_of_a_sync_is_set_once_however_often_something_is_altered() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, config(&[("log.flush.interval.ms", "3600000")]));
    world.produce(vec![(0, batch(b"a"))]);
    for n in 0..50 {
        world.alter(TOPIC, "t", &[("retention.ms", Some(&n.to_string()))]);
    }
    assert_eq!(world.node.syncs.timers(), 1);
    world.alter(TOPIC, "t", &[("flush.ms", Some("9223372036854775807"))]);
    assert_eq!(world.node.syncs.timers(), 0);
}

#[test]
fn how_long_a_silent_producer_is_remembered_changes_while_it_is() {
    let mut world = World::new();
    let id = world.create("t");
    world.produce(vec![(0, of_producer(0))]);
    let known = |world: &World| world.node.replica(id, PartitionIndex(0)).unwrap().log.producers().len();
    world.alter(BROKER, "", &[("producer.id.expiration.ms", Some("1000"))]);
    world.now.wall = world.now.wall.saturating_add(1_001);
    world.wait_ms(600_000);
    world.bring(Event::Tick);
    assert_eq!(known(&world), 0);
}

#[test]
fn what_groups_keep_to_changes_while_they_are_there() {
    let mut world = World::new();
    world.alter(BROKER, "0", &[("group.consumer.assignment.interval.ms", Some("12345"))]);
    assert_eq!(world.node.coordinated.limits().assignment_interval_ms, 12_345);
}

#[test]
fn more_resources_than_one_request_may_be_about_are_refused() {
    let mut world = World::new();
    let one = |n: usize| ResourceToAlter {
        kind: TOPIC,
        name: format!("t{n}"),
        changes: ConfigChanges::Some(Vec::new()),
    };
    let resources = (0..10_001).map(one).collect();
    let effects = world.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: false }));
    assert!(matches!(altered(&effects), Some(Err(Refusal::PolicyViolation { .. }))));
}

#[test]
fn changes_that_take_too_much_of_the_clusters_log_are_refused_as_a_whole() {
    let mut world = World::new();
    let resources: Vec<_> = (0..1_000)
        .map(|n| {
            world.create_effects(&format!("t{n}"));
            let value = Some("0:0,".repeat(8_000) + "0:0");
            let changes = ["leader", "follower"].map(|who| ConfigChange {
                name: format!("{who}.replication.throttled.replicas"),
                operation: 0,
                value: value.clone(),
            });
            ResourceToAlter {
                kind: TOPIC,
                name: format!("t{n}"),
                changes: ConfigChanges::Some(changes.into()),
            }
        })
        .collect();
    let end = world.controller.log_end();
    let effects = world.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: false }));
    assert!(
        matches!(altered(&effects), Some(Err(Refusal::PolicyViolation { .. }))),
        "{:?}",
        altered(&effects)
    );
    assert_eq!(world.controller.log_end(), end);
}

#[test]
fn resources_with_settings_are_listed_by_kind() {
    let mut world = World::new();
    world.create("t");
    let list = |world: &mut World, kinds: &[ResourceKind]| match world
        .ask(Request::ListConfigResources(kinds.into()))
        .pop()
    {
        Some(Effect::Reply(_, Reply::ListConfigResources(listed))) => listed,
        other => panic!("{other:?}"),
    };
    assert_eq!(list(&mut world, &[TOPIC]), [(TOPIC, "t".to_owned())]);
    assert_eq!(list(&mut world, &[2, 4, 8, 16, 32].map(ResourceKind)).len(), 2);
    assert_eq!(list(&mut world, &[ResourceKind::CLIENT_METRICS]), []);
}

#[test]
fn a_resource_that_is_named_again_and_again_is_told_of_so_often_and_no_more() {
    let mut world = World::new();
    let all: Vec<_> = crate::BrokerConfig::known().map(|(name, ..)| name.to_owned()).collect();
    // Never in the same words.
    let one = |number: i32| {
        let keys = all.iter().cloned().chain([number.to_string()]).collect();
        ConfigResource { kind: BROKER, name: "0".into(), keys: Some(keys) }
    };
    let asked = (0..10_000).map(one).collect();
    match world.ask(Request::DescribeConfigs(asked)).pop() {
        Some(Effect::Reply(_, Reply::DescribeConfigs(described))) => {
            let told: usize = described.iter().filter_map(|one| Some(one.outcome.as_ref().ok()?.len())).sum();
            assert!((500_000..501_000).contains(&told), "{told}");
            assert!(matches!(described[9_999].outcome, Err(Refusal::PolicyViolation { .. })));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_broker_is_is_told_with_its_settings_and_cannot_be_set() {
    let mut world = World::new();
    let asked = ["broker.id", "log.dirs", "node.id"].map(str::to_owned).to_vec();
    let resource = ConfigResource { kind: BROKER, name: "0".into(), keys: Some(asked) };
    let told = match world.ask(Request::DescribeConfigs(vec![resource])).pop() {
        Some(Effect::Reply(_, Reply::DescribeConfigs(mut described))) => described.remove(0).outcome.unwrap(),
        other => panic!("{other:?}"),
    };
    let folder = world.node.folder.display().to_string();
    let told: Vec<_> = told.iter().map(|one| (one.name, one.value.as_str(), one.is_read_only)).collect();
    assert_eq!(told, [("broker.id", "0", true), ("log.dirs", &folder, true), ("node.id", "0", true)]);

    let effects = world.alter(BROKER, "0", &[("log.dirs", Some("elsewhere"))]);
    assert!(matches!(altered(&effects), Some(Err(Refusal::InvalidRequest { .. }))), "{effects:?}");
}
