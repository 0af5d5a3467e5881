//! What does not leave a node: answers that are held, and what followers are not to hear of, or not the first time.
//!
//! Always: what is held of a partition is held in order, and nothing of it overtakes. All of it is one life's.

use std::collections::BTreeSet;

use crate::ids::{BrokerEpoch, NodeId};
use crate::message::{Message, Peer, ReplicaFetched, ReplicaNews, Word};
use crate::node::{ConnectionId, Effect, Effects, Ticket};
use crate::partition::parked::Watched;
use crate::transaction::TransactionalId;

/// How much is held of a node. A message to a follower that comes after that is lost: it asks again. Answers are bounded by
/// what their connections may ask.
const MAX_HELD: usize = 1_000;

/// A node that follows, in one of its lives.
type Follower = (NodeId, BrokerEpoch);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct KeptBack {
    held: Vec<Effect>,
    /// Requests that are not answered.
    unanswered: BTreeSet<Ticket>,
    /// Partitions of which followers hear nothing.
    unheard: BTreeSet<Watched>,
    /// Transactions of whose end no leader hears.
    pub(super) unmarked: BTreeSet<TransactionalId>,
    /// Whose next message about which partition is lost: one life's of a follower.
    lost: BTreeSet<(Watched, Follower)>,
}

impl KeptBack {
    /// Whether nothing further is to be held.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= MAX_HELD || self.unanswered.len() >= MAX_HELD
    }

    /// Holds an effect.
    pub(super) fn keep(&mut self, effect: Effect) {
        self.held.push(effect);
    }

    /// From here on a request is not answered, and followers hear nothing of these partitions.
    pub(super) fn hold(&mut self, ticket: Ticket, partitions: impl Iterator<Item = Watched>) {
        self.unanswered.insert(ticket);
        self.unheard.extend(partitions);
    }

    /// What followers are told next of partitions is lost.
    pub(super) fn lose(&mut self, news: impl Iterator<Item = (Watched, Follower)>) {
        self.lost.extend(news);
    }

    /// Everything that is held, in order; from here on nothing is.
    pub(super) fn release(&mut self) -> Vec<Effect> {
        self.unanswered.clear();
        self.unheard.clear();
        self.unmarked.clear();
        std::mem::take(&mut self.held)
    }

    /// Takes out of what a node is about to do what is not to leave it.
    pub(super) fn take_from(&mut self, effects: &mut Effects) {
        if self.unanswered.is_empty() && self.unheard.is_empty() && self.lost.is_empty() {
            return;
        }
        for effect in std::mem::take(effects) {
            match effect {
                Effect::Reply(ticket, reply) if self.unanswered.contains(&ticket) => {
                    self.held.push(Effect::Reply(ticket, reply));
                }
                Effect::Close(connection, why) if self.waits(connection) => {
                    self.held.push(Effect::Close(connection, why));
                }
                Effect::Send(Peer::Node(to), Message(Word::Fetched(fetched))) => {
                    let sent = self.take_news(to, fetched);
                    let send = |fetched| Effect::Send(Peer::Node(to), Message(Word::Fetched(fetched)));
                    effects.extend(sent.map(send));
                }
                Effect::Send(to, Message(Word::Markers { broker_epoch, markers })) => {
                    let (held, sent): (Vec<_>, Vec<_>) =
                        markers.into_iter().partition(|one| self.unmarked.contains(&one.id));
                    let send = |markers| Effect::Send(to, Message(Word::Markers { broker_epoch, markers }));
                    let is_kept = !held.is_empty() && !self.is_full();
                    self.held.extend(is_kept.then(|| send(held)));
                    effects.extend((!sent.is_empty()).then(|| send(sent)));
                }
                other => effects.push(other),
            }
        }
    }

    /// Whether the next thing that a connection hears is held.
    fn waits(&self, connection: ConnectionId) -> bool {
        self.unanswered.iter().any(|ticket| ticket.connection == connection)
    }

    /// What of a message goes on to a follower; none if all is lost.
    fn take_news(&mut self, to: NodeId, mut fetched: ReplicaFetched) -> Option<ReplicaFetched> {
        let mut is_lost = false;
        for news in &fetched.partitions {
            is_lost |= self.lost.remove(&((news.topic, news.partition), (to, fetched.broker_epoch)));
        }
        if is_lost {
            return None;
        }
        let is_held = |news: &ReplicaNews| self.unheard.contains(&(news.topic, news.partition));
        let (held, sent): (Vec<_>, Vec<_>) = fetched.partitions.into_iter().partition(is_held);
        if !held.is_empty() && !self.is_full() {
            let held = ReplicaFetched { partitions: held, ..fetched };
            self.held.push(Effect::Send(Peer::Node(to), Message(Word::Fetched(held))));
        }
        fetched.partitions = sent;
        Some(fetched)
    }
}
