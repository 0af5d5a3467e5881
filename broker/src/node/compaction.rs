//! Which log is compacted next, and its pass from the plan to the checkpoint (`LogCleaner`, `LogCleanerManager`).
//!
//! A pass goes step by step; what waits for the disk is an effect whose end is an event. The log is made durable as it
//! is, as by a flush and never beside another sync of it; what stays of it is written beside it; the segments are swapped
//! in the step that hears of that, if they are many the rest in the next, which hears that those are durable; and once all
//! are, the checkpoint says how far the log is clean.
//!
//! Always: one pass at a time, of the dirtiest log that is due: so one map of keys and one batch are in memory, whatever
//! there is to compact. Only retention and the files below deleted records wait for a pass: a stop, a deletion and another
//! policy end it between two batches. A log whose batches are damaged, or that has one too large, is left alone until the
//! next start; one without room for a pass is tried again, after the others and less and less often: until a pass has
//! filled the disk, nobody else can write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater_storage::compaction::{Compacted, Compaction};
use highwater_storage::{LogError, Removed, Settled, Synced, TopicId};

use super::{Birth, CheckpointKind, DiskWork, Effect, Effects, Node};
use crate::ids::{Monotonic, Now, PartitionIndex, TopicName};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// The least time between two looks for a log that is due.
const LEAST_BACKOFF_MICROS: u64 = 1_000;
/// The longest time between two passes of a log that has no room for them, unless looks are further apart.
const MOST_PAUSE_MICROS: u64 = 60 * 60 * 1_000_000;

/// The pass that is under way, and when to look for the next.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// None while nothing can become due.
    next_look: Option<Monotonic>,
    pass: Option<Pass>,
    /// Whose pass came to nothing: others that are due come first.
    put_off: BTreeSet<Watched>,
    /// Who had no room for a pass since the last that came to its end.
    without_room: BTreeMap<Watched, Pause>,
}

/// How long a log is left alone.
#[derive(Debug, Clone, Copy)]
struct Pause {
    micros: u64,
    until: Monotonic,
}

#[derive(Debug)]
struct Pass {
    partition: Watched,
    /// The log that the pass is of, once it is planned.
    birth: Option<Birth>,
    stop: Arc<AtomicBool>,
    step: Step,
    /// Retention has passed the log over meanwhile.
    held_retention: bool,
}

#[derive(Debug)]
enum Step {
    /// Waits until no other sync of the log is under way.
    Chosen,
    /// The log is made durable.
    Syncing(Box<Compaction>),
    /// What stays is written.
    Writing,
    /// It is swapped in, and that is made durable; part by part.
    Settling,
}

impl Compactions {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.next_look.filter(|_| self.pass.is_none())
    }

    fn look_by(&mut self, at: Monotonic) {
        self.next_look = Some(self.next_look.map_or(at, |sooner| sooner.min(at)));
    }

    /// A log had no room for a pass: it is left alone for twice as long as the last time.
    fn pause(&mut self, now: Monotonic, partition: Watched, least_micros: u64) {
        let last = self.without_room.get(&partition).map_or(0, |pause| pause.micros);
        let micros = last.saturating_mul(2).min(MOST_PAUSE_MICROS).max(least_micros);
        let until = now.plus_micros(micros);
        self.without_room.insert(partition, Pause { micros, until });
    }

    fn pauses(&self, now: Monotonic, partition: Watched) -> bool {
        self.without_room.get(&partition).is_some_and(|pause| pause.until > now)
    }

    /// Ends the pass that is under way, if it is about this topic: who carries it out sees that soon.
    pub(super) fn stop_for(&self, topic: TopicId) {
        self.stop_if(|partition| partition.0 == topic);
    }

    /// Ends it, if it is about this partition: some of what it is made of is gone.
    pub(super) fn stop_void(&self, partition: Watched) {
        self.stop_if(|of| of == partition);
    }

    /// Ends it, whatever it is about.
    pub(super) fn stop(&self) {
        self.stop_if(|_| true);
    }

    fn stop_if(&self, is_meant: impl Fn(Watched) -> bool) {
        if let Some(pass) = self.pass.as_ref().filter(|pass| is_meant(pass.partition)) {
            pass.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Whether retention is to wait for the end of the pass: what it takes away would make that void.
    pub(super) fn hold_retention(&mut self, partition: Watched) -> bool {
        let pass = self.pass.as_mut().filter(|pass| pass.partition == partition);
        pass.map(|pass| pass.held_retention = true).is_some()
    }
}

impl Node {
    /// Sees to it that a log is looked at in its time: it may be due, or become so.
    pub(super) fn compact_later(&mut self, now: Now, topic: TopicId) {
        let is_compacted = self.topics.get(&topic).is_some_and(|topic| topic.config.compaction.is_some());
        if is_compacted && self.config.compacts() {
            self.compactions.look_by(self.next_look_after(now));
        }
    }

    fn backoff_micros(&self) -> u64 {
        self.config.compaction_backoff_micros().max(LEAST_BACKOFF_MICROS)
    }

    fn next_look_after(&self, now: Now) -> Monotonic {
        now.monotonic.plus_micros(self.backoff_micros())
    }

    /// Chooses a log if it is time, and begins its pass.
    pub(super) fn compact(&mut self, now: Now, effects: &mut Effects) {
        if self.compactions.next_deadline().is_some_and(|at| at <= now.monotonic) {
            self.choose(now);
        }
        if let Some(Pass { partition, step: Step::Chosen, .. }) = self.compactions.pass {
            self.begin_pass(now, partition, effects);
        }
    }

    /// The time between two looks is another one now.
    pub(super) fn look_no_later(&mut self, now: Now) {
        if self.compactions.next_look.is_some() {
            self.compactions.look_by(self.next_look_after(now));
        }
    }

    fn choose(&mut self, now: Now) {
        let (dirtiest, more_may_come) = self.dirtiest(now);
        self.compactions.next_look = more_may_come.then(|| self.next_look_after(now));
        self.compactions.pass = dirtiest.map(|partition| Pass {
            partition,
            birth: None,
            stop: Arc::default(),
            step: Step::Chosen,
            held_retention: false,
        });
    }

    /// The partition of those that are due of which the most is dirty, those that were put off last, those that pause not at
    /// all; and whether any is, or may become so.
    fn dirtiest(&mut self, now: Now) -> (Option<Watched>, bool) {
        let (mut dirtiest, mut more_may_come) = ([None::<(f64, Watched)>; 2], false);
        if !self.config.compacts() {
            return (None, false);
        }
        self.compactions.without_room.retain(|(topic, _), _| self.topics.contains_key(topic));
        for (id, topic) in &mut self.topics {
            let Some(rule) = &topic.config.compaction else { continue };
            for (index, replica) in (0..).map(PartitionIndex).zip(&mut topic.partitions) {
                let Ok(replica) = replica else { continue };
                if replica.is_uncleanable || !replica.log.may_become_due(replica.clean_upto) {
                    continue;
                }
                more_may_come = true;
                if self.compactions.pauses(now.monotonic, (*id, index)) {
                    continue;
                }
                let high_watermark = replica.positions().high_watermark;
                let ratio = replica.log.compaction_due(rule, replica.clean_upto, high_watermark, now.wall);
                let dirtiest = &mut dirtiest[usize::from(self.compactions.put_off.contains(&(*id, index)))];
                if let Some(ratio) = ratio.filter(|ratio| dirtiest.is_none_or(|(most, _)| *ratio > most)) {
                    *dirtiest = Some((ratio, (*id, index)));
                }
            }
        }
        let [first, put_off] = dirtiest;
        if first.is_none() {
            self.compactions.put_off.clear();
        }
        (first.or(put_off).map(|(_, partition)| partition), more_may_come)
    }

    /// Plans the pass of the log that was chosen, as soon as no sync of it is under way.
    fn begin_pass(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        let Ok(birth) = self.replica(partition.0, partition.1).map(|replica| replica.birth) else {
            return self.end_pass(now, now.monotonic);
        };
        if !self.syncs.occupy(partition) {
            return;
        }
        let Some(plan) = self.plan_pass(now, partition) else {
            self.syncs.vacate(partition);
            return self.end_pass(now, now.monotonic);
        };
        let ((topic, index), handle) = (partition, Box::new(plan.sync_handle().clone()));
        effects.push(Effect::Disk(DiskWork::Flush { topic, partition: index, birth, handle }));
        if let Some(pass) = &mut self.compactions.pass {
            pass.birth = Some(birth);
        }
        self.go_on(Step::Syncing(Box::new(plan)));
    }

    fn plan_pass(&mut self, now: Now, partition: Watched) -> Option<Compaction> {
        let (replica, config) = self.replica_and_config(partition).ok()?;
        let rule = config.compaction.as_ref()?;
        let high_watermark = replica.positions().high_watermark;
        replica.log.plan_compaction(rule, replica.clean_upto, high_watermark, now.wall)
    }

    /// Whether the node still has the log that the pass is of. If not, its topic was deleted or its partition moved away, and
    /// another log may be in its place.
    fn has_log_of_pass(&self) -> bool {
        let pass = self.compactions.pass.as_ref();
        pass.is_some_and(|pass| {
            pass.birth.is_some_and(|birth| self.replica_born(pass.partition, birth).is_some())
        })
    }

    fn go_on(&mut self, step: Step) {
        if let Some(pass) = &mut self.compactions.pass {
            pass.step = step;
        }
    }

    /// The pass is over; the next one is looked for at a time.
    fn end_pass(&mut self, now: Now, next_look: Monotonic) {
        if self.compactions.pass.take().is_some_and(|pass| pass.held_retention) {
            self.expiry.check_at(now.monotonic);
        }
        self.compactions.look_by(next_look);
    }

    /// The pass came to nothing; it is tried again after those of others.
    fn put_off(&mut self, now: Now, partition: Watched) {
        self.compactions.put_off.insert(partition);
        self.end_pass(now, self.next_look_after(now));
    }

    /// A flush of a partition came to its end, or failed: perhaps that which a pass waits for.
    pub(super) fn flushed_for_pass(
        &mut self,
        now: Now,
        partition: Watched,
        synced: Option<Synced>,
        effects: &mut Effects,
    ) {
        let synced = synced.filter(|_| self.has_log_of_pass());
        let Some(pass) = self.compactions.pass.as_mut().filter(|pass| pass.partition == partition) else {
            return;
        };
        match (std::mem::replace(&mut pass.step, Step::Writing), synced) {
            (Step::Syncing(compaction), Some(synced)) => {
                let ((topic, partition), stop) = (partition, Arc::clone(&pass.stop));
                let work = DiskWork::Compact { topic, partition, compaction, synced, stop };
                effects.push(Effect::Disk(work));
            }
            (Step::Syncing(_), None) => self.end_pass(now, now.monotonic),
            (step, _) => pass.step = step,
        }
    }

    /// What stays of a log is written, or not.
    pub(super) fn compacted(
        &mut self,
        now: Now,
        partition: Watched,
        outcome: Result<Option<Box<Compacted>>, LogError>,
        effects: &mut Effects,
    ) {
        let is_there = self.has_log_of_pass();
        let Some((replica, config)) = self.replica_and_config(partition).ok().filter(|_| is_there) else {
            // Another log may have the folder by now.
            return match outcome {
                Ok(Some(compacted)) => discard(partition, compacted, effects),
                _ => self.end_pass(now, now.monotonic),
            };
        };
        let compacted = match outcome {
            Ok(Some(compacted)) if config.compaction.is_none() => {
                // Since the policy is another one nothing more of it is to go.
                return discard(partition, compacted, effects);
            }
            Ok(Some(compacted)) => *compacted,
            // The log was cut, or is gone, or the node is about to stop.
            Ok(None) => return self.put_off(now, partition),
            Err(error) => return self.pass_failed(now, partition, &error, effects),
        };
        match replica.log.replace_compacted(compacted) {
            Ok(Ok(replaced)) => {
                self.count(partition);
                let ((topic, partition), replaced) = (partition, Box::new(replaced));
                effects.push(Effect::Disk(DiskWork::SettleCompaction { topic, partition, replaced }));
                self.go_on(Step::Settling);
            }
            // Segments were removed meanwhile: everything is looked at anew.
            Ok(Err(compacted)) => discard(partition, Box::new(compacted), effects),
            Err(error) => self.lose_log(now, partition, &error, effects),
        }
    }

    /// What stays could not be written; the log is as it was.
    fn pass_failed(&mut self, now: Now, partition: Watched, error: &LogError, effects: &mut Effects) {
        let name = self.name_of(partition.0).map_or("", TopicName::as_str).to_owned();
        let refusal = Refusal::storage(error);
        match error {
            LogError::Corrupt { .. } | LogError::Malformed { .. } => {
                tracing::warn!(topic = name, partition = %partition.1, %refusal, "not compacted until the next start");
                if let Ok(replica) = self.replica_mut(partition.0, partition.1) {
                    replica.is_uncleanable = true;
                }
                self.end_pass(now, now.monotonic);
            }
            error if error.is_full() => {
                tracing::warn!(topic = name, partition = %partition.1, %refusal, "no room to compact it");
                let least_micros = self.backoff_micros();
                self.compactions.pause(now.monotonic, partition, least_micros);
                self.put_off(now, partition);
            }
            error => self.lose_log(now, partition, error, effects),
        }
    }

    /// What the files of the log hold is unknown, whatever the disk said.
    fn lose_log(&mut self, now: Now, partition: Watched, error: &LogError, effects: &mut Effects) {
        let topic = self.name_of(partition.0).map_or("", TopicName::as_str);
        let refusal = Refusal::storage(error);
        tracing::error!(topic, partition = %partition.1, %refusal, "compaction failed");
        if let Ok(replica) = self.replica_mut(partition.0, partition.1) {
            replica.log.poison(&refusal.to_string());
        }
        self.log_failed(partition);
        self.wake_produces(partition, effects);
        self.wake_coordinator(now, partition, effects);
        self.end_pass(now, now.monotonic);
    }

    /// What was swapped in is durable, or not.
    pub(super) fn compaction_settled(
        &mut self,
        now: Now,
        partition: Watched,
        cuts: u32,
        outcome: Result<(Box<Settled>, Removed), LogError>,
        effects: &mut Effects,
    ) {
        let is_there = self.has_log_of_pass();
        let (settled, removed) = match outcome {
            Ok((settled, removed)) => (*settled, removed),
            Err(error) if is_there => return self.lose_log(now, partition, &error, effects),
            // Its folder is on its way out.
            Err(_) => return self.end_pass(now, now.monotonic),
        };
        if let Ok((_, config)) = self.replica_and_config(partition) {
            let delay_micros = config.file_delete_delay_micros;
            self.remove_later(now, removed, delay_micros);
        }
        let (clean_upto, bytes) = match settled {
            Settled::Clean { upto, bytes } => (upto, bytes),
            Settled::Rest(rest) => return self.compacted(now, partition, Ok(Some(Box::new(rest))), effects),
        };
        if self.replica(partition.0, partition.1).is_ok_and(|replica| replica.log.cuts() != cuts) {
            return self.put_off(now, partition);
        }
        if is_there && let Ok(replica) = self.replica_mut(partition.0, partition.1) {
            replica.clean_upto = Some(clean_upto);
            self.compactions.without_room.remove(&partition);
            self.tally.compacted(bytes);
            self.checkpoint_later(now, CheckpointKind::CleanerOffsets);
            let topic = self.name_of(partition.0).map_or("", TopicName::as_str);
            tracing::info!(topic, partition = %partition.1, %clean_upto, before = bytes.0, after = bytes.1, "compacted");
        }
        self.end_pass(now, now.monotonic);
    }
}

/// What a pass wrote goes where nobody waits for it; only then the pass is over.
fn discard((topic, partition): Watched, compacted: Box<Compacted>, effects: &mut Effects) {
    effects.push(Effect::Disk(DiskWork::DiscardCompaction { topic, partition, compacted }));
}
