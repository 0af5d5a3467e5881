//! Where work waits for the disk: off the node's lock, off the threads that serve connections.
//!
//! Syncs that somebody waits for have a thread of their own, begun with the first of them: one at a time, in order, and
//! woken without the detour through a pool. The thread also keeps the time when a sync is due sooner than the timer
//! can tell (tokio's counts whole milliseconds). Everything else goes to the runtime's pool, whoever asks for it: what
//! the thread brings steps the node there, so that effects are carried out on it too.
//!
//! Always: after [`DiskWorker::stop`] nothing is begun any more, and nothing is under way that could meet the next owner
//! of the folder. Work that panics takes its node with it, wherever it is done: nobody waits for a sync that never comes,
//! and no log stays occupied by a pass that is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;

use super::clock::Clock;
use crate::ids::Monotonic;
use crate::node::{DiskWork, Event};

/// The node that work is done for.
pub(super) trait Owner: Send + Sync {
    /// Something came of the work, or it is time.
    fn bring(&self, event: Event);
    /// Work has panicked: what was to come of it never comes.
    fn fail(&self, why: &str);
}

enum Job {
    Work(DiskWork),
    /// The alarm rings sooner than it did.
    Sooner,
}

/// Carries out [`DiskWork`] for one node.
pub(super) struct DiskWorker {
    owner: Weak<dyn Owner>,
    clock: Clock,
    pool: Handle,
    urgent: Mutex<Option<mpsc::Sender<Job>>>,
    may_work: Arc<MayWork>,
    alarm: Arc<Alarm>,
}

/// False once stopped; held shared by whatever is under way.
struct MayWork(RwLock<bool>);

impl Default for MayWork {
    fn default() -> Self {
        Self(RwLock::new(true))
    }
}

impl MayWork {
    fn run(&self, work: DiskWork) -> Option<Event> {
        let may_work = self.0.read();
        if *may_work { work.run() } else { None }
    }
}

/// When the thread steps the node, in microseconds of the monotonic clock; `u64::MAX` for never.
///
/// Set to the soonest of what was asked for, and put to never *before* the step that it rings for: that step says again
/// what is still wanted, and is heard.
struct Alarm(AtomicU64);

impl Alarm {
    /// Whether it rings sooner than it would have.
    fn set(&self, at: Monotonic) -> bool {
        self.0.fetch_min(at.micros(), Ordering::AcqRel) > at.micros()
    }

    fn rings_at(&self) -> Option<Monotonic> {
        let micros = self.0.load(Ordering::Acquire);
        (micros != u64::MAX).then_some(Monotonic::from_micros(micros))
    }

    fn put_to_never(&self) {
        self.0.store(u64::MAX, Ordering::Release);
    }
}

impl DiskWorker {
    /// Brings what comes of its work to this node; its pool is the current runtime's.
    pub(super) fn new(owner: Weak<dyn Owner>, clock: Clock) -> Self {
        Self {
            owner,
            clock,
            pool: Handle::current(),
            urgent: Mutex::default(),
            may_work: Arc::default(),
            alarm: Arc::new(Alarm(AtomicU64::new(u64::MAX))),
        }
    }

    /// Does the work soon.
    pub(super) fn take(&self, work: DiskWork) {
        if work.is_urgent() {
            return self.send(Job::Work(work));
        }
        let (may_work, owner) = (Arc::clone(&self.may_work), Weak::clone(&self.owner));
        self.pool.spawn_blocking(move || {
            let owner = OwnerOfWork { owner, died: "work for the disk has panicked" };
            if let Some(event) = may_work.run(work) {
                owner.bring(event);
            }
        });
    }

    /// Steps the node at this time or sooner, to the microsecond as far as the system can. It is forgotten then: the step
    /// asks again.
    pub(super) fn wake_at(&self, at: Monotonic) {
        if self.alarm.set(at) {
            self.send(Job::Sooner);
        }
    }

    fn send(&self, job: Job) {
        let mut urgent = self.urgent.lock();
        let sender = urgent.get_or_insert_with(|| {
            let (sender, jobs) = mpsc::channel();
            let owner =
                OwnerOfWork { owner: Weak::clone(&self.owner), died: "the thread for syncs has died" };
            let (may_work, alarm, clock) = (Arc::clone(&self.may_work), Arc::clone(&self.alarm), self.clock);
            let thread = std::thread::Builder::new().name("highwater-sync".into());
            let work_off = move || work_off(&jobs, &may_work, &alarm, &clock, &owner);
            thread.spawn(work_off).expect("a thread for syncs");
            sender
        });
        // The thread ends with the sender; one that died has said so, and jobs of steps that were under way then are void.
        let _ = sender.send(job);
    }

    /// Waits for what is under way, and begins nothing more.
    pub(super) fn stop(&self) {
        *self.may_work.0.write() = false;
        *self.urgent.lock() = None;
    }
}

/// The owner, told when work does not come to its end as it should.
struct OwnerOfWork {
    owner: Weak<dyn Owner>,
    /// What it is told then.
    died: &'static str,
}

impl OwnerOfWork {
    fn bring(&self, event: Event) {
        if let Some(owner) = self.owner.upgrade() {
            owner.bring(event);
        }
    }
}

impl Drop for OwnerOfWork {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(owner) = self.owner.upgrade()
        {
            owner.fail(self.died);
        }
    }
}

fn work_off(
    jobs: &mpsc::Receiver<Job>,
    may_work: &MayWork,
    alarm: &Alarm,
    clock: &Clock,
    owner: &OwnerOfWork,
) {
    loop {
        let job = match alarm.rings_at() {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => jobs.recv_timeout(clock.instant(at).saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(Job::Work(work)) => {
                if let Some(event) = may_work.run(work) {
                    owner.bring(event);
                }
            }
            // It is looked at before every wait.
            Ok(Job::Sooner) => {}
            Err(RecvTimeoutError::Timeout) => {
                alarm.put_to_never();
                owner.bring(Event::Tick);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use bytes::Bytes;
    use highwater_storage::batch::{BatchBuilder, CheckedBatch};
    use highwater_storage::compaction::CompactionRule;
    use highwater_storage::disk::MemoryDisk;
    use highwater_storage::{LeaderEpoch, Log, LogConfig, TimestampMs, TopicId};

    use super::*;
    use crate::ids::PartitionIndex;

    /// Long enough for anything that comes to come.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Wants to be woken at one time after another, and says at each step which is next, as a node does.
    struct Sleeper {
        clock: Clock,
        times: Vec<Monotonic>,
        worker: OnceLock<DiskWorker>,
        awake: mpsc::Sender<()>,
    }

    impl Owner for Sleeper {
        fn bring(&self, _: Event) {
            let now = self.clock.now().monotonic;
            match self.times.iter().find(|at| **at > now) {
                Some(at) => self.worker.get().unwrap().wake_at(*at),
                None => self.awake.send(()).unwrap(),
            }
        }

        fn fail(&self, why: &str) {
            panic!("{why}");
        }
    }

    #[tokio::test]
    async fn a_time_that_was_asked_for_beside_a_sooner_one_is_kept() {
        let clock = Clock::new();
        let (awake, is_awake) = mpsc::channel();
        let times: Vec<_> = [5, 10, 15].map(|ms| clock.now().monotonic.plus_ms(ms)).into();
        let sleeper = Arc::new(Sleeper { clock, times, worker: OnceLock::new(), awake });
        let owner = Arc::downgrade(&sleeper);
        let worker = sleeper.worker.get_or_init(|| DiskWorker::new(owner, clock));
        for at in &sleeper.times {
            worker.wake_at(*at);
        }
        is_awake.recv_timeout(PATIENCE).expect("the last of them comes");
        worker.stop();
    }

    /// Says what it is told.
    struct Mourner(mpsc::Sender<String>);

    impl Owner for Mourner {
        fn bring(&self, _: Event) {}

        fn fail(&self, why: &str) {
            self.0.send(why.to_owned()).unwrap();
        }
    }

    /// A log of some segments.
    fn log(segments: usize) -> Log {
        let (now, config) = (TimestampMs::new(1), LogConfig { segment_bytes: 100, ..LogConfig::default() });
        let mut log = Log::create(Arc::new(MemoryDisk::new()), Path::new("t-0"), config, None, now);
        for _ in 0..segments {
            let mut batch = BatchBuilder::new();
            batch.append(now, Some(b"key"), None, &[]).unwrap();
            let batch: Bytes = batch.build().unwrap();
            log.append(&CheckedBatch::trusted(batch).unwrap(), LeaderEpoch::new(0), now).unwrap();
        }
        log
    }

    #[tokio::test]
    async fn work_in_the_pool_that_panics_is_told_of() {
        let (told, is_told) = mpsc::channel();
        let owner: Arc<dyn Owner> = Arc::new(Mourner(told));
        let worker = DiskWorker::new(Arc::downgrade(&owner), Clock::new());
        let (mut log, other) = (log(3), log(1));
        let plan =
            log.plan_compaction(&CompactionRule::default(), None, log.end_offset(), TimestampMs::new(1));
        worker.take(DiskWork::Compact {
            topic: TopicId::ZERO,
            partition: PartitionIndex(0),
            compaction: Box::new(plan.expect("it is due")),
            // A bug: of another log.
            synced: other.flush_handle().sync().unwrap(),
            stop: Arc::new(AtomicBool::new(false)),
        });
        let why = is_told.recv_timeout(PATIENCE).expect("its owner is told");
        assert_eq!(why, "work for the disk has panicked");
        worker.stop();
    }
}
