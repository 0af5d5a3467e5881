//! How a group of the classic protocol becomes one of this protocol, with its members in it, when the first member of this
//! protocol joins (`convertToConsumerGroup`, KIP-848).
//!
//! What members were assigned last is what they have; the generation becomes the epoch. The one who joins changes what is read,
//! so that a new epoch begins with it, and the others hear in their next requests that they are to join again. One who takes a
//! static member's place may change nothing: then an epoch begins if the last leader did not give out everything to everyone,
//! or not everyone has asked what that gave out, or somebody has more: it reads on what is to be another's. (In Kafka none does,
//! and what was left out is nobody's.)

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_storage::TopicId;

use super::Consumer;
use super::change::ConsumerRecord;
use super::classic_members::known_partitions;
use super::epochs::MemberEpoch;
use super::member::{ClassicFacts, Current, Facts, Held, Member, Standing, held_since};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::classic::{Classic, State};
use crate::group::consumer_words::{ConsumerHeartbeat, Partitions};
use crate::group::coordinator::{Coordinator, Kind};
use crate::group::ids::{GroupId, ProtocolName};
use crate::group::member::Member as ClassicMember;
use crate::group::record::Record;
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::group::words::GroupReply;
use crate::ids::PartitionIndex;
use crate::node::Ticket;
use crate::refusal::Refusal;

/// A group that is about to change.
pub(super) struct Origin {
    pub(super) group: Consumer,
    /// What is written down before it is one of this protocol.
    pub(super) records: Vec<Record>,
    /// Who waits for a generation of the classic group that will not be; none where there was no such group.
    pub(super) waiting: Option<Vec<(Ticket, GroupReply)>>,
    /// Whether a new epoch begins with who joins, whatever that says.
    pub(super) begins_epoch: bool,
}

impl Origin {
    fn of(group: Consumer, records: Vec<Record>) -> Self {
        Self { group, records, waiting: None, begins_epoch: false }
    }
}

impl Coordinator {
    /// The group as it is, or a new one for who joins.
    pub(super) fn consumer_to_change(
        &self,
        turn: &Turn<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<Origin, Refusal> {
        let end = || vec![Record::Group(request.group.clone(), None)];
        match self.group(&request.group).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => Ok(Origin::of(group.clone(), Vec::new())),
            None if request.joins() => Ok(Origin::of(Consumer::default(), Vec::new())),
            Some(Kind::Classic(group)) if request.joins() && group.is_empty() => {
                Ok(Origin::of(Consumer::default(), end()))
            }
            Some(Kind::Classic(group)) if request.joins() => {
                let Upgraded { group: converted, changes, has_more } = upgrade(group, turn).map_err(|why| {
                    tracing::info!(group = %request.group, why, "a classic group cannot be one of the consumer protocol");
                    Refusal::GroupNotFound
                })?;
                let changes =
                    changes.into_iter().map(|change| Record::Consumer(request.group.clone(), change));
                let waiting = group.waiting(&Refusal::RebalanceInProgress);
                Ok(Origin {
                    begins_epoch: group.state != State::Stable
                        || !group.unsynced.is_empty()
                        || has_more
                        || !converted.is_given_out(turn.journal.topics()),
                    group: converted,
                    records: end().into_iter().chain(changes).collect(),
                    waiting: Some(waiting),
                })
            }
            None | Some(Kind::Classic(_)) => Err(Refusal::GroupNotFound),
        }
    }

    /// A classic group is one of this protocol now: its members' sessions are, too, and nobody waits for a generation.
    pub(super) fn upgraded(&mut self, turn: &mut Turn<'_>, id: &GroupId, waiting: Vec<(Ticket, GroupReply)>) {
        tracing::info!(group = %id, "a classic group is one of the consumer protocol now");
        self.cancel(&Timer::Join(id.clone()));
        self.cancel(&Timer::Sync(id.clone()));
        self.begin_consumer_sessions(turn, id);
        waiting.into_iter().for_each(|(ticket, reply)| turn.answer(ticket, reply));
    }
}

/// The group that a classic one becomes, and its records.
struct Upgraded {
    group: Consumer,
    changes: Vec<ConsumerRecord>,
    /// Whether a member has something that it was not assigned.
    has_more: bool,
}

/// What a classic group becomes; or why it cannot.
fn upgrade(group: &Classic, turn: &Turn<'_>) -> Result<Upgraded, &'static str> {
    if !turn.limits.migration.may_upgrade() {
        return Err("group.consumer.migration.policy forbids it");
    }
    if !group.is_of_consumers() {
        return Err("its members are no consumers");
    }
    if group.members.len() > turn.limits.consumer_max_size {
        return Err("it is too large");
    }
    let topics = turn.journal.topics();
    let epoch = MemberEpoch(group.generation.0);
    let mut next = Consumer { epoch, target_epoch: epoch, ..Consumer::default() };
    let mut has = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (id, member) in group.members.iter() {
        let assigned = assigned_to(member, topics)?;
        if !each(&assigned).all(|one| seen.insert(one)) {
            return Err("a partition is assigned to two members");
        }
        has.insert(id, assigned);
    }
    let mut has_more = false;
    for (id, member) in group.members.iter() {
        let subscription = subscription_of(member, group.protocol.as_ref())?;
        let mut assigned = has.remove(id).unwrap_or_default();
        // Who gives up nothing while it joins may have more than it was assigned in a generation that was not to be.
        for (topic, partition) in each(&known_partitions(&subscription.owned_partitions, topics)) {
            if seen.insert((topic, partition)) {
                has_more = true;
                assigned.entry(topic).or_default().insert(partition);
            }
        }
        let current = Current {
            epoch,
            previous_epoch: epoch,
            standing: Standing::Stable,
            assigned: held_since(&assigned, epoch),
            revoking: Held::new(),
        };
        let member = Member { facts: facts_of(member, &subscription), current };
        next.members.put(id.clone(), member.into());
        next.target.put(id.clone(), assigned.into());
    }
    next.topics_hash = next.hash_of_topics(topics);
    let changes = Consumer::default().changes_to(&next);
    let mut converted = Consumer::default();
    changes.iter().cloned().for_each(|change| converted.apply(change));
    Ok(Upgraded { group: converted, changes, has_more })
}

impl Consumer {
    /// Whether each partition that is read is somebody's.
    fn is_given_out(&self, topics: &ClusterMetadata) -> bool {
        self.names().into_keys().filter_map(|name| topics.id_of(name)).all(|topic| {
            let count = topics.topic(topic).map_or(0, |topic| topic.partitions.len());
            let mut partitions = (0..).map(PartitionIndex).take(count);
            partitions.all(|partition| self.index.held.contains_key(&(topic, partition)))
        })
    }
}

/// What the leader of the last generation gave a member; nothing to one that has not been in any.
fn assigned_to(member: &ClassicMember, topics: &ClusterMetadata) -> Result<Partitions, &'static str> {
    if member.assignment.is_empty() {
        return Ok(Partitions::new());
    }
    let words = ConsumerProtocolAssignment::from_bytes(member.assignment.clone())
        .map_err(|_| "an assignment cannot be read")?;
    if words.user_data.is_some_and(|data| !data.is_empty()) {
        return Err("an assignor of its own would lose what it says to itself");
    }
    Ok(known_partitions(&words.assigned_partitions, topics))
}

/// Each of some partitions.
fn each(partitions: &Partitions) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    partitions.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

/// What a classic member said of itself.
fn subscription_of(
    member: &ClassicMember,
    protocol: Option<&ProtocolName>,
) -> Result<ConsumerProtocolSubscription, &'static str> {
    let chosen = member.protocols.iter().find(|known| Some(&known.name) == protocol);
    let said = chosen.or(member.protocols.first()).ok_or("a member knows no protocol")?;
    ConsumerProtocolSubscription::from_bytes(said.metadata.clone())
        .map_err(|_| "a subscription cannot be read")
}

/// The same in the words of this protocol.
fn facts_of(member: &ClassicMember, subscription: &ConsumerProtocolSubscription) -> Facts {
    let mut facts = Facts {
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        classic: Some(ClassicFacts {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
        ..Facts::default()
    };
    facts.subscribe(subscription);
    facts
}
