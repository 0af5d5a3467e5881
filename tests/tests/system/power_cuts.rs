//! The power goes while produces, syncs and fetches are on their way, in an order drawn from a seed.
//!
//! With `highwater.durability=leader` all that was acknowledged, and all that anyone was shown, is there afterwards;
//! without it what is left is a beginning of what was sent. Either way what was lost can be sent again, and then
//! everything is there once, in its producer's order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use highwater::BrokerConfig;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::decode_response;
use highwater_protocol::messages::CreateTopicsRequest;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_storage::disk::{Disk, FaultDisk, FaultKind, Survivors};
use highwater_tests::batches::{ScriptedProducer, values_in};
use highwater_tests::random::Random;
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::world::{Answered, World};

const PARTITIONS: usize = 2;
const PRODUCERS: usize = 3;
const STEPS: usize = 80;
/// What a producer may have in flight to a partition.
const MOST_FLYING: usize = 5;
const STORIES: u64 = 150;

#[derive(Debug, Clone)]
struct Sent {
    producer: usize,
    sequence: i32,
    /// Its offset, once it was acknowledged.
    told: Option<i64>,
    /// Refused, or not answered any more: nobody knows.
    is_answered: bool,
}

struct Story {
    disk: FaultDisk,
    world: World,
    random: Random,
    /// By partition, in the order of sending, which is that of appending.
    sent: [Vec<Sent>; PARTITIONS],
    /// Where the answer to a request belongs, by its connection.
    asked: BTreeMap<u64, (usize, usize)>,
    /// How much of each partition a reader has seen.
    seen: [usize; PARTITIONS],
    refused: usize,
}

fn producer(number: usize) -> ScriptedProducer {
    ScriptedProducer { id: 1000 + i64::try_from(number).unwrap(), epoch: 0 }
}

fn value(sent: &Sent) -> String {
    format!("{} {}", sent.producer, sent.sequence)
}

impl Story {
    fn begin(seed: u64, durability: &str) -> Self {
        let disk = FaultDisk::in_memory();
        // The name of the data folder itself is not the node's to see to.
        disk.create_dir(Path::new("data")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let mut world = open(&disk, durability);
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: i32::try_from(PARTITIONS).unwrap(),
            replication_factor: 1,
            ..Default::default()
        };
        let made = world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
        assert_eq!(made.topics[0].error_code, ErrorCode::None);
        world.slow_the_disk();
        let random = Random::new(seed);
        let sent = Default::default();
        Self { disk, world, random, sent, asked: BTreeMap::new(), seen: [0; PARTITIONS], refused: 0 }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.below(10) {
                0..=4 => self.send(),
                5 | 6 => {
                    if let Some((_, answered)) = self.world.disk_does_one() {
                        self.note(answered);
                    }
                }
                7 => self.look(),
                _ => {
                    let micros = self.random.next_u64() % 3_000;
                    let answered = self.world.pass(micros);
                    self.note(answered);
                }
            }
        }
    }

    fn send(&mut self) {
        let (place, number) = (self.random.below(PARTITIONS), self.random.below(PRODUCERS));
        let own = || self.sent[place].iter().filter(|sent| sent.producer == number);
        if own().filter(|sent| !sent.is_answered).count() >= MOST_FLYING {
            return;
        }
        let sequence = i32::try_from(own().count()).unwrap();
        let sent = Sent { producer: number, sequence, told: None, is_answered: false };
        let batch = producer(number).batch(sequence, &value(&sent));
        let connection = 10 + self.sent.iter().map(Vec::len).sum::<usize>() as u64;
        self.asked.insert(connection, (place, self.sent[place].len()));
        self.sent[place].push(sent);
        let request = produce("t", i32::try_from(place).unwrap(), -1, batch);
        let answered = self.world.send(connection, &request, PRODUCE);
        self.note(answered);
    }

    fn note(&mut self, answered: Vec<Answered>) {
        for (ticket, call, reply) in answered {
            let (place, at) = self.asked[&ticket.connection.0];
            let bytes = self.world.encode(&call, reply).unwrap();
            let done = produced(decode_response(bytes, PRODUCE).unwrap().1);
            let sent = &mut self.sent[place][at];
            sent.is_answered = true;
            if done.error_code == ErrorCode::None {
                sent.told = Some(done.base_offset);
            } else {
                self.refused += 1;
            }
        }
    }

    /// Reads as a client does.
    fn look(&mut self) {
        for place in 0..PARTITIONS {
            let Some(stored) = try_stored(&mut self.world, place) else { continue };
            assert!(stored.len() >= self.seen[place], "what was seen is gone while the node lives");
            let sent = self.sent[place].iter().map(value);
            assert!(stored.iter().cloned().eq(sent.take(stored.len())), "another order than that of sending");
            self.seen[place] = stored.len();
        }
    }

    /// The process ends after a disk call failed: what was refused may be there or not, as its producer finds out.
    fn cut_after_failure(self, seed: u64) {
        let survivors = [Survivors::None, Survivors::Seed(seed)];
        let image = self.disk.crash(&survivors[usize::try_from(seed % 2).unwrap()]).unwrap();
        let mut world = open(&FaultDisk::adopt(&(Arc::new(image) as Arc<dyn Disk>)).unwrap(), "leader");
        for place in 0..PARTITIONS {
            let stored = stored(&mut world, place);
            let mut due = stored.iter();
            for sent in self.sent[place].iter().filter(|sent| stored.contains(&value(sent))) {
                assert_eq!(due.next(), Some(&value(sent)), "seed {seed}: another order than that of sending");
            }
            assert_eq!(due.next(), None, "seed {seed}: stored twice, or sent by nobody");
            assert!(stored.len() >= self.seen[place], "seed {seed}: what was seen is gone");
            for sent in &self.sent[place] {
                let Some(told) = sent.told else { continue };
                let found = stored.get(usize::try_from(told).unwrap());
                assert_eq!(found, Some(&value(sent)), "seed {seed}: acknowledged and gone");
            }
        }
    }

    /// The power goes. What was promised is there; the rest is sent again.
    fn cut(mut self, survivors: &Survivors, durability: &str) -> usize {
        let image: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        let is_promised = durability == "leader" || *survivors == Survivors::All;
        let disk = FaultDisk::adopt(&image).unwrap();
        let mut world = open(&disk, durability);
        let mut lost = 0;
        for place in 0..PARTITIONS {
            let stored = stored(&mut world, place);
            let sent = std::mem::take(&mut self.sent[place]);
            let all: Vec<_> = sent.iter().map(value).collect();
            assert!(all.starts_with(&stored), "no beginning of what was sent: {stored:?} of {all:?}");
            lost += all.len() - stored.len();
            if is_promised {
                assert!(stored.len() >= self.seen[place], "what was seen is gone");
                let told = sent.iter().filter_map(|sent| sent.told).max().map_or(0, |last| last + 1);
                assert!(i64::try_from(stored.len()).unwrap() >= told, "acknowledged and gone");
            }
            for (offset, again) in sent.iter().enumerate() {
                assert!(again.told.is_none_or(|told| told == i64::try_from(offset).unwrap()));
                let kept = sent[..stored.len()].iter().skip(offset + 1);
                if kept.filter(|later| later.producer == again.producer).count() >= MOST_FLYING {
                    continue;
                }
                let batch = producer(again.producer).batch(again.sequence, &value(again));
                let request = produce("t", i32::try_from(place).unwrap(), -1, batch);
                let done = produced(world.ask(&request, PRODUCE));
                let expected = (ErrorCode::None, i64::try_from(offset).unwrap());
                assert_eq!((done.error_code, done.base_offset), expected, "sent again: {again:?}");
            }
            assert_eq!(self::stored(&mut world, place), all);
        }
        lost
    }
}

fn open(disk: &FaultDisk, durability: &str) -> World {
    let mut config = BrokerConfig::default();
    config.set("highwater.durability", durability).unwrap();
    config.set("log.index.size.max.bytes", "40").unwrap();
    config.set("log.index.interval.bytes", "0").unwrap();
    World::configured(Arc::new(disk.clone()), 5, config).unwrap()
}

fn stored(world: &mut World, place: usize) -> Vec<String> {
    try_stored(world, place).expect("a disk that is well")
}

/// Everything up to the high watermark, as a fetch ends with its segment; `None` if the disk fails a read.
fn try_stored(world: &mut World, place: usize) -> Option<Vec<String>> {
    let mut values = Vec::new();
    loop {
        let next = i64::try_from(values.len()).unwrap();
        let part = fetched(world.ask(&fetch("t", i32::try_from(place).unwrap(), next), FETCH));
        if part.error_code == ErrorCode::KafkaStorageError {
            return None;
        }
        assert_eq!(part.error_code, ErrorCode::None);
        if next == part.high_watermark {
            return Some(values);
        }
        values.extend(values_in(&part.records.unwrap_or_default()));
        assert!(values.len() > usize::try_from(next).unwrap(), "nothing to read below the high watermark");
    }
}

#[test]
fn with_durability_leader_nothing_acknowledged_or_seen_is_lost_with_the_power() {
    let mut lost = 0;
    for seed in 0..STORIES {
        let mut story = Story::begin(seed, "leader");
        story.run();
        assert_eq!(story.refused, 0, "seed {seed}");
        let survivors = [Survivors::None, Survivors::Seed(seed), Survivors::All];
        lost += story.cut(&survivors[usize::try_from(seed % 3).unwrap()], "leader");
    }
    assert!(lost > 0, "nothing was ever unsynced");
}

#[test]
fn a_failed_sync_is_refused_and_shown_to_nobody_and_the_next_start_has_what_was_synced() {
    let mut refused = 0;
    for seed in 0..STORIES {
        let mut story = Story::begin(seed, "leader");
        let call = story.disk.calls() + story.random.next_u64() % 40;
        story.disk.fail_at(call, FaultKind::Error(std::io::ErrorKind::Other));
        story.run();
        refused += story.refused;
        story.disk.heal();
        story.cut_after_failure(seed);
    }
    assert!(refused > 0, "no failure met a produce");
}

#[test]
fn without_durability_a_process_that_dies_loses_nothing() {
    for seed in 0..STORIES {
        let mut story = Story::begin(seed, "none");
        story.run();
        assert_eq!(story.cut(&Survivors::All, "none"), 0, "seed {seed}");
    }
}

/// Sixty-four producers of one-record requests on four partitions, each sending again as soon as it is answered.
#[test]
fn one_sync_serves_many_who_produce_at_once() {
    const TOGETHER: u64 = 64;
    const EACH: i32 = 20;
    let mut story = Story::begin(0, "leader");
    let ask = |world: &mut World, connection: u64, sequence: i32| {
        let id = 2000 + i64::try_from(connection).unwrap();
        let batch = ScriptedProducer { id, epoch: 0 }.batch(sequence, "v");
        let place = i32::try_from(connection % PARTITIONS as u64).unwrap();
        world.send(connection, &produce("t", place, -1, batch), PRODUCE)
    };
    let mut told = BTreeMap::new();
    let mut answered: Vec<_> =
        (0..TOGETHER).flat_map(|connection| ask(&mut story.world, connection, 0)).collect();
    let mut syncs = 0;
    while told.values().sum::<i32>() < EACH * i32::try_from(TOGETHER).unwrap() {
        for (ticket, _, _) in std::mem::take(&mut answered) {
            let count = told.entry(ticket.connection.0).or_insert(0);
            *count += 1;
            if *count < EACH {
                answered.extend(ask(&mut story.world, ticket.connection.0, *count));
            }
        }
        match story.world.disk_does_one() {
            Some((is_sync, more)) => {
                syncs += i32::from(is_sync);
                answered.extend(more);
            }
            None => answered.extend(story.world.pass(100)),
        }
    }
    let acknowledged = told.values().sum::<i32>();
    assert!(acknowledged >= 10 * syncs, "{acknowledged} acknowledgements of {syncs} syncs");
}
