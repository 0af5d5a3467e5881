//! Who is told what, and when: records go to each node in order, answers wait until what they rest on is as safe as it is
//! promised to be.

use std::collections::{BTreeMap, VecDeque};

use super::{Controller, ControllerEffect, ControllerEffects};
use crate::ids::{BrokerEpoch, MetadataOffset, Monotonic, NodeId, Now};
use crate::message::{Answer, Caller, FromController};
use crate::refusal::Refusal;

/// After how long records are sent again to a node that is heard and did not say that it has them: a link may lose them.
const RESEND_MS: i32 = 2_000;

/// One life of a node.
#[derive(Debug)]
struct Session {
    broker_epoch: BrokerEpoch,
    /// The end of what the node has made so.
    applied: MetadataOffset,
    /// The end of what is on its way, and since when.
    sent: Option<(MetadataOffset, Monotonic)>,
    /// When it was there last, as far as is known. One that comes up may take its time, and until it is there is nobody to be
    /// told anything.
    heard: Option<Monotonic>,
    /// It wants to stop, and may when the others have made all records before this offset so.
    leaves_at: Option<MetadataOffset>,
}

/// The nodes that are there.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<NodeId, Session>,
    /// Those that are not there, and want to stop.
    absent_leaving: Vec<NodeId>,
}

impl Sessions {
    pub(super) fn begin(&mut self, node: NodeId, broker_epoch: BrokerEpoch, upto: MetadataOffset) {
        let session = Session { broker_epoch, applied: upto, sent: None, heard: None, leaves_at: None };
        self.live.insert(node, session);
    }

    pub(super) fn end(&mut self, node: NodeId) {
        self.live.remove(&node);
    }

    /// The nodes that are there.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.live.keys().copied()
    }

    /// When each was heard last, of those that were.
    pub(super) fn heard_at(&self) -> impl Iterator<Item = (NodeId, Monotonic)> {
        self.live.iter().filter_map(|(node, session)| Some((*node, session.heard?)))
    }

    /// Whether a node is there, in this life.
    pub(super) fn is_of(&self, node: NodeId, broker_epoch: BrokerEpoch) -> bool {
        self.live.get(&node).is_some_and(|session| session.broker_epoch == broker_epoch)
    }

    /// The node said something.
    pub(super) fn heard(&mut self, now: Now, node: NodeId) {
        if let Some(session) = self.live.get_mut(&node) {
            session.heard = Some(now.monotonic);
        }
    }

    /// As if each had just said something, of those that ever did.
    pub(super) fn heard_all(&mut self, now: Now) {
        let heard = self.live.values_mut().filter_map(|session| session.heard.as_mut());
        heard.for_each(|at| *at = now.monotonic);
    }

    /// What is on its way to a node for long counts as lost.
    pub(super) fn resend(&mut self, now: Now, node: NodeId) {
        if let Some(session) = self.live.get_mut(&node) {
            session.sent = session.sent.filter(|(_, since)| since.plus_ms(RESEND_MS) > now.monotonic);
        }
    }

    /// A node has a connection anew, and all records before this offset: what was on its way to it is lost.
    pub(super) fn reconnected(&mut self, node: NodeId, upto: MetadataOffset) {
        self.applied(node, upto);
        if let Some(session) = self.live.get_mut(&node) {
            session.sent = None;
        }
    }

    /// The node has made all records before this offset so.
    pub(super) fn applied(&mut self, node: NodeId, upto: MetadataOffset) {
        let Some(session) = self.live.get_mut(&node) else { return };
        session.applied = session.applied.max(upto);
        session.sent = session.sent.filter(|(sent, _)| *sent > session.applied);
    }

    /// All records before this offset are known to every node that is there; none where nobody is.
    pub(super) fn known_to_all(&self) -> Option<MetadataOffset> {
        self.live.values().map(|session| session.applied).min()
    }

    /// The node may stop when the others have made all records before this offset so.
    pub(super) fn leave(&mut self, node: NodeId, upto: MetadataOffset) {
        match self.live.get_mut(&node) {
            Some(session) => session.leaves_at = Some(upto),
            None => self.absent_leaving.push(node),
        }
    }

    /// The nodes that may stop now; `serves` says whose word counts. `is_over`: nobody will be told anything any more.
    pub(super) fn take_left(&mut self, serves: impl Fn(NodeId) -> bool, is_over: bool) -> Vec<NodeId> {
        let mut left = std::mem::take(&mut self.absent_leaving);
        // Who still comes up has nobody yet whom it could tell anything.
        let counts = |(node, session): &(&NodeId, &Session)| {
            session.leaves_at.is_none() && session.heard.is_some() && serves(**node)
        };
        let known = self.live.iter().filter(counts).map(|(_, session)| session.applied).min();
        for (node, session) in &mut self.live {
            let Some(upto) = session.leaves_at else { continue };
            if is_over || known.is_none_or(|known| known >= upto) {
                session.leaves_at = None;
                left.push(*node);
            }
        }
        left
    }
}

/// An answer that waits.
#[derive(Debug)]
struct Waiting {
    to: NodeId,
    caller: Caller,
    /// What must be durable.
    needs: MetadataOffset,
    at: MetadataOffset,
    answer: Answer,
}

/// Answers that wait for the disk, in order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Waiting>,
}

impl Answers {
    /// A node is not there any more, and with it who asked.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.waiting.retain(|waiting| waiting.to != node);
    }

    /// The cluster's log failed: what an answer rests on may be lost.
    pub(super) fn refuse_all(&mut self, refusal: &Refusal, effects: &mut ControllerEffects) {
        for mut waiting in self.waiting.drain(..) {
            waiting.answer.refuse(refusal);
            // Nobody will ever know what it was to hold for.
            waiting.at = MetadataOffset(0);
            effects.push(waiting.send());
        }
    }
}

impl Waiting {
    fn send(self) -> ControllerEffect {
        let Self { to, caller, at, answer, .. } = self;
        ControllerEffect::Send { to, message: FromController::Answer { caller, at, answer } }
    }
}

impl Controller {
    /// Answers, as soon as that may be. `is_durable` says that what is told must be, whatever is promised otherwise.
    pub(super) fn answer(&mut self, (to, caller): (NodeId, Caller), mut answer: Answer, is_durable: bool) {
        let mut at = self.journal.end();
        let must_be_durable = is_durable || self.config.is_durable();
        let mut needs = if must_be_durable { at } else { MetadataOffset(0) };
        if must_be_durable {
            match self.journal.failure() {
                Some(failure) if self.journal.durable_end() < needs => {
                    answer.refuse(&failure);
                    (at, needs) = (MetadataOffset(0), MetadataOffset(0));
                }
                _ => self.journal.want_sync(),
            }
        }
        self.answers.waiting.push_back(Waiting { to, caller, needs, at, answer });
    }

    /// Sends the answers that may be given. Where the log takes no more a sync that is under way is the last.
    pub(super) fn release_answers(&mut self, effects: &mut ControllerEffects) {
        let durable = self.journal.durable_end();
        // One that waits for nothing does not wait for those before it either.
        for waiting in std::mem::take(&mut self.answers.waiting) {
            if waiting.needs <= durable {
                effects.push(waiting.send());
            } else {
                self.answers.waiting.push_back(waiting);
            }
        }
        if let Some(failure) = self.journal.failure()
            && !self.journal.is_syncing()
        {
            self.answers.refuse_all(&failure, effects);
        }
    }

    /// Tells each node of what is new to it, unless something is on its way to it.
    pub(super) fn publish(&mut self, now: Now, effects: &mut ControllerEffects) {
        let is_durable = self.config.is_durable();
        let bound = if is_durable { self.journal.durable_end() } else { self.journal.end() };
        if is_durable && bound < self.journal.end() {
            self.journal.want_sync();
        }
        for (node, session) in &mut self.sessions.live {
            if session.heard.is_none() || session.sent.is_some() || session.applied >= bound {
                continue;
            }
            match self.journal.records(session.applied, bound) {
                Ok((upto, records)) => {
                    session.sent = Some((upto, now.monotonic));
                    let message = FromController::Records { upto, records };
                    effects.push(ControllerEffect::Send { to: *node, message });
                }
                Err(why) => tracing::error!(%node, %why, "the cluster's log cannot be read"),
            }
        }
    }
}

impl Answer {
    /// What the answer rests on may be lost: whatever it grants is refused.
    fn refuse(&mut self, refusal: &Refusal) {
        match self {
            Self::ProducerIds(outcome) => *outcome = Err(refusal.clone()),
            Self::Reply(reply) => super::requests::refuse(reply, refusal),
        }
    }
}
