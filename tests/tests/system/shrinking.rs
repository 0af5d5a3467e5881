//! Logs that lose their beginning, on disks that are full or lose their power, in an order drawn from a seed.
//!
//! Producers, a reader and somebody who deletes records are at three partitions of small segments: one is kept by size,
//! one by time, of one only goes what is asked for. A story has several lives, each ended by a crash; all is told in one
//! and the same folder. After each life:
//!
//! - what was acknowledged or seen and may not have gone is there, at its offset, to the byte;
//! - no log begins before what a deletion was answered with, none begins later than it did, and what went from it went
//!   by a deletion, or because it was more, or older, than is kept;
//! - each producer's last five batches are answered with their offsets, whether their records are left or not, and the
//!   one before them is not known; where nothing was promised and the power went, this is so of logs that have their
//!   beginning.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater::BrokerConfig;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::decode_response;
use highwater_protocol::messages::CreateTopicsRequest;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_storage::TimestampMs;
use highwater_storage::batch::BatchHeader;
use highwater_storage::disk::{Disk, FaultDisk, Survivors};
use highwater_tests::batches::{ScriptedProducer, whole_batches};
use highwater_tests::random::Random;
use highwater_tests::requests::{
    DELETE_RECORDS, FETCH, LIST_OFFSETS, PRODUCE, delete_records, deleted, fetch, fetched, list_offsets,
    listed, produce, produced,
};
use highwater_tests::world::{Answered, BEGINNING_MS, World};

/// What each of the topics keeps.
const TOPICS: [(&str, &[(&str, &str)]); 3] =
    [("by-size", &[("retention.bytes", "9000")]), ("by-time", &[("retention.ms", "30")]), ("as-asked", &[])];
const RETENTION_BYTES: usize = 9_000;
const RETENTION_MS: i64 = 30;
const PRODUCERS: usize = 3;
const STEPS: usize = 120;
const LIVES: usize = 3;
const STORIES: u64 = 60;
/// What a producer may have in flight to a partition, and what is remembered of it.
const WINDOW: usize = 5;
const EARLIEST: i64 = -2;
/// Where a batch as sent has no more fields that the log fills in: base offset, length, leader epoch.
const SENT_FROM: usize = 16;

/// `highwater.disk.max.bytes`, where it is set.
const CAP_BYTES: u64 = 40_000;
/// What is not counted between two looks at a log's files: entries of its indexes, room kept ahead.
const UNCOUNTED_BYTES: u64 = 3 * 5_000;

/// What the stories of one test have in common.
#[derive(Debug, Clone, Copy)]
struct Setting {
    durability: &'static str,
    is_capped: bool,
    /// Whether the disk is full now and then.
    gets_full: bool,
}

#[derive(Debug)]
struct Sent {
    producer: usize,
    sequence: i32,
    at_ms: i64,
    bytes: Bytes,
    is_told: bool,
    is_answered: bool,
}

/// One partition as it should be.
#[derive(Debug, Default)]
struct Place {
    /// All that was appended, by offset, whether it is there still or not.
    sent: Vec<Sent>,
    /// Up to where a reader has read.
    seen: usize,
    /// Where it began when it was last looked at.
    begins: usize,
    /// The largest offset below which records were to be deleted.
    asked: usize,
    /// The largest start that such a request was answered with.
    told: usize,
}

impl Place {
    fn of(&self, producer: usize) -> impl DoubleEndedIterator<Item = (usize, &Sent)> {
        self.sent.iter().enumerate().filter(move |(_, sent)| sent.producer == producer)
    }
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Produce { place: usize, offset: usize },
    Delete { place: usize },
}

struct Story {
    setting: Setting,
    disk: FaultDisk,
    is_full: bool,
    power_was_lost: bool,
    world: World,
    random: Random,
    places: [Place; TOPICS.len()],
    /// What each connection waits for; each asks once.
    asked: BTreeMap<u64, Asked>,
    connections: u64,
    refused: usize,
}

fn scripted(producer: usize) -> ScriptedProducer {
    ScriptedProducer { id: 1000 + i64::try_from(producer).unwrap(), epoch: 0 }
}

fn offset_of(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

fn number_of(offset: i64) -> usize {
    usize::try_from(offset).unwrap()
}

fn open(disk: &FaultDisk, setting: Setting, elapsed_micros: u64) -> World {
    let mut config = BrokerConfig::default();
    let cap = CAP_BYTES.to_string();
    let settings = [
        ("highwater.durability", setting.durability),
        ("highwater.disk.max.bytes", if setting.is_capped { &cap } else { "-1" }),
        ("log.index.size.max.bytes", "60"),
        ("log.index.interval.bytes", "0"),
        ("log.initial.task.delay.ms", "1"),
        ("log.retention.check.interval.ms", "2"),
        ("log.segment.delete.delay.ms", "5"),
        ("log.flush.offset.checkpoint.interval.ms", "15"),
        ("log.flush.start.offset.checkpoint.interval.ms", "15"),
    ];
    settings.iter().for_each(|(name, value)| config.set(name, value).unwrap());
    World::later(Arc::new(disk.clone()), 5, config, elapsed_micros).unwrap()
}

impl Story {
    fn begin(seed: u64, setting: Setting) -> Self {
        let disk = FaultDisk::in_memory();
        // The name of the data folder itself is not the node's to see to.
        disk.create_dir(Path::new("data")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let mut world = open(&disk, setting, 0);
        let topics = TOPICS.iter().map(|(name, configs)| {
            let configs = configs.iter().filter(|_| !setting.is_capped).map(|(name, value)| {
                CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) }
            });
            CreatableTopic {
                name: (*name).into(),
                num_partitions: 1,
                replication_factor: 1,
                configs: configs.collect(),
                ..Default::default()
            }
        });
        let made = world.ask(&CreateTopicsRequest { topics: topics.collect(), ..Default::default() }, 7);
        assert!(made.topics.iter().all(|topic| topic.error_code == ErrorCode::None), "{made:?}");
        // From here on the topics are nobody's doubt.
        world.close().unwrap();
        let mut world = open(&disk, setting, 0);
        world.slow_the_disk();
        Self {
            setting,
            disk,
            is_full: false,
            power_was_lost: false,
            world,
            random: Random::new(seed),
            places: Default::default(),
            asked: BTreeMap::new(),
            connections: 0,
            refused: 0,
        }
    }

    fn now_ms(&self) -> i64 {
        BEGINNING_MS + i64::try_from(self.world.elapsed_micros() / 1000).unwrap()
    }

    fn live(&mut self) {
        for _ in 0..STEPS {
            match self.random.below(14) {
                0..=5 => self.send(),
                6..=8 => {
                    if let Some((_, answered)) = self.world.disk_does_one() {
                        self.note(answered);
                    }
                }
                9 => self.look(),
                10 => self.delete(),
                11 if self.setting.gets_full => {
                    let room = self.random.next_u64() % 4_000;
                    self.is_full = self.random.below(2) == 0;
                    self.disk.limit_room(self.is_full.then_some(room));
                }
                _ => {
                    let micros = self.random.next_u64() % 5_000;
                    let answered = self.world.pass(micros);
                    self.note(answered);
                }
            }
            if self.setting.is_capped {
                let bytes = self.bytes_on_disk();
                assert!(bytes <= CAP_BYTES + UNCOUNTED_BYTES, "{bytes} bytes on disk");
            }
        }
        self.look();
    }

    /// All files of the partitions but those that are on their way out.
    fn bytes_on_disk(&self) -> u64 {
        let mut bytes = 0;
        for (topic, _) in TOPICS {
            let folder = Path::new("data/node-0").join(format!("{topic}-0"));
            for entry in self.disk.list(&folder).unwrap_or_default() {
                if !entry.name.ends_with(".deleted") {
                    bytes += self.disk.open(&folder.join(entry.name)).unwrap().len();
                }
            }
        }
        bytes
    }

    fn connect(&mut self, asked: Asked) -> u64 {
        self.connections += 1;
        self.asked.insert(self.connections, asked);
        self.connections
    }

    fn send(&mut self) {
        let (at, producer) = (self.random.below(TOPICS.len()), self.random.below(PRODUCERS));
        let (size, at_ms) = (self.random.below(900), self.now_ms());
        let place = &mut self.places[at];
        if place.of(producer).filter(|(_, sent)| !sent.is_answered).count() >= WINDOW {
            return;
        }
        let sequence = i32::try_from(place.of(producer).count()).unwrap();
        let value = format!("{producer} {sequence} {}", "x".repeat(size));
        let bytes = scripted(producer).batch_at(sequence, TimestampMs::new(at_ms), &value);
        let request = produce(TOPICS[at].0, 0, -1, bytes.clone());
        let offset = place.sent.len();
        place.sent.push(Sent { producer, sequence, at_ms, bytes, is_told: false, is_answered: false });
        let connection = self.connect(Asked::Produce { place: at, offset });
        let answered = self.world.send(connection, &request, PRODUCE);
        self.note(answered);
    }

    fn delete(&mut self) {
        let at = self.random.below(TOPICS.len());
        let place = &mut self.places[at];
        // Up to where a reader has come, or all there is.
        let below = self.random.below(place.seen + 2);
        let (below, most) =
            if below > place.seen { (-1, place.sent.len()) } else { (offset_of(below), below) };
        place.asked = place.asked.max(most);
        let connection = self.connect(Asked::Delete { place: at });
        let answered = self.world.send(connection, &delete_records(TOPICS[at].0, 0, below), DELETE_RECORDS);
        self.note(answered);
    }

    fn note(&mut self, answered: Vec<Answered>) {
        for (ticket, call, reply) in answered {
            let asked = self.asked.remove(&ticket.connection.0).expect("one answer to each question");
            let bytes = self.world.encode(&call, reply).unwrap();
            match asked {
                Asked::Produce { place, offset } => {
                    let done = produced(decode_response(bytes, PRODUCE).unwrap().1);
                    self.note_produced(place, offset, done.error_code, done.base_offset);
                }
                Asked::Delete { place } => {
                    let done = deleted(decode_response(bytes, DELETE_RECORDS).unwrap().1);
                    let place = &mut self.places[place];
                    match done.error_code {
                        ErrorCode::None => place.told = place.told.max(number_of(done.low_watermark)),
                        // Nothing could be written down: it may be undone.
                        code => assert!(code == ErrorCode::KafkaStorageError && self.setting.gets_full),
                    }
                }
            }
        }
    }

    fn note_produced(&mut self, place: usize, offset: usize, code: ErrorCode, told: i64) {
        let sent = &mut self.places[place].sent;
        if code == ErrorCode::None {
            assert_eq!(told, offset_of(offset), "acknowledged at another offset");
            (sent[offset].is_told, sent[offset].is_answered) = (true, true);
            return;
        }
        // Nothing of it is left: the next batch has its offset and its sequence.
        assert_eq!(
            (code, sent.len()),
            (ErrorCode::KafkaStorageError, offset + 1),
            "refused after others came"
        );
        assert!(self.is_full || self.setting.is_capped, "refused although there is room");
        sent.pop();
        self.refused += 1;
    }

    /// Reads everything there is, as a client does, and says why what has gone may have.
    fn look(&mut self) {
        for (at, (topic, _)) in TOPICS.iter().enumerate() {
            let (begins, found) = read(&mut self.world, at);
            let now_ms = self.now_ms();
            let place = &mut self.places[at];
            assert!(begins >= place.begins && begins >= place.told, "{topic}: it began later");
            let end = begins + found.len();
            assert!(end >= place.seen, "what was seen is gone");
            assert_same(&found, &place.sent[begins..end]);
            let has_risen = begins > place.begins;
            (place.begins, place.seen) = (begins, end);
            if has_risen && !self.setting.is_capped && begins > place.asked {
                let size_bytes = |sent: &[Sent]| sent.iter().map(|sent| sent.bytes.len()).sum::<usize>();
                let is_due = match *topic {
                    "by-size" => size_bytes(&place.sent[begins..]) >= RETENTION_BYTES,
                    "by-time" => {
                        place.sent[place.asked..begins].iter().all(|sent| now_ms - sent.at_ms > RETENTION_MS)
                    }
                    _ => false,
                };
                assert!(is_due, "{topic}: gone up to {begins} and nobody said so");
            }
        }
    }

    /// The process ends, or the power. What was promised is there.
    fn crash(mut self, survivors: &Survivors) -> Self {
        let image: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        let is_promised = self.setting.durability == "leader" || *survivors == Survivors::All;
        self.disk = FaultDisk::adopt(&image).unwrap();
        self.world = open(&self.disk, self.setting, self.world.elapsed_micros());
        self.power_was_lost |= *survivors != Survivors::All;
        (self.is_full, self.asked) = (false, BTreeMap::new());
        println!("  {survivors:?}");
        for (at, (topic, _)) in TOPICS.iter().enumerate() {
            let (begins, found) = read(&mut self.world, at);
            let place = &mut self.places[at];
            println!("  {at}: {begins} of {}", place.begins);
            let end = begins + found.len();
            assert!(
                !is_promised || begins >= place.told,
                "{topic}: begins at {begins}, deleted to {}",
                place.told
            );
            assert!(begins <= place.begins, "{topic}: begins at {begins} and began at {}", place.begins);
            assert_same(&found, &place.sent[begins..end]);
            if is_promised {
                let told = place.sent.iter().rposition(|sent| sent.is_told).map_or(0, |last| last + 1);
                assert!(
                    end >= place.seen.max(told),
                    "{topic}: ends at {end}, told {told}, seen {}",
                    place.seen
                );
            }
            place.sent.truncate(end);
            place.sent.iter_mut().for_each(|sent| sent.is_answered = true);
            (place.begins, place.seen) = (begins, end);
            // Without a promise, what is known of the producers may go with the beginning when the power goes.
            if is_promised || !self.power_was_lost || begins == 0 {
                self.knows_producers(at);
            }
        }
        self.world.slow_the_disk();
        self
    }

    fn knows_producers(&mut self, at: usize) {
        let place = &self.places[at];
        for producer in 0..PRODUCERS {
            for (back, (offset, sent)) in place.of(producer).rev().take(WINDOW + 1).enumerate() {
                let known = (ErrorCode::None, offset_of(offset));
                let expected = if back < WINDOW { known } else { (ErrorCode::OutOfOrderSequenceNumber, -1) };
                let done =
                    produced(self.world.ask(&produce(TOPICS[at].0, 0, -1, sent.bytes.clone()), PRODUCE));
                let sequence = sent.sequence;
                assert_eq!(
                    (done.error_code, done.base_offset),
                    expected,
                    "{}: producer {producer}, {sequence}, {back} before its last",
                    TOPICS[at].0
                );
            }
        }
    }
}

/// Where a partition begins, and its batches from there to the high watermark.
fn read(world: &mut World, at: usize) -> (usize, Vec<Bytes>) {
    let found = listed(world.ask(&list_offsets(TOPICS[at].0, 0, EARLIEST), LIST_OFFSETS));
    assert_eq!(found.error_code, ErrorCode::None);
    let mut batches: Vec<Bytes> = Vec::new();
    loop {
        let next = found.offset + offset_of(batches.len());
        let part = fetched(world.ask(&fetch(TOPICS[at].0, 0, next), FETCH));
        assert_eq!(part.error_code, ErrorCode::None, "{}: the fetch at {next}", TOPICS[at].0);
        assert_eq!(part.log_start_offset, found.offset);
        if next == part.high_watermark {
            return (number_of(found.offset), batches);
        }
        for (batch, due) in whole_batches(&part.records.unwrap_or_default()).zip(next..) {
            assert_eq!(BatchHeader::parse(&batch).unwrap().base_offset.get(), due, "a hole");
            batches.push(batch);
        }
        assert!(offset_of(batches.len()) + found.offset > next, "nothing to read below the high watermark");
    }
}

fn assert_same(found: &[Bytes], sent: &[Sent]) {
    for (found, sent) in found.iter().zip(sent) {
        assert_eq!(found[SENT_FROM..], sent.bytes[SENT_FROM..], "another batch than {}", sent.sequence);
    }
}

/// Tells the stories; how many batches were refused in all, and how many partitions had lost their beginning.
fn tell(setting: Setting, survivors: impl Fn(u64) -> Survivors) -> (usize, usize) {
    let (mut refused, mut begun) = (0, 0);
    for seed in 0..STORIES {
        println!("{setting:?}, seed {seed}");
        let mut story = Story::begin(seed, setting);
        for life in 0..LIVES {
            story.live();
            let survivors = survivors(seed + 1_000 * life as u64);
            let is_last = setting.durability == "none" && survivors != Survivors::All;
            story = story.crash(&survivors);
            if is_last {
                // What is left of the producers is nobody's promise, and so no ground to go on from.
                break;
            }
        }
        refused += story.refused;
        begun += story.places.iter().filter(|place| place.begins > 0).count();
    }
    (refused, begun)
}

fn all_survive(_: u64) -> Survivors {
    Survivors::All
}

fn some_survive(seed: u64) -> Survivors {
    [Survivors::None, Survivors::Seed(seed), Survivors::All][usize::try_from(seed % 3).unwrap()].clone()
}

const PLAIN: Setting = Setting { durability: "none", is_capped: false, gets_full: false };

#[test]
fn what_was_told_to_be_gone_stays_so_and_nothing_else_goes_with_the_process() {
    let (refused, begun) = tell(PLAIN, all_survive);
    assert!(refused == 0 && begun > 0, "{refused} {begun}");
}

#[test]
fn what_was_told_to_be_gone_stays_so_when_the_power_goes_whatever_is_promised() {
    let (refused, begun) = tell(PLAIN, some_survive);
    assert!(refused == 0 && begun > 0, "{refused} {begun}");
}

#[test]
fn with_durability_leader_nothing_goes_with_the_power_but_what_may() {
    let (refused, begun) = tell(Setting { durability: "leader", ..PLAIN }, some_survive);
    assert!(refused == 0 && begun > 0, "{refused} {begun}");
}

#[test]
fn a_full_disk_leaves_nothing_of_what_it_refuses_and_all_of_what_it_takes() {
    for durability in ["none", "leader"] {
        let setting = Setting { durability, gets_full: true, ..PLAIN };
        let (refused, begun) = tell(setting, some_survive);
        assert!(refused > 0 && begun > 0, "{refused} {begun}");
    }
}

#[test]
fn a_capped_disk_holds_no_more_than_that_and_what_it_holds_is_whole() {
    for durability in ["none", "leader"] {
        let setting = Setting { durability, is_capped: true, ..PLAIN };
        let (_, begun) = tell(setting, some_survive);
        assert!(begun > 0);
    }
}
