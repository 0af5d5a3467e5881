//! The consumer as a pure machine: partitions are assigned, fetches go out, records come in.
//!
//! Call [`step`](ConsumerMachine::step) whenever something happened or [`deadline`](ConsumerMachine::deadline) has
//! come, carry out the actions, give each answer to [`answer`](ConsumerMachine::answer), and take records with
//! [`take`](ConsumerMachine::take). What it asks is in [`super::questions`], what answers mean in
//! [`super::answers`].
//!
//! Two places are kept for each partition: the position, up to which records were taken, and the place the next
//! fetch begins at, which runs ahead of it by what is buffered. A seek, a reset or damage gives the partition a new
//! incarnation: what is buffered or under way for the old one is dropped when it turns up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use highwater_protocol::Text;
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};

use super::config::ConsumerConfig;
use super::fetched::{Fetched, Position};
use super::read_replica::Preferred;
use super::session::FetchSession;
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, Peer, RequestId, RequestIds};
use crate::metadata::{Metadata, MetadataConfig, NodeId, TopicPartition};
use crate::record::ConsumedRecord;
use crate::retry::Jitter;
use crate::time::{Monotonic, Now};

/// Where to begin reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset.
    Offset(Offset),
    /// At the first record there is.
    Beginning,
    /// Behind the last record there is.
    End,
    /// At the first record with this time or a later one; at the end when there is none.
    Timestamp(TimestampMs),
}

/// How far a partition is read, and how far one could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionStatus {
    /// The offset of the next record to be taken; `None` while it is being looked up.
    pub position: Option<Offset>,
    /// The end of what is replicated, as last heard.
    pub high_watermark: Option<Offset>,
    /// The end of what read committed may see, as last heard.
    pub last_stable_offset: Option<Offset>,
    /// The first offset there is, as last heard.
    pub log_start_offset: Option<Offset>,
    /// The end of what this consumer may see, as last heard: the last stable offset with read committed, else the high watermark.
    pub end: Option<Offset>,
    /// Whether nothing was left to read when the broker last answered.
    pub at_end: bool,
}

impl PartitionStatus {
    /// How many offsets are left to be read; `None` while the position or the end is not known. (There may be fewer records:
    /// markers and what was aborted or compacted away have offsets too.)
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let (position, end) = self.position.zip(self.end)?;
        Some(u64::try_from(end.get().saturating_sub(position.get())).unwrap_or(0))
    }
}

#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) incarnation: u64,
    /// What must be looked up before anything can be fetched.
    pub(super) lookup: Option<StartAt>,
    pub(super) lookup_asked: bool,
    pub(super) position: Option<Position>,
    pub(super) ahead: Option<Position>,
    /// The group's committed offset is being found out.
    pub(super) awaits_committed: bool,
    /// The leader epoch whose leader agreed with the place `ahead`.
    pub(super) validated_epoch: i32,
    /// Where its leader said to read.
    pub(super) preferred: Option<Preferred>,
    pub(super) paused: bool,
    /// Only a seek makes it go on.
    pub(super) stopped: bool,
    pub(super) failures: u32,
    pub(super) not_before: Monotonic,
    pub(super) high_watermark: Option<Offset>,
    pub(super) last_stable_offset: Option<Offset>,
    pub(super) log_start_offset: Option<Offset>,
}

impl Default for Assigned {
    fn default() -> Self {
        Self {
            incarnation: 0,
            lookup: None,
            lookup_asked: false,
            position: None,
            ahead: None,
            awaits_committed: false,
            validated_epoch: -1,
            preferred: None,
            paused: false,
            stopped: false,
            failures: 0,
            not_before: Monotonic::ORIGIN,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct ValidationUnderWay {
    pub(super) node: NodeId,
    pub(super) deadline: Monotonic,
    /// The place, and the leader epoch it is held against.
    pub(super) asked: BTreeMap<TopicPartition, (Position, i32)>,
}

#[derive(Debug)]
pub(super) struct FetchUnderWay {
    pub(super) id: RequestId,
    pub(super) deadline: Monotonic,
    /// What it can bring: for which incarnation, from where.
    pub(super) asked: BTreeMap<TopicPartition, (u64, Offset)>,
}

#[derive(Debug)]
pub(super) struct LookupUnderWay {
    pub(super) node: NodeId,
    pub(super) deadline: Monotonic,
    /// For which incarnation, and the leader's epoch.
    pub(super) asked: BTreeMap<TopicPartition, (u64, i32)>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) session: FetchSession,
    pub(super) fetch: Option<FetchUnderWay>,
    pub(super) failures: u32,
    pub(super) not_before: Monotonic,
}

/// What waits to be taken.
#[derive(Debug)]
pub(crate) enum Ready {
    Data(Fetched),
    Problem { at: TopicPartition, incarnation: u64, error: Error },
}

/// A consumer of assigned partitions.
#[derive(Debug)]
pub struct ConsumerMachine {
    pub(crate) config: ConsumerConfig,
    pub(crate) metadata: Metadata,
    pub(crate) jitter: Jitter,
    pub(crate) ids: RequestIds,
    pub(super) assigned: BTreeMap<TopicPartition, Assigned>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) lookups: BTreeMap<RequestId, LookupUnderWay>,
    pub(super) validations: BTreeMap<RequestId, ValidationUnderWay>,
    /// Topics that are kept track of although nothing of them may be assigned.
    pub(super) watched: BTreeSet<Text>,
    pub(crate) ready: VecDeque<Ready>,
    pub(super) buffered_bytes: usize,
    pub(super) incarnations: u64,
    /// The wall clock at the last step or answer.
    pub(super) wall: TimestampMs,
    wake_at: Option<Monotonic>,
}

impl ConsumerMachine {
    /// A consumer without partitions.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub fn new(config: ConsumerConfig, seed: u64) -> Result<Self> {
        config.check()?;
        let metadata = Metadata::new(MetadataConfig {
            max_age: config.metadata_max_age,
            backoff: config.backoff,
            request_timeout: config.request_timeout,
            allow_auto_create: config.allow_auto_create,
        });
        Ok(Self {
            config,
            metadata,
            jitter: Jitter::from_seed(seed),
            ids: RequestIds::default(),
            assigned: BTreeMap::new(),
            nodes: BTreeMap::new(),
            lookups: BTreeMap::new(),
            validations: BTreeMap::new(),
            watched: BTreeSet::new(),
            ready: VecDeque::new(),
            buffered_bytes: 0,
            incarnations: 0,
            wall: TimestampMs::new(0),
            wake_at: None,
        })
    }

    /// The options.
    #[must_use]
    pub const fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// Replaces the assignment. A partition that stays keeps its place.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>) {
        let wanted: BTreeMap<_, _> = partitions.into_iter().collect();
        self.retain(|at| wanted.contains_key(at));
        for (at, start) in wanted {
            if !self.assigned.contains_key(&at) {
                self.metadata.want(&at.topic);
                self.assigned.insert(at.clone(), Assigned::default());
                self.place(&at, start);
            }
        }
    }

    /// Gives up partitions that are not to be kept, and topics of which nothing is left.
    pub(super) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        let gone: BTreeSet<Text> =
            self.assigned.keys().filter(|at| !keep(at)).map(|at| at.topic.clone()).collect();
        self.assigned.retain(|at, _| keep(at));
        for topic in gone {
            let is_used = self.watched.contains(&topic) || self.assigned.keys().any(|at| at.topic == topic);
            if !is_used {
                self.metadata.forget(&topic);
            }
        }
        self.drop_stale();
    }

    /// Moves a partition's position.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn seek(&mut self, at: &TopicPartition, start: StartAt) -> Result<()> {
        self.assigned_mut(at)?;
        self.place(at, start);
        self.drop_stale();
        Ok(())
    }

    /// Stops or resumes giving records of a partition. What is buffered is kept.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn set_paused(&mut self, at: &TopicPartition, paused: bool) -> Result<()> {
        self.assigned_mut(at)?.paused = paused;
        Ok(())
    }

    fn assigned_mut(&mut self, at: &TopicPartition) -> Result<&mut Assigned> {
        let not_assigned = || Error::NotAssigned { topic: (*at.topic).into(), partition: at.partition };
        self.assigned.get_mut(at).ok_or_else(not_assigned)
    }

    /// Gives a partition a new place and a new incarnation.
    pub(super) fn place(&mut self, at: &TopicPartition, start: StartAt) {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let Some(assigned) = self.assigned.get_mut(at) else { return };
        let position = match start {
            StartAt::Offset(offset) => Some(Position { offset, epoch: LeaderEpoch::NONE }),
            _ => None,
        };
        *assigned = Assigned {
            incarnation,
            lookup: position.is_none().then_some(start),
            position,
            ahead: position,
            preferred: assigned.preferred,
            paused: assigned.paused,
            failures: assigned.failures,
            not_before: assigned.not_before,
            high_watermark: assigned.high_watermark,
            last_stable_offset: assigned.last_stable_offset,
            log_start_offset: assigned.log_start_offset,
            ..Assigned::default()
        };
    }

    fn is_current(&self, at: &TopicPartition, incarnation: u64) -> bool {
        self.assigned.get(at).is_some_and(|assigned| assigned.incarnation == incarnation)
    }

    fn drop_stale(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        self.ready = ready
            .into_iter()
            .filter(|ready| match ready {
                Ready::Data(fetched) => self.is_current(&fetched.at, fetched.incarnation),
                Ready::Problem { at, incarnation, .. } => self.is_current(at, *incarnation),
            })
            .collect();
        let data =
            self.ready.iter().map(|ready| if let Ready::Data(data) = ready { data.size_bytes } else { 0 });
        self.buffered_bytes = data.sum();
    }

    /// How a partition stands.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn status(&self, at: &TopicPartition) -> Result<PartitionStatus> {
        let Some(assigned) = self.assigned.get(at) else {
            return Err(Error::NotAssigned { topic: (*at.topic).into(), partition: at.partition });
        };
        let end = match self.config.isolation {
            super::Isolation::ReadUncommitted => assigned.high_watermark,
            super::Isolation::ReadCommitted => assigned.last_stable_offset,
        };
        let position = assigned.position.map(|position| position.offset);
        Ok(PartitionStatus {
            position,
            high_watermark: assigned.high_watermark,
            last_stable_offset: assigned.last_stable_offset,
            log_start_offset: assigned.log_start_offset,
            end,
            at_end: position.zip(end).is_some_and(|(position, end)| position >= end),
        })
    }

    /// The assigned partitions.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.keys()
    }

    /// Whether every assigned partition that is not paused was read to its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.ready.is_empty()
            && self
                .assigned
                .iter()
                .filter(|(_, assigned)| !assigned.paused)
                .all(|(at, _)| self.status(at).is_ok_and(|status| status.at_end))
    }

    /// Takes what has come, at most `max_records`, in the order it came.
    ///
    /// # Errors
    /// What went wrong with a partition, at the place in the order where it did.
    pub fn take(&mut self, max_records: usize) -> Result<Vec<ConsumedRecord>> {
        let mut taken = Vec::new();
        let mut at_ready = 0;
        while at_ready < self.ready.len() && taken.len() < max_records {
            let at = match &self.ready[at_ready] {
                Ready::Data(fetched) => &fetched.at,
                Ready::Problem { at, .. } => at,
            };
            let Some(assigned) = self.assigned.get_mut(at) else { unreachable!("what is stale was dropped") };
            if assigned.paused {
                at_ready += 1;
                continue;
            }
            let Ready::Data(fetched) = &mut self.ready[at_ready] else {
                return self.stop_at_problem(at_ready, taken);
            };
            let Some(position) = &mut assigned.position else { unreachable!("fetched from a position") };
            let damage = loop {
                if taken.len() == max_records {
                    return Ok(taken);
                }
                match fetched.next(position, &self.config) {
                    Ok(Some(record)) => taken.push(record),
                    Ok(None) => break None,
                    Err(damage) => break Some(damage),
                }
            };
            self.buffered_bytes -= fetched.size_bytes;
            if let Some(damage) = damage {
                let (at, offset) = (fetched.at.clone(), damage.base_offset);
                let position = *position;
                self.ready.remove(at_ready);
                self.damaged(&at, position, offset, &damage.detail);
                continue;
            }
            self.ready.remove(at_ready);
        }
        Ok(taken)
    }

    fn stop_at_problem(
        &mut self,
        at_ready: usize,
        taken: Vec<ConsumedRecord>,
    ) -> Result<Vec<ConsumedRecord>> {
        if taken.is_empty()
            && let Some(Ready::Problem { error, .. }) = self.ready.remove(at_ready)
        {
            return Err(error);
        }
        Ok(taken)
    }

    /// The position stays before the damage; the partition is fetched again from there, in a while.
    fn damaged(&mut self, at: &TopicPartition, position: Position, offset: Offset, detail: &str) {
        self.place(at, StartAt::Offset(position.offset));
        self.drop_stale();
        let error = Error::Corrupt {
            topic: (*at.topic).into(),
            partition: at.partition,
            offset: offset.get(),
            detail: detail.into(),
        };
        self.problem(at, error);
    }

    /// Notes what goes wrong with a partition, to be told by [`take`](Self::take); one thing at a time, since a
    /// lasting trouble is met again and again while nobody takes.
    pub(super) fn problem(&mut self, at: &TopicPartition, error: Error) {
        let is_known = |ready: &Ready| matches!(ready, Ready::Problem { at: other, .. } if other == at);
        if !self.ready.iter().any(is_known) {
            let incarnation = self.assigned.get(at).map_or(0, |assigned| assigned.incarnation);
            self.ready.push_back(Ready::Problem { at: at.clone(), incarnation, error });
        }
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.ready.iter().any(|ready| {
            let (Ready::Data(Fetched { at, .. }) | Ready::Problem { at, .. }) = ready;
            self.assigned.get(at).is_some_and(|assigned| !assigned.paused)
        })
    }

    /// When [`step`](Self::step) is next due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Monotonic> {
        self.wake_at
    }

    pub(super) fn wake_by(&mut self, at: Option<Monotonic>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// Does what is due.
    pub fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.wall = now.wall;
        let now = now.monotonic;
        self.wake_at = None;
        self.expire_requests(now, actions);
        if !self.assigned.is_empty() {
            self.look_up(now, actions);
            self.validate(now, actions);
            self.fetch(now, actions);
        }
        self.metadata.step(now, &mut self.ids, &mut self.jitter, actions);
        self.wake_by(self.metadata.deadline());
    }

    fn expire_requests(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let fetches =
            self.nodes.iter().filter_map(|(node, state)| Some((*node, state.fetch.as_ref()?.deadline)));
        let lookups = self.lookups.values().map(|lookup| (lookup.node, lookup.deadline));
        let validations = self.validations.values().map(|validation| (validation.node, validation.deadline));
        let all: Vec<_> = fetches.chain(lookups).chain(validations).collect();
        let late: BTreeSet<NodeId> =
            all.iter().filter(|(_, deadline)| *deadline <= now).map(|(node, _)| *node).collect();
        for (node, deadline) in all {
            if !late.contains(&node) {
                self.wake_by(Some(deadline));
            }
        }
        for node in late {
            actions.push(Action::Disconnect(Peer::Node(node)));
            let silent: Arc<str> = format!("no answer within {:?}", self.config.request_timeout).into();
            let fetch = self.nodes.get(&node).and_then(|state| Some(state.fetch.as_ref()?.id));
            let lookups = self.lookups.iter().filter(|(_, lookup)| lookup.node == node).map(|(id, _)| *id);
            let validations =
                self.validations.iter().filter(|(_, validation)| validation.node == node).map(|(id, _)| *id);
            for id in lookups.chain(validations).chain(fetch).collect::<Vec<_>>() {
                self.unanswered(now, id, &Failure::Lost(Arc::clone(&silent)));
            }
        }
    }

    /// Takes an answer, or its absence.
    pub fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        self.wall = now.wall;
        let now = now.monotonic;
        match answer {
            Ok(Answer::Metadata(response)) => {
                self.metadata.answer(now, id, Ok(response), &mut self.jitter);
                self.report_refused_topics();
            }
            Ok(Answer::Fetch(response)) => self.answer_fetch(now, id, response),
            Ok(Answer::ListOffsets(response)) => self.answer_lookup(now, id, response),
            Ok(Answer::OffsetForLeaderEpoch(response)) => self.answer_validation(now, id, response),
            // A consumer asks for nothing else.
            Ok(_) => {}
            Err(failure) => {
                if !self.metadata.answer(now, id, Err(failure.clone()), &mut self.jitter) {
                    self.unanswered(now, id, &failure);
                }
            }
        }
    }
}
