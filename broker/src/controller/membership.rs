//! Which nodes are there: they start, fall silent, are heard again, leave and are gone.
//!
//! A cluster of one node has nobody who could take over, and so nothing of this is written down for it but that it starts.

use std::collections::BTreeMap;

use highwater_storage::{LeaderEpoch, StopKind, TopicId};

use super::{Controller, ControllerEffect, ControllerEffects, Started};
use crate::cluster::controller::{Decided, UncleanElection};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, Now, PartitionIndex};
use crate::refusal::Refusal;

impl Controller {
    /// Nodes come up.
    pub(super) fn start(&mut self, now: Now, nodes: &[(NodeId, StopKind)], effects: &mut ControllerEffects) {
        let starting: BTreeMap<_, _> = nodes.iter().copied().collect();
        match self.register(now, &starting) {
            Ok(started) => {
                let told = |started| ControllerEffect::Started(Box::new(started));
                effects.extend(started.into_iter().map(told));
            }
            Err(why) => {
                effects.push(ControllerEffect::NotStarted { why });
            }
        }
    }

    fn register(&mut self, now: Now, starting: &BTreeMap<NodeId, StopKind>) -> Result<Vec<Started>, Refusal> {
        let live = self.sessions.nodes().filter(|node| !starting.contains_key(node)).collect();
        let decided = self.decide(&self.config_of_all(), |decisions| decisions.start(starting, &live));
        self.commit_decided(now, decided)?;
        if self.config.is_durable() {
            self.journal.flush()?;
        }
        let gone_topics = self.gone_topics.ids();
        let upto = self.journal.end();
        let begin = |node: &NodeId| {
            let broker_epoch = self.metadata.broker_epoch(*node);
            self.answers.forget(*node);
            self.sessions.begin(*node, broker_epoch, upto);
            Started {
                node: *node,
                broker_epoch,
                metadata: self.metadata.clone(),
                upto,
                gone_topics: gone_topics.clone(),
            }
        };
        Ok(starting.keys().map(begin).collect())
    }

    /// A life of a node is over.
    pub(super) fn gone(&mut self, now: Now, node: NodeId, life: BrokerEpoch) {
        if !self.sessions.is_of(node, life) {
            return;
        }
        self.answers.forget(node);
        self.fence(now, node);
        if self.has_others() && self.metadata.serves(node) {
            // The log did not take it: tried again when it was silent for long enough.
            self.sessions.heard(now, node);
        } else {
            self.sessions.end(node);
        }
    }

    /// A node lives, although it may say nothing: it has come up, or one step takes it long. In Kafka that is said by a thread
    /// that does nothing else (`BrokerLifecycleManager`).
    pub(crate) fn lives(&mut self, now: Now, node: NodeId, life: BrokerEpoch) {
        if self.sessions.is_of(node, life) {
            self.sessions.heard(now, node);
        }
    }

    #[cfg(test)]
    pub(crate) fn heard_at(&self) -> impl Iterator<Item = (NodeId, Monotonic)> {
        self.sessions.heard_at()
    }

    /// The controller itself did not run for a while: nobody is to blame for what it did not hear.
    pub(crate) fn overslept(&mut self, now: Now) {
        self.sessions.heard_all(now);
    }

    /// A node wants to stop: it may when those who are there know who leads now.
    pub(super) fn leaving(&mut self, now: Now, node: NodeId) {
        if self.has_others() {
            let decided = self.decide(&self.config_of_all(), |decisions| decisions.leave(node));
            if let Err(why) = self.commit_decided(now, decided) {
                tracing::error!(%node, %why, "what a node leads cannot be given to others");
            }
        }
        self.sessions.leave(node, self.journal.end());
    }

    /// Tells the nodes that may stop.
    pub(super) fn let_leave(&mut self, effects: &mut ControllerEffects) {
        let is_over = self.journal.failure().is_some();
        let serves = |node| self.metadata.serves(node);
        let left = self.sessions.take_left(serves, is_over);
        effects.extend(left.into_iter().map(|node| ControllerEffect::Left { node }));
    }

    /// Logs of a node failed: others lead and are in sync, where there are any.
    pub(super) fn logs_failed(&mut self, now: Now, node: NodeId, logs: &[(TopicId, PartitionIndex)]) {
        let decided = self.decide(&self.config_of_all(), |decisions| decisions.logs_failed(node, logs));
        if let Err(why) = self.commit_decided(now, decided) {
            tracing::error!(%node, %why, "what a node can lead no more cannot be given to others");
        }
    }

    /// A node is heard that nobody heard for a while.
    pub(super) fn unfence(&mut self, now: Now, node: NodeId) {
        if !self.metadata.serves(node) {
            let decided = self.decide(&self.config_of_all(), |decisions| decisions.unfence(node));
            if let Err(why) = self.commit_decided(now, decided) {
                tracing::error!(%node, %why, "a node that is heard again cannot be taken back");
            }
        }
    }

    /// Nodes that said nothing for too long lead nothing any more and are in sync with nothing.
    pub(super) fn fence_silent(&mut self, now: Now) {
        let Some(timeout) = self.session_timeout_micros() else { return };
        let is_silent = |heard: Monotonic| heard.plus_micros(timeout) <= now.monotonic;
        let silent: Vec<_> = self.serving_heard().filter(|(_, heard)| is_silent(*heard)).collect();
        for (node, _) in silent {
            tracing::warn!(%node, "nothing is heard from a node: others take over");
            self.fence(now, node);
            if self.metadata.serves(node) {
                // The log did not take it: tried again after as long.
                self.sessions.heard(now, node);
            }
        }
    }

    /// When the next node will have said nothing for too long.
    pub(super) fn next_silence(&self) -> Option<Monotonic> {
        let timeout = self.session_timeout_micros()?;
        self.serving_heard().map(|(_, heard)| heard.plus_micros(timeout)).min()
    }

    fn serving_heard(&self) -> impl Iterator<Item = (NodeId, Monotonic)> {
        self.sessions.heard_at().filter(|(node, _)| self.metadata.serves(*node))
    }

    fn session_timeout_micros(&self) -> Option<u64> {
        self.has_others().then(|| self.config.session_timeout_micros())
    }

    fn fence(&mut self, now: Now, node: NodeId) {
        if !self.has_others() {
            return;
        }
        let decided = self.decide(&self.config_of_all(), |decisions| decisions.fence(node));
        if let Err(why) = self.commit_decided(now, decided) {
            tracing::error!(%node, %why, "what a lost node led cannot be given to others");
        }
    }

    /// Whether the cluster has more than one node.
    pub(super) fn has_others(&self) -> bool {
        self.nodes.len() > 1
    }

    /// Writes down what was decided, and says what may be lost by it.
    pub(super) fn commit_decided(&mut self, now: Now, decided: Decided) -> Result<(), Refusal> {
        self.commit(now, &decided.records)?;
        for election in decided.unclean {
            let led = self.metadata.partition(election.topic, election.partition);
            let epoch = led.map_or(LeaderEpoch::NONE, |partition| partition.leader_epoch);
            self.unclean_elections.add(UncleanElection { epoch, ..election });
        }
        Ok(())
    }
}
