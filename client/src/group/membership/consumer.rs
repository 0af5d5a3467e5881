//! A member of a group of the consumer protocol (KIP-848; `AbstractMembershipManager`, `AbstractHeartbeatRequestManager`).
//!
//! There is one request, the heartbeat. It says who the member is, and of its wish and of what it has only what changed since
//! the coordinator last heard it, all of it where that cannot be sure of anything. The answer brings the member's epoch, and
//! what it is assigned when that changed.
//!
//! ```text
//!            join          heartbeat of epoch 0
//!  Unjoined ------> Joining -------------------> Member --+ heartbeats; assigned something else:
//!     ^                                            |   ^  | given back what is gone, taken what is new, and told
//!     +-- fenced off, left: what it had is lost ---+   +--+
//! ```
//!
//! Whoever owns it brings about what it is [assigned](ConsumerMember::assigned) and says so
//! ([`has_adopted`](ConsumerMember::has_adopted)); the coordinator hears of it at once, since others may wait for what was
//! given back.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_protocol::messages::ConsumerGroupHeartbeatRequest;
use highwater_protocol::messages::consumer_group_heartbeat::TopicPartitions;
use highwater_protocol::{Text, Uuid};

use super::{Era, Identity, as_ms};
use crate::error::Error;
use crate::exchange::Body;
use crate::group::Generation;
use crate::group::config::GroupConfig;
use crate::group::machine::Subscription;
use crate::metadata::{ClusterImage, TopicPartition};
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

/// The epoch of a heartbeat that joins.
const JOIN: i32 = 0;
/// The epoch of a heartbeat that leaves.
const LEAVE: i32 = -1;
/// The epoch of a heartbeat by which a static member leaves that may come back under its name.
const LEAVE_FOR_A_WHILE: i32 = -2;

/// How often a member is heard of until the coordinator says how often it wants that, and where what it says cannot be.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Partitions by the ids of their topics.
type Ids = BTreeMap<Uuid, BTreeSet<i32>>;

/// What the member wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wish {
    topics: BTreeSet<Text>,
    pattern: Option<Text>,
}

/// What the coordinator has heard.
#[derive(Debug)]
struct Heard {
    wish: Wish,
    adopted: Ids,
}

/// What a member is to read, as far as its topics can be named yet.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) partitions: BTreeSet<TopicPartition>,
    ids: Ids,
    names: BTreeMap<Text, Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not in the group, and not on the way.
    Unjoined,
    Joining,
    Member,
}

#[derive(Debug)]
pub(crate) struct ConsumerMember {
    config: GroupConfig,
    backoff: Backoff,
    request_timeout: Duration,
    state: State,
    identity: Identity,
    era: Era,
    wish: Wish,
    /// Its membership was taken from it, and nobody was told yet.
    lost: bool,
    /// Another consumer has taken its name: there is no way back.
    fenced: Option<Error>,
    /// What it is assigned, as last heard; `None` before it heard anything.
    target: Option<Ids>,
    /// The coordinator waits to hear what it has. What came and went again before it was taken changes nothing of that, and is
    /// still the member's until it has said so.
    is_awaited: bool,
    /// The coordinator may know a pattern, of this member or of an earlier one of its name.
    may_hold_pattern: bool,
    /// The heartbeat under way takes it back.
    takes_back_pattern: bool,
    /// What it has; `None` until it has brought about its first assignment since it joined.
    adopted: Option<Ids>,
    /// The topics behind that.
    names: BTreeMap<Text, Uuid>,
    /// `None` when the coordinator cannot be sure to have heard what was said last.
    heard: Option<Heard>,
    interval: Duration,
    heartbeat_due: Monotonic,
    heartbeat_asked: bool,
    failures: u32,
    not_before: Monotonic,
}

impl ConsumerMember {
    pub(super) fn new(
        config: GroupConfig,
        backoff: Backoff,
        request_timeout: Duration,
        jitter: &mut Jitter,
    ) -> Self {
        let bits = u128::from(jitter.next_u64()) << 64 | u128::from(jitter.next_u64());
        let member_id = Uuid(bits.to_be_bytes()).to_string().into();
        let may_hold_pattern = config.group_instance_id.is_some();
        Self {
            config,
            backoff,
            request_timeout,
            state: State::Unjoined,
            identity: Identity { member_id, generation: Generation::NONE },
            era: Era::default(),
            wish: Wish::default(),
            lost: false,
            fenced: None,
            target: None,
            is_awaited: false,
            may_hold_pattern,
            takes_back_pattern: false,
            adopted: None,
            names: BTreeMap::new(),
            heard: None,
            interval: HEARTBEAT_INTERVAL,
            heartbeat_due: Monotonic::ORIGIN,
            heartbeat_asked: false,
            failures: 0,
            not_before: Monotonic::ORIGIN,
        }
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) const fn era(&self) -> Era {
        self.era
    }

    pub(super) const fn is_stable(&self) -> bool {
        matches!(self.state, State::Member)
    }

    pub(super) const fn is_in_group(&self) -> bool {
        !matches!(self.state, State::Unjoined)
    }

    pub(super) const fn fenced(&self) -> Option<&Error> {
        self.fenced.as_ref()
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) const fn has_given_up(&mut self) {
        self.lost = false;
    }

    pub(super) fn subscribe(&mut self, subscription: &Subscription) {
        self.wish = match subscription {
            Subscription::Topics(topics) => Wish { topics: topics.clone(), pattern: None },
            Subscription::Pattern(pattern) => {
                Wish { topics: BTreeSet::new(), pattern: Some(pattern.clone()) }
            }
            Subscription::Partitions(_) => Wish::default(),
        };
    }

    /// Joins, if it is not in the group.
    pub(crate) const fn join(&mut self) {
        if matches!(self.state, State::Unjoined) {
            self.state = State::Joining;
        }
    }

    /// Its membership counts no more.
    pub(super) fn reset(&mut self) {
        self.state = State::Unjoined;
        self.identity.generation = Generation::NONE;
        self.era.end();
        self.lost = true;
        (self.target, self.adopted, self.heard) = (None, None, None);
        self.names.clear();
        (self.is_awaited, self.heartbeat_asked) = (false, false);
    }

    /// A static member leaves for a while: it may come back under its name.
    pub(super) fn leave(&mut self) -> Option<Body> {
        let was_in_group = self.is_in_group();
        self.reset();
        let is_static = self.config.group_instance_id.is_some();
        was_in_group.then(|| {
            Body::ConsumerGroupHeartbeat(Box::new(ConsumerGroupHeartbeatRequest {
                member_epoch: if is_static { LEAVE_FOR_A_WHILE } else { LEAVE },
                ..self.signed()
            }))
        })
    }

    /// What it is to have, where that is not what it has; see [`has_adopted`](Self::has_adopted).
    pub(crate) fn assigned(&self, image: &ClusterImage) -> Option<Assigned> {
        let target = self.target.as_ref().filter(|target| self.adopted.as_ref() != Some(*target))?;
        let mut assigned = Assigned { partitions: BTreeSet::new(), ids: Ids::new(), names: BTreeMap::new() };
        for (id, partitions) in target {
            let Some(name) = self.name_of(*id, image) else { continue };
            // A topic that was made anew is another one: what it has of the old one goes first.
            if self.names.get(name).is_some_and(|known| known != id) {
                continue;
            }
            let named = partitions.iter().map(|partition| TopicPartition::new(name.clone(), *partition));
            assigned.partitions.extend(named);
            assigned.ids.insert(*id, partitions.clone());
            assigned.names.insert(name.clone(), *id);
        }
        (self.adopted.as_ref() != Some(&assigned.ids)).then_some(assigned)
    }

    /// The topics it is assigned that cannot be named yet.
    pub(crate) fn unnamed(&self, image: &ClusterImage) -> BTreeSet<Uuid> {
        if self.target == self.adopted {
            return BTreeSet::new();
        }
        let target = self.target.iter().flat_map(BTreeMap::keys);
        target.filter(|id| self.name_of(**id, image).is_none()).copied().collect()
    }

    /// A topic's name. What it has it can name, also when a broker that lags does not know the topic.
    fn name_of<'a>(&'a self, id: Uuid, image: &'a ClusterImage) -> Option<&'a Text> {
        let had = || {
            let (name, _) = self.names.iter().find(|(_, known)| **known == id)?;
            let is_known = image.topics.contains_key(&**name);
            (!is_known).then_some(name)
        };
        image.name_of(id).or_else(had)
    }

    /// Whether there is another topic of that name now than the one it has partitions of.
    pub(crate) fn is_made_anew(&self, topic: &Text, image: &ClusterImage) -> bool {
        let id = image.topic_id(topic);
        self.names.get(topic).is_some_and(|known| *known != id && !id.is_zero())
    }

    /// It has what it was assigned, and nothing else any more.
    pub(crate) fn has_adopted(&mut self, assigned: Assigned) {
        self.adopted = Some(assigned.ids);
        self.names = assigned.names;
    }

    /// Whether a heartbeat is due, which is then to be [sent](Self::heartbeat).
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.deadline().is_some_and(|due| due <= now)
    }

    /// When the next heartbeat is due: what is new is told at once.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        if self.state == State::Unjoined || self.heartbeat_asked {
            return None;
        }
        Some(if self.has_news() { self.not_before } else { self.heartbeat_due })
    }

    fn has_news(&self) -> bool {
        let Some(heard) = &self.heard else { return true };
        let has_all = self.adopted.is_some() && self.adopted == self.target;
        (self.is_awaited && has_all)
            || heard.wish != self.wish
            || self.adopted.as_ref().is_some_and(|adopted| *adopted != heard.adopted)
    }

    /// The heartbeat, and how long its answer may take.
    pub(crate) fn heartbeat(&mut self, now: Monotonic) -> (Body, Duration) {
        let mut request = self.signed();
        let adopted = self.adopted.clone().unwrap_or_default();
        let heard = self.heard.take();
        if heard.is_none() {
            request.rebalance_timeout_ms = as_ms(self.config.max_poll_interval);
            request.server_assignor = self.config.remote_assignor.clone();
            request.rack_id = self.config.rack.clone();
        }
        let old_wish = heard.as_ref().map(|heard| &heard.wish);
        if old_wish.is_none_or(|old| old.topics != self.wish.topics) {
            request.subscribed_topic_names = Some(self.wish.topics.iter().cloned().collect());
        }
        self.takes_back_pattern = self.may_hold_pattern && self.wish.pattern.is_none();
        if self.takes_back_pattern {
            // An empty expression takes back the last one; until that is answered it may not have been heard.
            request.subscribed_topic_regex = Some(Text::default());
        } else if old_wish.is_none_or(|old| old.pattern != self.wish.pattern) {
            request.subscribed_topic_regex = self.wish.pattern.clone();
            self.may_hold_pattern |= self.wish.pattern.is_some();
        }
        let is_awaited = std::mem::take(&mut self.is_awaited);
        if is_awaited || heard.is_none_or(|heard| heard.adopted != adopted) {
            request.topic_partitions = Some(by_id(&adopted));
        }
        self.heard = Some(Heard { wish: self.wish.clone(), adopted });
        self.heartbeat_asked = true;
        self.heartbeat_due = now + self.interval;
        (Body::ConsumerGroupHeartbeat(Box::new(request)), self.request_timeout)
    }

    /// A heartbeat that says only who it is.
    fn signed(&self) -> ConsumerGroupHeartbeatRequest {
        let epoch = self.identity.generation;
        ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.identity.member_id.clone(),
            member_epoch: if epoch == Generation::NONE { JOIN } else { epoch.0 },
            instance_id: self.config.group_instance_id.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }
}

fn by_id(ids: &Ids) -> Vec<TopicPartitions> {
    let one = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    ids.iter().map(one).collect()
}
