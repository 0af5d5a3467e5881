//! Power cuts, also while recovering from one, with what a node remembers of the recovery point.

use std::sync::Arc;

use super::*;
use crate::disk::{FaultDisk, Survivors};

/// A log with producers and transactions that was synced, flushed and closed now and then.
struct History {
    disk: FaultDisk,
    written: Vec<Stored>,
    /// How many of them are durable.
    synced: usize,
    recovery_point: Offset,
    config: LogConfig,
    /// The last segment has room ahead.
    has_room: bool,
}

/// Every third log is synced so often, and is so large, that it keeps room ahead.
fn keeps_room(seed: u64) -> bool {
    seed % 3 == 1
}

fn history(seed: u64) -> History {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let keeps_room = keeps_room(seed);
    let (segment_bytes, least_bytes) = if keeps_room { (12 << 10, 500) } else { (2048, 40) };
    let config = LogConfig { segment_bytes, ..small() };
    let mut log = Log::create(Arc::clone(&as_disk), dir(), config.clone(), None, NOW);
    let (mut written, mut synced) = (Vec::new(), 0);
    for n in 0..usize::try_from(seed % 61).unwrap() {
        let (id, sequence) = (i64::try_from(n % 3).unwrap(), i32::try_from(n).unwrap());
        let batch = match n % 8 {
            5 => marker(1, 0, n % 16 == 5),
            _ if id == 1 => transactional(1, 0, sequence, least_bytes + n * 17 % 400),
            _ => batch_of(&[NOW.get()], least_bytes + n * 17 % 400, Codec::None, Some((id, 0, sequence))),
        };
        written.push(append(&mut log, &batch, LeaderEpoch::new(sequence / 25)));
        match n % 13 {
            at if at == 3 || keeps_room && at % 4 == 0 => {
                log.synced(log.sync_handle().sync().unwrap());
                synced = written.len();
            }
            7 => {
                let handle = log.flush_handle();
                synced = synced.max(written.iter().filter(|b| b.header.base_offset < handle.upto()).count());
                log.synced(handle.sync().unwrap());
            }
            11 if seed.is_multiple_of(2) => {
                log.close_clean().unwrap();
                synced = written.len();
                (log, _) = Log::open(
                    Arc::clone(&as_disk),
                    dir(),
                    config.clone(),
                    Opening::after(StopKind::Clean),
                    NOW,
                )
                .unwrap();
            }
            _ => {}
        }
    }
    let (recovery_point, has_room) = (log.recovery_point(), log.active().has_room());
    History { disk, written, synced, recovery_point, config, has_room }
}

impl History {
    /// What was synced is there, what is there is a prefix, and what is known of the producers fits it.
    fn assert_holds(&self, disk: &Arc<dyn Disk>, context: &str) {
        let Ok(_) = disk.list(dir()) else { return assert_eq!(self.synced, 0, "{context}") };
        let opening = Opening { recovery_point: self.recovery_point, ..Opening::after(StopKind::Unclean) };
        let (log, _) = Log::open(Arc::clone(disk), dir(), self.config.clone(), opening, NOW).unwrap();
        let read = read_all(&log);
        let written: Vec<Bytes> = self.written.iter().map(|stored| stored.bytes.clone()).collect();
        assert!(read.len() >= self.synced, "{context}: {} of {}", read.len(), self.synced);
        assert!(written.starts_with(&read), "{context}");
        let left = &self.written[..read.len()];
        assert_eq!(log.producers(), &producers_of(left), "{context}");
        assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), aborted_of(left), "{context}");
        let epochs: Vec<_> = log.epochs().entries().iter().map(|entry| entry.epoch.get()).collect();
        let last = left.last().map(|stored| stored.header.leader_epoch.get());
        assert_eq!(epochs.last().copied(), last, "{context}");
        check_index_files(&**disk, &self.written);
    }
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_everything_fits_what_is_left() {
    let mut roomy = 0;
    for seed in 0..400 {
        let history = history(seed);
        roomy += usize::from(history.has_room);
        let image: Arc<dyn Disk> = Arc::new(history.disk.crash(&Survivors::Seed(seed)).unwrap());
        history.assert_holds(&image, &format!("seed {seed}"));
    }
    assert!(roomy > 60, "{roomy} with room");
}

/// Power goes again while the log is being recovered, after any of its calls.
#[test]
fn a_power_cut_during_recovery_costs_nothing_more() {
    let mut cuts = 0;
    for seed in (0..400).step_by(5) {
        let history = history(seed);
        let image: Arc<dyn Disk> = Arc::new(history.disk.crash(&Survivors::Seed(seed)).unwrap());
        if image.list(dir()).is_err() {
            continue;
        }
        if seed % 2 == 1 {
            // All is read anew then, also what lies below the recovery point.
            let _ = image.remove_file(&dir().join("00000000000000000000.index"));
        }
        for call in 0.. {
            // Each time from the same image.
            let copy: Arc<dyn Disk> =
                Arc::new(FaultDisk::adopt(&image).unwrap().crash(&Survivors::All).unwrap());
            let dying = FaultDisk::adopt(&copy).unwrap();
            dying.die_at(call);
            let opening =
                Opening { recovery_point: history.recovery_point, ..Opening::after(StopKind::Unclean) };
            let opened = Log::open(Arc::new(dying.clone()), dir(), history.config.clone(), opening, NOW);
            let done = opened.is_ok();
            for survivors in [Survivors::Seed(seed ^ call), Survivors::All] {
                let image: Arc<dyn Disk> = Arc::new(dying.crash(&survivors).unwrap());
                history.assert_holds(&image, &format!("seed {seed}, call {call}, {survivors:?}"));
            }
            cuts += 1;
            if done {
                break;
            }
        }
    }
    assert!(cuts > 1000, "{cuts}");
}
