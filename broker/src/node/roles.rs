//! What this node does with each partition, as the cluster agreed: it leads it, follows who does, or holds nothing of it.
//!
//! Always: a leader's epoch is in its log before it appends in it. Who does not lead any more answers whoever waits that it
//! does not, and coordinates no groups or transactions of that partition.

use highwater_storage::{Offset, TopicId};

use super::partitions::Found;
use super::replica::{self, Replica, Role, elsewhere, is_elsewhere, term};
use super::{Effects, Node};
use crate::cluster::metadata::PartitionMetadata;
use crate::ids::{NodeId, Now, PartitionIndex, TopicName};
use crate::partition::follower::Follower;
use crate::partition::leader::Leader;
use crate::partition::parked::Watched;
use crate::partition::term::{Ends, Rules};
use crate::refusal::Refusal;

/// What a replica became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    /// What it was.
    Same {
        /// Whether the high watermark moved.
        moved: bool,
    },
    /// A leader, in a new epoch.
    Leader,
    /// A follower, or one of another leader; its log is first to be cut there.
    Follower {
        /// See [`Follower::begin`].
        cut: Option<Offset>,
    },
}

impl Node {
    /// Who serves changed: leaders are told who may be in sync, conversations begin anew.
    pub(super) fn lives_changed(&mut self, now: Now, effects: &mut Effects) {
        let lives = self.metadata.serving().collect();
        if lives == self.lives {
            return;
        }
        self.lives = lives;
        let metadata = &self.metadata;
        self.following.lives_changed(|node| metadata.broker_epoch(node));
        self.serving.forget_nodes_but(|node| Some(metadata.broker_epoch(node)));
        let mut moved = Vec::new();
        for (id, topic) in &mut self.topics {
            let rules = topic.rules;
            for (index, slot) in (0..).map(PartitionIndex).zip(&mut topic.partitions) {
                let Ok(replica) = slot else { continue };
                let Role::Leads(leader, _) = &mut replica.role else { continue };
                if leader.in_sync().is_none() {
                    continue;
                }
                self.serving.touch((*id, index));
                if leader.lives_changed(now.monotonic, &self.lives, &rules) {
                    replica.note_undecided();
                    moved.push((*id, index));
                }
            }
        }
        moved.into_iter().for_each(|partition| self.high_watermark_moved(now, partition, effects));
        self.wake_all_deletions(now, effects);
        self.give_up_questions_to_gone(now, effects);
    }

    /// A node began another life: what it led it leads anew.
    pub(super) fn take_roles_under(&mut self, now: Now, leader: NodeId, effects: &mut Effects) {
        let mut led = Vec::new();
        for (id, topic) in self.metadata.by_name() {
            let of_topic = (0..).map(PartitionIndex).zip(&topic.partitions);
            led.extend(
                of_topic.filter(|(_, part)| part.leader == Some(leader)).map(|(index, _)| (id, index)),
            );
        }
        led.into_iter().for_each(|partition| self.take_role(now, partition, effects));
    }

    /// A partition changed.
    pub(super) fn take_role(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        let Some(known) = self.metadata.partition(partition.0, partition.1).cloned() else { return };
        let slot = partition.1.slot().unwrap_or(usize::MAX);
        let Some(topic) = self.topics.get_mut(&partition.0) else { return };
        let rules = topic.rules;
        let is_held = match topic.partitions.get(slot) {
            None => return,
            Some(Ok(_)) => true,
            Some(Err(refusal)) if is_elsewhere(refusal) => false,
            // It could not be opened: that does not change before the next start.
            Some(Err(_)) => return,
        };
        match (is_held, known.replicas.contains(&self.id)) {
            (true, true) => self.change_role(now, partition, &known, &rules, effects),
            (false, true) => self.hold(now, partition, effects),
            (true, false) => self.let_go_of_one(now, partition, effects),
            (false, false) => {}
        }
    }

    /// The role of a replica whose log was just opened.
    pub(super) fn first_role(
        &mut self,
        now: Now,
        partition: Watched,
        replica: &mut Replica,
        known: &PartitionMetadata,
        rules: &Rules,
    ) {
        let became = self.become_what_it_is(now, replica, known, rules);
        replica.note_undecided();
        self.settle_links(partition, known, became, replica.log.end_offset());
        // Who is in sync may have died while nobody led.
        self.serving.touch(partition);
    }

    fn become_what_it_is(
        &self,
        now: Now,
        replica: &mut Replica,
        known: &PartitionMetadata,
        rules: &Rules,
    ) -> Became {
        let high_watermark = replica.positions().high_watermark;
        match (&mut replica.role, known.leader) {
            (Role::Leads(leader, tail), Some(node))
                if node == self.id && leader.epoch() == known.leader_epoch =>
            {
                let moved = leader.renew(now.monotonic, &term(known), &self.lives, rules);
                if leader.in_sync().is_some() {
                    tail.get_or_insert_default();
                }
                Became::Same { moved }
            }
            (Role::Follows(follower), leader)
                if leader != Some(self.id)
                    && follower.leader() == leader
                    && follower.epoch() == known.leader_epoch =>
            {
                Became::Same { moved: false }
            }
            (role, Some(node)) if node == self.id => {
                let log = &mut replica.log;
                // A leader's term begins where its log ends, also if it never appends.
                log.assign_epoch(known.leader_epoch, log.end_offset());
                let is_sole = *known.replicas == [self.id];
                let (leader, tail) = if is_sole {
                    let (start, end) = (log.start_offset(), log.end_offset());
                    let synced = log.synced_offset();
                    (Leader::sole(self.id, known.leader_epoch, start, end, synced), None)
                } else {
                    let ends = Ends {
                        log_start: log.start_offset(),
                        log_end: log.end_offset(),
                        synced: log.synced_offset(),
                        high_watermark,
                    };
                    let term = term(known);
                    let leader = Leader::begin(now.monotonic, self.id, &term, ends, &self.lives, rules);
                    (leader, Some(Box::default()))
                };
                *role = Role::Leads(leader, tail);
                Became::Leader
            }
            (role, leader) => {
                let held = replica::held(&replica.log);
                let (mut follower, cut) = Follower::begin(leader, known.leader_epoch, high_watermark, held);
                let has_failed = replica.log.poisoned().is_some();
                if has_failed {
                    follower.fail();
                }
                *role = Role::Follows(follower);
                Became::Follower { cut: cut.filter(|_| !has_failed) }
            }
        }
    }

    /// Whom it follows, and who follows it, in its new role.
    fn settle_links(
        &mut self,
        partition: Watched,
        known: &PartitionMetadata,
        became: Became,
        log_end: Offset,
    ) {
        match became {
            Became::Same { .. } => {}
            Became::Leader => {
                self.following.follow(partition, None);
                if known.is_recovering() {
                    self.note_unclean_start(partition, known.leader_epoch, log_end);
                }
                // What it has from the leader before it may not be synced here, and nothing else would ask for that.
                let wants_sync = self.replica_and_config(partition).is_ok_and(|(replica, config)| {
                    replica.log.end_offset().since(replica.log.synced_offset()) >= config.flush_messages
                });
                if wants_sync {
                    self.want_sync(partition, None);
                }
            }
            Became::Follower { cut } => {
                let leader = known.leader.map(|node| (node, self.metadata.broker_epoch(node)));
                self.following.follow(partition, leader);
                self.following.cut_first(partition, cut);
            }
        }
    }

    fn change_role(
        &mut self,
        now: Now,
        partition: Watched,
        known: &PartitionMetadata,
        rules: &Rules,
        effects: &mut Effects,
    ) {
        let slot = partition.1.slot().unwrap_or(usize::MAX);
        let taken = self.topics.get_mut(&partition.0).and_then(|topic| topic.partitions.get_mut(slot));
        let Some(place) = taken else { return };
        let Ok(mut replica) = std::mem::replace(place, Err(elsewhere())) else { return };
        if let Role::Leads(leader, Some(tail)) = &mut replica.role
            && (known.leader != Some(self.id) || leader.epoch() != known.leader_epoch)
        {
            tail.clear(&mut self.serving.tails);
        }
        let became = self.become_what_it_is(now, &mut replica, known, rules);
        replica.note_undecided();
        let log_end = replica.log.end_offset();
        if let Some(place) =
            self.topics.get_mut(&partition.0).and_then(|topic| topic.partitions.get_mut(slot))
        {
            *place = Ok(replica);
        }
        self.settle_links(partition, known, became, log_end);
        match became {
            Became::Same { moved } => {
                self.serving.touch(partition);
                if moved {
                    self.high_watermark_moved(now, partition, effects);
                }
                // Who waits may be told that too few are in sync, or that they are enough.
                self.wake_produces(partition, effects);
            }
            Became::Leader => {
                self.serving.forget(partition);
                self.serving.touch(partition);
                self.wake_everyone(now, partition, effects);
                self.begin_coordinating(now, partition, effects);
                self.begin_transacting(now, partition, effects);
            }
            Became::Follower { .. } => {
                self.serving.forget(partition);
                self.stop_coordinating(partition, effects);
                self.stop_transacting(partition, effects);
                self.wake_everyone(now, partition, effects);
            }
        }
    }

    /// Sees to it that nothing of a log that was here before is taken for the one that is to come, whenever the node stops:
    /// neither its files nor what the checkpoints say of it.
    fn make_way(&mut self, topic: &TopicName, slot: usize, effects: &mut Effects) -> Result<(), Refusal> {
        let unique = self.entropy.uuid();
        let made = self.move_out(topic, slot, unique).and_then(|left| {
            self.remove_folders(left.into_iter().collect(), effects);
            self.settle_moves()
        });
        let made =
            made.map_err(|error| Refusal::storage(&error)).and_then(|()| self.settle_checkpoints(&[topic]));
        made.inspect_err(|refusal| tracing::error!(%topic, slot, %refusal, "a partition cannot be kept here"))
    }

    /// A partition that is to be held here from now on.
    fn hold(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        let slot = partition.1.slot().unwrap_or(usize::MAX);
        let Some(topic) = self.metadata.topic(partition.0).cloned() else { return };
        let Some((config, rules)) =
            self.topics.get(&partition.0).map(|local| (local.config.clone(), local.rules))
        else {
            return;
        };
        self.let_go_of_name(&topic.name, effects);
        let opened = self.make_way(&topic.name, slot, effects).and_then(|()| {
            self.open_partition(now, (partition.0, &topic, &config, &rules), slot, &mut Found::nothing())
        });
        if let Some(place) =
            self.topics.get_mut(&partition.0).and_then(|topic| topic.partitions.get_mut(slot))
        {
            *place = opened;
        }
        self.serving.touch(partition);
        self.begin_coordinating(now, partition, effects);
        self.begin_transacting(now, partition, effects);
    }

    /// A partition that is not held here any more: its files go.
    fn let_go_of_one(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        let slot = partition.1.slot().unwrap_or(usize::MAX);
        self.stop_sync_timer(partition);
        let place = self.topics.get_mut(&partition.0).and_then(|topic| topic.partitions.get_mut(slot));
        let Some(place) = place else { return };
        let gone = std::mem::replace(place, Err(elsewhere()));
        self.forget_failed(partition);
        let Some(name) = self.name_of(partition.0).cloned() else { return };
        if let Ok(replica) = gone {
            self.forget_checkpoints_of_one(now, (&name, partition.1), &replica);
            self.expiry.used_bytes = self.expiry.used_bytes.saturating_sub(replica.counted_bytes);
            if let Role::Leads(_, Some(mut tail)) = replica.role {
                tail.clear(&mut self.serving.tails);
            }
            drop(replica.log.into_deletion());
        }
        self.following.follow(partition, None);
        self.serving.forget(partition);
        self.compactions.stop_void(partition);
        self.stop_coordinating(partition, effects);
        self.stop_transacting(partition, effects);
        self.wake_everyone(now, partition, effects);
        // It may come and go again before these files are gone.
        let unique = self.entropy.uuid();
        match self.move_out(&name, slot, unique) {
            Ok(left) => self.remove_folders(left.into_iter().collect(), effects),
            Err(error) => {
                tracing::error!(topic = %name, partition = %partition.1, %error, "a partition that went stays on disk");
            }
        }
    }

    /// A topic is gone: nobody follows it here, or is followed.
    pub(super) fn forget_links(&mut self, id: TopicId, partitions: usize) {
        for index in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            let partition = (id, PartitionIndex(index));
            self.following.follow(partition, None);
            self.serving.forget(partition);
            self.forget_failed(partition);
        }
    }

    /// Whoever waits for something of a partition is told what became of it.
    pub(super) fn wake_everyone(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        self.wake_fetches(now, partition, effects);
        self.wake_produces(partition, effects);
        self.wake_deletions(now, partition, effects);
        self.wake_markers(partition, effects);
        self.wake_coordinator(now, partition, effects);
    }
}
