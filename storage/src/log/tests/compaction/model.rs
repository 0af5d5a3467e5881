//! Random histories with passes in between, whatever the clock says and whatever is remembered.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::disk::MemoryDisk;

#[derive(Debug, Clone)]
enum Step {
    Append(Batch),
    End { id: i64, commits: bool, fences: bool },
    Compact { advance_ms: i64, remembered: bool, keys: usize, meanwhile: Option<Meanwhile> },
    RemoveOldest,
    Flush,
    Reopen { stop: StopKind, remembered: bool },
}

#[derive(Debug, Clone)]
enum Meanwhile {
    Append(Batch),
    RemoveOldest,
}

fn batch() -> impl Strategy<Value = Batch> {
    let record = (option::weighted(0.9, 0u8..6), option::weighted(0.8, any::<u16>()));
    let codec = prop_oneof![3 => Just(Codec::None), 1 => prop::sample::select(&Codec::ALL[..])];
    (vec(record, 1..5), codec, option::of(0i64..3), any::<bool>(), 0i64..2000).prop_map(
        |(records, codec, producer, transactional, ago_ms)| Batch {
            records,
            codec,
            producer,
            transactional,
            ago_ms,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let end = (0i64..3, any::<bool>(), any::<bool>());
    let meanwhile = prop_oneof![3 => batch().prop_map(Meanwhile::Append), 1 => Just(Meanwhile::RemoveOldest)];
    let compact = (0i64..1500, proptest::bool::weighted(0.8), 1usize..40, option::weighted(0.2, meanwhile));
    let stop = prop::sample::select(&[StopKind::Clean, StopKind::Unclean][..]);
    prop_oneof![
        20 => batch().prop_map(Step::Append),
        6 => end.prop_map(|(id, commits, fences)| Step::End { id, commits, fences }),
        4 => compact.prop_map(|(advance_ms, remembered, keys, meanwhile)| {
            Step::Compact { advance_ms, remembered, keys, meanwhile }
        }),
        1 => Just(Step::RemoveOldest),
        1 => Just(Step::Flush),
        2 => (stop, any::<bool>()).prop_map(|(stop, remembered)| Step::Reopen { stop, remembered }),
    ]
}

/// More than it takes.
const MOST_PASSES: usize = 20;

struct World {
    disk: Arc<dyn Disk>,
    log: Log,
    history: History,
    now: TimestampMs,
    clean_upto: Option<Offset>,
    /// From here on nothing was ever compacted.
    untouched: Offset,
    segments_before: usize,
}

impl World {
    fn new() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let log = Log::create(Arc::clone(&disk), dir(), config(), None, NOW);
        let (history, now) = (History::default(), NOW);
        Self { disk, log, history, now, clean_upto: None, untouched: Offset::ZERO, segments_before: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(batch) => self.history.append(&mut self.log, batch),
            Step::End { id, commits, fences } => {
                self.history.end_transaction(&mut self.log, *id, *commits, *fences);
            }
            Step::Compact { advance_ms, remembered, keys, meanwhile } => {
                self.now = TimestampMs::new(self.now.get() + advance_ms);
                self.clean_upto = self.clean_upto.filter(|_| *remembered);
                self.compact(&CompactionRule { map_bytes: keys * 24, ..eager() }, meanwhile.as_ref());
            }
            Step::RemoveOldest => self.remove_oldest(),
            Step::Flush => {
                self.log.flush().unwrap();
                let done = self.log.flush_handle().sync().unwrap();
                self.log.synced(done);
            }
            Step::Reopen { stop, remembered } => self.reopen(*stop, *remembered),
        }
        let Self { log, history, .. } = self;
        if !matches!(step, Step::Append(_) | Step::End { .. }) {
            assert_reads(log, history, self.untouched, "after the step");
        }
        assert_eq!(windows(log.producers()), windows(&history.table));
    }

    fn remove_oldest(&mut self) {
        // Nothing open goes: its first offset would be gone from the model only.
        let below = self.history.stable_offset(self.log.end_offset());
        if let Some(removed) = self.log.remove_oldest_segment(below, self.now).unwrap() {
            removed.run().unwrap();
        }
    }

    fn compact(&mut self, rule: &CompactionRule, meanwhile: Option<&Meanwhile>) {
        let Some(compacted) = pass(&mut self.log, rule, self.clean_upto, self.now) else { return };
        let upto = compacted.clean_upto;
        assert!(self.clean_upto.is_none_or(|clean| clean < upto || clean > self.log.end_offset()));
        self.untouched = self.untouched.max(upto);
        match meanwhile {
            Some(Meanwhile::Append(batch)) => self.history.append(&mut self.log, batch),
            Some(Meanwhile::RemoveOldest) => self.remove_oldest(),
            None => {}
        }
        self.segments_before = self.log.segment_count();
        let end = self.log.end_offset();
        let held = self.log.range(self.log.start_offset(), end, 1 << 20, true);
        let before = held.read().unwrap();
        let (settled, removed) = match self.log.replace_some(compacted, 2).unwrap() {
            Ok(replaced) => replaced.sync().unwrap(),
            Err(compacted) => {
                assert!(matches!(meanwhile, Some(Meanwhile::RemoveOldest)));
                compacted.discard().unwrap();
                return self.assert_tidy(Offset::ZERO);
            }
        };
        removed.run().unwrap();
        let clean_upto = match settled {
            Settled::Rest(rest) => {
                assert_reads(&mut self.log, &self.history, self.untouched, "a part of it");
                swap(&mut self.log, rest, 1).unwrap()
            }
            Settled::Clean { upto, .. } => upto,
        };
        assert_eq!(clean_upto, upto);
        assert_eq!(held.read().unwrap(), before);
        assert_eq!(self.log.end_offset(), end);
        self.assert_tidy(upto);
        self.clean_upto = Some(clean_upto);
        assert_clean_below(&self.log, &self.history, clean_upto);
    }

    /// Beside the segments there are only snapshots that the log knows of, in what is clean only those that belong to one.
    fn assert_tidy(&self, clean_upto: Offset) {
        let names = self.disk.list(dir()).unwrap();
        let offsets = |extension| names.iter().filter_map(move |entry| base_of(&entry.name, extension));
        let bases: Vec<Offset> = self.log.segments.iter().map(Segment::base_offset).collect();
        assert_eq!(offsets("log").collect::<Vec<_>>(), bases);
        let snapshots: Vec<Offset> = self.log.snapshots.iter().map(|file| file.offset).collect();
        assert_eq!(offsets("snapshot").collect::<Vec<_>>(), snapshots);
        let (first, changed) = (bases[0], self.log.segment_count() < self.segments_before);
        let belongs =
            |offset: &Offset| *offset <= first || *offset >= clean_upto || bases.contains(offset) || !changed;
        assert!(snapshots.iter().all(belongs), "{snapshots:?} of {bases:?}");
        assert!(names.iter().all(|entry| crate::inspect::FileKind::of(&entry.name).is_some()), "{names:?}");
    }

    fn reopen(&mut self, stop: StopKind, remembered: bool) {
        let opening = if remembered || stop == StopKind::Clean {
            Opening {
                start_offset: self.log.start_offset(),
                recovery_point: self.log.recovery_point(),
                ..Opening::after(stop)
            }
        } else {
            Opening::after(stop)
        };
        let log = std::mem::replace(
            &mut self.log,
            Log::create(Arc::new(MemoryDisk::new()), dir(), config(), None, NOW),
        );
        match stop {
            StopKind::Clean => log.close_clean().unwrap(),
            StopKind::Unclean => drop(log),
        }
        if self.disk.list(dir()).is_ok() {
            let report = crate::inspect::verify(&*self.disk, dir(), &mut |_| {}).unwrap();
            assert!(!report.has_damage(), "{:?}", report.findings);
        }
        let (log, recovered) = Log::open(Arc::clone(&self.disk), dir(), config(), opening, self.now).unwrap();
        assert_eq!(
            (recovered.truncated_bytes, recovered.removed_segments, recovered.was_not_clean),
            (0, 0, false)
        );
        self.log = log;
    }

    /// Passes over all of it come to rest when the clock stands: by then neighbours have grown together, and everything is
    /// gone whose time is over.
    fn comes_to_rest(&mut self) {
        let mut before = Vec::new();
        for n in 0..MOST_PASSES {
            self.clean_upto = None;
            self.now = TimestampMs::new(self.now.get() + if n < MOST_PASSES / 2 { 700 } else { 0 });
            self.compact(&eager(), None);
            let after = read_all(&self.log);
            if after == before && n > MOST_PASSES / 2 {
                return;
            }
            before = after;
        }
        panic!("still not at rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_compacted_log_reads_as_what_was_written(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.comes_to_rest();
        world.step(&Step::Reopen { stop: StopKind::Unclean, remembered: false });
        world.step(&Step::Reopen { stop: StopKind::Clean, remembered: true });
    }
}
