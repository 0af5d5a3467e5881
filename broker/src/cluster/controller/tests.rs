mod histories;
mod replicas;

use super::*;
use crate::ids::TopicName;
use crate::node::TopicToEnlarge;

type Replicas = Vec<Vec<i32>>;
type Assignments = [(i32, &'static [i32])];

struct World {
    metadata: ClusterMetadata,
    config: BrokerConfig,
    nodes: Vec<NodeId>,
    entropy: Entropy,
}

impl World {
    fn of(nodes: i32) -> Self {
        Self {
            metadata: ClusterMetadata::default(),
            config: BrokerConfig::default(),
            nodes: (0..nodes).map(NodeId).collect(),
            entropy: Entropy::from_seed(1),
        }
    }

    fn controller(&mut self) -> Controller<'_> {
        let Self { metadata, config, nodes, entropy } = self;
        Controller { metadata, config, nodes, entropy }
    }

    fn create(&mut self, topics: &[NewTopic]) -> Vec<(String, Result<Replicas, Refusal>)> {
        let decided = self.controller().create_topics(topics).unwrap();
        let replicas = |(name, outcome): (TopicName, Result<Creation, Refusal>)| {
            (name.to_string(), outcome.map(|creation| creation.replicas))
        };
        decided.into_iter().map(replicas).collect()
    }

    /// Makes a topic as the node would.
    fn made(&mut self, name: &str) -> TopicId {
        let mut decided = self.controller().create_topics(&[topic(name, -1, -1)]).unwrap();
        let creation = decided.remove(0).1.unwrap();
        self.metadata.apply(&creation.record(&name.into()));
        creation.id
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        name: name.into(),
        partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn assigned(name: &str, assignments: &Assignments) -> NewTopic {
    let assignments = assignments.iter().map(|(index, nodes)| (*index, nodes.to_vec())).collect();
    NewTopic { assignments, ..topic(name, -1, -1) }
}

fn words(outcome: &Result<Replicas, Refusal>) -> String {
    outcome.as_ref().unwrap_err().to_string()
}

#[test]
fn partitions_are_spread_over_the_nodes() {
    let created = World::of(3).create(&[topic("a", 4, 2)]);
    assert_eq!(created[0].1, Ok(vec![vec![0, 1], vec![1, 2], vec![2, 0], vec![0, 1]]));
    assert_eq!(World::of(1).create(&[topic("a", -1, -1)])[0].1, Ok(vec![vec![0]]));
}

#[test]
fn counts_that_make_no_sense_are_refused_in_kafkas_words() {
    let mut world = World::of(1);
    let created = world.create(&[topic("a", 0, 1), topic("b", 1, 0), topic("c", -2, 1), topic("d", 1, 2)]);
    assert!(matches!(created[0].1, Err(Refusal::InvalidPartitions { .. })));
    assert!(matches!(created[1].1, Err(Refusal::InvalidReplicationFactor { .. })));
    assert!(matches!(created[2].1, Err(Refusal::InvalidPartitions { .. })));
    assert!(words(&created[3].1).contains("only 1 broker(s) are registered"));
    let many = world.controller().create_topics(&[topic("a", 6000, 1), topic("b", 4001, 1)]);
    assert!(matches!(many, Err(Refusal::PolicyViolation { .. })));
}

#[test]
fn a_name_is_checked_against_the_rules_the_others_and_the_request_itself() {
    let mut world = World::of(1);
    world.made("a.b");
    let asked = ["a b", "a.b", "a_b", "x", "x", "__cluster_metadata"].map(|name| topic(name, 1, 1));
    let created = world.create(&asked);
    let told: Vec<_> = created.iter().map(|(name, outcome)| (name.as_str(), words(outcome))).collect();
    assert!(told[0].1.starts_with("Topic name is invalid: 'a b' contains"));
    assert_eq!(told[1], ("a.b", "Topic 'a.b' already exists.".to_owned()));
    assert_eq!(told[2], ("a_b", "Topic 'a_b' collides with existing topic: a.b".to_owned()));
    assert_eq!(told[3], ("x", "Duplicate topic name.".to_owned()));
    assert!(told[4].1.starts_with("Creation of internal topic __cluster_metadata is prohibited"));
    assert_eq!(told.len(), 5);
}

#[test]
fn an_assignment_must_be_whole_and_name_nodes_that_there_are() {
    let mut world = World::of(2);
    assert_eq!(world.create(&[assigned("a", &[(1, &[1]), (0, &[0])])])[0].1, Ok(vec![vec![0], vec![1]]));
    let refused: [(&Assignments, &str); 6] = [
        (&[(0, &[])], "includes an empty replica list"),
        (&[(0, &[7])], "includes broker 7, but no such broker is registered"),
        (&[(0, &[1, 1])], "includes the broker 1 more than once"),
        (&[(0, &[0]), (0, &[1])], "Found multiple manual partition assignments for partition 0"),
        (&[(0, &[0]), (2, &[1])], "partitions should be a consecutive 0-based integer sequence"),
        (&[(0, &[0]), (1, &[0, 1])], "which have 1 replica(s)"),
    ];
    for (assignments, expected) in refused {
        let created = world.create(&[assigned("a", assignments)]);
        assert!(words(&created[0].1).contains(expected), "{:?}", created[0].1);
    }
    let counted = NewTopic { partitions: 1, ..assigned("a", &[(0, &[0])]) };
    assert!(words(&world.create(&[counted])[0].1).contains("numPartitions was not set to -1"));
}

#[test]
fn settings_are_checked_before_a_topic_is_made() {
    let with = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(name.to_owned(), value.map(str::to_owned))],
        ..topic("a", 1, 1)
    };
    let mut world = World::of(1);
    let asked = [with("no.such", Some("1")), with("segment.bytes", Some("1")), with("segment.bytes", None)];
    let told = asked.map(|topic| words(&world.create(&[topic])[0].1));
    assert_eq!(told[0], "Unknown topic config name: no.such");
    assert!(told[1].ends_with("Value must be at least 1048576"));
    assert_eq!(told[2], "Null value not supported for topic configs: segment.bytes");
}

#[test]
fn a_topic_is_deleted_by_name_or_by_id_and_by_one_of_them_once() {
    let mut world = World::of(1);
    let (a, b) = (world.made("a"), world.made("b"));
    let named = |name: &str| TopicToDelete { name: Some(name.into()), id: TopicId::ZERO };
    let by_id = |id| TopicToDelete { name: None, id };
    let mut decide = |topics: &[TopicToDelete]| {
        let decided = world.controller().delete_topics(topics);
        let told = |topic: DeletedTopic| {
            (topic.name.map(|name| name.to_string()), topic.id, topic.outcome.map_err(|r| r.to_string()))
        };
        decided.into_iter().map(told).collect::<Vec<_>>()
    };
    let mut both = decide(&[named("a"), by_id(b)]);
    both.sort();
    assert_eq!(both, [(Some("a".into()), a, Ok(())), (Some("b".into()), b, Ok(()))]);

    let ghost = TopicId::new([9; 16]);
    assert_eq!(decide(&[by_id(ghost)])[0].2, Err(Refusal::UnknownTopicId.to_string()));
    assert_eq!(decide(&[named("c")])[0].2, Err(Refusal::UnknownTopicOrPartition.to_string()));
    assert_eq!(decide(&[named("a"), named("a")]).len(), 1);
    assert_eq!(decide(&[named("a"), named("a")])[0].2, Err("Duplicate topic name.".into()));
    assert_eq!(decide(&[by_id(a), by_id(a)])[0].2, Err("Duplicate topic id.".into()));
    let twice = decide(&[named("a"), by_id(a)]);
    assert_eq!(twice.len(), 1);
    assert!(twice[0].2.as_ref().unwrap_err().contains("already supplied"));
    assert!(decide(&[by_id(TopicId::ZERO)])[0].2.as_ref().unwrap_err().contains("Neither topic name nor id"));
    let contradiction = TopicToDelete { name: Some("a".into()), id: a };
    assert!(decide(&[contradiction])[0].2.as_ref().unwrap_err().contains("both topic name and topic id"));
}

#[test]
fn new_partitions_go_on_where_the_last_one_is_and_are_checked_in_kafkas_words() {
    let mut world = World::of(3);
    let created = world.controller().create_topics(&[topic("a", 2, 2)]).unwrap().remove(0).1.unwrap();
    world.metadata.apply(&created.record(&"a".into()));
    let more = |count, assignments: Option<&[&[i32]]>| TopicToEnlarge {
        name: "a".into(),
        count,
        assignments: assignments.map(|all| all.iter().map(|nodes| nodes.to_vec()).collect()),
    };
    let mut decide = |asked: TopicToEnlarge| {
        let mut decided = world.controller().create_partitions(&[asked]);
        decided.remove(0).1.map(|enlargement| enlargement.replicas)
    };
    assert_eq!(decide(more(5, None)), Ok(vec![vec![2, 0], vec![0, 1], vec![1, 2]]));
    assert_eq!(decide(more(3, Some(&[&[1, 0]]))), Ok(vec![vec![1, 0]]));
    let refused = [
        (more(2, None), "Topic already has 2 partition(s)."),
        (more(1, None), "The topic a currently has 2 partition(s); 1 would not be an increase."),
        (more(-1, None), "The topic a currently has 2 partition(s); -1 would not be an increase."),
        (
            more(4, Some(&[&[0, 1]])),
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were",
        ),
        (more(3, Some(&[&[0]])), "which have 2 replica(s)"),
        (more(3, Some(&[&[0, 7]])), "no such broker is registered"),
        (more(i32::MAX, None), "Excessively large number of partitions"),
        (TopicToEnlarge { name: "b".into(), ..more(3, None) }, "does not host"),
    ];
    for (asked, words) in refused {
        let refusal = decide(asked).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn a_request_adds_no_more_partitions_than_one_may_make_and_names_a_topic_once() {
    let mut world = World::of(1);
    world.made("a");
    world.made("b");
    let more = |name: &str, count| TopicToEnlarge { name: name.into(), count, assignments: None };
    let decided = world.controller().create_partitions(&[more("a", 9_001), more("b", 1_002)]);
    let made: Vec<_> = decided.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(made, [true, false]);
    let decided = world.controller().create_partitions(&[more("a", 9_001), more("b", 1_001)]);
    assert!(decided.iter().all(|(_, outcome)| outcome.is_ok()));
    let twice = world.controller().create_partitions(&[more("a", 2), more("b", 2), more("a", 3)]);
    assert_eq!(twice.len(), 2);
    assert_eq!(twice[0], ("a".into(), Err(Refusal::invalid_request("Duplicate topic name."))));
    assert!(twice[1].1.is_ok());
}
