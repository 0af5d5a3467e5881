//! A consumer in a group as a pure machine: the consumer of assigned partitions, and beside it what a group adds.
//!
//! Call [`step`](GroupMachine::step) whenever something happened or [`deadline`](GroupMachine::deadline) has come, carry out
//! the actions, give each answer to [`answer`](GroupMachine::answer). What is the application's part happens only in
//! [`turn`](GroupMachine::turn): it alone gives records, and it alone says that partitions come or go, so between two turns
//! the application may rely on what it has. Whoever acts for it carries out the [`Step`] and says
//! [`done`](GroupMachine::done).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_protocol::{ErrorCode, Text};

use super::Generation;
use super::commits::{CommitId, Commits, Offsets, Persistence};
use super::committed::Resuming;
use super::config::{GroupConfig, GroupProtocol};
use super::errands::Errand;
use super::membership::{Identity, Membership};
use crate::consumer::{ConsumerConfig, ConsumerMachine};
use crate::error::{Error, Result};
use crate::exchange::{Action, RequestId};
use crate::finder::{Coordinated, Finder};
use crate::metadata::{Refresh, TopicPartition};
use crate::producer::GroupMetadata;
use crate::record::ConsumedRecord;
use crate::time::{Monotonic, Now};

/// What the application has to go along with before it gets more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These partitions are to be given back; until that is done they are still this consumer's, and may be committed.
    Revoke(BTreeSet<TopicPartition>),
    /// These partitions are gone, and may be somebody else's already: nothing can be committed for them any more.
    Lose(BTreeSet<TopicPartition>),
    /// A rebalance is over; these partitions are new, possibly none. They can be read, sought and committed.
    Assign(BTreeSet<TopicPartition>),
}

/// What a turn brings.
#[derive(Debug)]
pub enum Turn {
    /// To be carried out, and said to be [done](GroupMachine::done); the next turn names it again until then.
    Rebalance(Step),
    /// Records, possibly none.
    Records(Vec<ConsumedRecord>),
}

/// What a consumer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// Its share of these topics, as its group divides them.
    Topics(BTreeSet<Text>),
    /// Its share of the topics whose names match, which the coordinator finds out.
    Pattern(Text),
    /// These partitions, whoever else reads them; the group only keeps the offsets.
    Partitions(BTreeSet<TopicPartition>),
}

/// A consumer in a group.
#[derive(Debug)]
pub struct GroupMachine {
    pub(super) config: GroupConfig,
    pub(super) consumer: ConsumerMachine,
    pub(super) subscription: Subscription,
    pub(super) finder: Finder,
    pub(super) membership: Membership,
    pub(super) commits: Commits,
    pub(super) resuming: Resuming,
    /// Requests to the coordinator, and when they are late.
    pub(super) errands: BTreeMap<RequestId, (Errand, Monotonic)>,
    /// What is to be sent at the next step.
    pub(super) outbox: Vec<Action>,
    /// What the application is going along with now.
    step: Option<Step>,
    /// The last commit that was asked for when partitions were given back; others may have them when it is settled.
    given_back: Option<CommitId>,
    /// What has been divided while partitions of the last generation are still to be given back.
    incoming: Option<BTreeSet<TopicPartition>>,
    pub(super) problem: Option<Error>,
    /// Whether the application waits in a poll now.
    pub(super) is_polling: bool,
    pub(super) polled_at: Monotonic,
    auto_commit_due: Monotonic,
    auto_commit: Option<CommitId>,
    /// The last commit asked for before a rebalance, which is to be settled when it joins.
    before_joining: Option<CommitId>,
    pub(super) is_closing: bool,
    /// While it is to divide: what it waits for, to do so by the topics as they are now.
    pub(super) refresh: Option<Refresh>,
    /// Subscribed topics that brokers refuse for good, as the application was told.
    pub(super) refused: BTreeMap<Text, ErrorCode>,
    needs_step: bool,
    pub(super) wake_at: Option<Monotonic>,
}

impl GroupMachine {
    /// A consumer that has asked nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub fn new(
        config: GroupConfig,
        consumer: ConsumerConfig,
        subscription: Subscription,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let (backoff, request_timeout) = (consumer.backoff, consumer.request_timeout);
        let mut consumer = ConsumerMachine::new(consumer, seed)?;
        if config.protocol == GroupProtocol::Classic {
            // It may be elected to divide.
            consumer.metadata.keep_racks();
        }
        let jitter = &mut consumer.jitter;
        let mut machine = Self {
            finder: Finder::new(Coordinated::Group, config.group_id.clone(), backoff, request_timeout),
            membership: Membership::new(config.clone(), backoff, request_timeout, jitter),
            commits: Commits::new(&config, backoff),
            resuming: Resuming::new(config.group_id.clone(), backoff),
            consumer,
            config,
            subscription: subscription.clone(),
            given_back: None,
            errands: BTreeMap::new(),
            outbox: Vec::new(),
            step: None,
            incoming: None,
            problem: None,
            is_polling: false,
            polled_at: Monotonic::ORIGIN,
            auto_commit_due: Monotonic::ORIGIN,
            auto_commit: None,
            before_joining: None,
            is_closing: false,
            refresh: None,
            refused: BTreeMap::new(),
            needs_step: false,
            wake_at: None,
        };
        match &subscription {
            Subscription::Topics(_) | Subscription::Pattern(_) => machine.subscribe_to(subscription)?,
            Subscription::Partitions(partitions) => machine.consumer.assign_for_group(partitions),
        }
        Ok(machine)
    }

    /// The options.
    #[must_use]
    pub const fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The consumer of assigned partitions in it.
    #[must_use]
    pub const fn consumer(&self) -> &ConsumerMachine {
        &self.consumer
    }

    /// The same, to seek and to pause. Assigning is the group's.
    pub const fn consumer_mut(&mut self) -> &mut ConsumerMachine {
        &mut self.consumer
    }

    /// Who the coordinator takes it for.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.membership.identity()
    }

    /// Who commits, when it commits as part of a transaction. While it joins the next generation that is the last one it was in:
    /// what it was given then is its own until it gives it back, and the coordinator knows whose it is.
    ///
    /// # Errors
    /// [`Error::NotAMember`] when it is in none: whatever it was given may be somebody else's.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        let identity = self.identity();
        let group_id = self.config.group_id.clone();
        if !self.is_member() {
            return Ok(GroupMetadata::without_members(group_id));
        }
        if identity.generation == Generation::NONE || self.is_closing {
            return Err(Error::NotAMember { group: (*group_id).into(), reason: None });
        }
        Ok(GroupMetadata {
            group_id,
            generation: identity.generation,
            member_id: identity.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
        })
    }

    /// What it reads.
    #[must_use]
    pub const fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    pub(super) const fn is_member(&self) -> bool {
        !matches!(self.subscription, Subscription::Partitions(_))
    }

    /// Replaces the topics. What is assigned of others is given back in the next turns.
    pub fn subscribe(&mut self, topics: BTreeSet<Text>) {
        self.read(Subscription::Topics(topics));
    }

    pub(super) fn subscribe_to(&mut self, subscription: Subscription) -> Result<()> {
        let is_pattern = matches!(subscription, Subscription::Pattern(_));
        if is_pattern && self.config.protocol == GroupProtocol::Classic {
            return Err(Error::config("subscribe", "patterns only with the consumer protocol"));
        }
        let is_nothing = match &subscription {
            Subscription::Topics(topics) => topics.is_empty(),
            Subscription::Pattern(pattern) => pattern.is_empty(),
            Subscription::Partitions(partitions) => partitions.is_empty(),
        };
        if is_nothing {
            return Err(Error::config("subscribe", "no topic, pattern or partition was given"));
        }
        self.read(subscription);
        Ok(())
    }

    fn read(&mut self, subscription: Subscription) {
        self.membership.subscription_changed(&subscription);
        self.subscription = subscription;
        self.watch_topics();
    }

    pub(super) fn watch_topics(&mut self) {
        let all = match (&self.subscription, &self.membership) {
            (Subscription::Topics(topics), Membership::Classic(member)) => {
                topics.union(member.group_topics()).cloned().collect()
            }
            (Subscription::Topics(topics), Membership::Consumer(_)) => topics.clone(),
            (Subscription::Pattern(_), _) => BTreeSet::new(),
            (Subscription::Partitions(_), _) => return,
        };
        self.consumer.watch(all);
    }

    pub(super) fn owned(&self) -> BTreeSet<TopicPartition> {
        self.consumer.assignment().cloned().collect()
    }

    /// Whether the last turn left something for [`step`](Self::step) to do; most that give records do not.
    pub const fn needs_step(&mut self) -> bool {
        std::mem::replace(&mut self.needs_step, false)
    }

    /// The application polls: gives what it has to go along with, else at most `max_records` records.
    ///
    /// # Errors
    /// What went wrong with the group or with a partition.
    pub fn turn(&mut self, now: Now, max_records: usize) -> Result<Turn> {
        self.polled_at = now.monotonic;
        let before = (self.consumer.ready.len(), self.commits.len(), self.membership.is_stable());
        let turn = self.take_turn(now, max_records);
        let after = (self.consumer.ready.len(), self.commits.len(), self.membership.is_stable());
        let gave_records = matches!(&turn, Ok(Turn::Records(records)) if !records.is_empty());
        self.needs_step |= before != after || !gave_records;
        turn
    }

    fn take_turn(&mut self, now: Now, max_records: usize) -> Result<Turn> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.is_member() {
            if let Some(step) = self.next_step(now.monotonic) {
                return Ok(Turn::Rebalance(step));
            }
            if let Some(fenced) = self.membership.fenced() {
                return Err(fenced.clone());
            }
        }
        self.commit_now_and_then(now.monotonic);
        self.consumer.take(max_records).map(Turn::Records)
    }

    /// Says whether the application waits in a poll, where it may stay as long as it likes.
    pub const fn set_polling(&mut self, now: Now, is_polling: bool) {
        self.polled_at = now.monotonic;
        self.is_polling = is_polling;
    }

    fn next_step(&mut self, now: Monotonic) -> Option<Step> {
        if self.step.is_none() {
            self.step = self.begin_step(now);
        }
        self.step.clone()
    }

    fn begin_step(&mut self, now: Monotonic) -> Option<Step> {
        let owned = self.owned();
        if self.membership.is_lost() {
            self.incoming = None;
            if !owned.is_empty() {
                return Some(Step::Lose(owned));
            }
            self.membership.has_given_up();
        }
        if self.membership.fenced().is_some() {
            return None;
        }
        match self.membership {
            Membership::Classic(_) => self.rejoin(now, owned),
            Membership::Consumer(_) => self.reconcile(&owned),
        }
    }

    /// Brings about what the coordinator assigned (KIP-848): gives back what is gone, has all of it committed that was asked
    /// for before, takes what is new, and lets the coordinator know.
    fn reconcile(&mut self, owned: &BTreeSet<TopicPartition>) -> Option<Step> {
        let Membership::Consumer(member) = &mut self.membership else { return None };
        member.join();
        let metadata = &self.consumer.metadata;
        let unnamed = member.unnamed(metadata.image());
        // What cannot be named is left out, but not before somebody was asked: it may be a topic that was made anew.
        if !unnamed.is_empty() && !metadata.was_asked_to_name(&unnamed) {
            return None;
        }
        let assigned = member.assigned(metadata.image())?;
        let gone: BTreeSet<_> = owned.difference(&assigned.partitions).cloned().collect();
        // What it has of a topic that was made anew is gone: committed, it would count for the new one.
        let image = self.consumer.metadata.image();
        let lost: BTreeSet<_> =
            gone.iter().filter(|at| member.is_made_anew(&at.topic, image)).cloned().collect();
        if !lost.is_empty() {
            return Some(Step::Lose(lost));
        }
        if !gone.is_empty() {
            return Some(Step::Revoke(gone));
        }
        if self.given_back.is_some_and(|last| !self.commits.are_settled_to(last)) {
            return None;
        }
        let new = assigned.partitions.difference(owned).cloned().collect();
        self.consumer.assign_for_group(&assigned.partitions);
        member.has_adopted(assigned);
        Some(Step::Assign(new))
    }

    /// Takes what was divided, and joins again where that is due.
    fn rejoin(&mut self, now: Monotonic, owned: BTreeSet<TopicPartition>) -> Option<Step> {
        let Membership::Classic(member) = &mut self.membership else { return None };
        if let Some(assigned) = member.take_assignment() {
            self.adopt(assigned);
        }
        let Membership::Classic(member) = &mut self.membership else { return None };
        if let Some(incoming) = &self.incoming {
            let gone: BTreeSet<_> = owned.difference(incoming).cloned().collect();
            if !gone.is_empty() {
                // Whoever is to get them waits for the rebalance after this one (KIP-429).
                member.rejoin("partitions were given back");
                return Some(Step::Revoke(gone));
            }
            let new: BTreeSet<_> = incoming.difference(&owned).cloned().collect();
            self.consumer.assign_for_group(incoming);
            self.incoming = None;
            return Some(Step::Assign(new));
        }
        if member.wants_to_join() {
            let gone = self.to_give_back_before_joining(owned);
            if !gone.is_empty() {
                return Some(Step::Revoke(gone));
            }
            // On the way to the next generation nothing can be committed, and in it nothing under this one.
            if self.before_joining.is_none() {
                if self.config.auto_commit {
                    self.commit_now(now);
                }
                self.before_joining = Some(self.commits.newest());
            }
            if self.before_joining.is_some_and(|last| self.commits.are_settled_to(last))
                && let Membership::Classic(member) = &mut self.membership
            {
                self.before_joining = None;
                member.join();
            }
        }
        None
    }

    /// All of it where assignors are eager; else what is not subscribed to any more.
    fn to_give_back_before_joining(&self, mut owned: BTreeSet<TopicPartition>) -> BTreeSet<TopicPartition> {
        if let Subscription::Topics(topics) = &self.subscription
            && self.config.is_cooperative()
        {
            owned.retain(|at| !topics.contains(&at.topic));
        }
        owned
    }

    /// Takes what the new generation brings, unless the subscription has changed since it was asked for.
    fn adopt(&mut self, assigned: BTreeSet<TopicPartition>) {
        let Subscription::Topics(topics) = &self.subscription else { return };
        if assigned.iter().all(|at| topics.contains(&at.topic)) {
            self.incoming = Some(assigned);
        } else {
            self.membership.subscription_changed(&self.subscription);
        }
    }

    /// The application has gone along with what the last turn named.
    pub fn done(&mut self, now: Now) {
        match self.step.take() {
            Some(Step::Revoke(gone)) => {
                let kept = self.owned().difference(&gone).cloned().collect();
                self.consumer.assign_for_group(&kept);
                self.given_back = Some(self.commits.newest());
            }
            Some(Step::Lose(gone)) => {
                let kept = self.owned().difference(&gone).cloned().collect();
                self.consumer.assign_for_group(&kept);
            }
            Some(Step::Assign(_)) => self.auto_commit_due = now.monotonic + self.config.auto_commit_interval,
            None => {}
        }
    }

    /// What has been taken of each of these partitions, to be committed; `None` for all.
    #[must_use]
    pub fn positions(&self, of: Option<&BTreeSet<TopicPartition>>) -> Offsets {
        let positions = self.consumer.positions().into_iter();
        let wanted = positions.filter(|(at, _)| of.is_none_or(|of| of.contains(at)));
        wanted.map(|(at, position)| (at, super::CommittedOffset::at(position))).collect()
    }

    /// Whether a commit has a chance.
    pub(super) const fn may_commit(&self) -> bool {
        !self.is_member() || self.membership.is_stable()
    }

    /// What the application has to go along with when it closes the consumer.
    pub(super) fn last_step(&self) -> Option<Step> {
        let owned = self.owned();
        if owned.is_empty() || !self.is_member() {
            return None;
        }
        Some(if self.membership.is_lost() { Step::Lose(owned) } else { Step::Revoke(owned) })
    }

    /// Asks for offsets to be committed; the outcome is told by [`take_commit_results`](Self::take_commit_results).
    ///
    /// # Errors
    /// When it cannot be: [`Error::NotAMember`], [`Error::RebalanceInProgress`], [`Error::TooManyCommits`].
    pub fn commit(&mut self, now: Now, offsets: Offsets, persistence: Persistence) -> Result<CommitId> {
        let timeout = match persistence {
            Persistence::UntilDone | Persistence::UnlessDeleted => self.config.api_timeout,
            Persistence::Once => self.consumer.config().request_timeout,
        };
        self.commit_within(now.monotonic, offsets, persistence, timeout)
    }

    fn commit_within(
        &mut self,
        now: Monotonic,
        offsets: Offsets,
        persistence: Persistence,
        timeout: Duration,
    ) -> Result<CommitId> {
        if self.is_closing {
            return Err(Error::Closed { possibly_stored: false });
        }
        if !self.may_commit() && !offsets.is_empty() {
            let group = (*self.config.group_id).into();
            return Err(if self.membership.is_in_group() {
                Error::RebalanceInProgress { group }
            } else {
                Error::NotAMember { group, reason: None }
            });
        }
        self.commits.push(now, offsets, self.membership.era(), persistence, timeout)
    }

    /// The outcomes of commits since the last call.
    pub fn take_commit_results(&mut self) -> Vec<(CommitId, Result<()>)> {
        self.commits.take_results()
    }

    /// What earlier turns gave counts as processed when the application comes for more.
    fn commit_now_and_then(&mut self, now: Monotonic) {
        let is_busy = self.auto_commit.is_some_and(|id| self.commits.is_waiting(id));
        if !self.config.auto_commit || self.auto_commit_due > now || is_busy {
            return;
        }
        self.commit_now(now);
    }

    fn commit_now(&mut self, now: Monotonic) {
        self.auto_commit_due = now + self.config.auto_commit_interval;
        let positions = self.positions(None);
        let timeout = self.consumer.config().request_timeout;
        if !positions.is_empty() {
            // What cannot be committed now is part of the next one.
            self.auto_commit = self.commit_within(now, positions, Persistence::Once, timeout).ok();
        }
    }

    /// Leaves the group; nothing is asked for any more after what is under way.
    pub fn leave(&mut self, now: Now) {
        self.is_closing = true;
        self.leave_group(now.monotonic, "the consumer was closed");
        self.commits.abandon();
        self.consumer.assign_for_group(&BTreeSet::new());
        self.consumer.watch(BTreeSet::new());
        self.step = None;
        self.incoming = None;
    }

    /// Whether it has left, and the coordinator knows, as far as it can be told.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.is_closing && !self.errands.values().any(|(errand, _)| matches!(errand, Errand::Leave))
    }

    /// When [`step`](Self::step) is next due.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        self.wake_at
    }
}
