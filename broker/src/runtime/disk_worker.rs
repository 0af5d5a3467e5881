//! Where work waits for the disk: off the node's lock, off the threads that serve connections.
//!
//! Syncs that somebody waits for have a thread of their own, begun with the first of them: one at a time, in order, and
//! woken without the detour through a pool. The thread also keeps the time when a sync is due sooner than the timer
//! can tell (tokio's counts whole milliseconds). Everything else goes to the runtime's pool.
//!
//! Always: after [`DiskWorker::stop`] nothing is begun any more, and nothing is under way that could meet the next owner
//! of the folder.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use super::clock::Clock;
use super::node_shell::NodeShell;
use crate::ids::Monotonic;
use crate::node::{DiskWork, Event};

enum Job {
    Work(DiskWork),
    /// Step the node at this time.
    WakeAt(Instant),
}

/// Carries out [`DiskWork`] for one node.
pub(super) struct DiskWorker {
    shell: Weak<NodeShell>,
    urgent: Mutex<Option<mpsc::Sender<Job>>>,
    may_work: Arc<MayWork>,
    /// What the thread was told last.
    wakes_at_micros: AtomicU64,
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

impl DiskWorker {
    /// Brings what comes of its work to this shell.
    pub(super) fn new(shell: Weak<NodeShell>) -> Self {
        Self { shell, urgent: Mutex::default(), may_work: Arc::default(), wakes_at_micros: AtomicU64::new(0) }
    }

    /// Does the work soon.
    pub(super) fn take(&self, work: DiskWork) {
        if work.is_urgent() {
            return self.send(Job::Work(work));
        }
        let (may_work, shell) = (Arc::clone(&self.may_work), Weak::clone(&self.shell));
        tokio::task::spawn_blocking(move || {
            if let Some(event) = may_work.run(work) {
                bring(&shell, event);
            }
        });
    }

    /// Steps the node at this time, to the microsecond as far as the system can.
    pub(super) fn wake_at(&self, at: Monotonic, clock: &Clock) {
        // Asked for at every step until it is over.
        if self.wakes_at_micros.swap(at.micros(), Ordering::AcqRel) != at.micros() {
            self.send(Job::WakeAt(clock.instant(at)));
        }
    }

    fn send(&self, job: Job) {
        let mut urgent = self.urgent.lock();
        let sender = urgent.get_or_insert_with(|| {
            let (sender, jobs) = mpsc::channel();
            let (may_work, shell) = (Arc::clone(&self.may_work), Weak::clone(&self.shell));
            let thread = std::thread::Builder::new().name("highwater-sync".into());
            thread.spawn(move || work_off(&jobs, &may_work, &shell)).expect("a thread for syncs");
            sender
        });
        // The thread ends with the sender, not before.
        let _ = sender.send(job);
    }

    /// Waits for what is under way, and begins nothing more.
    pub(super) fn stop(&self) {
        *self.may_work.0.write() = false;
        *self.urgent.lock() = None;
    }
}

fn work_off(jobs: &mpsc::Receiver<Job>, may_work: &MayWork, shell: &Weak<NodeShell>) {
    let mut wake_at = None::<Instant>;
    loop {
        let job = match wake_at {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(Job::Work(work)) => {
                if let Some(event) = may_work.run(work) {
                    bring(shell, event);
                }
            }
            Ok(Job::WakeAt(at)) => wake_at = Some(wake_at.map_or(at, |sooner| sooner.min(at))),
            Err(RecvTimeoutError::Timeout) => {
                wake_at = None;
                bring(shell, Event::Tick);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn bring(shell: &Weak<NodeShell>, event: Event) {
    if let Some(shell) = shell.upgrade() {
        shell.bring(event);
    }
}
