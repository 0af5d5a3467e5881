//! What our own client's administration asks, of a whole broker; with `HIGHWATER_BROKER` of that one, as in
//! [`members`](super::members).

use std::collections::BTreeSet;
use std::time::Duration;

use highwater::client::{
    ConfigChange, ConfigResource, Election, ErrorCode, GroupProtocol, NodeId, TopicPartition,
};
use highwater_tests::connection::until;

use super::members::World;

fn code(outcome: Option<&highwater::client::Result<()>>) -> Option<ErrorCode> {
    outcome.and_then(|outcome| outcome.as_ref().err()).and_then(highwater::client::Error::code)
}

#[tokio::test]
async fn a_group_is_described_in_the_protocol_it_is_of() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let world = World::new().await;
        let mut member = world.reader(protocol).await;
        while member.assignment().is_empty() {
            member.poll(Duration::from_millis(10)).await.unwrap();
        }
        member.poll(Duration::from_millis(10)).await.unwrap();
        let described = world.client.describe_groups([world.group.as_str(), "nobody"]).await.unwrap();
        let group = described[world.group.as_str()].as_ref().unwrap();
        assert_eq!((group.protocol, &*group.state, &*group.protocol_type), (protocol, "Stable", "consumer"));
        let [told] = &group.members[..] else { panic!("{group:?}") };
        assert_eq!(told.member_id, member.identity().member_id);
        assert_eq!(told.topics, BTreeSet::from([world.topic.as_str().into()]));
        let assigned: BTreeSet<_> = member.assignment().into_iter().collect();
        assert_eq!(told.assignment, assigned);
        match protocol {
            GroupProtocol::Classic => {
                assert_eq!((group.epochs, told.epoch, &told.target), (None, None, &None));
                assert_eq!(&*group.assignor, "range");
            }
            GroupProtocol::Consumer => {
                let epochs = group.epochs.unwrap();
                assert_eq!((epochs.group, told.epoch), (epochs.assignment, Some(epochs.group)));
                assert_eq!(told.target.as_ref(), Some(&assigned));
                assert_eq!(&*group.assignor, "uniform");
            }
        }
        let nobody = described["nobody"].as_ref().unwrap_err();
        assert_eq!(nobody.code(), Some(ErrorCode::GroupIdNotFound), "{nobody}");
        member.close().await.unwrap();
        world.stop().await;
    }
}

#[tokio::test]
async fn what_logs_take_is_told_of_all_or_of_some() {
    let world = World::new().await;
    world.produce(&world.topic, 100).await;
    let all = world.client.describe_log_dirs(None).await.unwrap();
    let size = |dirs: &std::collections::BTreeMap<NodeId, Vec<highwater::client::LogDir>>| -> u64 {
        let logs = dirs.values().flatten().flat_map(|dir| &dir.logs);
        logs.filter(|(at, _)| *at.topic == *world.topic).map(|(_, log)| log.size_bytes).sum()
    };
    assert!(size(&all) > 100, "{all:?}");
    assert!(all.values().flatten().all(|dir| dir.problem.is_none()));
    let first = TopicPartition::new(world.topic.as_str(), 0);
    let some = world.client.describe_log_dirs(Some(std::slice::from_ref(&first))).await.unwrap();
    let named: Vec<_> = some.values().flatten().flat_map(|dir| dir.logs.keys()).collect();
    assert_eq!(named, [&first]);
    world.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_the_right_one_is_not_elected() {
    let world = World::new().await;
    let (there, not) = (TopicPartition::new(world.topic.as_str(), 1), TopicPartition::new("nowhere", 0));
    let named = [there.clone(), not.clone()];
    let outcomes = world.client.elect_leaders(Election::Preferred, Some(&named)).await.unwrap();
    assert_eq!(code(outcomes.get(&there)), Some(ErrorCode::ElectionNotNeeded), "{outcomes:?}");
    assert_eq!(code(outcomes.get(&not)), Some(ErrorCode::UnknownTopicOrPartition), "{outcomes:?}");
    let all = world.client.elect_leaders(Election::Preferred, None).await.unwrap();
    assert!(all.values().all(Result::is_ok), "{all:?}");
    world.stop().await;
}

#[tokio::test]
async fn whose_settings_there_are_and_which_features_is_told() {
    let world = World::new().await;
    let topic = ConfigResource::Topic(world.topic.as_str().into());
    // Kafka's broker hears of it from its controller, after a while; also of what is set below.
    until("the topic to be listed", async || {
        let listed = world.client.list_config_resources().await.unwrap();
        listed.contains(&topic).then_some(())
    })
    .await;
    let set = [("retention.ms", ConfigChange::Set("60000".into()))];
    world.client.alter_configs(&topic, set, false).await.unwrap();
    until("the setting", async || {
        let told = world.client.describe_configs(&topic, Some(&["retention.ms"])).await.unwrap();
        (told[0].value.as_deref() == Some("60000")).then_some(())
    })
    .await;
    let grown = world.client.create_partitions([(world.topic.as_str(), 20)], false).await.unwrap();
    assert!(grown[world.topic.as_str()].is_ok(), "{grown:?}");

    let features = world.client.describe_features().await.unwrap();
    assert_eq!(features.finalized.get("group.version"), Some(&(1, 1)), "{features:?}");
    assert!(features.supported.contains_key("group.version") && features.finalized_epoch.is_some());
    world.stop().await;
}
