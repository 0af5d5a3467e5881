//! Under what conditions a run takes place: its settings, how fast things are, and which faults happen how often. All of it
//! is drawn from the seed, some of it to nothing, so that runs differ in kind and not only in detail.

use std::ops::RangeInclusive;

use super::chance::Chance;
use super::committed::Compacts;
use super::compacting;
use super::names::Keys;
use super::wide::Wide;
use crate::config::BrokerConfig;

/// How a producer works.
#[derive(Debug, Clone)]
pub(super) struct Producing {
    pub(super) acks: i16,
    pub(super) is_idempotent: bool,
    /// `max.in.flight.requests.per.connection`, here of each partition.
    pub(super) in_flight: usize,
    /// How many batches it sends in all.
    pub(super) batches: u64,
    pub(super) pause_micros: RangeInclusive<u64>,
    pub(super) request_timeout_micros: u64,
    /// How large the padding of a record may be.
    pub(super) padding_bytes: u64,
    pub(super) keys: Keys,
    /// What only our own producer can be told.
    pub(super) ours: Ours,
}

/// Settings of our own producer.
#[derive(Debug, Clone, Default)]
pub(super) struct Ours {
    pub(super) linger_micros: u64,
    pub(super) batch_bytes: usize,
    pub(super) delivery_timeout_micros: u64,
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    Kill,
    KillLeader,
    KillAll,
    PowerOff,
    Stop,
    Pause,
    CutLink,
    Isolate,
    HalfCut,
    CutClient,
    SlowDisk,
    ElectPreferred,
    /// The rest happens in wide runs only.
    RestartProcess,
    PowerOffAll,
    Reassign,
    DeleteRecords,
    Rot,
}

#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) nodes: i32,
    pub(super) config: BrokerConfig,
    pub(super) partitions: i32,
    pub(super) producers: Vec<Producing>,
    pub(super) readers: usize,
    pub(super) link_micros: RangeInclusive<u64>,
    pub(super) disk_micros: RangeInclusive<u64>,
    /// How many of a hundred links' messages take long, and how long at most.
    pub(super) slow_percent: u64,
    pub(super) slow_micros: u64,
    pub(super) fault_every_micros: u64,
    /// How long what is broken stays so.
    pub(super) mend_micros: RangeInclusive<u64>,
    /// Each with how likely it is beside the others.
    pub(super) faults: Vec<(FaultKind, u64)>,
    /// How long faults happen; after that everything is mended.
    pub(super) trouble_micros: u64,
    /// Whether what every replica synced is all that counts, so that the power of any node may go.
    pub(super) is_synced: bool,
    /// `highwater.durability`.
    pub(super) durability: &'static str,
    pub(super) compacts: Compacts,
    /// What else is played.
    pub(super) wide: Wide,
}

impl Conditions {
    /// What a seed's run is like; wide or not.
    pub(super) fn of(seed: u64, is_wide: bool, chance: &mut Chance) -> Self {
        let mut drawn = Self::draw(chance);
        if is_wide {
            drawn.wide = Wide::draw(seed, &mut drawn.config);
            drawn.nodes = drawn.wide.nodes;
            drawn.faults.extend(&drawn.wide.faults);
            drawn.draw_compacting(seed);
        }
        drawn
    }

    /// In some wide runs the logs are compacted.
    fn draw_compacting(&mut self, seed: u64) {
        let (keys, compacts) = compacting::draw(seed, &mut self.config);
        for producer in self.producers.iter_mut().chain(&mut self.wide.producers) {
            producer.keys = keys;
        }
        self.compacts = compacts;
    }

    fn draw(chance: &mut Chance) -> Self {
        use FaultKind::{
            CutClient, CutLink, ElectPreferred, HalfCut, Isolate, Kill, KillAll, KillLeader, Pause, PowerOff,
            SlowDisk, Stop,
        };
        let mut config = BrokerConfig::default();
        let mut set = |name, value: &str| config.set(name, value).expect("a setting that there is");
        set("replica.lag.time.max.ms", chance.pick(&["300", "1500", "10000", "30000"]));
        let (session, heartbeat) = chance.pick(&[("9000", "2000"), ("3000", "500"), ("1000", "300")]);
        set("broker.session.timeout.ms", session);
        set("broker.heartbeat.interval.ms", heartbeat);
        set("replica.fetch.backoff.ms", chance.pick(&["50", "1000"]));
        set("replica.high.watermark.checkpoint.interval.ms", chance.pick(&["100", "5000"]));
        set("leader.imbalance.check.interval.seconds", chance.pick(&["3", "300"]));
        let durability = chance.pick(&["none", "none", "leader", "isr"]);
        set("highwater.durability", durability);
        let is_synced = durability == "isr";
        let kinds = [
            Kill,
            KillLeader,
            KillAll,
            PowerOff,
            Stop,
            Pause,
            CutLink,
            Isolate,
            HalfCut,
            CutClient,
            SlowDisk,
            ElectPreferred,
        ];
        let mut faults: Vec<_> = kinds.map(|kind| (kind, chance.pick(&[0, 0, 1, 2, 5]))).into();
        faults.retain(|(_, weight)| *weight > 0);
        let producers = (0..chance.draw(1..=4)).map(|_| Producing::draw(chance)).collect();
        Self {
            nodes: 3,
            config,
            partitions: i32::try_from(chance.draw(1..=3)).unwrap_or(1),
            producers,
            readers: chance.below(3),
            link_micros: range(chance.pick(&[(1, 50), (20, 2_000), (500, 20_000)])),
            disk_micros: range(chance.pick(&[(10, 100), (200, 5_000), (1_000, 80_000)])),
            slow_percent: chance.pick(&[0, 0, 1, 10]),
            slow_micros: chance.pick(&[50_000, 500_000, 3_000_000]),
            fault_every_micros: chance.pick(&[100_000, 500_000, 2_000_000, 8_000_000]),
            mend_micros: range(chance.pick(&[
                (1_000, 300_000),
                (100_000, 3_000_000),
                (1_000_000, 20_000_000),
            ])),
            faults,
            trouble_micros: chance.draw(5..=40) * 1_000_000,
            is_synced,
            durability,
            compacts: Compacts::Nothing,
            wide: Wide::default(),
        }
    }
}

impl Producing {
    fn draw(chance: &mut Chance) -> Self {
        let acks = chance.pick(&[-1, -1, -1, 1, 0]);
        let is_idempotent = acks != 0 && chance.percent(70);
        Self {
            acks,
            is_idempotent,
            in_flight: chance.pick(&[1, 2, 5]),
            batches: chance.draw(20..=200),
            pause_micros: range(chance.pick(&[(0, 5_000), (1_000, 100_000), (50_000, 1_000_000)])),
            request_timeout_micros: chance.pick(&[200_000, 1_000_000, 5_000_000]),
            padding_bytes: chance.pick(&[0, 100, 20_000]),
            keys: None,
            ours: Ours::default(),
        }
    }

    /// One of ours: idempotent with acks=all only.
    pub(super) fn draw_ours(chance: &mut Chance) -> Self {
        let mut drawn = Self::draw(chance);
        drawn.is_idempotent = drawn.acks == -1 && chance.percent(80);
        drawn.ours = Ours {
            linger_micros: chance.pick(&[0, 0, 5_000, 200_000]),
            batch_bytes: chance.pick(&[200, 5_000, 256 * 1024]),
            delivery_timeout_micros: chance.pick(&[6_000_000, 30_000_000, 1_000_000_000]),
        };
        drawn
    }
}

fn range((low, high): (u64, u64)) -> RangeInclusive<u64> {
    low..=high
}
