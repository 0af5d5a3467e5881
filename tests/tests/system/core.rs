//! The core without a runtime: a node driven by a seeded script of events at virtual times.
//!
//! The same seed gives the same trace to the byte. At each step: offsets are dense, a duplicate is answered and not
//! appended, and the high watermark never goes back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use highwater::node::Reply;
use highwater_protocol::frame::decode_response;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchResponse, InitProducerIdRequest, MetadataRequest,
};
use highwater_tests::batches::{ScriptedProducer, batch_of_size, records_in};
use highwater_tests::random::Random;
use highwater_tests::requests::{FETCH, PRODUCE, fetch, list_offsets, produce, produced};
use highwater_tests::world::{Answered, World};

const STEPS: usize = 400;
const TOPICS: [&str; 3] = ["a", "b", "c"];
const CONNECTIONS: usize = 4;

/// What a producer sent to a partition: each batch with its first sequence, its records and its offset.
type Sent = Vec<(i32, usize, i64)>;

/// What a topic must hold by now.
#[derive(Default)]
struct Model {
    end: i64,
    by_producer: BTreeMap<i64, Sent>,
    /// The highest watermark a reader was told.
    told: i64,
}

struct Script {
    world: World,
    random: Random,
    topics: BTreeMap<&'static str, Model>,
    producers: Vec<ScriptedProducer>,
    /// Answers as bytes, beside the effects that the world writes down.
    transcript: String,
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut world = World::in_memory(seed);
        let new_producer = |world: &mut World| {
            let given = world.ask(&InitProducerIdRequest::default(), 5);
            ScriptedProducer { id: given.producer_id, epoch: given.producer_epoch }
        };
        let producers = (0..3).map(|_| new_producer(&mut world)).collect();
        let (random, transcript) = (Random::new(seed), String::new());
        Self { world, random, topics: BTreeMap::new(), producers, transcript }
    }

    fn run(mut self) -> String {
        for _ in 0..STEPS {
            self.step();
        }
        let answered = self.world.pass(600_000_000);
        self.note(answered);
        format!("{}\n{}", self.world.trace(), self.transcript)
    }

    fn step(&mut self) {
        let topic = TOPICS[self.random.below(TOPICS.len())];
        let exists = self.topics.contains_key(topic);
        match (self.random.below(20), exists) {
            (0..=3, false) => self.create(topic),
            (0, true) => self.delete(topic),
            (1..=9, true) => self.produce(topic),
            (10..=13, _) => self.fetch(topic),
            (14, _) => {
                let time = [-1, -2, -3, 0][self.random.below(4)];
                let connection = self.connection();
                let answered = self.world.send(connection, &list_offsets(topic, 0, time), 11);
                self.note(answered);
            }
            (15, _) => {
                let connection = self.connection();
                let all = MetadataRequest { topics: None, ..Default::default() };
                let answered = self.world.send(connection, &all, 12);
                self.note(answered);
            }
            (16, _) => {
                let connection = self.connection();
                let answered = self.world.disconnect(connection);
                assert!(answered.is_empty());
            }
            _ => {
                let micros = self.random.next_u64() % 200_000;
                let answered = self.world.pass(micros);
                self.note(answered);
            }
        }
    }

    fn connection(&mut self) -> u64 {
        1 + self.random.below(CONNECTIONS) as u64
    }

    fn create(&mut self, topic: &'static str) {
        let creatable = CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let answered =
            self.world.send(0, &CreateTopicsRequest { topics: vec![creatable], ..Default::default() }, 7);
        self.note(answered);
        self.topics.insert(topic, Model::default());
    }

    fn delete(&mut self, topic: &'static str) {
        let request = DeleteTopicsRequest { topic_names: vec![topic.into()], ..Default::default() };
        self.topics.remove(topic);
        let answered = self.world.send(0, &request, 5);
        self.note(answered);
    }

    /// The next batch, a resend, or one that is out of order; its answer must be what the model says.
    fn produce(&mut self, topic: &'static str) {
        let producer = self.producers[self.random.below(self.producers.len())];
        let count = 1 + self.random.below(3);
        let model = self.topics.get_mut(topic).unwrap();
        let sent = model.by_producer.entry(producer.id).or_default();
        let next = sent.last().map_or(0, |(sequence, count, _)| sequence + i32::try_from(*count).unwrap());
        let (sequence, count, expected) = match self.random.below(6) {
            0 if !sent.is_empty() => {
                let back = 1 + self.random.below(sent.len().min(8));
                let (sequence, count, offset) = sent[sent.len() - back];
                (sequence, count, if back <= 5 { (0, offset) } else { (45, -1) })
            }
            1 if !sent.is_empty() => (next + 1, count, (45, -1)),
            _ => {
                let offset = model.end;
                sent.push((next, count, offset));
                model.end += i64::try_from(count).unwrap();
                (next, count, (0, offset))
            }
        };
        let values: Vec<_> = (0..count).map(|place| format!("{}-{sequence}-{place}", producer.id)).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let request = produce(topic, 0, -1, producer.batch_of(sequence, &values));
        let mut answered = self.world.send(0, &request, PRODUCE);
        let own = answered.iter().position(|(_, _, reply)| matches!(reply, Reply::Produce(_)));
        let (ticket, call, reply) = answered.remove(own.expect("an answer at once"));
        let bytes = self.world.encode(&call, reply).unwrap();
        writeln!(self.transcript, "{ticket:?} {bytes:?}").unwrap();
        let done = produced(decode_response(bytes, PRODUCE).unwrap().1);
        assert_eq!((done.error_code.code(), done.base_offset), expected, "{topic} {producer:?} {sequence}");
        self.note(answered);
    }

    fn fetch(&mut self, topic: &'static str) {
        let end = self.topics.get(topic).map_or(0, |model| model.end);
        let offset = [0, end, end / 2, end + 1][self.random.below(4)];
        let mut request = fetch(topic, 0, offset);
        request.max_wait_ms = [0, 50, 500][self.random.below(3)];
        request.session_epoch = [-1, 0][self.random.below(2)];
        let connection = self.connection();
        let answered = self.world.send(connection, &request, FETCH);
        self.note(answered);
    }

    /// Writes answers down as bytes, and holds those of fetches against the model.
    fn note(&mut self, answered: Vec<Answered>) {
        for (ticket, call, reply) in answered {
            let is_fetch = matches!(reply, Reply::Fetch(_));
            let bytes = self.world.encode(&call, reply);
            writeln!(self.transcript, "{ticket:?} {bytes:?}").unwrap();
            if is_fetch {
                self.judge(decode_response(bytes.unwrap(), FETCH).unwrap().1);
            }
        }
    }

    fn judge(&mut self, response: FetchResponse) {
        for topic in response.responses {
            let Some(model) = self.topics.get_mut(topic.topic.as_str()) else { continue };
            for part in topic.partitions.into_iter().filter(|part| part.error_code.code() == 0) {
                assert!(part.high_watermark >= model.told, "the high watermark went back");
                assert_eq!(part.high_watermark, model.end);
                model.told = part.high_watermark;
                let records = records_in(&part.records.unwrap_or_default());
                assert!(
                    records.windows(2).all(|pair| pair[0].offset.next() == pair[1].offset),
                    "offsets with gaps"
                );
                assert!(records.last().is_none_or(|record| record.offset.get() < model.end));
            }
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story_to_the_byte() {
    for seed in 0..20 {
        let (first, second) = (Script::new(seed).run(), Script::new(seed).run());
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}

#[test]
fn different_seeds_tell_different_stories() {
    let stories: Vec<_> = (0..10).map(|seed| Script::new(seed).run()).collect();
    for (place, story) in stories.iter().enumerate() {
        assert!(!stories[..place].contains(story));
    }
}

#[test]
fn ids_come_from_the_seed_alone() {
    let ids = |seed| {
        let mut script = Script::new(seed);
        script.create("a");
        script.run().lines().find(|line| line.contains("TopicOpened")).map(str::to_owned)
    };
    assert!(ids(1).is_some());
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

#[test]
fn three_hundred_stories_keep_the_rules() {
    for seed in 1000..1300 {
        Script::new(seed).run();
    }
}

#[test]
fn a_parked_fetch_is_answered_at_its_deadline_and_not_before() {
    let mut world = World::in_memory(1);
    let creatable =
        CreatableTopic { name: "a".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    world.ask(&CreateTopicsRequest { topics: vec![creatable], ..Default::default() }, 7);
    let mut waiting = fetch("a", 0, 0);
    waiting.max_wait_ms = 500;
    assert!(world.send(1, &waiting, FETCH).is_empty());
    assert!(world.pass(499_999).is_empty());
    assert_eq!(world.pass(1).len(), 1);
    // A reader that is gone is not answered.
    assert!(world.send(1, &waiting, FETCH).is_empty());
    world.disconnect(1);
    assert!(world.pass(10_000_000).is_empty());
}

#[test]
fn a_large_request_is_worked_on_in_turns_and_answered_once() {
    const PARTITIONS: i32 = 6;
    let mut world = World::in_memory(1);
    let creatable = CreatableTopic {
        name: "a".into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    world.ask(&CreateTopicsRequest { topics: vec![creatable], ..Default::default() }, 7);
    let mut request = produce("a", 0, -1, batch_of_size(1 << 20));
    for partition in 1..PARTITIONS {
        let more = produce("a", partition, -1, batch_of_size(1 << 20)).topic_data.remove(0).partition_data;
        request.topic_data[0].partition_data.extend(more);
    }
    let response = world.ask(&request, PRODUCE);
    let parts = &response.responses[0].partition_responses;
    assert!(parts.iter().map(|part| part.index).eq(0..PARTITIONS));
    assert!(parts.iter().all(|part| part.error_code.code() == 0 && part.base_offset == 0));
    // A turn writes a mebibyte at most, so that others get between.
    let turns = world.trace().lines().filter(|line| line.contains("Continue(")).count();
    assert!(turns + 1 >= usize::try_from(PARTITIONS).unwrap(), "{turns} turns more");
}
