//! Fetch sessions (KIP-227): a reader says once what it reads, and hears of a partition again only when there is news.
//!
//! Kafka's rules (`FetchSession`, `FetchContext`), with one cache instead of eight shards of it. A session that was
//! closed or evicted costs its reader one full fetch, never data: offsets live in the client.

use std::collections::BTreeMap;

use highwater_storage::Offset;

use super::{FetchPartition, FetchReply, FetchRequest, FetchedPartition, TopicRef};
use crate::entropy::Entropy;
use crate::ids::{Monotonic, PartitionIndex};
use crate::refusal::Refusal;

/// A session untouched for so long may make room for any other; one younger than this keeps its place
/// (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_MICROS: u64 = 120_000_000;
/// Do without a session.
const FINAL_EPOCH: i32 = -1;
/// Begin a session.
const INITIAL_EPOCH: i32 = 0;

/// What a fetch has to do with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    Sessionless,
    /// It begins one.
    Full {
        /// Whether its topics are given by id.
        by_topic_id: bool,
    },
    /// It is the one before this epoch of this session.
    Incremental {
        /// The session.
        id: i32,
        /// The epoch the session is at while the fetch is worked on.
        epoch: i32,
    },
}

/// Why a fetch is refused as a whole, and the session id the answer carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionError {
    pub(super) refusal: Refusal,
    pub(super) session_id: i32,
}

type Key = (TopicRef, PartitionIndex);

#[derive(Debug)]
struct Cached {
    place: u64,
    part: FetchPartition,
    /// What the reader was told last; none makes the next answer news.
    told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_topic_id: bool,
    of_follower: bool,
    created: Monotonic,
    used: Monotonic,
    /// The next free place at the end of the line.
    next_place: u64,
    partitions: BTreeMap<Key, Cached>,
    /// The order in which partitions are served: those that had records go to the end.
    line: BTreeMap<u64, Key>,
}

/// The sessions of a node.
#[derive(Debug)]
pub(super) struct FetchSessions {
    slots: usize,
    sessions: BTreeMap<i32, Session>,
}

impl FetchSessions {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, sessions: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Takes what a request says of its session; gives the partitions to serve, in order.
    pub(super) fn begin(
        &mut self,
        request: FetchRequest,
        now: Monotonic,
    ) -> Result<(Mode, Vec<FetchPartition>), SessionError> {
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            self.sessions.remove(&request.session_id);
            let begins = request.session_epoch == INITIAL_EPOCH;
            let mode =
                if begins { Mode::Full { by_topic_id: request.by_topic_id } } else { Mode::Sessionless };
            return Ok((mode, request.partitions));
        }
        let id = request.session_id;
        let refuse = |refusal, session_id| Err(SessionError { refusal, session_id });
        let Some(session) = self.sessions.get_mut(&id) else {
            return refuse(Refusal::FetchSessionNotFound, 0);
        };
        if session.epoch != request.session_epoch {
            return refuse(Refusal::InvalidFetchSessionEpoch, 0);
        }
        if session.by_topic_id != request.by_topic_id {
            return refuse(Refusal::FetchSessionTopicId, 0);
        }
        session.update(request.partitions, &request.forgotten);
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok((Mode::Sessionless, Vec::new()));
        }
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        Ok((Mode::Incremental { id, epoch: session.epoch }, session.in_line()))
    }

    /// Makes a fetch's answer that of its session.
    pub(super) fn end(
        &mut self,
        mode: Mode,
        parts: Vec<FetchPartition>,
        of_follower: bool,
        reply: &mut FetchReply,
        entropy: &mut Entropy,
        now: Monotonic,
    ) {
        match mode {
            Mode::Sessionless => {}
            Mode::Full { by_topic_id } => {
                let Some(id) = self.make_room(parts.len(), of_follower, entropy, now) else { return };
                let mut session = Session::new(by_topic_id, of_follower, now);
                for (part, fetched) in parts.into_iter().zip(&reply.partitions) {
                    session.insert(part, told(fetched));
                }
                reply.session_id = id;
                self.sessions.insert(id, session);
            }
            Mode::Incremental { id, epoch } => {
                reply.session_id = id;
                reply.only_news = true;
                match self.sessions.get_mut(&id) {
                    Some(session) if session.epoch == epoch => session.mark_news(&mut reply.partitions),
                    // The same request came twice, and the other one moved on; or the session was evicted while this
                    // fetch waited, and the reader will hear of that with its next one.
                    Some(_) => {
                        reply.partitions.clear();
                        reply.refusal = Some(Refusal::InvalidFetchSessionEpoch);
                    }
                    None => {}
                }
            }
        }
    }

    /// A free id, if there is room for a session of so many partitions or it can be made.
    fn make_room(
        &mut self,
        partitions: usize,
        of_follower: bool,
        entropy: &mut Entropy,
        now: Monotonic,
    ) -> Option<i32> {
        let id = loop {
            let id = entropy.positive_i32();
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        if self.sessions.len() >= self.slots {
            let victim = self.victim((of_follower, partitions, id), now)?;
            self.sessions.remove(&victim);
        }
        Some(id)
    }

    /// Who makes room: a session idle for long, else the smallest of those that have had their time, unless the
    /// newcomer is smaller still. A follower's newcomer may also push out a young reader's.
    fn victim(&self, newcomer: (bool, usize, i32), now: Monotonic) -> Option<i32> {
        let age = |since: Monotonic| now.micros().saturating_sub(since.micros());
        let (id, oldest) = self.sessions.iter().min_by_key(|(_, session)| session.used)?;
        if age(oldest.used) > EVICTION_MICROS {
            return Some(*id);
        }
        let may_go = |session: &Session| {
            age(session.created) > EVICTION_MICROS || (newcomer.0 && !session.of_follower)
        };
        let smallest = self
            .sessions
            .iter()
            .filter(|(_, session)| may_go(session))
            .map(|(id, session)| (session.of_follower, session.partitions.len(), *id))
            .min()?;
        (newcomer >= smallest).then_some(smallest.2)
    }
}

impl Session {
    fn new(by_topic_id: bool, of_follower: bool, now: Monotonic) -> Self {
        Self {
            epoch: next_epoch(INITIAL_EPOCH),
            by_topic_id,
            of_follower,
            created: now,
            used: now,
            next_place: 0,
            partitions: BTreeMap::new(),
            line: BTreeMap::new(),
        }
    }

    fn insert(&mut self, part: FetchPartition, told: Option<(Offset, Offset)>) {
        let key = (part.topic.clone(), part.partition);
        if let Some(cached) = self.partitions.get_mut(&key) {
            cached.part = part;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.line.insert(place, key.clone());
        self.partitions.insert(key, Cached { place, part, told });
    }

    fn update(&mut self, parts: Vec<FetchPartition>, forgotten: &[Key]) {
        for part in parts {
            self.insert(part, None);
        }
        for key in forgotten {
            if let Some(cached) = self.partitions.remove(key) {
                self.line.remove(&cached.place);
            }
        }
    }

    fn in_line(&self) -> Vec<FetchPartition> {
        self.line.values().filter_map(|key| Some(self.partitions.get(key)?.part.clone())).collect()
    }

    fn mark_news(&mut self, partitions: &mut [FetchedPartition]) {
        for fetched in partitions {
            let key = (fetched.topic.clone(), fetched.partition);
            let Some(cached) = self.partitions.get_mut(&key) else { continue };
            let tells = told(fetched);
            fetched.news = tells.is_none() || tells != cached.told;
            cached.told = tells;
            if fetched.outcome.as_ref().is_ok_and(|fetched| fetched.range.is_some()) {
                self.line.remove(&cached.place);
                cached.place = self.next_place;
                self.next_place += 1;
                self.line.insert(cached.place, key);
            }
        }
    }
}

/// What an answer tells of a partition that is worth telling once; an error, a divergence, or where else to read is told
/// again.
fn told(fetched: &FetchedPartition) -> Option<(Offset, Offset)> {
    let fetched = fetched.outcome.as_ref().ok()?;
    let at = fetched.positions;
    let is_for_once = fetched.diverging.is_none() && fetched.preferred.is_none();
    is_for_once.then_some((at.high_watermark, at.log_start))
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests;
