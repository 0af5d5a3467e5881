//! A follower's log through cuts and restarts, with an error and with a power cut at every call of the disk.

use std::{collections::BTreeSet, io, sync::Arc};

use super::*;
use crate::{
    batch::StoredBatch,
    disk::{FaultDisk, FaultKind, MemoryDisk, Survivors},
};

/// What a leader wrote in its epoch, behind what the log holds that it took over.
fn led(before: &[Bytes], count: i32, epoch: i32) -> Vec<Bytes> {
    let mut log = Log::create(Arc::new(MemoryDisk::new()), dir(), small(), None, NOW);
    log.append_replicated(&stored(before), NOW).unwrap();
    let mut all = before.to_vec();
    for n in 0..count {
        let (sequence, value_bytes) = (epoch * 100 + n, 40 + usize::try_from(n * 37 % 300).unwrap());
        let batch = match n % 7 {
            6 => marker(1, 0, n % 2 == 0),
            at if at % 3 == 1 => transactional(1, 0, sequence, value_bytes),
            _ => batch_of(&[NOW.get()], value_bytes, Codec::None, Some((i64::from(epoch), 0, sequence))),
        };
        all.push(append(&mut log, &batch, LeaderEpoch::new(epoch)).bytes);
    }
    all
}

fn stored(batches: &[Bytes]) -> Vec<StoredBatch> {
    let one = |bytes: &Bytes| StoredBatch::split_first(&mut bytes.clone(), true).unwrap().unwrap();
    batches.iter().map(one).collect()
}

fn as_stored(bytes: &Bytes) -> Stored {
    let header = BatchHeader::parse(bytes).unwrap();
    let control = control_of(&header, &bytes.slice(BatchHeader::LEN..));
    // Where it is in the log is not asked.
    Stored { header, bytes: bytes.clone(), segment: Offset::ZERO, position: usize::MAX, control }
}

/// A life of a follower, and what must be there whenever it ends.
struct Life {
    disk: FaultDisk,
    log: Log,
    /// What it follows now, and what it followed before, to which the power may take it back.
    follows: Vec<Bytes>,
    followed: Option<Vec<Bytes>>,
    /// So much of both no end takes.
    kept: usize,
    /// As a node's checkpoint has it.
    recovery_point: Offset,
}

/// The disk refused.
struct Over;

impl Life {
    fn begin(disk: FaultDisk) -> Self {
        let log = Log::create(Arc::new(disk.clone()), dir(), small(), None, NOW);
        Self { disk, log, follows: Vec::new(), followed: None, kept: 0, recovery_point: Offset::ZERO }
    }

    /// Fetches what its leader has, some batches at a time.
    fn fetch(&mut self, leader: &[Bytes]) -> Result<(), Over> {
        self.follows = leader.to_vec();
        while self.at() < leader.len() {
            let next = &leader[self.at()..leader.len().min(self.at() + 4)];
            match self.log.append_replicated(&stored(next), NOW) {
                Ok(_) => {}
                Err(_) if self.log.poisoned().is_none() => {}
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    /// Each batch has one offset.
    fn at(&self) -> usize {
        usize::try_from(self.log.end_offset().get()).unwrap()
    }

    fn sync(&mut self) -> Result<(), Over> {
        for handle in [self.log.sync_handle(), self.log.flush_handle()] {
            let done = handle.sync().map_err(|_| Over)?;
            self.log.synced(done);
            self.kept = usize::try_from(self.log.synced_offset().get()).unwrap();
            self.recovery_point = self.log.recovery_point();
            self.followed = None;
        }
        Ok(())
    }

    /// As a node does it: the recovery point is lowered first.
    fn cut(&mut self, to: usize, leader: &[Bytes]) -> Result<(), Over> {
        let offset = Offset::new(i64::try_from(to).unwrap());
        self.recovery_point = self.recovery_point.min(offset);
        self.kept = self.kept.min(to);
        self.followed = Some(std::mem::replace(&mut self.follows, leader.to_vec()));
        self.log.truncate_to(offset, NOW).map_err(|_| Over)
    }

    /// Everything that a follower does with its log.
    fn run(&mut self) -> Result<(), Over> {
        let first = led(&[], 30, 3);
        let second = led(&first[..5], 30, 5);
        let third = led(&second[..18], 20, 6);
        self.fetch(&first[..20])?;
        self.sync()?;
        self.fetch(&first)?;
        self.cut(5, &second)?;
        self.fetch(&second)?;
        self.sync()?;
        // A reader holds the file that is cut.
        let range = self.log.range(Offset::new(16), Offset::MAX, 1 << 20, true);
        self.cut(18, &third)?;
        drop(range);
        self.fetch(&third)
    }

    /// What is found after the end: a prefix of what it followed, with all that must be there.
    fn assert_found(&self, survivors: &Survivors, context: &str) {
        let image: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        if image.list(dir()).is_err() {
            return assert_eq!(self.kept, 0, "{context}");
        }
        let opening = Opening { recovery_point: self.recovery_point, ..Opening::after(StopKind::Unclean) };
        let (mut log, _) = Log::open(image, dir(), small(), opening, NOW).unwrap();
        let read = read_all(&log);
        let known = [Some(&self.follows), self.followed.as_ref()];
        let is_prefix = known.into_iter().flatten().any(|known| known.starts_with(&read));
        assert!(is_prefix, "{context}: {} batches of nobody's", read.len());
        assert!(read.len() >= self.kept, "{context}: {} of {}", read.len(), self.kept);
        let epochs = log.epochs().latest().map(|entry| entry.epoch);
        let last = read.last().map(|bytes| BatchHeader::parse(bytes).unwrap().leader_epoch);
        assert_eq!(epochs, last, "{context}");
        let known: Vec<Stored> = read.iter().map(as_stored).collect();
        assert_eq!(log.producers(), &producers_of(&known), "{context}");
        assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), aborted_of(&known), "{context}");
        // It goes on from there, whoever leads.
        let next = led(&read, 8, 9);
        log.append_replicated(&stored(&next[read.len()..]), NOW).unwrap();
        assert_eq!(read_all(&log), next, "{context}");
    }
}

fn calls_of_a_life() -> u64 {
    let disk = FaultDisk::in_memory();
    assert!(Life::begin(disk.clone()).run().is_ok());
    disk.calls()
}

#[test]
fn a_power_cut_at_any_call_leaves_what_was_followed() {
    let calls = calls_of_a_life();
    let mut ended = 0;
    for call in 0..=calls {
        let disk = FaultDisk::in_memory();
        disk.die_at(call);
        let mut life = Life::begin(disk);
        let ran = life.run().is_ok();
        // The last of them may be one that nothing hangs on.
        assert!(ran || call < calls);
        ended += u64::from(!ran);
        let drawn = [call, call + 1_000, call + 2_000].map(Survivors::Seed);
        let all = [Survivors::None, Survivors::All, Survivors::Only(BTreeSet::new())];
        for survivors in all.iter().chain(&drawn) {
            life.assert_found(survivors, &format!("call {call}, {survivors:?}"));
        }
    }
    assert!(ended > 100, "{ended} of {calls}");
}

#[test]
fn an_error_at_any_call_poisons_or_leaves_no_trace() {
    let kinds = [
        FaultKind::Error(io::ErrorKind::Other),
        FaultKind::TornWrite { keep_bytes: 0 },
        FaultKind::TornWrite { keep_bytes: 70 },
    ];
    let mut ended = 0;
    for call in 0..calls_of_a_life() {
        for kind in kinds {
            let disk = FaultDisk::in_memory();
            disk.fail_at(call, kind);
            let mut life = Life::begin(disk);
            let over = life.run().is_err();
            ended += u64::from(over);
            if !over {
                assert_eq!(read_all(&life.log), life.follows, "call {call}, {kind:?}");
            }
            life.assert_found(&Survivors::All, &format!("call {call}, {kind:?}"));
        }
    }
    assert!(ended > 100, "{ended}");
}

/// A log that begins anew where its leader's does is the old one, or empty, or the new one.
#[test]
fn a_log_that_is_restarted_is_one_of_three_wherever_it_ends() {
    let old = led(&[], 25, 3);
    let start = Offset::new(40);
    for call in 0.. {
        let disk = FaultDisk::in_memory();
        let mut life = Life::begin(disk.clone());
        assert!(life.fetch(&old).is_ok() && life.sync().is_ok());
        disk.die_at(disk.calls() + call);
        let restarted = life.log.restart_at(start, NOW).is_ok();
        for survivors in [Survivors::None, Survivors::All, Survivors::Seed(call)] {
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&survivors).unwrap());
            let (log, _) = open(&image, &small(), StopKind::Unclean);
            let context =
                format!("call {call}, {survivors:?}: {} to {}", log.start_offset(), log.end_offset());
            let read = read_all(&log);
            assert!(old.starts_with(&read), "{context}");
            assert!(!read.is_empty() || [Offset::ZERO, start].contains(&log.end_offset()), "{context}");
        }
        if restarted {
            assert!(call > 10, "{call}");
            break;
        }
    }
}
