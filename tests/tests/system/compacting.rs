//! Compaction while the power goes and the program is killed.
//!
//! One idempotent producer writes record after record, each of some key, into a log whose segments are short and which is
//! compacted as soon as anything may be. Whatever ends the node, and wherever in a pass: the log is a beginning of what was
//! sent, and all of it where that was promised; of each key the last record of that beginning is there, at its offset; and
//! the producer's last five batches are known.
//!
//! `HIGHWATER_KILLS` and `HIGHWATER_SEED` are as in [`kills`](super::kills).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater::BrokerConfig;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::{decode_response, encode_request};
use highwater_protocol::messages::CreateTopicsRequest;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::fetch::PartitionData;
use highwater_storage::batch::{BatchBuilder, BatchHeader, RecordIter};
use highwater_storage::disk::{Disk, FaultDisk, Survivors};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use highwater_tests::batches::{ScriptedProducer, TIME};
use highwater_tests::connection::{Connection, until};
use highwater_tests::program::{Killer, Program};
use highwater_tests::random::Random;
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::world::{Answered, World};

use super::kills::{from_environment, wall_clock_ms};

const TOPIC: &str = "t";
const STORIES: u64 = 96;
const STEPS: usize = 250;
const KEYS: usize = 6;
/// What the producer may have in flight.
const MOST_FLYING: usize = 5;
const ROUNDS: u64 = 8;
/// Records of the same time go to the same segment.
const SEGMENT_MS: i64 = 20;
/// Whatever may be compacted is, at once.
const EAGER: [(&str, &str); 5] = [
    ("log.cleanup.policy", "compact"),
    ("log.roll.ms", "10"),
    ("log.cleaner.backoff.ms", "1"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    ("log.cleaner.delete.retention.ms", "0"),
];

/// One record of the producer's: its place among all is its sequence, and its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    key: usize,
    value: Option<String>,
    time: TimestampMs,
}

impl Written {
    fn batch(&self, producer: ScriptedProducer, sequence: usize) -> Bytes {
        let mut builder = BatchBuilder::new();
        let (id, sequence) = (ProducerId::new(producer.id), i32::try_from(sequence).unwrap());
        builder.set_producer(id, ProducerEpoch::new(producer.epoch), Sequence::new(sequence));
        let (key, value) = (format!("key {}", self.key), self.value.as_ref().map(String::as_bytes));
        builder.append(self.time, Some(key.as_bytes()), value, &[]).unwrap();
        builder.build().unwrap()
    }
}

/// Everything the producer has sent, in order.
#[derive(Debug, Default)]
struct Sent {
    records: Vec<Written>,
    /// So many were acknowledged, the first ones.
    told: usize,
    rolls: i64,
}

impl Sent {
    fn draw(&mut self, random: &mut Random) -> &Written {
        self.rolls += i64::from(random.below(3) == 0);
        let time = TimestampMs::new(TIME.get() + self.rolls * SEGMENT_MS);
        let value = (random.below(6) > 0).then(|| format!("value {}", self.records.len()));
        self.records.push(Written { key: random.below(KEYS), value, time });
        &self.records[self.records.len() - 1]
    }

    /// What was read, up to the log's end, is what is to be left of a beginning of what was sent.
    fn assert_left(&self, read: &BTreeMap<usize, Written>, end: usize, context: &str) {
        assert!(end <= self.records.len(), "{context}: {end} of {}", self.records.len());
        for (offset, record) in read {
            assert_eq!(Some(record), self.records.get(*offset), "{context}: at {offset}");
        }
        let mut last = BTreeMap::new();
        last.extend((0..end).map(|offset| (self.records[offset].key, offset)));
        for (key, offset) in last {
            let newest = read.iter().rfind(|(_, record)| record.key == key).map(|(offset, _)| *offset);
            let is_deleted = self.records[offset].value.is_none() && newest.is_none();
            assert!(
                newest == Some(offset) || is_deleted,
                "{context}: key {key} at {offset}, read {newest:?}"
            );
        }
    }
}

/// The records of a part that was fetched, with their offsets; and the offset behind them.
fn records_of(part: PartitionData) -> (Vec<(usize, Written)>, Option<i64>) {
    let (mut bytes, mut records, mut next) = (part.records.unwrap_or_default(), Vec::new(), None);
    while let Ok(header) = BatchHeader::parse(&bytes)
        && header.size_bytes() <= bytes.len()
    {
        for record in RecordIter::new(bytes.split_to(header.size_bytes())).unwrap().map(Result::unwrap) {
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            let key = text(record.key.unwrap()).strip_prefix("key ").unwrap().parse().unwrap();
            let written = Written { key, value: record.value.map(text), time: record.timestamp };
            records.push((usize::try_from(record.offset.get()).unwrap(), written));
        }
        next = Some(header.next_offset().get());
    }
    (records, next)
}

const PRODUCER: ScriptedProducer = ScriptedProducer { id: 1000, epoch: 0 };

struct Story {
    disk: FaultDisk,
    world: World,
    random: Random,
    sent: Sent,
    answered: usize,
}

fn open(disk: &FaultDisk, durability: &str) -> World {
    let mut config = BrokerConfig::default();
    config.set("highwater.durability", durability).unwrap();
    EAGER.iter().for_each(|(name, value)| config.set(name, value).unwrap());
    World::configured(Arc::new(disk.clone()), 5, config).unwrap()
}

impl Story {
    fn begin(seed: u64, durability: &str) -> Self {
        let disk = FaultDisk::in_memory();
        // The name of the data folder itself is not the node's to see to.
        disk.create_dir(Path::new("data")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        // Whatever is promised of the records, there is a topic.
        let mut world = open(&disk, "leader");
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let made = world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
        assert_eq!(made.topics[0].error_code, ErrorCode::None);
        drop(world);
        let mut world = open(&disk, durability);
        world.slow_the_disk();
        Self { disk, world, random: Random::new(seed), sent: Sent::default(), answered: 0 }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.below(10) {
                0..=3 if self.sent.records.len() - self.answered < MOST_FLYING => {
                    let sequence = self.sent.records.len();
                    let batch = self.sent.draw(&mut self.random).batch(PRODUCER, sequence);
                    let request = produce(TOPIC, 0, -1, batch);
                    let answered = self.world.send(sequence as u64, &request, PRODUCE);
                    self.note(answered);
                }
                0..=7 => {
                    if let Some((_, answered)) = self.world.disk_does_one() {
                        self.note(answered);
                    }
                }
                _ => {
                    let micros = self.random.next_u64() % 3_000;
                    let answered = self.world.pass(micros);
                    self.note(answered);
                }
            }
        }
    }

    fn note(&mut self, answered: Vec<Answered>) {
        for (ticket, call, reply) in answered {
            let bytes = self.world.encode(&call, reply).unwrap();
            let done = produced(decode_response(bytes, PRODUCE).unwrap().1);
            assert_eq!(done.error_code, ErrorCode::None);
            assert_eq!(done.base_offset, i64::try_from(ticket.connection.0).unwrap());
            (self.answered, self.sent.told) = (self.answered + 1, self.sent.told + 1);
        }
    }

    /// The power goes; what is left is looked at, the rest sent again, and all of it looked at once more.
    fn cut(self, survivors: &Survivors, durability: &str, context: &str) -> bool {
        let image: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        let is_promised = durability == "leader" || *survivors == Survivors::All;
        let disk = FaultDisk::adopt(&image).unwrap();
        let mut world = open(&disk, durability);
        let (read, end) = stored(&mut world);
        self.sent.assert_left(&read, end, context);
        assert!(
            !is_promised || end >= self.sent.told,
            "{context}: {} acknowledged, {end} left",
            self.sent.told
        );
        let from = end.saturating_sub(MOST_FLYING);
        for (sequence, record) in self.sent.records.iter().enumerate().skip(from) {
            let done = produced(world.ask(&produce(TOPIC, 0, -1, record.batch(PRODUCER, sequence)), PRODUCE));
            let expected = (ErrorCode::None, i64::try_from(sequence).unwrap());
            assert_eq!(
                (done.error_code, done.base_offset),
                expected,
                "{context}: sent again, {end} were left"
            );
        }
        world.pass(100_000);
        let (read, end) = stored(&mut world);
        assert_eq!(end, self.sent.records.len(), "{context}");
        self.sent.assert_left(&read, end, context);
        world.close().unwrap();
        let report = highwater_storage::inspect::verify(&*image, Path::new("data/node-0/t-0"), &mut |_| {});
        let report = report.unwrap();
        assert!(!report.has_damage(), "{context}: {:?}", report.findings);
        read.len() < end
    }
}

/// Everything up to the high watermark.
fn stored(world: &mut World) -> (BTreeMap<usize, Written>, usize) {
    let (mut read, mut next) = (BTreeMap::new(), 0);
    loop {
        let part = fetched(world.ask(&fetch(TOPIC, 0, next), FETCH));
        assert_eq!(part.error_code, ErrorCode::None);
        if next == part.high_watermark {
            return (read, usize::try_from(next).unwrap());
        }
        let (records, after) = records_of(part);
        read.extend(records);
        next = after.expect("something below the high watermark");
    }
}

#[test]
fn a_power_cut_during_compaction_takes_nothing_that_was_promised_and_leaves_a_beginning() {
    let mut compacted = 0;
    for seed in 0..STORIES {
        let durability = if seed % 2 == 0 { "leader" } else { "none" };
        let survivors = [Survivors::None, Survivors::Seed(seed), Survivors::All];
        let survivors = &survivors[usize::try_from(seed / 2 % 3).unwrap()];
        let context = format!("seed {seed}, {durability}, {survivors:?}");
        let mut story = Story::begin(seed, durability);
        story.run();
        compacted += u64::from(story.cut(survivors, durability, &context));
    }
    assert!(compacted * 2 > STORIES, "{compacted} of {STORIES} were compacted");
}

fn start(home: &Path) -> Program {
    Program::start(&home.join("data"), &EAGER, &home.join("said"))
}

/// Writes until the connection ends, and kills the program when so many records were acknowledged.
async fn write_until_killed(
    mut connection: Connection,
    (producer, sent, random): (ScriptedProducer, &mut Sent, &mut Random),
    (due, killer): (usize, Killer),
) {
    let due = sent.told + due;
    loop {
        let sequence = sent.records.len();
        let request = produce(TOPIC, 0, -1, sent.draw(random).batch(producer, sequence));
        let frame = encode_request(&request, PRODUCE, 0, Some("writer")).unwrap().into_bytes();
        connection.send_bytes(&frame).await;
        let Some(frame) = connection.whole_frame().await else { return };
        let done = produced(decode_response(frame, PRODUCE).unwrap().1);
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, i64::try_from(sequence).unwrap()));
        sent.told = sent.records.len();
        if sent.told == due {
            killer.strike();
        }
    }
}

async fn stored_by(connection: &mut Connection) -> (BTreeMap<usize, Written>, usize) {
    let (mut read, mut next) = (BTreeMap::new(), 0);
    loop {
        let part = connection.fetch(TOPIC, next).await;
        assert_eq!(part.error_code, ErrorCode::None);
        if next == part.high_watermark {
            return (read, usize::try_from(next).unwrap());
        }
        let (records, after) = records_of(part);
        read.extend(records);
        next = after.expect("something below the high watermark");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_compaction_take_nothing_that_was_acknowledged() {
    let seed = from_environment("HIGHWATER_SEED").unwrap_or(wall_clock_ms().unsigned_abs());
    let mut random = Random::new(seed);
    let home = tempfile::tempdir().unwrap();
    let program = start(home.path());
    let mut connection = Connection::open(program.address).await;
    connection.create_topic(TOPIC, 1, &[]).await;
    let producer = connection.new_producer().await;
    let mut sent = Sent::default();
    program.stop();
    for round in 0..from_environment("HIGHWATER_KILLS").unwrap_or(ROUNDS) {
        let due = 1 + random.below(250);
        let context = format!("HIGHWATER_SEED={seed}, round {round}: {due}");
        println!("{context}");
        let program = start(home.path());
        let connection = Connection::open(program.address).await;
        let moment = (due, program.killer());
        write_until_killed(connection, (producer, &mut sent, &mut random), moment).await;
        program.killed();

        let program = start(home.path());
        let mut connection = Connection::open(program.address).await;
        let (read, end) = stored_by(&mut connection).await;
        sent.assert_left(&read, end, &context);
        assert!(end >= sent.told, "{context}: {} acknowledged, {end} left", sent.told);
        for sequence in end.saturating_sub(MOST_FLYING)..sent.records.len() {
            let offset = connection.append(TOPIC, sent.records[sequence].batch(producer, sequence)).await;
            assert_eq!(offset, i64::try_from(sequence).unwrap(), "{context}: sent again, {end} were left");
        }
        sent.told = sent.records.len();
        if random.below(3) == 0 {
            program.stop();
        }
    }
    // What was killed each time comes to its end in a life that lasts.
    let program = start(home.path());
    let mut connection = Connection::open(program.address).await;
    let (read, end) = until("compaction", async || {
        let stored = stored_by(&mut connection).await;
        (stored.0.len() * 2 < sent.records.len()).then_some(stored)
    })
    .await;
    assert_eq!(end, sent.records.len());
    sent.assert_left(&read, end, "in the end");
    program.stop();
}
