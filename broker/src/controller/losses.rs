//! What unclean elections cost: who elects does not know the logs, so those who have them say what is gone.
//!
//! The new leader says where its log ended. What others had from there on is lost; how much that is shows when one of them is
//! back and cuts its log to the leader's.

use std::collections::VecDeque;

use highwater_storage::Offset;

use super::Controller;
use crate::cluster::controller::{LostRange, UncleanElection};
use crate::ids::NodeId;
use crate::message::{Loss, Lost};

/// How many unclean elections are remembered.
const MAX_UNCLEAN_ELECTIONS: usize = 1_000;

/// The last unclean elections.
#[derive(Debug, Default)]
pub(super) struct UncleanElections {
    last: VecDeque<UncleanElection>,
    count: u64,
}

impl UncleanElections {
    pub(super) fn iter(&self) -> impl Iterator<Item = &UncleanElection> {
        self.last.iter()
    }

    /// One is in force.
    pub(super) fn add(&mut self, election: UncleanElection) {
        let UncleanElection { name, partition, leader, epoch, last_leader, had_all, .. } = &election;
        let epoch = epoch.get();
        tracing::warn!(
            topic = %name,
            %partition,
            %leader,
            epoch,
            ?last_leader,
            ?had_all,
            "an unclean election: what the leader does not have of earlier epochs is lost",
        );
        self.count += 1;
        if self.last.len() == MAX_UNCLEAN_ELECTIONS {
            self.last.pop_front();
        }
        self.last.push_back(UncleanElection { number: self.count, ..election });
    }

    /// A node says what it knows of what is lost. It may say so more than once.
    fn heard(&mut self, from: NodeId, loss: &Loss) {
        let of_partition =
            |known: &&mut UncleanElection| known.topic == loss.topic && known.partition == loss.partition;
        let mut known = self.last.iter_mut().filter(of_partition);
        match loss.what {
            Lost::From(end) => {
                let election = known.find(|known| known.leader == from && known.epoch == loss.leader_epoch);
                if let Some(election) = election.filter(|known| known.lost_from.is_none()) {
                    election.lost_from = Some(end);
                    say_where(election, end);
                }
            }
            Lost::Cut { range, epoch } => {
                // The first one after it was written is what took it away.
                let election = known.find(|known| epoch < known.epoch && known.epoch <= loss.leader_epoch);
                if let Some(election) = election.filter(|known| known.had(from))
                    && election.note_cut(range)
                {
                    say_range(election, range);
                }
            }
        }
    }
}

fn say_where(UncleanElection { name, partition, leader, epoch, .. }: &UncleanElection, from: Offset) {
    let epoch = epoch.get();
    tracing::warn!(topic = %name, %partition, %leader, epoch, %from, "what others had from this offset on is lost");
}

fn say_range(election: &UncleanElection, range: LostRange) {
    let UncleanElection { name, partition, epoch, .. } = election;
    let LostRange { node, from, to, committed } = range;
    let (epoch, offsets) = (epoch.get(), to.since(from));
    tracing::warn!(
        topic = %name, %partition, epoch, had_by = %node, %from, %to, offsets, %committed,
        "lost by an unclean election, and cut from the log of who had it",
    );
}

impl Controller {
    /// A node says what it knows of what is lost.
    pub(super) fn hear_losses(&mut self, from: NodeId, losses: &[Loss]) {
        losses.iter().for_each(|loss| self.unclean_elections.heard(from, loss));
    }
}
