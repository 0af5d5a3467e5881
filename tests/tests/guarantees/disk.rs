//! Rows about disks and power: on a disk whose every sector and call the test decides, and a node without a runtime.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater::BrokerConfig;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::decode_response;
use highwater_protocol::messages::CreateTopicsRequest;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_storage::batch::BatchBuilder;
use highwater_storage::disk::{Disk, FaultDisk, FaultKind, Survivors};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence};
use highwater_tests::batches::{ScriptedProducer, values_in};
use highwater_tests::guarantees::Way;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::words::{Acks, Mode, Sign, Told};
use highwater_tests::requests::{
    FETCH, LIST_OFFSETS, PRODUCE, fetch, fetched, list_offsets, listed, produce, produced,
};
use highwater_tests::world::{Answered, World};

use crate::plays_at_once;

const PRODUCER: ScriptedProducer = ScriptedProducer { id: 4711, epoch: 0 };
/// Records of more than two sectors of a disk, so that a batch can be torn in its middle.
const PADDING: usize = 1500;

/// A node on a disk with faults.
pub(crate) struct Desk {
    pub(crate) disk: FaultDisk,
    pub(crate) world: World,
    pub(crate) way: Way,
    sequence: i32,
    connection: u64,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    Stored,
    Refused(ErrorCode),
    Closed,
    Nothing,
}

/// The word before the padding.
pub(crate) fn plain(values: Vec<String>) -> Vec<String> {
    values.into_iter().map(|value| value.split(' ').next().unwrap().to_owned()).collect()
}

impl Desk {
    /// A node with topic `t`, in which "before" was delivered and synced.
    pub(crate) fn new(way: Way) -> Self {
        Self::with(way, &[])
    }

    /// The same with settings of the topic.
    pub(crate) fn with(way: Way, configs: &[(&str, &str)]) -> Self {
        let disk = FaultDisk::in_memory();
        // The name of the data folder itself is not the node's to see to.
        disk.create_dir(Path::new("data")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let mut desk = Self { world: open(&disk, way), disk, way, sequence: 0, connection: 10 };
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned().into(),
            value: Some((*value).to_owned().into()),
        });
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let made = desk.world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
        assert_eq!(made.topics[0].error_code, ErrorCode::None);
        let before = desk.next("before");
        let came = desk.send(&before);
        assert!(matches!(came, Came::Stored | Came::Nothing), "{came:?}");
        desk.stopped_and_started()
    }

    /// A clean stop, which syncs everything, and a start.
    pub(crate) fn stopped_and_started(self) -> Self {
        let Self { disk, world, way, sequence, connection } = self;
        world.close().unwrap();
        Self { world: open(&disk, way), disk, way, sequence, connection }
    }

    pub(crate) fn next(&mut self, value: &str) -> Bytes {
        self.next_of(value, PADDING)
    }

    /// The producer's clock is the broker's.
    fn next_of(&mut self, value: &str, padding: usize) -> Bytes {
        let value = format!("{value} {}", "x".repeat(padding));
        let mut builder = BatchBuilder::new();
        builder.append(self.world.wall(), None, Some(value.as_bytes()), &[]).unwrap();
        if self.way.idempotence {
            let (id, epoch) = (ProducerId::new(PRODUCER.id), ProducerEpoch::new(PRODUCER.epoch));
            builder.set_producer(id, epoch, Sequence::new(self.sequence));
        }
        self.sequence += 1;
        builder.build().unwrap()
    }

    /// Sends a batch on a connection of its own; a disk that is not slowed does its work at once.
    pub(crate) fn send(&mut self, batch: &Bytes) -> Came {
        self.connection += 1;
        let acks = match self.way.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let traced = self.world.trace().len();
        let mut answered = self.world.send(self.connection, &produce("t", 0, acks, batch.clone()), PRODUCE);
        if answered.is_empty() {
            // Syncs of a durable mode begin in turns.
            answered = self.world.pass(10_000);
        }
        let is_closed = self.world.trace()[traced..].contains("Close(");
        match answered.pop() {
            None if is_closed => Came::Closed,
            None => Came::Nothing,
            Some(answered) => self.came(answered),
        }
    }

    fn came(&self, (_, call, reply): Answered) -> Came {
        // With acks=0 nothing goes over the wire.
        let Some(bytes) = self.world.encode(&call, reply) else { return Came::Nothing };
        match produced(decode_response(bytes, PRODUCE).unwrap().1).error_code {
            ErrorCode::None => Came::Stored,
            code => Came::Refused(code),
        }
    }

    /// What a producer knows that does not try again.
    pub(crate) fn told(&self, came: Came, run: &mut Run) -> Told {
        match came {
            Came::Stored => return Told::Acknowledged,
            Came::Refused(code) => run.saw(Sign::Code(code)),
            Came::Closed => run.saw(Sign::Disconnect),
            Came::Nothing => {}
        }
        if self.way.acks == Acks::None { Told::Sent } else { Told::Unknown }
    }

    /// Sends a record that no fault meets.
    pub(crate) fn sends(&mut self, value: &str, run: &mut Run) {
        let batch = self.next(value);
        let came = self.send(&batch);
        let told = self.told(came, run);
        run.sent(value, told);
    }

    pub(crate) fn values(&mut self) -> Vec<String> {
        let mut values = Vec::new();
        const EARLIEST: i64 = -2;
        let start = listed(self.world.ask(&list_offsets("t", 0, EARLIEST), LIST_OFFSETS)).offset;
        loop {
            let next = start + i64::try_from(values.len()).unwrap();
            let part = fetched(self.world.ask(&fetch("t", 0, next), FETCH));
            assert_eq!(part.error_code, ErrorCode::None);
            if next == part.high_watermark {
                return plain(values);
            }
            let count = values.len();
            values.extend(values_in(&part.records.unwrap_or_default()));
            assert!(values.len() > count, "nothing to read below the high watermark");
        }
    }

    /// The node is gone, with what of the disk's unsynced sectors does not survive; the next one starts.
    pub(crate) fn after(self, survivors: &Survivors) -> Self {
        self.disk.heal();
        let image: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        let disk = FaultDisk::adopt(&image).unwrap();
        let Self { way, sequence, connection, .. } = self;
        Self { world: open(&disk, way), disk, way, sequence, connection }
    }

    /// Whether an acknowledgement waits for a sync.
    fn is_durable(&self) -> bool {
        self.way.mode != Mode::None && self.way.acks != Acks::None
    }
}

fn open(disk: &FaultDisk, way: Way) -> World {
    let mut config = BrokerConfig::default();
    config.set("highwater.durability", way.mode.word()).unwrap();
    config.set("log.segment.bytes", "1048576").unwrap();
    World::configured(Arc::new(disk.clone()), 5, config).unwrap()
}

#[test]
fn row_10a_the_power_goes_for_all_replicas_and_the_same_one_leads_again() {
    plays_at_once("10a", &[()], |way, ()| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        if way.acks == Acks::None {
            // Nobody waits for the sync, and it comes too late.
            desk.world.slow_the_disk();
        }
        for value in ["a", "b", "c"] {
            let batch = desk.next(value);
            let came = desk.send(&batch);
            let told = desk.told(came, &mut run);
            run.met(value, told);
        }
        run.endangers(["a", "b", "c"]);
        run.read(desk.values());
        let mut desk = desk.after(&Survivors::None);
        run.stored(desk.values());
        run
    });
}

/// The tail is three batches; a sector in the middle of the second is not there, or reads as zeros.
#[test]
fn row_12_the_log_ends_in_a_torn_batch() {
    plays_at_once("12", &[()], |way, ()| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        desk.sends("whole", &mut run);
        desk.world.slow_the_disk();
        let log_sectors = |desk: &Desk| {
            let all = desk.disk.unsynced_sectors().into_iter();
            all.filter(|sector| sector.path.extension().is_some_and(|extension| extension == "log"))
        };
        let before: BTreeSet<_> = log_sectors(&desk).collect();
        let torn = desk.next("torn");
        let mut came = vec![desk.send(&torn)];
        // It lies on four sectors at least, the first of which may hold some of the batch before it.
        let lost = log_sectors(&desk).filter(|sector| !before.contains(sector)).nth(1).unwrap();
        let behind = desk.next("behind");
        came.push(desk.send(&behind));
        run.read(desk.values());
        for (value, came) in ["torn", "behind"].into_iter().zip(came) {
            let told = desk.told(came, &mut run);
            run.met(value, told);
        }
        run.endangers(["torn", "behind"]);
        let spared = desk.disk.unsynced_sectors().into_iter().filter(|sector| *sector != lost).collect();
        let is_durable = desk.is_durable();
        let mut desk = desk.after(&Survivors::Only(spared));
        if is_durable {
            run.saw(Sign::Disconnect);
        }
        run.stored(desk.values());
        run
    });
}

/// Room for a part of the batch, or for none of it; then enough.
#[test]
fn row_15a_the_leaders_disk_is_full() {
    plays_at_once("15a", &[0, 100], |way, room_bytes| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        desk.disk.limit_room(Some(room_bytes));
        let met = desk.next("met");
        let came = desk.send(&met);
        let mut told = desk.told(came, &mut run);
        let is_refused = match way.acks {
            Acks::None => came == Came::Closed,
            _ => came == Came::Refused(ErrorCode::KafkaStorageError),
        };
        assert!(is_refused, "{way}: {came:?}");
        desk.disk.limit_room(None);
        if way.retries && way.acks != Acks::None {
            let came = desk.send(&met);
            told = desk.told(came, &mut run);
        } else if way.idempotence {
            // The sequence is free: a producer that goes on uses it for the next batch.
            desk.sequence -= 1;
        }
        run.met("met", told);
        desk.sends("after", &mut run);
        run.read(desk.values());
        let mut desk = desk.after(&Survivors::All);
        run.stored(desk.values());
        run
    });
}

#[test]
fn row_15b_a_write_to_the_leaders_disk_fails() {
    let failures =
        [FaultKind::Error(io::ErrorKind::Other), FaultKind::Error(io::ErrorKind::PermissionDenied)];
    plays_at_once("15b", &failures, |way, failure| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        let met = desk.next("met");
        desk.disk.fail_at(desk.disk.calls(), failure);
        let attempts = if way.retries && way.acks != Acks::None { 3 } else { 1 };
        let mut told = Told::Sent;
        for _ in 0..attempts {
            let came = desk.send(&met);
            told = desk.told(came, &mut run);
        }
        run.met("met", told);
        run.read(desk.values());
        let mut desk = desk.after(&Survivors::All);
        if way.idempotence {
            desk.sequence -= 1;
        }
        desk.sends("after", &mut run);
        run.stored(desk.values());
        run
    });
}

/// What was not synced is there after the start, or not.
#[test]
fn row_16a_the_sync_an_acknowledgement_waits_for_fails() {
    plays_at_once("16a", &[Survivors::None, Survivors::All], |way, survivors| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        desk.world.slow_the_disk();
        let met = desk.next("met");
        let sent = desk.send(&met);
        assert_eq!(sent, Came::Nothing, "{way}: nothing is told before the sync");
        run.read(desk.values());
        let mut told = if way.acks == Acks::None { Told::Sent } else { Told::Unknown };
        let mut is_failed = false;
        loop {
            desk.disk.fail_at(desk.disk.calls(), FaultKind::Error(io::ErrorKind::Other));
            let Some((is_sync, answered)) = desk.world.disk_does_one() else { break };
            is_failed |= is_sync;
            for answered in answered {
                told = desk.told(desk.came(answered), &mut run);
            }
        }
        desk.disk.heal();
        assert!(is_failed, "{way}: no sync");
        run.met("met", told);
        run.read(desk.values());
        run.stored(desk.after(&survivors).values());
        run
    });
}

/// The segment of the batch is left, and its sync in the background fails.
#[test]
fn row_16b_a_sync_in_the_background_fails() {
    plays_at_once("16b", &[Survivors::None, Survivors::All], |way, survivors| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        desk.world.slow_the_disk();
        let met = desk.next("met");
        let came = desk.send(&met);
        let told = desk.told(came, &mut run);
        run.met("met", told);
        // Two of these do not fit into a segment of a mebibyte.
        for value in ["wide", "wider"] {
            let batch = desk.next_of(value, 600_000);
            let came = desk.send(&batch);
            let told = desk.told(came, &mut run);
            run.sent(value, told);
        }
        run.endangers(["met", "wide", "wider"]);
        run.read(desk.values());
        desk.disk.fail_at(desk.disk.calls(), FaultKind::Error(io::ErrorKind::Other));
        while desk.world.disk_does_one().is_some() {}
        desk.disk.heal();
        let after = desk.next("after");
        let refused =
            if way.acks == Acks::None { Came::Closed } else { Came::Refused(ErrorCode::KafkaStorageError) };
        assert_eq!(desk.send(&after), refused, "{way}: the partition takes no more");
        run.stored(desk.after(&survivors).values());
        run
    });
}

#[test]
fn row_17_the_disk_is_slow() {
    plays_at_once("17", &[()], |way, ()| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        desk.world.slow_the_disk();
        let met = desk.next("met");
        let mut came = desk.send(&met);
        assert_eq!(came == Came::Nothing, desk.is_durable() || way.acks == Acks::None, "{way}");
        while let Some((_, answered)) = desk.world.disk_does_one() {
            for answered in answered {
                came = desk.came(answered);
            }
        }
        let told = desk.told(came, &mut run);
        run.met("met", told);
        run.stored(desk.values());
        run
    });
}

#[test]
fn row_24_an_old_batch_is_resent_after_its_producer_was_forgotten() {
    const MORE_THAN_A_DAY_MICROS: u64 = 25 * 60 * 60 * 1_000_000;
    plays_at_once("24", &[()], |way, ()| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        let met = desk.next("met");
        let first = desk.send(&met);
        let again = desk.send(&met);
        assert_eq!(first, again, "a resend within the day");
        assert_eq!(desk.values(), ["before", "met"]);
        desk.world.pass(MORE_THAN_A_DAY_MICROS);
        let came = desk.send(&met);
        let told = desk.told(came, &mut run);
        run.met("met", told);
        run.stored(desk.values());
        run
    });
}
