//! What a node learns of the cluster, in the order in which the controller wrote it down, and what follows from it here: logs
//! are made and taken away, settings change, partitions are led by others.
//!
//! Always: a node knows a prefix of the cluster's log, and each record of it once. What it does not know is not so here.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_storage::TopicId;

use super::partitions::Found;
use super::replica::Role;
use super::{Effect, Effects, Node};
use crate::cluster::record::MetadataRecord;
use crate::ids::{MetadataOffset, NodeId, Now, PartitionIndex, TopicName};
use crate::message::{Ask, Peer};

impl Node {
    /// More of the cluster's log.
    pub(super) fn learn(
        &mut self,
        now: Now,
        upto: MetadataOffset,
        records: &Arc<[MetadataRecord]>,
        effects: &mut Effects,
    ) {
        // What was on its way for long may come twice, and what got lost comes again.
        let new = usize::try_from(upto.0 - self.known_upto.0).unwrap_or(0);
        let Some(known) = records.len().checked_sub(new) else { return };
        let records = &records[known..];
        let mut are_settings_new = false;
        let (mut changed, mut anew) = (BTreeSet::new(), BTreeSet::new());
        for record in records {
            if let MetadataRecord::TopicDeleted { id } = record {
                self.forget_topic(now, TopicId::new(*id), effects);
                continue;
            }
            self.metadata.apply(record);
            match record {
                MetadataRecord::TopicCreated { id, name, .. } => {
                    self.begin_topic(now, TopicId::new(*id), &name.as_str().into(), effects);
                }
                MetadataRecord::PartitionsAdded { id, .. } => {
                    let topic = TopicId::new(*id);
                    let name = self.name_of(topic).cloned();
                    let settled = name.map_or(Ok(()), |name| self.settle_checkpoints(&[&name]));
                    if let Err(refusal) = settled {
                        tracing::error!(%refusal, "a checkpoint speaks of partitions that there were once");
                    }
                    self.open_added(now, topic);
                }
                MetadataRecord::TopicConfigured { id, .. } => {
                    self.reconfigure_topic(now, TopicId::new(*id), effects);
                }
                MetadataRecord::NodesConfigured { .. } => are_settings_new = true,
                MetadataRecord::NodeStarted { node } => drop(anew.insert(NodeId(*node))),
                MetadataRecord::PartitionsChanged { id, changes } => {
                    let topic = TopicId::new(*id);
                    changed.extend(changes.iter().map(|change| (topic, PartitionIndex(change.partition))));
                }
                MetadataRecord::TopicDeleted { .. }
                | MetadataRecord::ClusterBegun { .. }
                | MetadataRecord::NodeChanged { .. }
                | MetadataRecord::ProducerIdsReserved { .. } => {}
                MetadataRecord::NodeIs { .. } | MetadataRecord::TopicIs { .. } => {
                    unreachable!("the cluster's log tells what changes")
                }
            }
        }
        self.lives_changed(now, effects);
        anew.iter().for_each(|node| self.transacting.lost_contact(*node));
        if !changed.is_empty() || !anew.is_empty() {
            self.transacting.leaders_changed();
        }
        anew.into_iter().for_each(|node| self.take_roles_under(now, node, effects));
        changed.into_iter().for_each(|partition| self.take_role(now, partition, effects));
        if are_settings_new {
            self.reconfigure(now, effects);
        }
        self.hear_early(now, effects);
        self.look_at_failed();
        self.known_upto = self.known_upto.max(upto);
        self.tell_controller(Ask::Applied { upto: self.known_upto }, effects);
        self.answer_what_is_known(now, effects);
    }

    /// Somebody can be reached again.
    pub(super) fn reconnected(&mut self, now: Now, peer: Peer, effects: &mut Effects) {
        match peer {
            Peer::Controller => self.beat_at_once(now, effects),
            Peer::Node(node) => {
                self.following.say_again(node);
                self.transacting.lost_contact(node);
                self.give_up_questions_to(now, node, effects);
            }
        }
    }

    /// A topic was made. No checkpoint speaks of one that is gone when another takes its name.
    fn begin_topic(&mut self, now: Now, id: TopicId, name: &TopicName, effects: &mut Effects) {
        let settled = self.settle_checkpoints(&[name]);
        self.let_go_of_name(name, effects);
        let Some(topic) = self.metadata.topic(id).cloned() else { return };
        self.open_topic(now, id, &topic, &mut Found::nothing(), effects);
        if let (Err(refusal), Some(local)) = (&settled, self.topics.get_mut(&id)) {
            tracing::error!(topic = %name, %refusal, "a topic cannot be kept here");
            local.partitions.iter_mut().for_each(|slot| *slot = Err(refusal.clone()));
        }
    }

    /// A topic is gone.
    fn forget_topic(&mut self, now: Now, id: TopicId, effects: &mut Effects) {
        let Some(name) = self.name_of(id).cloned() else { return };
        self.metadata.apply(&MetadataRecord::TopicDeleted { id: id.get() });
        self.transacting.leaders_changed();
        if let Some(mut topic) = self.topics.remove(&id) {
            for replica in topic.partitions.iter_mut().flatten() {
                if let Role::Leads(_, Some(tail)) = &mut replica.role {
                    tail.clear(&mut self.serving.tails);
                }
            }
            self.compactions.stop_for(id);
            let partitions = topic.partitions.len();
            self.forget_links(id, partitions);
            self.count_out(&topic);
            self.forget_checkpoints(now, &name, &topic);
            self.leaving.take(id, name.clone(), topic);
            effects.push(Effect::TopicClosed { id, name: name.clone() });
            self.wake_all(now, id, partitions, effects);
        }
        if name == TopicName::transaction_state() {
            self.forget_transactions(id, effects);
        }
        self.forget_topics_in_groups(now, &[(name, id)].into(), effects);
    }
}
