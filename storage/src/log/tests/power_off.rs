//! One log through many lives on one disk, each of which ends with a kill or with the power.

use std::{path::PathBuf, sync::Arc};

use super::*;
use crate::{
    batch::StoredBatch,
    disk::{MemoryDisk, PowerDisk, Unsynced},
};

/// Numbers that a seed stands for.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A log and what is known of it outside.
struct Lives {
    power: PowerDisk,
    dir: PathBuf,
    config: LogConfig,
    draw: Draw,
    written: Vec<Stored>,
    /// How many of them no power cut takes.
    synced: usize,
    recovery_point: Offset,
    next: i32,
    lost: usize,
}

impl Lives {
    fn begin(power: PowerDisk, dir: PathBuf, seed: u64) -> Self {
        let segment_bytes = if seed.is_multiple_of(3) { 12 << 10 } else { 2048 };
        Self {
            power,
            dir,
            config: LogConfig { segment_bytes, ..small() },
            draw: Draw(seed),
            written: Vec::new(),
            synced: 0,
            recovery_point: Offset::ZERO,
            next: 0,
            lost: 0,
        }
    }

    /// Opens the log: what was synced is there, what is there is a prefix, and all that is known fits it.
    fn open(&mut self, context: &str) -> Log {
        let opening = Opening { recovery_point: self.recovery_point, ..Opening::after(StopKind::Unclean) };
        let (mut log, _) =
            Log::open(self.power.disk(), &self.dir, self.config.clone(), opening, NOW).unwrap();
        let read = read_all(&log);
        assert!(read.len() >= self.synced, "{context}: {} of {}", read.len(), self.synced);
        let written: Vec<Bytes> = self.written.iter().map(|stored| stored.bytes.clone()).collect();
        assert!(written.starts_with(&read), "{context}");
        self.lost += written.len() - read.len();
        self.written.truncate(read.len());
        assert_eq!(log.producers(), &producers_of(&self.written), "{context}");
        assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), aborted_of(&self.written), "{context}");
        let open = log.producers().iter().filter_map(|(_, entry)| entry.current_txn_first_offset).min();
        assert_eq!(log.first_unstable_offset(log.end_offset()), open, "{context}");
        self.recovery_point = log.recovery_point();
        log
    }

    fn batch(&mut self) -> CheckedBatch {
        let (n, value_bytes) = (self.next, usize::try_from(self.draw.below(500)).unwrap());
        self.next += 1;
        match n % 8 {
            5 => marker(1, 0, n % 16 == 5),
            1 | 4 => transactional(1, 0, n, value_bytes),
            _ => batch_of(&[NOW.get()], value_bytes, Codec::None, Some((i64::from(n % 3) * 2, 0, n))),
        }
    }

    /// As a follower has them from a leader whose log went on like this one.
    fn replicate(&mut self, log: &mut Log, count: u64) {
        let memory: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut leader = Log::create(memory, dir(), LogConfig::default(), None, NOW);
        leader.restart_at(log.end_offset(), NOW).unwrap();
        let mut batches = Vec::new();
        for _ in 0..count {
            let batch = self.batch();
            let mut stored = append(&mut leader, &batch, LeaderEpoch::new(self.next / 20));
            batches.push(StoredBatch::of(&batch, stored.header.clone()));
            // Where it is in this log is not asked.
            stored.position = usize::MAX;
            self.written.push(stored);
        }
        assert_eq!(log.append_replicated(&batches, NOW).unwrap().batches, batches.len());
    }

    fn step(&mut self, log: &mut Log) {
        match self.draw.below(12) {
            0..6 => {
                let batch = self.batch();
                self.written.push(append(log, &batch, LeaderEpoch::new(self.next / 20)));
            }
            6..8 => {
                let count = self.draw.below(9);
                self.replicate(log, count);
            }
            8 | 9 => {
                log.synced(log.sync_handle().sync().unwrap());
                self.synced = self.written.len();
            }
            10 => {
                log.synced(log.flush_handle().sync().unwrap());
                self.recovery_point = log.recovery_point();
                let below = log.synced_offset();
                self.synced = self.written.partition_point(|stored| stored.header.base_offset < below);
            }
            _ if !self.written.is_empty() => {
                let back = usize::try_from(self.draw.below(12)).unwrap();
                let keep = self.written.len().saturating_sub(back + 1);
                let range = (self.draw.below(2) == 0)
                    .then(|| log.range(log.start_offset(), log.end_offset(), 1 << 20, true));
                log.truncate_to(self.written[keep].header.base_offset, NOW).unwrap();
                drop(range);
                self.written.truncate(keep);
                self.synced = self.synced.min(keep);
                self.recovery_point = log.recovery_point();
            }
            _ => {}
        }
    }

    fn lose(&self, unsynced: Unsynced) {
        self.power.power_off(unsynced).unwrap();
    }

    fn run(&mut self, seed: u64) {
        for life in 0..8u64 {
            let context = format!("seed {seed}, life {life}");
            let mut log = self.open(&context);
            for _ in 0..self.draw.below(40) {
                self.step(&mut log);
            }
            match self.draw.below(5) {
                0 => self.power.kill(),
                1 => self.lose(Unsynced::Lost),
                _ => self.lose(Unsynced::Drawn(seed ^ life)),
            }
            assert!(log.append(&batch(10), EPOCH, NOW).is_err(), "{context}: it writes after its end");
        }
        self.open(&format!("seed {seed}, at last"));
    }
}

#[test]
fn a_log_in_memory_outlives_kills_and_power_cuts() {
    let mut lost = 0;
    for seed in 0..100 {
        let mut lives = Lives::begin(PowerDisk::new(Arc::new(MemoryDisk::new())), dir().to_owned(), seed);
        lives.power.disk().create_dir(dir()).unwrap();
        lives.power.disk().sync_dir(Path::new("")).unwrap();
        lives.run(seed);
        lost += lives.lost;
    }
    assert!(lost > 500, "{lost}");
}

#[cfg(unix)]
#[test]
fn a_log_in_files_outlives_kills_and_power_cuts() {
    let mut lost = 0;
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let power = PowerDisk::new(Arc::new(crate::disk::OsDisk::new()));
        let mut lives = Lives::begin(power, folder.path().to_owned(), seed);
        lives.run(seed);
        lost += lives.lost;
    }
    assert!(lost > 30, "{lost}");
}
